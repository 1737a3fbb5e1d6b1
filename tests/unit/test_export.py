"""Records that go from node to node in a file: all of them, each proven, and nothing of a file that was altered."""

from __future__ import annotations

import asyncio
import io
import os
import tracemalloc
from pathlib import Path

import pytest
from tests.unit.export_files import (
    carrier,
    chain,
    file_of,
    imported,
    pages_of,
)
from tests.unit.members_world import in_time, sees, valley
from tests.unit.membership_world import NOON_MS
from tests.unit.outbox_world import virtually
from tests.unit.records_world import FEDERATION, TYPE, Author, Shelf
from tests.unit.test_sync_stories import NOTE, agree, eventually, notes, value_of

from covm._native import Link, cid
from covm.federation.errors import FileUnusable, NotAuthorized, NothingHeld, StoreError
from covm.federation.identity.roles import Role
from covm.federation.sync import export, held, retention
from covm.federation.wire.envelope import EnvelopeParts, envelope_of, parts_of
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import Auth, Hlc, SignedRecord
from covm.testing.disk import DiskFaults
from covm.testing.world import World

ASH, BIRCH = Author("ash"), Author("birch")


async def shelf_of(*records: SignedRecord) -> Shelf:
    shelf = await Shelf().open()
    bodies = {**ASH.bodies, **BIRCH.bodies}
    await shelf.take(*records, bodies=[bodies[each.id] for each in records])
    return shelf


# --- stories


@virtually
async def test_a_node_that_met_nobody_has_from_a_file_what_the_others_have(tmp_path: Path) -> None:
    async with World(names=["mill", "farm"]) as world:
        mill, farm = world.machines
        await mill.start()
        await asyncio.gather(*(notes(mill).put(f"bread {number:03}", {"grams": number}) for number in range(700)))
        await notes(mill).delete("bread 007")
        written = await mill.service.export_records(NOTE, tmp_path / "notes.car")
        assert (written.records, written.left_out, written.type) == (701, 0, NOTE)
        assert written.size_bytes == (tmp_path / "notes.car").stat().st_size
        await mill.stop()
        await farm.start()
        read = await farm.service.import_records(tmp_path / "notes.car")
        assert (read.records, read.new, read.refused, read.root) == (701, 701, 0, written.root)
        assert await value_of(farm, "bread 008") == {"grams": 8}
        assert await value_of(farm, "bread 007") is None
        again = await farm.service.import_records(tmp_path / "notes.car")
        assert (again.records, again.new) == (701, 0)
        await mill.start()
        await in_time(lambda: sees(mill, farm))
        assert agree(mill, farm)


@virtually
async def test_what_came_in_a_file_goes_on_to_the_peers_and_a_conflict_in_it_is_one_everywhere(tmp_path: Path) -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        mill, farm, shop = world.machines
        await mill.start()
        await notes(mill).put("price", 250)
        await mill.service.export_records(NOTE, tmp_path / "notes.car")
        await mill.stop()
        await farm.start()
        await shop.start()
        await in_time(lambda: sees(farm, shop))
        await notes(farm).put("price", 300)
        await farm.service.import_records(tmp_path / "notes.car")
        await eventually(lambda: all_have_conflict(farm, shop))


async def all_have_conflict(*machines: object) -> bool:
    return all([len(await notes(machine).conflicts()) == 1 for machine in machines])  # type: ignore[arg-type]


@virtually
async def test_an_import_that_the_disk_interrupts_goes_on_with_the_next(tmp_path: Path) -> None:
    async with World(names=["mill", "farm"]) as world:
        mill, farm = world.machines
        await mill.start()
        await asyncio.gather(*(notes(mill).put(f"bread {number:03}", number) for number in range(600)))
        await mill.service.export_records(NOTE, tmp_path / "notes.car")
        await mill.stop()
        await farm.start()
        farm.disk.faults = DiskFaults(errors=0.5)
        with pytest.raises(StoreError):
            await asyncio.gather(*(farm.service.import_records(tmp_path / "notes.car") for _ in range(3)))
        farm.disk.faults = DiskFaults()
        await farm.service.import_records(tmp_path / "notes.car")
        assert await value_of(farm, "bread 599") == 599
        assert (await farm.service.replicas())[0].records == 600


