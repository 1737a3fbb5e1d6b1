"""What is built on records meets bodies that come later: handlers, own stores, files, erases and retention."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.members_world import in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_record_bodies import LARGE, SHEET, Sheet, lacking
from tests.unit.test_sync_stories import NOTE, all_have, eventually, met, notes, value_of
from tests.unit.test_sync_types import Shelf, Table, rows

from covm.federation import FederationService, Message, message_type
from covm.federation.blobs.chunks import Place
from covm.federation.blobs.serving import NotHeld
from covm.federation.errors import BodyUnavailable, UnknownEntry
from covm.federation.sync.plan import Arrived
from covm.federation.sync.reading import NOT_HERE
from covm.testing.disk import DiskFaults
from covm.testing.machine import Machine
from covm.testing.world import World

SHEETS = "map.sheet"


@message_type("notes.report", durable=True, bodies="on_demand")
class Report(msgspec.Struct, frozen=True):
    """What everybody is to read, also where it is large."""

    text: str


class Closed:
    """A machine that gives no bodies until it is opened."""

    def __init__(self, machine: Machine) -> None:
        self._bodies = machine.service._node.blobs._bodies
        self._read = self._bodies.read
        self.asked: list[bytes] = []
        self._bodies.read = self._nothing  # type: ignore[method-assign,assignment]

    async def _nothing(self, _peer: str, record: bytes, _place: Place) -> bytes:
        self.asked.append(record)
        raise NotHeld

    def open(self) -> None:
        self._bodies.read = self._read  # type: ignore[method-assign]


async def lacks(machine: Machine, count: int) -> bool:
    return await lacking(machine) == count


# --- handlers of durable types


@pytest.mark.parametrize("transactional", [False, True])
@virtually
async def test_a_handler_is_given_a_large_record_once_and_whole_when_its_body_comes(transactional: bool) -> None:
    async with World(names=["mill", "farm"], types=[Report]) as world:
        await met(world)
        mill, farm = world.machines
        closed = Closed(mill)
        got: list[Message[Any]] = []
        handler = (lambda message, _tx: got.append(message)) if transactional else got.append
        farm.service.subscribe(Report, handler, name="reader", transactional=transactional)
        await mill.service.publish(Report("before"))
        await mill.service.publish(Report(LARGE))
        await mill.service.publish(Report("after"))
        await in_time(lambda: len(got) == 2)
        await eventually(lambda: lacks(farm, 1))
        await world.sleep(timedelta(minutes=2))
        assert [each.payload.text for each in got] == ["before", "after"]
        closed.open()
        await in_time(lambda: len(got) == 3)
        assert (got[2].payload.text, got[2].out_of_order) == (LARGE, True)
        await farm.stop()
        await farm.start()
        await world.sleep(timedelta(minutes=2))
        assert len(got) == 3


@virtually
async def test_a_large_record_that_came_while_a_handler_was_away_is_handed_over_after_a_restart() -> None:
    async with World(names=["mill", "farm"], types=[Report]) as world:
        await met(world)
        mill, farm = world.machines
        closed = Closed(mill)
        got: list[str] = []

        def begin(_machine: Machine, service: FederationService) -> None:
            service.subscribe(Report, lambda message: got.append(message.payload.text), name="reader")

        farm.application = begin
        await mill.service.publish(Report(LARGE))
        await eventually(lambda: lacks(farm, 1))
        await farm.stop()
        await farm.start()
        await mill.service.publish(Report("after"))
        await in_time(lambda: got == ["after"])
        farm.crash()
        closed.open()
        await farm.start()
        await in_time(lambda: got == ["after", LARGE])


@virtually
async def test_what_is_erased_before_its_body_came_is_handed_to_nobody_and_not_fetched() -> None:
    async with World(names=["mill", "farm"], types=[Report]) as world:
        await met(world)
        mill, farm = world.machines
        closed = Closed(mill)
        got: list[str] = []
        farm.service.subscribe(Report, lambda message: got.append(message.payload.text), name="reader")
        written = await notes(mill, "notes.report").put("1", Report(LARGE))
        await eventually(lambda: lacks(farm, 1))
        [version] = await notes(farm, "notes.report").history("1")
        await notes(mill, "notes.report").erase(written, "it names a child")
        await eventually(lambda: lacks(farm, 0))
        closed.open()
        # The body that was under way when the erase came.
        body = await _record_and_body(mill, LARGE)
        await farm.service._node.sync.keeper.embody([Arrived(*body)])
        await mill.service.publish(Report("after"))
        await in_time(lambda: got == ["after"])
        await world.sleep(timedelta(hours=2))
        assert got == ["after"]
        with pytest.raises(BodyUnavailable, match="it names a child"):
            await notes(farm, "notes.report").fetch(version)
        with pytest.raises(UnknownEntry):
            await notes(farm).fetch(version)


async def _record_and_body(machine: Machine, text: str) -> Any:
    """The first record of the type here, with a body as its author had one."""
    from covm.federation.sync import reading
    from covm.federation.wire.record import encode_record_body

    found = await machine.service._node.store.read(lambda tx: reading.history(tx, "notes.report", "1", None, 100))
    record = next(each.record for each in found if each.record.body.op == "put")
    return record, encode_record_body(bytes(16), {"text": text})


# --- sync types


@virtually
async def test_an_own_store_gets_the_entry_again_with_its_value_when_the_body_comes() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        closed, shelf = Closed(mill), Shelf()
        await farm.service.register_sync_type(NOTE, shelf)
        await notes(mill).put("map", LARGE)
        await in_time(lambda: len(shelf.came) == 1)
        first = shelf.came[0]
        assert (first.value, first.is_deleted, first.trouble, len(first.heads)) == (None, False, NOT_HERE, 1)
        closed.open()
        await in_time(lambda: shelf.kept.get("map") == LARGE)
        assert (len(shelf.came), shelf.came[-1].trouble) == (2, "")


@virtually
async def test_a_transactional_store_gets_it_once_more_and_what_is_on_demand_too() -> None:
    async with World(names=["mill", "farm"], types=[Sheet]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill, SHEETS).put("north", SHEET)
        await eventually(lambda: lacks(farm, 1))
        await world.sleep(timedelta(minutes=10))
        assert await lacks(farm, 1)
        await farm.service.register_sync_type(SHEETS, Table())
        await eventually(lambda: _rows_are(farm, [("north", str(SHEET))]))
        assert await lacks(farm, 0)


async def _rows_are(machine: Machine, wanted: list[tuple[str, str]]) -> bool:
    return [each for each in await rows(machine) if each[1] != "None"] == wanted


# --- versions side by side, files, retention


@virtually
async def test_of_versions_side_by_side_those_that_are_here_are_shown_until_the_other_comes() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        closed = Closed(mill)
        world.fabric.cut(mill.peer_id, farm.peer_id)
        await notes(farm).put("map", "small")
        await asyncio.sleep(1)
        await notes(mill).put("map", LARGE)
        world.fabric.heal()
        await eventually(lambda: lacks(farm, 1))
        entry = await notes(farm).get("map")
        assert entry is not None
        assert (entry.value, entry.is_conflict) == ("small", True)
        assert NOT_HERE in entry.trouble
        closed.open()
        await eventually(lambda: lacks(farm, 0))
        entry = await notes(farm).get("map")
        assert entry is not None
        assert ({head.value for head in entry.heads}, entry.trouble) == ({"small", LARGE}, "")


@virtually
async def test_a_file_has_all_but_what_was_not_fetched_and_whoever_reads_it_fetches_that(tmp_path: Path) -> None:
    async with World(names=["mill", "farm", "shop"], types=[Sheet]) as world:
        mill, farm, shop = world.machines
        await mill.start()
        await farm.start()
        await notes(mill, SHEETS).put("north", SHEET)
        await notes(mill, SHEETS).put("south", SHEET)
        await eventually(lambda: lacks(farm, 2))
        [version] = await notes(farm, SHEETS).history("north")
        await notes(farm, SHEETS).fetch(version)
        written = await farm.service.export_records(SHEETS, tmp_path / "sheets.car")
        assert (written.records, written.left_out) == (2, 1)
        await mill.stop()
        await farm.stop()
        await shop.start()
        read = await shop.service.import_records(tmp_path / "sheets.car")
        assert (read.new, read.left_out) == (2, 1)
        assert await value_of(shop, "north", SHEETS) == SHEET
        [version] = await notes(shop, SHEETS).history("south")
        with pytest.raises(BodyUnavailable, match="no peer is connected"):
            await notes(shop, SHEETS).fetch(version)
        await mill.start()
        await in_time(lambda: sees(shop, mill))
        await asyncio.sleep(5)
        assert (await notes(shop, SHEETS).fetch(version)).value == SHEET


@virtually
async def test_what_was_replaced_before_its_body_came_is_not_fetched_and_the_rest_is_dropped_in_its_time() -> None:
    kept = timedelta(minutes=20)
    async with valley(settings={"record_retention": kept}) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        machines = [v["mill"], v["farm"], v["shop"]]
        closed = Closed(v["mill"])
        await notes(v["mill"]).put("map", LARGE)
        for machine in machines[1:]:
            await eventually(lambda machine=machine: lacks(machine, 1))  # type: ignore[misc]
        await notes(v["mill"]).put("map", LARGE + "!")
        for machine in machines[1:]:
            await eventually(lambda machine=machine: lacks(machine, 1))  # type: ignore[misc]
        closed.open()
        await eventually(lambda: all_have(machines, "map", LARGE + "!"))
        await asyncio.sleep(2 * kept.total_seconds())
        for machine in machines:
            [old, new] = await notes(machine).history("map")
            assert (old.value, new.value) == (None, LARGE + "!")
            with pytest.raises(BodyUnavailable, match="it was replaced"):
                await notes(machine).fetch(old)


@virtually
async def test_what_the_disk_does_not_take_is_not_fetched_again_and_again() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        closed = Closed(mill)
        await notes(mill).put("map", LARGE)
        await eventually(lambda: lacks(farm, 1))
        closed.open()
        fetched: list[str] = []
        source, fetch = farm.service._node.blobs, farm.service._node.blobs.fetch_body

        async def counted(peer: str, *of: Any) -> bytes:
            fetched.append(peer)
            return await fetch(peer, *of)

        source.fetch_body = counted  # type: ignore[method-assign,assignment]
        farm.disk.faults = DiskFaults(errors=1.0)
        await world.sleep(timedelta(minutes=5))
        assert 1 <= len(fetched) <= 300 / 5 * 2
        farm.disk.faults = DiskFaults()
        await eventually(lambda: all_have([farm], "map", LARGE))
