"""A story of shared data, from its start to the last check: whoever writes, and whatever fails, all end with the same.

Seeds, plans and traces are its own: nothing here changes a story of messages.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.simulation.plan import NAMES, Plan, plan_for
from tests.simulation.scenario import Faults, Told, watched_log
from tests.simulation.shared_ledger import NOTE, SharedLedger, is_lost, stored, stored_notes
from tests.simulation.shared_writer import Writer
from tests.simulation.weather import Weather

from covm.federation.config import ConnectionRetry
from covm.federation.sync import tables
from covm.federation.wire.sync_frames import SyncRequest, SyncResponse, decode_sync_frame
from covm.testing import Machine, World, run_in_virtual_time
from covm.testing.loop import let_all_end

LOOK_EVERY_S = 5.0
AFTERMATH_S = 5.0
"""How long things go wrong after the last write: what is interrupted then, no news begins again."""

PATIENCE_S = 300.0
"""How long after the last fault all must hold the same: a few rounds of upkeep."""

QUIET_S = 45.0
MOST_ASKED = 0
"""Questions and answers that a node hears in the quiet time, in which nothing changes."""

UNDISTURBED = "calm"
"""The kind of stories in which nothing is interrupted but by people."""

LATER = timedelta(hours=4)
"""More than any clock was ahead: what waits for its time does not have to."""


def shared_plan(seed: int) -> Plan:
    """The plan of a seed: the faults of a story of messages, on more machines that write less at once."""
    chance = random.Random(f"shared/{seed}")
    plan = plan_for(seed)
    return replace(
        plan,
        names=(*NAMES, "eve")[: chance.choice((3, 3, 4, 5))],
        lasts_s=chance.uniform(10, 25),
        sends_every_s=chance.choice((1.5, 4.0)),
        most_in_a_burst=chance.choice((1, 2)),
        bad_disk_every_s=min(plan.bad_disk_every_s, 3.0),
    )


def tell_shared(seed: int, lines: Callable[[str], object] | None = None, *, plan: Plan | None = None) -> Told:
    """Runs the story of a seed; the same seed tells the same story."""
    return run_in_virtual_time(_story(seed, plan or shared_plan(seed), lines))


async def _story(seed: int, plan: Plan, lines: Callable[[str], object] | None) -> Told:
    config = {
        "connection_retry": ConnectionRetry(base_delay=timedelta(milliseconds=100), max_delay=timedelta(seconds=2)),
    }
    ledger = SharedLedger()
    async with World(seed=seed, names=plan.names, config=config, faults=plan.links, lines=lines) as world:
        ledger.machines = world.machines
        with watched_log(Faults(ledger, world)):
            await SharedStory(world, plan, ledger, [Writer(each, world, plan, ledger) for each in world.machines]).run()
        records = stored(world.machines[0].disk).values()
        return Told(
            seed=seed,
            kind=plan.kind,
            trace=world.trace.hash,
            steps=world.loop.steps,
            took_s=world.loop.time(),
            ends={
                "acknowledged": len(ledger.written),
                "records": len(records),
                "heads": sum(each.state == tables.VALID and not each.is_superseded for each in records),
                "rolled back": sum(ledger.rolled_back.values()),
            },
            broken=tuple(dict.fromkeys(ledger.broken)),
        )


class SharedStory:
    """What all stories of shared data have in common."""

    quiet_s = QUIET_S
    settles_s = 5.0
    """How long it has to stay as it is before it is taken for the end."""
    counts_traffic = True

    def __init__(self, world: World, plan: Plan, ledger: SharedLedger, writers: Sequence[Writer]) -> None:
        self._world = world
        self._plan = plan
        self._ledger = ledger
        self._weather = Weather(world, plan, ledger)
        self._writers = writers

    async def begin(self) -> None:
        """All machines are there, and nothing has gone wrong yet."""
        await self._world.start_all()

    def others(self) -> list[Coroutine[Any, Any, None]]:
        """Who does something beside the writers, for as long as they write."""
        return []

    def compared(self) -> Sequence[Machine]:
        """The machines that have to hold the same in the end."""
        return self._world.machines

    async def run(self) -> None:
        """Tells it."""
        await self.begin()
        for machine in self._world.machines:
            machine.disk.faults = self._plan.disks
        care = [self._run(task) for task in self._weather.care()]
        striking = [self._run(task) for task in self._weather.strikes()]
        living = [self._run(task) for task in [*(each.live() for each in self._writers), *self.others()]]
        try:
            await self._look_on()
            await self._end(living)
            await asyncio.sleep(AFTERMATH_S)
            await self._end(striking)
            self._weather.clear()
            for machine in self._world.machines:
                machine.clock.jump(LATER)
            if not self._ledger.broken:
                await self._come_to_rest()
        finally:
            await self._end([*care, *striking, *living])

    async def _look_on(self) -> None:
        ends_s = self._world.loop.time() + self._plan.lasts_s
        while self._world.loop.time() < ends_s and not self._ledger.broken:
            await asyncio.sleep(LOOK_EVERY_S)
            self._ledger.look()

    async def _come_to_rest(self) -> None:
        self._world.trace.note("story", "the faults are over")
        ends_s = self._world.loop.time() + PATIENCE_S
        while self._world.loop.time() < ends_s and not self._ledger.broken:
            await asyncio.sleep(1.0)
            if self.is_at_rest():
                await asyncio.sleep(self.settles_s)
                if self.is_at_rest():
                    break
        self._world.trace.note("story", "all is said")
        if not all(machine.is_up for machine in self._world.machines):
            self._ledger.complain(None, "a machine does not come up again")
        if not self._ledger.broken:
            is_at_rest = self.is_at_rest()
            machines = self.compared()
            self._ledger.compare(machines)
            await self._ledger.compare_memory(machines)
            await self._stay_quiet(machines)
            if self._plan.kind == UNDISTURBED and self.counts_traffic:
                self._ledger.count_traffic(machines)
            if not is_at_rest:
                self._ledger.complain(None, "the machines do not come to rest")

    def is_at_rest(self) -> bool:
        """Whether nothing seems to be left to do."""
        if not all(machine.is_up for machine in self._world.machines):
            return False
        machines = self.compared()
        held = [stored_notes(machine) for machine in machines]
        is_judged = all(
            each.state != tables.HELD or self._ledger.may_wait(each, records)
            for records in held
            for each in records.values()
        )
        has_come = all(
            not each.is_late or each.erased_by is not None or is_lost(each, held)
            for records in held
            for each in records.values()
        )
        managers = [machine.service._node.sync for machine in machines]
        roots = {sync.keeper.logs.frontier(NOTE).root for sync in managers}
        is_met = all(len(sync.standings(NOTE)) == len(managers) - 1 for sync in managers) or not any(held)
        is_same = len(roots) == 1 and all(records.keys() == held[0].keys() for records in held)
        return is_judged and has_come and is_met and is_same

    async def _stay_quiet(self, machines: Sequence[Machine]) -> None:
        """Nothing changes any more, so nothing is asked, and nothing waits."""
        frames: dict[str, int] = {}
        for machine in machines:
            streams = machine.service._node.sync.streams
            streams.on_frames = _counting(machine.name, streams.on_frames, frames)  # type: ignore[method-assign, assignment]
        await asyncio.sleep(self.quiet_s)
        for machine, writer in zip(self._world.machines, self._writers, strict=True):
            if machine not in machines:
                continue
            sync = machine.service._node.sync
            if frames.get(machine.name, 0) > MOST_ASKED:
                told = f"{frames[machine.name]} questions and answers"
                self._ledger.complain(None, f"{machine.name} hears {told} while nothing changes")
            if running := [peer for peer, each in sync.standings(NOTE).items() if each.running is not None]:
                self._ledger.complain(None, f"{len(running)} sessions of {machine.name} run for ever")
            if sync._fetcher._leases._held:
                self._ledger.complain(None, f"logs are leased on {machine.name} for ever")
            if unseen := writer.unseen():
                self._ledger.complain(None, f"who follows changes on {machine.name} did not see {unseen} records")

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._world.loop.create_task(work)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await let_all_end(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error


def _counting(name: str, honest: Callable[[Any], None], frames: dict[str, int]) -> Callable[[Any], None]:
    def counted(event: Any) -> None:
        asked = sum(isinstance(decode_sync_frame(frame), SyncRequest | SyncResponse) for frame in event.frames)
        frames[name] = frames.get(name, 0) + asked
        honest(event)

    return counted