@virtually
async def test_who_may_not_read_a_type_does_not_get_it_from_a_file_either(tmp_path: Path) -> None:
    roles = {
        "member": Role(publish=("*",), send=("*",), read=("notes.*",), write=("notes.*",)),
        "bookkeeper": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
    }
    async with valley(("mill", "farm"), ("shop",), roles=roles, founder_roles=("bookkeeper",)) as v:
        await v.joined("shop", by="mill")
        await notes(v["mill"], "accounts.entry").put("1", 100)
        await v["mill"].service.export_records("accounts.entry", tmp_path / "accounts.car")
        with pytest.raises(NotAuthorized, match=r"read accounts\.entry"):
            await v["shop"].service.import_records(tmp_path / "accounts.car")
        assert [each.type for each in await v["shop"].service.replicas()] == []
        assert (await v["farm"].service.import_records(tmp_path / "accounts.car")).records == 1


# --- what is in a file


async def test_void_records_forks_and_those_that_wait_are_in_the_file_and_judged_anew(tmp_path: Path) -> None:
    first = ASH.write("oven", 1)
    fork = [ASH.write("oven", number, after=first) for number in (2, 3)]
    void = BIRCH.write("oven", 4, hlc=Hlc(1, 0), on=[first])
    waits = BIRCH.write("shelf", 5, after=void, hlc=Hlc(NOON_MS + 3_600_000, 0))
    unknown = BIRCH.write("bench", 6, after=waits, hlc=Hlc(NOON_MS + 3_600_001, 0), auth=Auth(FEDERATION, cid(b"who")))
    shelf = await shelf_of(first, *fork, void, waits, unknown)
    written = await carrier(shelf).export(TYPE, tmp_path / "notes.car")
    assert written.records == 6
    other = await Shelf().open()
    read = await imported(other, tmp_path / "notes.car")
    assert (read.records, read.new) == (6, 6)
    assert await other.states() == await shelf.states()
    assert other.root() == shelf.root()
    await shelf.store.close()
    await other.store.close()


async def test_a_value_that_is_not_held_is_left_out_and_counted(tmp_path: Path) -> None:
    records = chain(ASH, 3)
    shelf = await Shelf().open()
    await shelf.take(*records, bodies=[ASH.bodies[records[0].id], None, ASH.bodies[records[2].id]])
    written = await carrier(shelf).export(TYPE, tmp_path / "notes.car")
    assert (written.records, written.left_out) == (3, 1)
    other = await Shelf().open()
    read = await imported(other, tmp_path / "notes.car")
    assert (read.new, read.left_out) == (3, 1)
    await shelf.store.close()
    await other.store.close()


async def test_records_that_are_here_without_their_values_get_them_from_a_file_but_for_what_is_erased(
    tmp_path: Path,
) -> None:
    first, second, third, last = records = chain(ASH, 4, value=lambda number: f"draft {number}")
    alone = BIRCH.write("mill", "turns")
    bodies = {**ASH.bodies, **BIRCH.bodies}
    (tmp_path / "notes.car").write_bytes(file_of([*records, alone], bodies))
    shelf = await Shelf().open()
    await shelf.take(first, third, second, last, alone, bodies=[None, None, bodies[second.id], None, None])
    erase = ASH.write("oven", "it names a child", after=last, op="erase", target=third.id)
    await shelf.take(erase, bodies=[ASH.bodies[erase.id]])
    told = len(shelf.told)
    read = await imported(shelf, tmp_path / "notes.car")
    assert (read.records, read.new, read.completed, read.left_out) == (5, 0, 3, 0)
    rows = await shelf.store.read(lambda tx: tx.execute("SELECT id, body FROM covm_records").all())
    here = {Link(bytes(link)): body for link, body in rows}
    assert {link for link, body in here.items() if body is None} == {third.id}
    assert all(here[each.id] == bodies[each.id] for each in (first, second, last, alone))
    [news] = shelf.told[told:]
    assert news.keys == {(TYPE, "oven"), (TYPE, "mill")}
    old, *_ = await shelf.store.read(lambda tx: retention.ripe(tx, TYPE, [], shelf.clock.now))
    again = await imported(shelf, tmp_path / "notes.car")
    assert (again.new, again.completed) == (0, 0)
    await shelf.store.write(lambda tx: retention.drop(tx, [old]))
    back = await imported(shelf, tmp_path / "notes.car")
    assert (back.new, back.completed) == (0, 1), "what is not kept any longer is kept for another time"
    assert await shelf.store.read(lambda tx: retention.ripe(tx, TYPE, [], shelf.clock.now - 1)) == []
    assert old in await shelf.store.read(lambda tx: retention.ripe(tx, TYPE, [], shelf.clock.now))
    await shelf.store.close()


async def test_what_builds_on_too_much_that_comes_later_is_taken_by_and_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = chain(BIRCH, 40, "shelf")
    last: SignedRecord | None = None
    before: list[SignedRecord] = []
    for each in behind:
        last = ASH.write("shelf", each.body.seq, after=last, on=[each])
        before.append(last)
    bodies = {**ASH.bodies, **BIRCH.bodies}
    (tmp_path / "notes.car").write_bytes(file_of([*before, *behind], bodies, page=8))
    monkeypatch.setattr(held, "MAX_HELD", 10)
    shelf = await Shelf().open()
    read = await imported(shelf, tmp_path / "notes.car")
    assert (read.new, read.postponed) == (80, 0)
    assert shelf.keeper.held == 0
    await shelf.store.close()


