"""What the simulation found where members come and go while they share data, told by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from tests.unit.outbox_world import virtually
from tests.unit.records_world import TYPE, Anybody, Author, Shelf
from tests.unit.test_sync_stories import all_have, eventually, met, notes

from covm._native import Link
from covm.federation.identity.authors import Beginning, First, Written
from covm.federation.identity.cuts import Cut, Within, make_cut
from covm.federation.identity.verdicts import refused, void
from covm.federation.sync import tables
from covm.federation.sync.library import answered
from covm.federation.wire.record import Hlc, Place, SignedRecord, place_of
from covm.federation.wire.sync_frames import SyncRequest, SyncResponse, Wanted
from covm.testing import DiskFaults
from covm.testing.world import World


class Removing(Anybody):
    """Whoever writes may, until everybody is removed, with a cut."""

    cut: Cut | None = None

    def written(self, record: SignedRecord, before: Hlc | None, begun: Beginning, seq: int, cuts: Within) -> Written:
        if self.cut is not None and not cuts.within([self.cut], begun.log, record.id):
            return Written(verdict=void("it is beyond the cut"), seq=seq)
        return super().written(record, before, begun, seq, cuts)

    def basis(self, type_name: str, first: First) -> bytes:
        return b"".join(place.id.bytes for place in self.ends(first)) + bytes([self.cut is not None])

    def ends(self, first: First) -> Iterable[Place]:
        return [place for place in self.cut or () if place.log == first.log]


def three() -> list[SignedRecord]:
    ash = Author("ash")
    records = [ash.write("oven", 0)]
    for number in (1, 2):
        records.append(ash.write("oven", number, after=records[-1]))
    return records


async def counting(shelf: Shelf) -> set[Link]:
    return {link for link, (state, _) in (await shelf.states()).items() if state == tables.VALID}


async def test_who_is_removed_while_records_are_judged_anew_keeps_what_the_cut_keeps() -> None:
    first, second, third = three()
    authority = Removing()
    shelf = await Shelf(authority).open()
    await shelf.take(first, second, third)
    listed = shelf.keeper._list_ends

    def removed_meanwhile() -> None:
        listed()
        authority.cut = make_cut([place_of(second)])

    shelf.keeper._list_ends = removed_meanwhile  # type: ignore[method-assign]
    await shelf.keeper.reconsider()
    await shelf.keeper.reconsider()
    assert await counting(shelf) == {first.id, second.id}
    await shelf.store.close()


async def test_who_is_removed_while_its_first_records_come_keeps_what_the_cut_keeps() -> None:
    first, second, third = three()
    authority = Removing()
    shelf = await Shelf(authority).open()
    look_up = shelf.keeper._look_up

    async def removed_meanwhile(coming: Any) -> Any:
        found = await look_up(coming)
        authority.cut = make_cut([place_of(second)])
        return found

    shelf.keeper._look_up = removed_meanwhile  # type: ignore[method-assign]
    await shelf.take(first, second, third)
    await shelf.keeper.reconsider()
    assert await counting(shelf) == {first.id, second.id}
    await shelf.store.close()


async def test_who_is_removed_between_two_pages_of_a_long_log_keeps_what_the_cut_keeps(monkeypatch: Any) -> None:
    monkeypatch.setattr("covm.federation.sync.keeper.MAX_BATCH", 1)
    first, second, third = three()
    authority = Removing()
    shelf = await Shelf(authority).open()
    await shelf.take(first, second, third)
    authority.cut = make_cut([place_of(first)])
    look_up, looked = shelf.keeper._look_up, 0

    async def widened_meanwhile(coming: Any) -> Any:
        nonlocal looked
        looked += 1
        if looked == 2:
            authority.cut = make_cut([place_of(second)])
        return await look_up(coming)

    shelf.keeper._look_up = widened_meanwhile  # type: ignore[method-assign]
    await shelf.keeper.reconsider()
    assert shelf.keeper.is_doubtful
    await shelf.keeper.reconsider()
    assert await counting(shelf) == {first.id, second.id}
    await shelf.store.close()


async def test_a_question_is_answered_while_the_disk_is_ahead_of_what_is_known_of_a_log() -> None:
    ash = Author("ash")
    first = ash.write("oven", 0)
    second, other = ash.write("oven", 1, after=first), ash.write("oven", 2, after=first)
    shelf = await Shelf().open()
    await shelf.take(first, second)
    before = shelf.keeper.logs.get(first.body.log)
    assert before is not None
    before = before.copy()
    await shelf.take(other)
    shelf.keeper.logs.commit([before])
    question = SyncRequest(number=1, type=TYPE, wants=[Wanted(first.body.log, [other.id], deep=True)])
    response = await answered(shelf.keeper, question)
    assert isinstance(response, SyncResponse)
    assert {each.envelope for each in response.records} == {first.envelope, second.envelope}
    await shelf.store.close()


@virtually
async def test_what_a_node_is_told_before_it_knows_that_it_may_read_is_fetched_once_it_does() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        sync = farm.service._node.sync
        may, sync._membership.may = sync._membership.may, lambda *_: refused("not yet")  # type: ignore[method-assign]
        await notes(mill).put("oven", 1)
        await asyncio.sleep(60.0)
        assert sync.standings("notes.note") == {}
        assert all(each.type != "notes.note" for each in await farm.service.replicas())
        sync._membership.may = may  # type: ignore[method-assign]
        sync._doubt.set()
        await eventually(lambda: all_have([farm], "oven", 1))


@virtually
async def test_a_disk_that_takes_nothing_is_tried_again_and_not_all_the_time() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        farm.disk.faults = DiskFaults(is_full=True)
        for number in range(20):
            await notes(mill).put("oven", "x" * 9000 + str(number))
        before = world.loop.steps
        await asyncio.sleep(60.0)
        assert world.loop.steps - before < 60 * 300
        farm.disk.faults = DiskFaults()
        await eventually(lambda: all_have([farm], "oven", "x" * 9000 + "19"))
