"""What one seed has in store."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from covm.federation.network.simulated import LinkFaults
from covm.testing import DiskFaults

NAMES = ("ada", "ben", "cleo", "dov")


@dataclass(slots=True)
class Plan:
    """A story: durations in seconds, `every` fault at that interval on average, 0 for never."""

    kind: str = "calm"
    names: tuple[str, ...] = NAMES[:2]
    lasts_s: float = 60.0
    links: LinkFaults = field(default_factory=LinkFaults)
    disks: DiskFaults = field(default_factory=DiskFaults)
    sends_every_s: float = 1.0
    most_in_a_burst: int = 4
    short_lives: float = 0.0
    """Share of messages that expire soon."""
    failing: float = 0.05
    """Share of messages whose handler fails at first, or for good."""
    second_thoughts_every_s: float = 0.0
    """How often somebody cancels or retries a message."""
    outbox_most: int = 10_000
    crash_every_s: float = 0.0
    restart_every_s: float = 0.0
    cut_every_s: float = 0.0
    bad_link_every_s: float = 0.0
    bad_disk_every_s: float = 0.0
    snapshot_every_s: float = 0.0
    roll_back_every_s: float = 0.0
    restored: float = 0.5
    """Share of old backups that come back properly, by a restore."""
    jump_every_s: float = 0.0
    odd_type: bool = False
    """Whether messages are sent that nobody handles for a while."""


def plan_for(seed: int) -> Plan:
    """The plan of a seed: kinds take turns, the rest is chance."""
    chance = random.Random(f"plan/{seed}")
    plan = Plan(
        lasts_s=chance.uniform(20, 60),
        names=NAMES[: chance.choice((2, 2, 2, 2, 3, 4))],
        links=_links(chance),
        disks=DiskFaults(slowest_s=chance.choice((0.0, 0.002, 0.02, 0.3))),
        sends_every_s=chance.choice((1.0, 2.0, 4.0)),
        most_in_a_burst=chance.choice((1, 4, 12)),
        short_lives=chance.choice((0.0, 0.0, 0.2)),
        failing=chance.choice((0.0, 0.05, 0.2)),
        odd_type=chance.random() < 0.3,
    )
    plan.kind, change = KINDS[seed % len(KINDS)]
    change(plan, chance)
    return plan


def _links(chance: random.Random) -> LinkFaults:
    return LinkFaults(
        latency=timedelta(milliseconds=chance.choice((0, 1, 20, 150))),
        jitter=timedelta(milliseconds=chance.choice((0, 0, 5, 100))),
        loss=chance.choice((0.0, 0.0, 0.02, 0.2)),
    )


def _calm(plan: Plan, chance: random.Random) -> None:
    plan.second_thoughts_every_s = chance.choice((0.0, 5.0))


def _crashes(plan: Plan, chance: random.Random) -> None:
    plan.crash_every_s = chance.choice((2.0, 5.0, 15.0))
    plan.restart_every_s = chance.choice((0.0, 20.0))
    plan.second_thoughts_every_s = chance.choice((0.0, 5.0))


def _torn(plan: Plan, chance: random.Random) -> None:
    plan.disks = DiskFaults(slowest_s=plan.disks.slowest_s, torn=chance.choice((0.01, 0.05, 0.2)))


def _network(plan: Plan, chance: random.Random) -> None:
    plan.cut_every_s = chance.choice((3.0, 10.0))
    plan.bad_link_every_s = 10.0
    plan.short_lives = chance.choice((0.0, 0.3))
    plan.second_thoughts_every_s = chance.choice((0.0, 3.0))


def _disks(plan: Plan, chance: random.Random) -> None:
    plan.bad_disk_every_s = chance.choice((3.0, 10.0))
    plan.crash_every_s = chance.choice((0.0, 10.0))


def _clocks(plan: Plan, chance: random.Random) -> None:
    plan.jump_every_s = chance.choice((3.0, 10.0))
    plan.short_lives = 0.3
    plan.crash_every_s = chance.choice((0.0, 15.0))


def _roll_backs(plan: Plan, chance: random.Random) -> None:
    plan.snapshot_every_s = chance.choice((2.0, 8.0))
    plan.roll_back_every_s = chance.choice((8.0, 20.0))
    plan.restored = chance.choice((0.0, 0.5, 1.0))
    plan.crash_every_s = chance.choice((0.0, 15.0))


def _full(plan: Plan, chance: random.Random) -> None:
    plan.outbox_most = chance.choice((5, 20))
    plan.cut_every_s = 10.0
    plan.most_in_a_burst = 30
    plan.restart_every_s = chance.choice((0.0, 10.0))


def _everything(plan: Plan, chance: random.Random) -> None:
    _network(plan, chance)
    _disks(plan, chance)
    _roll_backs(plan, chance)
    plan.crash_every_s = 10.0
    plan.restart_every_s = 20.0
    plan.jump_every_s = 15.0


KINDS: tuple[tuple[str, Callable[[Plan, random.Random], None]], ...] = (
    ("calm", _calm),
    ("crashes", _crashes),
    ("torn commits", _torn),
    ("network", _network),
    ("disks", _disks),
    ("clocks", _clocks),
    ("roll-backs", _roll_backs),
    ("full outbox", _full),
    ("everything", _everything),
)
