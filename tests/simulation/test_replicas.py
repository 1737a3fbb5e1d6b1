"""Shared data while wires are cut, machines crash and disks fail: all replicas end the same, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.members_world import in_time, sees
from tests.unit.outbox_world import virtually

from covm.federation.errors import FederationError
from covm.testing.disk import DiskFaults
from covm.testing.machine import Machine
from covm.testing.world import World

NOTE = "notes.note"
KEYS = ["oven", "van", "roof"]
SEEDS = range(60)
STEPS = 60


class Story:
    """Three machines whose people write whatever comes to mind while chance breaks things; told from one seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.acknowledged: dict[str, Any] = {}
        """Ids of records of which somebody was told that they are written, with what they say."""
        self.numbers = iter(range(10_000))

    async def tell(self) -> None:
        for machine in self.world.machines:
            await machine.start()
        for _ in range(STEPS):
            await self.step()
            await asyncio.sleep(self.chance.choice([0, 0.01, 0.2, 3]))
        await self.mend()

    async def step(self) -> None:
        machine = self.chance.choice(self.world.machines)
        action: Callable[[Machine], Any] = self.chance.choice(
            [*[self.write] * 3, *[self.edit] * 2, self.resolve, self.delete, self.cut, self.heal, self.crash, self.disk]
        )
        if runs(machine) or action in (self.cut, self.heal):
            await action(machine)
        else:
            machine.disk.faults = DiskFaults()
            await machine.start()

    async def kept(self, writing: Any) -> None:
        try:
            version = await writing
        except FederationError:
            return  # nobody was told that it is written
        self.acknowledged[version.id] = version.value

    async def write(self, machine: Machine) -> None:
        await self.kept(self.notes(machine).put(self.chance.choice(KEYS), next(self.numbers)))

    async def edit(self, machine: Machine) -> None:
        key = self.chance.choice(KEYS)
        entry = await self.shown(machine, key)
        await self.kept(self.notes(machine).put(key, next(self.numbers), based_on=entry))

    async def resolve(self, machine: Machine) -> None:
        key = self.chance.choice(KEYS)
        if await self.shown(machine, key) is not None:
            await self.kept(self.notes(machine).resolve(key, next(self.numbers)))

    async def delete(self, machine: Machine) -> None:
        key = self.chance.choice(KEYS)
        if (entry := await self.shown(machine, key)) is not None:
            await self.kept(self.notes(machine).delete(key, based_on=entry))

    async def shown(self, machine: Machine, key: str) -> Any:
        try:
            return await self.notes(machine).get(key)
        except FederationError:
            return None

    async def cut(self, machine: Machine) -> None:
        other = self.chance.choice(self.world.machines)
        if other is not machine:
            self.world.fabric.cut(machine.peer_id, other.peer_id)

    async def heal(self, machine: Machine) -> None:
        self.world.fabric.heal()

    async def crash(self, machine: Machine) -> None:
        machine.crash()

    async def disk(self, machine: Machine) -> None:
        machine.disk.faults = self.chance.choice(
            [DiskFaults(), DiskFaults(errors=0.3), DiskFaults(errors=0.3, doubts=0.5)]
        )

    async def mend(self) -> None:
        """The faults stop."""
        self.world.fabric.heal()
        for machine in self.world.machines:
            machine.disk.faults = DiskFaults()
            if not runs(machine):
                await machine.start()
        machines = self.world.machines
        await in_time(lambda: all(sees(one, other) for one in machines for other in machines if one is not other))

    def notes(self, machine: Machine) -> Any:
        return machine.service.collection(NOTE)

    # --- what must be true

    def roots(self) -> set[bytes]:
        return {machine.service._node.sync.keeper.logs.frontier(NOTE).root for machine in self.world.machines}

    async def agreed(self) -> None:
        """All replicas come to the same, hold all that was acknowledged, and call nothing void."""
        await in_time(lambda: len(self.roots()) == 1)
        told = []
        for machine in self.world.machines:
            history = [version for key in KEYS for version in await self.notes(machine).history(key)]
            held = {version.id: version.value for version in history}
            lost = {link: value for link, value in self.acknowledged.items() if held.get(link, "lost") != value}
            assert not lost, f"{machine.name} lost what was acknowledged: {lost}"
            assert {version.state for version in history} <= {"valid"}, "nobody lied"
            entries = [await self.notes(machine).get(key) for key in KEYS]
            heads = [entry and (entry.value, [head.id for head in entry.heads]) for entry in entries]
            conflicts = sorted(entry.key for entry in await self.notes(machine).conflicts())
            told.append((heads, conflicts, sorted(held)))
            forked = [log for log in machine.service._node.sync.keeper.logs if len(log.branches) > 1]
            assert not forked, "an honest node says one thing at each place of its log"
        assert told[0] == told[1] == told[2]

    async def quiet(self) -> None:
        """Once they agree, nobody asks any more."""
        before = [len(machine.service._node.sync._leases._held) for machine in self.world.machines]
        await asyncio.sleep(120)
        assert before == [0, 0, 0]
        standings = [machine.service._node.sync.standings(NOTE) for machine in self.world.machines]
        assert all(standing.running is None for each in standings for standing in each.values())


def runs(machine: Machine) -> bool:
    return machine._life is not None


@virtually
async def told(seed: int) -> None:
    async with World(names=["mill", "farm", "shop"], seed=seed) as world:
        story = Story(world, seed)
        await story.tell()
        await story.agreed()
        await story.quiet()


@pytest.mark.parametrize("seed", SEEDS)
def test_replicas_end_the_same_and_nothing_acknowledged_is_lost(seed: int) -> None:
    told(seed)
