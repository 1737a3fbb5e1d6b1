"""Records on every engine: taken, judged anew, found again after a restart; conflicts, history and changes read."""

from __future__ import annotations

import asyncio
import random

from tests.store.places import Place
from tests.unit.records_world import TYPE, Anybody, Author, Shelf

from covm.federation.sync import body_rows, reading, rows
from covm.federation.wire.record import SignedRecord

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
    history = await shelf.store.read(lambda tx: reading.history(tx, TYPE, "proposal"))
    assert sorted(each.value for each in history) == ["both", "draft", "mine", "theirs"]
    judged = await shelf.store.read(lambda tx: reading.judged(tx, TYPE, 2, 10))
    assert [number for number, _ in judged] == [3, 4]
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


async def test_a_body_that_comes_later_is_kept_once_and_given_in_pieces(place: Place) -> None:
    shelf = await Shelf(store=place.store()).open()
    record = ASH.write("map", "x" * 300_000)
    body = ASH.bodies[record.id] or b""
    await shelf.take(record)
    assert shelf.told[-1].lacks_bodies
    [lacking] = await shelf.store.read(lambda tx: body_rows.lacking(tx, 0, 10, ()))
    assert (lacking.number, lacking.record) == (1, record)
    assert await shelf.store.read(lambda tx: body_rows.lacking(tx, 0, 10, (TYPE, "other.type"))) == []
    assert await shelf.store.read(lambda tx: body_rows.lacking(tx, 1, 10, ("other.type",))) == []
    assert await shelf.store.read(lambda tx: body_rows.piece(tx, record.id.bytes, 0, 10)) is None
    [read] = await shelf.store.read(lambda tx: reading.heads(tx, TYPE, ["map"]))
    assert (read.value, read.lacks_body) == (None, True)
    await shelf.keeper.embody(record, body)
    assert await shelf.store.read(lambda tx: body_rows.lacks(tx, record.id)) is None
    assert await shelf.store.read(lambda tx: body_rows.type_of(tx, record.id.bytes)) == TYPE
    first = await shelf.store.read(lambda tx: body_rows.piece(tx, record.id.bytes, 0, 2**18))
    second = await shelf.store.read(lambda tx: body_rows.piece(tx, record.id.bytes, 2**18, 2**18))
    assert (first or b"") + (second or b"") == body
    [(number, again)] = await shelf.store.read(lambda tx: reading.judged(tx, TYPE, 1, 10))
    assert (number, again.value, again.lacks_body) == (2, "x" * 300_000, False)
    log = shelf.keeper.logs.get(record.body.log)
    assert log is not None
    assert log.number is not None
    number = log.number
    assert await shelf.store.read(lambda tx: rows.stretch(tx, number, 0, 0, 1, 10)) == [(record.envelope, None)]
    await shelf.store.close()