def test_large_records_make_small_pages_and_a_reader_holds_one_of_them() -> None:
    def peak(count: int) -> int:
        records = chain(ASH, count, value=lambda number: bytes([number]) * 500_000)
        data = file_of(records, ASH.bodies, page=4)
        tracemalloc.start()
        for page in export.ExportReader(io.BytesIO(data).read).pages():
            assert len(page.lines) <= 4
            del page
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most - len(data)

    assert peak(24) < peak(12) + 1_000_000


async def test_a_page_of_a_file_has_no_more_bytes_than_it_may_whatever_is_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("covm.federation.sync.export_rows.PAGE_BYTES", 10_000)
    monkeypatch.setattr(export, "PAGE_BYTES", 10_000)
    records = chain(ASH, 20, value=lambda number: "x" * (number * 400))
    shelf = await shelf_of(*records)
    await carrier(shelf).export(TYPE, tmp_path / "notes.car")
    sizes = [len(page.records) for page in pages_of((tmp_path / "notes.car").read_bytes())]
    assert sum(sizes) == 20
    assert sizes[0] > sizes[-1] >= 1
    await shelf.store.close()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 16, 17])
def test_a_tree_of_pages_leads_to_all_of_them(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "FANOUT", 2)
    records = chain(ASH, count)
    pages = pages_of(file_of(records, ASH.bodies, page=1))
    assert [page.records[0].id for page in pages] == [each.id for each in records]
    assert [page.records[0].envelope for page in pages] == [each.envelope for each in records]
    assert [page.bodies[0] for page in pages] == [ASH.bodies[each.id] for each in records]


# --- the file itself


async def test_only_an_export_of_the_same_is_written_over_and_what_fails_leaves_no_trace(tmp_path: Path) -> None:
    shelf = await shelf_of(*chain(ASH, 2))
    path = tmp_path / "notes.car"
    await carrier(shelf).export(TYPE, path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    await shelf.take(*chain(ASH, 3))
    assert (await carrier(shelf).export(TYPE, path)).records == 3
    assert path.stat().st_mode & 0o777 == 0o640
    (tmp_path / "letter").write_text("dear all")
    (tmp_path / "other.car").write_bytes(file_of(chain(BIRCH, 1), BIRCH.bodies, federation=cid(b"another")))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("letter", "other.car", "folder", "pipe", "no/folder.car"):
        with pytest.raises(FileUnusable) as refused:
            await carrier(shelf).export(TYPE, tmp_path / name)
        assert str(tmp_path / name) in str(refused.value)
    with pytest.raises(NothingHeld, match="nothing of shop"):
        await carrier(shelf).export("shop.note", tmp_path / "shop.car")
    assert (tmp_path / "letter").read_text() == "dear all"
    assert sorted(os.listdir(tmp_path)) == ["folder", "letter", "notes.car", "other.car", "pipe"]
    for name in ("nothing.car", "folder", "pipe"):
        with pytest.raises(FileUnusable):
            await imported(shelf, tmp_path / name)
    await shelf.store.close()


async def test_an_export_that_the_store_interrupts_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = await shelf_of(*chain(ASH, 2))
    path = tmp_path / "notes.car"
    await carrier(shelf).export(TYPE, path)
    before = path.read_bytes()

    def broken(*_args: object, **_options: object) -> None:
        raise StoreError("the disk is gone")

    monkeypatch.setattr("covm.federation.sync.export_rows.piece_behind", broken)
    with pytest.raises(StoreError):
        await carrier(shelf).export(TYPE, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["notes.car"]
    await shelf.store.close()


# --- envelopes


def test_an_envelope_in_parts_is_the_same_again_and_no_other_bytes_are_one() -> None:
    [record] = chain(ASH, 1)
    envelope = record.envelope
    parts = parts_of(envelope)
    assert parts.kind == "/covm/record"
    assert cid(parts.payload) == record.id
    assert envelope_of(parts) == envelope
    assert envelope_of(EnvelopeParts(b"", "", b"p" * 300, b"")) == b"\x0a\0\x12\0\x1a\xac\x02" + b"p" * 300 + b"\x2a\0"
    for broken in (b"", envelope[:-1], envelope + b"\0", b"\x12" + envelope[1:], envelope[:1] + b"\xff" * 12):
        with pytest.raises(Malformed):
            parts_of(broken)
