"""What goes wrong while a story lasts, each kind of fault by a task of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from tests.simulation.plan import Plan

from covm.federation.errors import NetworkError, NotStarted, StoreError
from covm.federation.network.simulated import LinkFaults
from covm.testing import Crashed, DiskFaults, Ledger, Machine, World
from covm.testing.disk import Snapshot

MOST_STEPS = 400
"""A crash comes at any of so many steps after its moment: a commit and what it sets off take some dozens."""

SNAPSHOTS = 4


class Weather:
    """The faults of one story. `clear` ends them all."""

    def __init__(self, world: World, plan: Plan, ledger: Ledger) -> None:
        self._world = world
        self._plan = plan
        self._ledger = ledger
        self._snapshots: dict[str, list[tuple[float, Snapshot]]] = {machine.name: [] for machine in world.machines}
        self._jumped = {machine.name: timedelta(0) for machine in world.machines}
        self._is_over = False

    def care(self) -> list[Coroutine[Any, Any, None]]:
        """Somebody for each machine who starts its node again."""
        return [self._keep_up(machine) for machine in self._world.machines]

    def strikes(self) -> list[Coroutine[Any, Any, None]]:
        """The faults; they end when they are cancelled."""
        plan = self._plan
        faults: list[tuple[float, str, Callable[[Machine, random.Random], Any]]] = [
            (plan.crash_every_s, "crash", self._crash),
            (plan.restart_every_s, "restart", self._restart),
            (plan.cut_every_s, "cut", self._cut),
            (plan.bad_link_every_s, "link", self._spoil_link),
            (plan.bad_disk_every_s, "disk", self._spoil_disk),
            (plan.snapshot_every_s, "snapshot", self._snapshot),
            (plan.roll_back_every_s, "roll back", self._roll_back),
            (plan.jump_every_s, "jump", self._jump),
        ]
        return [self._strike(every_s, name, fault) for every_s, name, fault in faults if every_s > 0.0]

    def clear(self) -> None:
        """Nothing goes wrong any more, and what went wrong is mended."""
        self._is_over = True
        self._world.fabric.heal()
        for machine in self._world.machines:
            machine.disk.faults = DiskFaults(slowest_s=0.002)
            machine.clock.jump(-self._jumped[machine.name])

    async def _keep_up(self, machine: Machine) -> None:
        """Whoever looks after the machine starts a node that is down, after a while."""
        chance = self._world.chance(f"keep up/{machine.name}")
        while True:
            if not machine.is_up:
                await asyncio.sleep(
                    chance.choice((0.0, 0.1, 1.0, 15.0)) * chance.random() if not self._is_over else 0.1
                )
                try:
                    await machine.start()
                except (Crashed, StoreError, NotStarted, NetworkError) as error:
                    machine.note("does not start", error)
            await asyncio.sleep(0.2)

    async def _strike(self, every_s: float, name: str, fault: Callable[[Machine, random.Random], Any]) -> None:
        chance = self._world.chance(f"weather/{name}")
        while True:
            await asyncio.sleep(chance.expovariate(1 / every_s))
            machine = chance.choice(self._world.machines)
            self._world.trace.note("weather", name, machine.name)
            done = fault(machine, chance)
            if done is not None:
                await done

    def _crash(self, machine: Machine, chance: random.Random) -> None:
        silent = chance.random() < 0.3
        self._world.loop.interrupt_after(chance.randrange(MOST_STEPS), lambda: self._strike_down(machine, silent))

    def _strike_down(self, machine: Machine, silent: bool) -> None:
        if not self._is_over:
            machine.crash(silent=silent)

    async def _restart(self, machine: Machine, chance: random.Random) -> None:
        try:
            await machine.stop()
        except (Crashed, StoreError) as error:
            machine.note("does not stop", error)

    async def _cut(self, machine: Machine, chance: random.Random) -> None:
        others = [each for each in self._world.machines if each is not machine]
        self._world.fabric.cut(machine.peer_id, chance.choice(others).peer_id)
        await asyncio.sleep(chance.choice((0.1, 3.0, 30.0)) * chance.random())
        self._world.fabric.heal()

    def _spoil_link(self, machine: Machine, chance: random.Random) -> None:
        other = chance.choice([each for each in self._world.machines if each is not machine])
        faults = LinkFaults(
            latency=timedelta(milliseconds=chance.choice((0, 5, 50, 500))),
            jitter=timedelta(milliseconds=chance.choice((0, 10, 500))),
            loss=chance.choice((0.0, 0.1, 0.4)),
        )
        self._world.fabric.set_faults(machine.peer_id, other.peer_id, faults)

    async def _spoil_disk(self, machine: Machine, chance: random.Random) -> None:
        before = machine.disk.faults
        machine.disk.faults = chance.choice(
            (
                DiskFaults(slowest_s=before.slowest_s, is_full=True),
                DiskFaults(slowest_s=before.slowest_s, errors=1.0),
                DiskFaults(slowest_s=before.slowest_s, errors=0.2, doubts=0.3),
                DiskFaults(fastest_s=0.5, slowest_s=3.0),
            )
        )
        await asyncio.sleep(chance.choice((0.5, 5.0, 20.0)) * chance.random())
        machine.disk.faults = before

    def _snapshot(self, machine: Machine, chance: random.Random) -> None:
        taken = self._snapshots[machine.name]
        taken.append((self._world.loop.time(), machine.disk.snapshot()))
        del taken[:-SNAPSHOTS]

    def _roll_back(self, machine: Machine, chance: random.Random) -> None:
        taken = self._snapshots[machine.name]
        if not taken:
            return
        at_s, snapshot = chance.choice(taken)
        restored = chance.random() < self._plan.restored
        machine.crash(silent=chance.random() < 0.3)
        machine.note("goes back", at_s, restored)
        machine.disk.roll_back(snapshot, restored=restored)
        self._ledger.roll_back(machine.name, at_s, self._world.loop.time(), restored=restored)
        taken[:] = [each for each in taken if each[0] <= at_s]

    def _jump(self, machine: Machine, chance: random.Random) -> None:
        by = timedelta(seconds=chance.choice((-3600 * 3, -60, -1, 1, 60, 3600 * 3)) * chance.random())
        self._jumped[machine.name] += by
        machine.clock.jump(by)
