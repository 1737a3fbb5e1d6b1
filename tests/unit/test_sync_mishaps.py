"""What the simulation found in shared data, told by itself: commits in doubt, writers that give up, clocks that ran."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.membership_world import NOON_MS
from tests.unit.outbox_world import virtually
from tests.unit.records_world import Anybody, Author, Shelf
from tests.unit.test_sync_stories import agree, all_have, eventually, met, notes

from covm.federation.errors import StoreError
from covm.federation.sync import intake, judging
from covm.federation.wire.record import Hlc, SignedRecord
from covm.testing import DiskFaults
from covm.testing.world import World


@virtually
async def test_a_commit_that_failed_in_word_alone_makes_no_node_fork_its_log() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        mill.disk.faults = DiskFaults(errors=1.0, doubts=1.0)
        with pytest.raises(StoreError):
            await notes(mill).put("oven", 1)
        mill.disk.faults = DiskFaults()
        written = await notes(mill).put("oven", 2)
        assert written.place.seq == 2
        await eventually(lambda: all_have([mill, farm], "oven", 2))
        assert [each.value for each in await notes(farm).history("oven")] == [1, 2]
        assert agree(mill, farm)


@virtually
async def test_what_came_in_a_commit_that_failed_in_word_alone_is_known_without_a_restart() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        farm.disk.faults = DiskFaults(errors=1.0, doubts=1.0)
        await notes(mill).put("oven", 1)
        await asyncio.sleep(5.0)
        farm.disk.faults = DiskFaults()
        await eventually(lambda: asyncio.sleep(0, agree(mill, farm)))
        assert await all_have([farm], "oven", 1)


@virtually
async def test_a_writer_that_does_not_wait_for_its_end_makes_no_node_fork_its_log() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        mill.disk.faults = DiskFaults(fastest_s=1.0, slowest_s=1.0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(notes(mill).put("oven", 1), 1.5)
        mill.disk.faults = DiskFaults()
        await notes(mill).put("oven", 2)
        await eventually(lambda: all_have([mill, farm], "oven", 2))
        places = [each.place.seq for each in await notes(farm).history("oven")]
        assert len(places) == len(set(places))
        assert agree(mill, farm)


@virtually
async def test_what_is_written_at_once_shares_one_commit() -> None:
    async with World(names=["mill"]) as world:
        [mill] = world.machines
        await mill.start()
        commits: list[int] = []
        mill.service._node.sync.keeper.listeners.append(lambda taken: commits.append(taken.placed))
        await asyncio.gather(*(notes(mill).put(f"sack {number}", number) for number in range(100)))
        assert commits == [100]


@virtually
async def test_a_writer_that_gives_up_takes_nobody_with_it() -> None:
    async with World(names=["mill"]) as world:
        [mill] = world.machines
        await mill.start()
        mill.disk.faults = DiskFaults(fastest_s=1.0, slowest_s=1.0)
        first = asyncio.create_task(notes(mill).put("oven", 1))
        other = asyncio.create_task(notes(mill).put("sack", 2))
        await asyncio.sleep(1.5)
        first.cancel()
        assert (await other).value == 2
        assert first.cancelled()
        assert [each.value for each in await notes(mill).history("oven")] == [1]


@virtually
async def test_a_node_whose_clock_was_hours_ahead_goes_on_writing_once_it_is_right() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        mill.clock.jump(timedelta(hours=3))
        await notes(mill).put("oven", 0)
        mill.clock.jump(-timedelta(hours=3))
        written = [await notes(mill).put("oven", number) for number in range(1, 40)]
        assert {each.state for each in written} == {"held"}
        assert "minutes ahead" in written[0].reason
        for machine in world.machines:
            machine.clock.jump(timedelta(hours=3))
        await eventually(lambda: all_have([mill, farm], "oven", 39))
        assert {each.state for each in await notes(farm).history("oven")} == {"valid"}
        assert await notes(farm).conflicts() == []


async def test_records_that_are_early_and_build_on_each_other_are_judged_once_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf, author = await Shelf().open(), Author("ash")
    later = NOON_MS + 3_600_000
    records: list[SignedRecord] = []
    for number in range(60):
        after = records[-1] if records else None
        records.append(author.write("oven", number, after=after, on=records[-3:], hlc=Hlc(later + number, 0)))
    judged, honest = [0], judging.judge

    def counted(*given: Any) -> Any:
        judged[0] += 1
        assert judged[0] <= 4 * len(records), "each is judged again and again"
        return honest(*given)

    monkeypatch.setattr(intake, "judge", counted)
    await shelf.take(*reversed(records))
    assert shelf.keeper.held == len(records)
    shelf.clock.now = later
    await shelf.keeper.again()
    assert shelf.keeper.held == 0
    await shelf.store.close()


async def test_both_that_follow_a_void_record_in_one_batch_have_their_place() -> None:
    author = Author("ash")
    shelf = await Shelf(Anybody(banned=[author.key.peer_id])).open()
    first = author.write("oven", 0)
    await shelf.take(first)
    one, other = author.write("mill", 1, after=first), author.write("mill", 2, after=first)
    taken = await shelf.take(one, other)
    assert taken.placed == 2
    assert set(await shelf.states()) == {first.id, one.id, other.id}
    await shelf.store.close()
