"""A story, from its start to the last check."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.simulation import application
from tests.simulation.application import Application
from tests.simulation.plan import Plan, plan_for
from tests.simulation.weather import Weather

from covm.federation.config import ConnectionRetry
from covm.federation.errors import NotStarted
from covm.testing import Checkers, Fate, Ledger, Machine, World, run_in_virtual_time
from covm.testing.checkers import prepare, tally
from covm.testing.ledger import SETTLED
from covm.testing.loop import let_all_end, owner

LOOK_EVERY_S = 5.0
PATIENCE_S = 600.0
"""How long after the last fault everything must have come to an end: the longest pauses between tries are seconds."""

QUIET_S = 15.0
"""What it then takes until the last word is on both disks: a few heartbeats."""


@dataclass(frozen=True)
class Told:
    """What came of a story."""

    seed: int
    kind: str
    trace: str
    steps: int
    took_s: float
    """In virtual time."""
    ends: dict[str, int]
    broken: tuple[str, ...]


def tell(seed: int, lines: Callable[[str], object] | None = None, *, plan: Plan | None = None) -> Told:
    """Runs the story of a seed; the same seed tells the same story."""
    return run_in_virtual_time(_story(seed, plan or plan_for(seed), lines))


async def _story(seed: int, plan: Plan, lines: Callable[[str], object] | None) -> Told:
    config = {
        "outbox_max_messages": plan.outbox_most,
        "unhandled_retention": timedelta(seconds=30),
        "connection_retry": ConnectionRetry(base_delay=timedelta(milliseconds=100), max_delay=timedelta(seconds=2)),
    }
    ledger = Ledger()
    async with World(seed=seed, names=plan.names, config=config, faults=plan.links, lines=lines) as world:
        checks = Checkers(
            ledger,
            world.machines,
            transactional=application.TRANSACTIONAL,
            answered=frozenset({application.ORDER}),
            journalled=frozenset({application.ENTRY}),
            bounded=frozenset({application.ORDER, application.NOTE, application.ODD}),
            most_waiting=plan.outbox_most,
        )
        with watched_log(Faults(ledger, world)):
            await _Story(world, plan, ledger, checks).run()
        return Told(
            seed=seed,
            kind=plan.kind,
            trace=world.trace.hash,
            steps=world.loop.steps,
            took_s=world.loop.time(),
            ends=dict(sorted(tally(ledger.entries.values()).items())),
            broken=tuple(dict.fromkeys(ledger.broken)),
        )


@contextmanager
def watched_log(watcher: logging.Handler) -> Iterator[None]:
    """Nothing of the log is printed: handlers that are made to fail fill it."""
    log = logging.getLogger("covm")
    log.addHandler(watcher)
    propagates, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(watcher)
        log.propagate = propagates


class _Story:
    def __init__(self, world: World, plan: Plan, ledger: Ledger, checks: Checkers) -> None:
        self._world = world
        self._plan = plan
        self._ledger = ledger
        self._checks = checks
        self._weather = Weather(world, plan, ledger)
        self._applications = [Application(machine, world, plan, ledger, checks) for machine in world.machines]

    async def run(self) -> None:
        for machine in self._world.machines:
            prepare(machine.disk)
        await self._world.start_all()
        for machine in self._world.machines:
            machine.disk.faults = self._plan.disks
        await self._until_all_know_each_other()
        care = [self._run(task) for task in self._weather.care()]
        striking = [self._run(task) for task in self._weather.strikes()]
        living = [self._run(each.live()) for each in self._applications]
        if self._plan.second_thoughts_every_s:
            living += [self._run(each.change_its_mind()) for each in self._applications]
        try:
            await self._look_on(self._plan.lasts_s)
            await self._end(living)
            await self._end(striking)
            self._weather.clear()
            for each in self._applications:
                each.handle_odd_from_now_on()
            if not self._ledger.broken:
                await self._come_to_rest()
        finally:
            await self._end([*care, *striking, *living])

    async def _until_all_know_each_other(self) -> None:
        """Nobody can write to whom he never heard of."""
        machines = self._world.machines
        while not all(len(each.service.connected_peers()) == len(machines) - 1 for each in machines):  # noqa: ASYNC110 - time is made up
            await asyncio.sleep(0.1)

    async def _look_on(self, for_s: float) -> None:
        ends_s = self._world.loop.time() + for_s
        while self._world.loop.time() < ends_s and not self._ledger.broken:
            await asyncio.sleep(LOOK_EVERY_S)
            self._checks.now()

    async def _come_to_rest(self) -> None:
        self._world.trace.note("story", "the faults are over")
        ends_s = self._world.loop.time() + PATIENCE_S
        while self._world.loop.time() < ends_s and not self._ledger.broken and not self._is_at_rest():  # noqa: ASYNC110 - time is made up
            await asyncio.sleep(1.0)
        await asyncio.sleep(QUIET_S)
        if not self._ledger.broken and all(machine.is_up for machine in self._world.machines):
            for each in self._applications:
                await each.ask_for_the_last_word()
        self._checks.at_the_end()

    def _is_at_rest(self) -> bool:
        return all(machine.is_up for machine in self._world.machines) and all(
            entry.state in SETTLED
            for entry in self._ledger.entries.values()
            if entry.fate is Fate.TAKEN and not entry.lost_by_sender
        )

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._world.loop.create_task(work)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await let_all_end(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error


class Faults(logging.Handler):
    """A fault that a node's supervisor caught is a fault all the same, unless the node had crashed by then."""

    def __init__(self, ledger: Ledger, world: World) -> None:
        super().__init__(logging.ERROR)
        self._ledger = ledger
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        life = owner.get()
        alive: list[Machine] = [machine for machine in self._world.machines if machine.is_living(life)]
        if alive and "failed; the node goes on" in record.getMessage():
            why = record.exc_info[1] if record.exc_info else None
            if isinstance(why, NotStarted) and not alive[0].service.addresses:
                return  # it is being stopped
            self._ledger.complain(None, f"{alive[0].name}: {record.getMessage()}: {why!r}")
