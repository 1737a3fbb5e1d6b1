"""Records on every engine: taken, judged anew, found again after a restart; conflicts, history and changes read."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
from tests.store.places import Place
from tests.unit.membership_world import NOON_MS
from tests.unit.records_world import TYPE, Anybody, Author, Shelf

from covm._native import Link
from covm.federation.events import EventHub
from covm.federation.identity.standing import Erasure
from covm.federation.offload import InlineOffload
from covm.federation.sync import body_rows, reading, retention, rows
from covm.federation.sync.erasures import Erasures
from covm.federation.sync.exporting import Carrier
from covm.federation.sync.forks import Forks
from covm.federation.sync.plan import Arrived
from covm.federation.sync.written import ends_until
from covm.federation.wire.kinds import Kind
from covm.federation.wire.record import Hlc, SignedRecord
from covm.federation.wire.signed import seal, write_map

ASH, BIRCH = Author("ash"), Author("birch")


def edited_at_once() -> list[SignedRecord]:
    """Two write over one entry without knowing of each other; a third, by one of them, decides."""
    draft = ASH.write("proposal", "draft")
    mine = ASH.write("proposal", "mine", after=draft, on=[draft])
    theirs = BIRCH.write("proposal", "theirs", on=[draft])
    both = BIRCH.write("proposal", "both", after=theirs, on=[mine, theirs])
    return [draft, mine, theirs, both]


async def test_a_conflict_is_kept_shown_and_gone_once_somebody_decides(place: Place) -> None:
    shelf = await Shelf(store=place.store()).open()
    draft, mine, theirs, both = edited_at_once()
    await shelf.take(theirs, mine, draft, bodies=[BIRCH.bodies[theirs.id], ASH.bodies[mine.id], ASH.bodies[draft.id]])
    assert await shelf.heads("proposal") == {mine.id, theirs.id}
    assert await shelf.conflicts() == ["proposal"]
    heads = await shelf.store.read(lambda tx: reading.heads(tx, TYPE, ["proposal"]))
    assert sorted(each.value for each in heads) == ["mine", "theirs"]
    await shelf.take(both, bodies=[BIRCH.bodies[both.id]])
    assert await shelf.heads("proposal") == {both.id}
    assert await shelf.conflicts() == []
    history = await shelf.store.read(lambda tx: reading.history(tx, TYPE, "proposal", None, 100))
    assert sorted(each.value for each in history) == ["both", "draft", "mine", "theirs"]
    judged = await shelf.store.read(lambda tx: reading.judged(tx, TYPE, 2, 10))
    assert [number for number, _ in judged.found] == [3, 4]
    await shelf.store.close()


async def test_what_is_known_of_members_later_changes_what_counts_and_a_restart_knows_it(place: Place) -> None:
    authority = Anybody()
    shelf = await Shelf(authority, place.store()).open()
    await shelf.take(*edited_at_once())
    authority.banned = {BIRCH.key.peer_id}
    await shelf.keeper.reconsider()
    draft, mine, theirs, both = edited_at_once()
    assert await shelf.heads("proposal") == {mine.id}
    await shelf.store.close()
    if place.kind == "inline":
        return
    again = await Shelf(authority, place.store()).open()
    assert again.root() == shelf.root()
    assert {link: state for link, (state, _) in (await again.states()).items()} == {
        draft.id: 1,
        mine.id: 1,
        theirs.id: 2,
        both.id: 2,
    }
    authority.banned = set()
    await again.keeper.reconsider()
    assert await again.heads("proposal") == {both.id}
    await again.store.close()


async def test_what_is_erased_is_on_no_engines_disk_whichever_came_first(place: Place) -> None:
    shelf = await Shelf(store=place.store()).open()
    secret = "Ada, aged 7, " * 2000
    first = ASH.write("guest", secret)
    second = ASH.write("guest", secret + "later", after=first, on=[first])
    erases = [ASH.write("guest", "a child's name", op="erase", target=first.id, after=second)]
    erases.append(ASH.write("guest", "again", op="erase", target=second.id, after=erases[0]))
    await shelf.take(first, erases[1], erases[0], bodies=[ASH.bodies[each.id] for each in (first, *reversed(erases))])
    await shelf.take(second, bodies=[ASH.bodies[second.id]])
    read = await shelf.store.read(lambda tx: reading.history(tx, TYPE, "guest", None, 100))
    assert {each.record.id: (each.value, each.why) for each in read if each.record.body.op == "put"} == {
        first.id: (None, "a child's name"),
        second.id: (None, "again"),
    }
    assert await shelf.erased() == {first.id: erases[0].id, second.id: erases[1].id}
    await shelf.store.close()
    if place.kind == "sqlite":
        assert b"Ada, aged 7" not in b"".join(file.read_bytes() for file in place.home.iterdir() if file.is_file())


async def test_what_founders_have_erased_is_gone_from_every_engine_and_is_news_to_who_follows(place: Place) -> None:
    shelf = await Shelf(store=place.store()).open()
    shelf.authority.owners = {ASH.key.peer_id: str(ASH.key_id)}
    first, other = ASH.write("guest", "Ada"), BIRCH.write("guest", "a guest")
    await shelf.take(first, other, bodies=[ASH.bodies[first.id], BIRCH.bodies[other.id]])
    by = Erasure(id=ASH.key_id, type=TYPE, member=ASH.key_id, author="", reason="", approved_by=())
    shelf.authority.approved = {each.id: [by] for each in (first, other)}
    erasures = Erasures(shelf.keeper)
    behind = shelf.keeper.judged
    await erasures.obey()
    assert await shelf.erased() == {first.id: by.id}
    news = await shelf.store.read(lambda tx: reading.judged(tx, TYPE, behind, 9))
    assert [(read.record.id, read.value, read.erased_by) for _, read in news.found] == [(first.id, None, by.id)]
    shelf.authority.approved = {first.id: []}
    await erasures.obey()
    assert await shelf.erased() == {}
    await shelf.store.close()


async def test_old_bodies_go_once_all_readers_have_what_replaced_them_and_come_again_where_that_does_not_count(
    place: Place,
) -> None:
    authority = Anybody()
    shelf = await Shelf(authority, place.store()).open()
    draft, mine, theirs, both = edited_at_once()
    bodies = {**ASH.bodies, **BIRCH.bodies}
    await shelf.take(draft, mine, theirs, bodies=[bodies[each.id] for each in (draft, mine, theirs)])
    later, readers = shelf.clock.now + 1, ["farm", "shop"]

    async def drop(before_ms: int) -> int:
        numbers = await shelf.store.read(lambda tx: retention.ripe(tx, TYPE, readers, before_ms))
        await shelf.store.write(lambda tx: retention.drop(tx, numbers))
        return len(numbers)

    agreed = {("farm", TYPE): shelf.keeper.judged, ("shop", TYPE): shelf.keeper.judged, ("farm", "other.type"): 7}
    assert await drop(later) == 0, "nobody has said what it holds"
    await shelf.store.write(lambda tx: retention.save(tx, agreed))
    assert await drop(shelf.clock.now - 1) == 0, "it is not long enough ago"
    await shelf.take(both, bodies=[bodies[both.id]])
    assert await drop(later) == 1, "what was replaced since is kept"
    assert await kept(shelf) == {mine.id, theirs.id, both.id}
    await shelf.store.write(lambda tx: retention.save(tx, {("farm", TYPE): shelf.keeper.judged}))
    assert await drop(later) == 0, "one reader has not got it"
    await shelf.store.write(lambda tx: retention.save(tx, {("shop", TYPE): shelf.keeper.judged}))
    assert await drop(later) == 2
    assert await kept(shelf) == {both.id}
    # Birch does not count any more: what it replaced stands again, and its value is asked for.
    authority.banned = {BIRCH.key.peer_id}
    await shelf.keeper.reconsider()
    assert await shelf.heads("proposal") == {mine.id}
    found = await shelf.store.read(lambda tx: body_rows.pages(tx, {}, 10, ()))
    assert {name: [each.record for each in page] for name, page in found.items()} == {TYPE: [mine]}
    await shelf.keeper.embody([Arrived(mine, bodies[mine.id] or b"")])
    assert shelf.told[-1].keys == {(TYPE, "proposal")}
    assert await shelf.store.read(lambda tx: body_rows.pages(tx, {}, 10, ())) == {}
    assert await kept(shelf) == {mine.id, both.id}
    await shelf.store.close()


async def kept(shelf: Shelf) -> set[Link]:
    """Records whose bodies are here."""
    found = await shelf.store.read(lambda tx: tx.execute("SELECT id FROM covm_records WHERE body IS NOT NULL").all())
    return {Link(bytes(row[0])) for row in found}


async def test_many_keys_are_listed_by_ranges_and_what_a_log_has_is_given_in_stretches(place: Place) -> None:
    shelf = await Shelf(store=place.store()).open()
    records: list[SignedRecord] = []
    for number in range(600):
        records.append(ASH.write(f"bread/{number:03}", number, after=records[-1] if records else None))
    shuffled = list(records)
    random.Random(7).shuffle(shuffled)
    await asyncio.gather(
        *(shelf.take(*shuffled[start : start + 100], bodies=None) for start in range(0, len(shuffled), 100))
    )
    assert len(shelf.keeper.logs) == 1
    listed = await shelf.store.read(lambda tx: reading.listed(tx, TYPE, "bread/1", "bread/150", 20))
    assert [each.record.body.key for each in listed] == [f"bread/{number}" for number in range(151, 171)]
    [log] = shelf.keeper.logs
    assert log.number is not None
    number = log.number
    piece = await shelf.store.read(lambda tx: rows.stretch(tx, number, 0, 597, 600, 10))
    assert [envelope for envelope, _ in piece] == [each.envelope for each in records[597:]]
    assert await shelf.store.read(lambda tx: rows.lacking(tx, [records[0].id, ASH.key_id])) == {ASH.key_id}
    await shelf.store.close()


async def test_records_go_to_a_file_in_the_order_of_their_places_and_forks_are_found(
    place: Place, tmp_path: Path
) -> None:
    shelf = await Shelf(store=place.store()).open()
    started = ASH.write("oven", 0)
    forked = [ASH.write("oven", number, after=started) for number in (1, 2)]
    other = BIRCH.write("oven", 3, on=forked, type="notes.other")
    many: list[SignedRecord] = []
    for number in range(600):
        many.append(BIRCH.write(f"key {number:03}", number, after=many[-1] if many else None))
    records = [started, many[0], other, *forked, *many[1:]]
    bodies = {**ASH.bodies, **BIRCH.bodies}
    await shelf.take(*records, bodies=[bodies[each.id] for each in records])
    made = await Carrier(shelf.keeper, InlineOffload()).export(TYPE, tmp_path / "notes.car")
    assert (made.records, made.left_out) == (603, 0)
    forks = Forks(shelf.keeper, lambda _peer: None, InlineOffload(), EventHub())
    [fork] = await forks.listed(10)
    assert [each.id for each in fork.records] == [str(each.id) for each in forked]
    await forks.export(fork.id, tmp_path / "fork.car")
    read = await Shelf().open()
    taken = await Carrier(read.keeper, InlineOffload()).import_(tmp_path / "notes.car", lambda _type: None)
    assert (taken.new, taken.records) == (603, 603)
    assert read.root() == shelf.root()
    again = await Carrier(shelf.keeper, InlineOffload()).import_(tmp_path / "notes.car", lambda _type: None)
    assert again.new == 0
    await read.store.close()
    await shelf.store.close()


async def test_where_a_log_ended_at_a_time_also_where_it_was_forked_or_its_clock_goes_back(place: Place) -> None:
    shelf = await Shelf(store=place.store()).open()
    at = [NOON_MS + 1_000 * number for number in range(9)]
    first = ASH.write("a", 1, hlc=Hlc(at[1], 0))
    second = ASH.write("b", 2, after=first, hlc=Hlc(at[3], 0))
    third = ASH.write("c", 3, after=second, hlc=Hlc(at[5], 0))
    # A thief forks it with an early time, and goes on behind a late one with an early one.
    other = ASH.write("d", 4, after=first, hlc=Hlc(at[2], 0))
    back = ASH.write("e", 5, after=third, hlc=Hlc(at[2], 0))
    late = BIRCH.write("f", 6, hlc=Hlc(at[8], 0))
    await shelf.take(first, second, third, other, back, late)
    ends = {}
    for number in range(9):
        ends[number] = await shelf.store.read(
            lambda tx, number=number: ends_until(tx, list(shelf.keeper.logs), at[number])  # type: ignore[misc]
        )
    told = {number: [each.place.id for each in some] for number, some in ends.items()}
    assert told[0] == []
    assert told[1] == [first.id]
    assert told[2] == [other.id]
    assert told[3][0] in (second.id, other.id)
    assert told[5] == [back.id], "it is behind nothing that is later"
    assert told[4][0] in (second.id, other.id)
    assert [each.place.seq for each in ends[8]] == [4, 1]
    # All logs as they are loaded again end alike.
    if place.kind != "inline":
        logs = await shelf.store.read(rows.load_logs)
        again = await shelf.store.read(lambda tx: ends_until(tx, logs, at[5]))
        assert [each.place.id for each in again] == [back.id]
    await shelf.store.close()


async def test_a_body_that_comes_later_is_kept_once_and_given_in_pieces(place: Place) -> None:
    shelf = await Shelf(store=place.store()).open()
    record = ASH.write("map", "x" * 300_000)
    body = ASH.bodies[record.id] or b""
    await shelf.take(record)
    assert shelf.told[-1].lacks_bodies
    [lacking] = (await shelf.store.read(lambda tx: body_rows.pages(tx, {}, 10, ())))[TYPE]
    assert (lacking.number, lacking.record) == (1, record)
    assert await shelf.store.read(lambda tx: body_rows.pages(tx, {}, 10, (TYPE, "other.type"))) == {}
    assert await shelf.store.read(lambda tx: body_rows.pages(tx, {TYPE: 1}, 10, ("other.type",))) == {}
    assert await shelf.store.read(lambda tx: body_rows.piece(tx, record.id.bytes, 0, 10)) is None
    [read] = await shelf.store.read(lambda tx: reading.heads(tx, TYPE, ["map"]))
    assert (read.value, read.lacks_body) == (None, True)
    await shelf.keeper.embody([Arrived(record, body)])
    assert await shelf.store.read(lambda tx: body_rows.lacks(tx, record.id)) is None
    assert await shelf.store.read(lambda tx: body_rows.type_of(tx, record.id.bytes)) == TYPE
    first = await shelf.store.read(lambda tx: body_rows.piece(tx, record.id.bytes, 0, 2**18))
    second = await shelf.store.read(lambda tx: body_rows.piece(tx, record.id.bytes, 2**18, 2**18))
    assert (first or b"") + (second or b"") == body
    [(number, again)] = (await shelf.store.read(lambda tx: reading.judged(tx, TYPE, 1, 10))).found
    assert (number, again.value, again.lacks_body) == (2, "x" * 300_000, False)
    log = shelf.keeper.logs.get(record.body.log)
    assert log is not None
    assert log.number is not None
    number = log.number
    assert await shelf.store.read(lambda tx: rows.stretch(tx, number, 0, 0, 1, 10)) == [(record.envelope, None)]
    await shelf.store.close()


async def test_a_large_value_that_was_replaced_before_it_came_is_wanted_by_handlers_until_it_comes_or_is_given_up(
    place: Place,
) -> None:
    shelf = await Shelf(store=place.store()).open()
    first = ASH.write("map", "x" * 70_000)
    small = ASH.write("map", "small", after=first, on=[first])
    second = ASH.write("map", "y" * 70_000, after=small, on=[small])
    third = ASH.write("map", "z" * 70_000, after=second, on=[second])
    last = ASH.write("map", "small", after=third, on=[third])
    await shelf.take(first, small, second)
    await shelf.take(third, last, bodies=[None, ASH.bodies[last.id]])

    async def wanted(*handed: str) -> list[Link]:
        pages = await shelf.store.read(lambda tx: body_rows.pages(tx, {}, 10, handed=handed))
        owed = await shelf.store.read(lambda tx: body_rows.owed(tx, handed))
        assert owed == pages.keys()
        return [each.record.id for each in pages.get(TYPE, [])]

    assert await wanted() == []
    assert await wanted("other.type") == []
    assert await wanted(TYPE, "other.type") == [first.id, second.id, third.id], "who sent the small one has dropped it"
    erase = ASH.write("map", "it names a child", after=last, op="erase", target=third.id)
    await shelf.take(erase, bodies=[ASH.bodies[erase.id]])
    await shelf.keeper.embody([Arrived(each, ASH.bodies[each.id]) for each in (first, small, third)])
    assert await wanted(TYPE) == [second.id]
    assert await kept(shelf) == {first.id, last.id, erase.id}
    before_ms = shelf.clock.now
    numbers = await shelf.store.read(lambda tx: retention.overdue(tx, TYPE, before_ms - 1))
    assert numbers == []
    numbers = await shelf.store.read(lambda tx: retention.overdue(tx, TYPE, before_ms))
    assert await shelf.store.write(lambda tx: retention.give_up(tx, numbers)) == 1, "nobody waits for what is erased"
    assert await wanted(TYPE) == []
    assert await kept(shelf) == {first.id, last.id, erase.id}
    [old] = await shelf.store.read(lambda tx: retention.ripe(tx, TYPE, [], before_ms))
    await shelf.store.write(lambda tx: retention.drop(tx, [old]))
    assert await kept(shelf) == {last.id, erase.id}
    await shelf.store.close()


async def test_what_is_wanted_for_handlers_is_found_by_an_index_however_much_is_kept(place: Place) -> None:
    if place.kind == "postgresql":
        return
    shelf = await Shelf(store=place.store()).open()
    for condition, index in ((body_rows.REPLACED, "ageing"), (body_rows.LACKING, "lacking")):
        query = f"EXPLAIN QUERY PLAN SELECT 1 FROM covm_records r WHERE r.type_id = 1 AND {condition}"
        plan = await shelf.store.read(lambda tx, query=query: tx.execute(query).all())  # type: ignore[misc]
        assert any(f"covm_records_{index}" in row[3] for row in plan), plan
    await shelf.store.close()


async def test_a_key_that_not_every_store_can_hold_is_none_anywhere_and_holds_up_nothing(place: Place) -> None:
    shelf = await Shelf(store=place.store()).open()
    good = BIRCH.write("mill")
    # What no honest node encodes: their authors' own programs do.
    nul, empty = (
        seal(each.key, Kind.RECORD, write_map(msgspec.structs.replace(each.write("oven").body, key=key)))
        for each, key in ((ASH, "ov\0en"), (Author("cedar"), ""))
    )
    taken = await shelf.keeper.take([nul, good.envelope, empty], [None, BIRCH.bodies[good.id], None])
    assert (taken.placed, taken.malformed) == (1, 2)
    assert await shelf.heads("mill") == {good.id}
    await shelf.store.close()
