"""Types that have little to fetch do not wait for those that have much."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.outbox_world import in_time, virtually
from tests.unit.test_sync_stories import notes

from covm.federation.sync import fetching, library
from covm.testing.world import World

LARGE = 2 * fetching.AT_ONCE
RECORDS = 1500


@virtually
async def test_a_small_type_comes_before_many_large_ones_are_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MAX_ANSWER_BYTES", 100_000)
    async with World(names=["mill", "farm"]) as world:
        mill, farm = world.machines
        await mill.start()
        for number in range(LARGE):
            large = notes(mill, f"large.type{number}")
            await asyncio.gather(*(large.put(str(key), "x" * 300) for key in range(RECORDS)))
        await notes(mill, "small.type").put("oven", 1)
        await farm.start()
        logs = farm.service._node.sync.keeper.logs
        async for _ in notes(farm, "small.type").changes():
            break
        assert logs.length < LARGE * RECORDS / 2
        await in_time(lambda: logs.length == LARGE * RECORDS + 1)
