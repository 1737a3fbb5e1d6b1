"""Records that lie: about place, parents, time, author; forks, floods, and siblings without end.

THREATS.md, rows *sync*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.unit.membership_world import NOON_MS
from tests.unit.records_world import FEDERATION, TYPE, Author, Shelf

from covm._native import cid
from covm.federation.sync import held, intake, judging, logs, rows
from covm.federation.sync.verifying import MAX_BATCH
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.record import Auth, Hlc, Place, SignedRecord, seal_record

HONEST, LIAR = Author("honest"), Author("liar")
HELD, VALID, VOID = 0, 1, 2


async def shelf_with(*records: SignedRecord) -> Shelf:
    shelf = await Shelf().open()
    await shelf.take(*records)
    return shelf


LIES: dict[str, Callable[[SignedRecord, SignedRecord], SignedRecord]] = {
    "a parent that is of another key": lambda mine, theirs: LIAR.write("other", on=[theirs]),
    "a parent at another number": lambda mine, theirs: LIAR.write(
        "key", parents=(Place(theirs.body.log, 9, theirs.id),), hlc=Hlc(NOON_MS + 9, 0)
    ),
    "a parent in another log": lambda mine, theirs: LIAR.write(
        "key", parents=(Place(mine.body.log, 1, theirs.id),), hlc=Hlc(NOON_MS + 9, 0)
    ),
    "a clock behind its parent's": lambda mine, theirs: LIAR.write("key", on=[theirs], hlc=Hlc(1, 0)),
    "a clock behind the record before it": lambda mine, theirs: LIAR.write("key", after=mine, hlc=Hlc(1, 0)),
    "an erase that is based on something": lambda mine, theirs: LIAR.write(
        "key", op="erase", on=[theirs], target=theirs.id
    ),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_record_that_lies_is_void_and_changes_no_head(lie: str) -> None:
    theirs, mine = HONEST.write("key", "honest"), LIAR.write("mine")
    shelf = await shelf_with(theirs, mine)
    false = LIES[lie](mine, theirs)
    await shelf.take(false)
    assert (await shelf.states())[false.id] == (VOID, False)
    assert await shelf.heads("key") == {theirs.id}
    assert await shelf.conflicts() == []


@pytest.mark.parametrize("place", ["another number", "another log", "a made-up record"])
async def test_what_does_not_follow_the_record_that_it_names_has_no_place(place: str) -> None:
    theirs, mine = HONEST.write("key"), LIAR.write("key")
    shelf = await shelf_with(theirs, mine)
    false = {
        "another number": LIAR.write("key", after=mine, seq=5),
        "another log": LIAR.write("key", prev=theirs.id, seq=2),
        "a made-up record": LIAR.write("key", prev=cid(b"made up"), seq=2),
    }[place]
    taken = await shelf.take(false)
    assert taken.placed == 0
    assert false.id not in await shelf.states()


async def test_what_does_not_verify_is_not_taken_at_all() -> None:
    shelf = await shelf_with()
    sound = HONEST.write("key", "value")
    elsewhere = HONEST.write("key", federation=cid(b"another federation"))
    other_body = HONEST.bodies[HONEST.write("key", "other").id]
    flipped = sound.envelope[:-1] + bytes([sound.envelope[-1] ^ 1])
    with pytest.raises(ValueError, match="the key is that of"):
        seal_record(LIAR.key, sound.body)
    forged = seal_record(LIAR.key, msgspec.structs.replace(sound.body, author=LIAR.key.peer_id))
    assert forged != sound.envelope
    taken = await shelf.keeper.take([flipped, elsewhere.envelope, sound.envelope], [None, None, other_body])
    assert (taken.placed, taken.malformed) == (0, 3)
    assert await shelf.states() == {}


@pytest.mark.parametrize("at", ["the first record", "a later record"])
async def test_a_fork_costs_no_honest_history_and_both_sides_stay(at: str) -> None:
    start = HONEST.write("key", "start")
    one = HONEST.write("key", "one", after=start, on=[start]) if at == "a later record" else start
    other = (
        HONEST.write("key", "other", after=start, on=[start])
        if at == "a later record"
        else HONEST.write("key", "another start")
    )
    shelf = await shelf_with(start, one, other)
    assert await shelf.heads("key") == {one.id, other.id}
    later = HONEST.write("key", "later", after=one, on=[one, other])
    await shelf.take(later)
    assert await shelf.heads("key") == {later.id}


@pytest.mark.parametrize("defended", [True, False])
async def test_forks_without_end_are_followed_so_far_and_no_further(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(intake, "MAX_TIPS", 10**9)
    shelf = await shelf_with(*(LIAR.write("key", number) for number in range(40)))
    assert len(await shelf.states()) == (16 if defended else 40)
    honest = HONEST.write("key")
    assert (await shelf.take(honest)).placed == 1


@pytest.mark.parametrize("defended", [True, False])
async def test_a_log_leaves_sixteen_versions_of_a_key_and_the_next_is_void_in_every_order(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(judging, "MAX_OPEN", 10**9)
    written: list[SignedRecord] = []
    for number in range(20):
        written.append(LIAR.write("key", number, after=written[-1] if written else None))
    one, other = await shelf_with(*written), await Shelf().open()
    for record in reversed(written):
        await other.take(record)
    assert len(await one.heads("key")) == (16 if defended else 20)
    assert await one.states() == await other.states()
    resolved = HONEST.write("key", "one", on=written[:16])
    await one.take(resolved)
    assert await one.heads("key") == {resolved.id} | ({each.id for each in written[16:]} if not defended else set())


async def test_three_hundred_authors_write_one_key_and_one_record_decides_for_a_hundred_of_them() -> None:
    authors = [Author(f"author {number}") for number in range(300)]
    written = [author.write("key", author.name) for author in authors]
    shelf = await shelf_with(*written)
    assert len(await shelf.heads("key")) == 300
    decided = HONEST.write("key", "decided", on=written[:100])
    await shelf.take(decided)
    assert len(await shelf.heads("key")) == 201


async def test_a_record_from_the_future_waits_for_its_time_and_then_counts() -> None:
    early = LIAR.write("key", hlc=Hlc(NOON_MS + 11 * 60 * 1000, 0))
    shelf = await shelf_with(early)
    assert (await shelf.states())[early.id] == (HELD, False)
    assert await shelf.heads("key") == set()
    shelf.clock.now += 2 * 60 * 1000
    await shelf.keeper.again()
    assert await shelf.heads("key") == {early.id}


def made_up(number: int) -> SignedRecord:
    """A record that waits for good: by what it is written does not exist."""
    liar = Author(f"liar {number}")
    return liar.write("key", number, auth=Auth(FEDERATION, cid(b"made up %d" % number)))


@pytest.mark.parametrize("defended", [True, False])
async def test_records_that_wait_for_what_does_not_exist_take_a_bounded_room(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_HELD", 50 if defended else 10**9)
    shelf = await shelf_with(*map(made_up, range(120)))
    assert shelf.keeper.held == (50 if defended else 120)
    honest = HONEST.write("key", "honest")
    await shelf.take(honest)
    assert await shelf.heads("key") == {honest.id}, "what need not wait is taken all the same"


async def test_what_held_records_wait_for_is_taken_though_the_room_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "MAX_HELD", 1)
    first = HONEST.write("key", "first")
    second = LIAR.write("key", "second", on=[first])
    shelf = await shelf_with(second)
    assert shelf.keeper.held == 1
    await shelf.take(first)
    assert await shelf.heads("key") == {second.id}
    assert shelf.keeper.held == 0


@pytest.mark.parametrize("defended", [True, False])
async def test_logs_without_end_of_one_author_are_bounded(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_LOGS", 10 if defended else 10**9)
    lives = [Incarnation(number, bytes(8)) for number in range(30)]
    shelf = await shelf_with(*(LIAR.write("key", n, incarnation=life) for n, life in enumerate(lives)))
    await shelf.take(*(LIAR.write("key", n, incarnation=life) for n, life in enumerate(lives)))
    assert len(shelf.keeper.logs) == (10 if defended else 30)
    assert shelf.keeper.logs.count_of(TYPE, LIAR.key.peer_id) == len(shelf.keeper.logs)


@pytest.mark.parametrize("defended", [True, False])
async def test_types_without_end_of_one_author_are_bounded_and_of_others_are_taken(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_TYPES_OF_AUTHOR", 10 if defended else 10**9)
    flood = [LIAR.write("key", n, type=f"flood.x{n}") for n in range(30)]
    shelf = await shelf_with(*flood[:5])
    taken = await shelf.take(*flood, HONEST.write("key", 1))
    assert len(shelf.keeper.logs.types()) == (11 if defended else 31)
    assert taken.refused == (20 if defended else 0)
    more = LIAR.write("other", 1, type="flood.x0", after=flood[0])
    assert (await shelf.take(more)).placed == 1, "types that are there go on"


async def test_a_store_that_fails_in_mid_batch_keeps_nothing_half_and_the_same_batch_is_taken_later() -> None:
    shelf = await Shelf().open()
    records = [HONEST.write("key", number) for number in range(3)]
    write = shelf.store.write

    async def fails(job: Any) -> Any:
        raise OSError("the disk is gone")

    shelf.store.write = fails  # type: ignore[method-assign]
    with pytest.raises(OSError, match="gone"):
        await shelf.take(*records)
    assert len(shelf.keeper.logs) == 0
    shelf.store.write = write  # type: ignore[method-assign]
    assert (await shelf.take(*records)).placed == 3


async def test_what_is_closed_on_one_branch_and_open_on_another_counts_the_same_in_batches_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judging, "MAX_OPEN", 2)
    start = LIAR.write("key", "start")
    closed = LIAR.write("key", "closes it", after=start, on=[start])
    other = LIAR.write("key", "leaves it open", after=start)
    beyond = LIAR.write("key", "one too many", after=other)
    one = await shelf_with(start, closed, other, beyond)
    several = await shelf_with(start, closed)
    await several.take(other)
    await several.take(beyond)
    assert await one.states() == await several.states()
    assert (await one.states())[beyond.id] == (VOID, False)


@pytest.mark.parametrize(
    "sizes", [(18,), (16, 1, 1), (17, 1), (16, 2)], ids=["all at once", "by three", "the fork last", "both last"]
)
@pytest.mark.parametrize("fork_first", [True, False])
async def test_what_a_branch_has_closed_is_open_on_a_fork_that_comes_whenever(
    sizes: tuple[int, ...], fork_first: bool
) -> None:
    written: list[SignedRecord] = []
    for number in range(16):
        written.append(LIAR.write("key", number, after=written[-1] if written else None))
    closes = LIAR.write("key", "closes all", after=written[-1], on=written)
    beyond = LIAR.write("key", "one too many", after=written[-1])
    coming = [*written, *([beyond, closes] if fork_first else [closes, beyond])]
    shelf = await Shelf().open()
    for size in sizes:
        await shelf.take(*coming[:size])
        await shelf.reopened()
        del coming[:size]
    assert (await shelf.states())[beyond.id] == (VOID, False)
    assert await shelf.heads("key") == {closes.id}
    await shelf.store.close()


async def test_an_erase_under_another_key_hides_none_behind_it() -> None:
    shelf = await shelf_with()
    target = HONEST.write("key", "honest")
    astray = HONEST.write("another", "why", op="erase", target=target.id, after=target)
    own = HONEST.write("key", "why", op="erase", target=target.id, after=astray)
    await shelf.take(target, astray, own)
    assert await shelf.erased() == {target.id: own.id}
    # Whatever looks at the target again comes to the same.
    await shelf.take(LIAR.write("another", "spite", op="erase", target=target.id))
    assert await shelf.erased() == {target.id: own.id}
    await shelf.store.close()


async def test_one_thing_erased_a_thousand_times_is_looked_at_once_for_each_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = await shelf_with()
    target = HONEST.write("key", "honest")
    await shelf.take(target, bodies=[HONEST.bodies[target.id]])
    erases = list[SignedRecord]()
    for _ in range(1000):
        after = erases[-1] if erases else None
        erases.append(LIAR.write("key", "spite", op="erase", target=target.id, after=after))
    await shelf.take(*erases)
    looked_up = list[int]()
    honest = rows.look_up

    def counted(*given: Any) -> Any:
        found = honest(*given)
        looked_up.append(len(found.known))
        return found

    monkeypatch.setattr(rows, "look_up", counted)
    await shelf.take(LIAR.write("key", "again", op="erase", target=target.id, after=erases[-1]))
    assert max(looked_up) <= 4
    assert await shelf.erased() == {}
    own = HONEST.write("key", "why", op="erase", target=target.id, after=target)
    await shelf.take(own)
    assert await shelf.erased() == {target.id: own.id}
    await shelf.store.close()


@pytest.mark.parametrize("defended", [True, False])
async def test_a_parent_that_is_named_a_thousand_times_has_a_row_no_longer_than_one_named_once_on_each_branch(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(intake, "is_open", lambda *_: True)
    base, first = LIAR.write("key", "base"), list[SignedRecord]()
    for _ in range(1000):
        after = first[-1] if first else base
        first.append(LIAR.write("key", "again", after=after, on={base.id: base, after.id: after}.values()))
    forks = [LIAR.write("key", f"fork {number}", after=first[500], on=[base, first[500]]) for number in range(3)]
    shelf = await shelf_with(base, *first[:600])
    await shelf.take(*first[600:], *forks)
    told = "SELECT closers FROM covm_records WHERE id = :id"
    closers = {
        each.id: await shelf.store.read(lambda tx, each=each: tx.execute(told, {"id": each.id.bytes}).scalar())  # type: ignore[misc]
        for each in (base, first[500])
    }
    assert (closers[base.id] == "0:2") is defended
    assert (len(closers[base.id]) > 4000) is not defended
    assert sorted(closers[first[500].id].split()) == ["0:503", "1:503", "2:503", "3:503"]
    await shelf.store.close()


@pytest.mark.parametrize("order", ["as written", "the last first", "what waits last"])
async def test_what_waits_or_is_void_is_as_open_as_what_counts_and_the_seventeenth_is_void_in_every_order(
    order: str,
) -> None:
    base = HONEST.write("key")
    written: list[SignedRecord] = []
    for number in range(18):
        changes: dict[str, Any] = {"on": [base]} if number == 3 else {}
        if number == 5:
            changes = {"hlc": Hlc(1, 0)}  # void: its clock goes back
        written.append(LIAR.write("key", number, after=written[-1] if written else None, **changes))
    batches = {
        "as written": [base, *written],
        "the last first": [*reversed(written), base],
        "what waits last": [*written, base],
    }
    shelf = await Shelf().open()
    for record in batches[order]:
        await shelf.take(record)
    states = {link: state for link, (state, _) in (await shelf.states()).items()}
    assert [states[each.id] for each in written] == [1] * 5 + [2] + [1] * 10 + [2, 2]
    await shelf.store.close()


async def test_what_lies_behind_a_void_record_of_the_same_log_is_superseded_through_it_in_batches_of_any_size() -> None:
    first = HONEST.write("key", 0)
    mine = LIAR.write("key", 1, on=[first])
    lie = LIAR.write("key", 2, after=mine, on=[mine], hlc=Hlc(1, 0))
    more = LIAR.write("key", 3, after=lie, on=[lie], hlc=Hlc(1, 0))
    last = LIAR.write("key", 4, after=more, on=[more], hlc=Hlc(NOON_MS + 100, 0))
    for batches in ([[first, mine, lie, more, last]], [[first], [mine], [lie], [more], [last]]):
        shelf = await Shelf().open()
        for batch in batches:
            await shelf.take(*batch)
        assert (await shelf.states())[lie.id][0] == VOID
        assert await shelf.heads("key") == {last.id}
        await shelf.store.close()


async def test_ten_thousand_authors_write_one_key_and_one_more_looks_up_none_of_their_versions() -> None:
    records = [Author(f"author {number}").write("key") for number in range(10_000)]
    shelf = await Shelf().open()
    for start in range(0, len(records), MAX_BATCH):
        await shelf.take(*records[start : start + MAX_BATCH])
    assert await shelf.conflicts() == ["key"]
    last = LIAR.write("key", "one more", on=records[:100])
    found = await shelf.keeper.look_up([each.id for each in records[:100]], [(TYPE, "key")], [last.body.log])
    assert (len(found.known), found.heads) == (100, {(TYPE, "key"): 10_000})
    await shelf.take(last)
    assert len(await shelf.heads("key")) == 9_901
    await shelf.store.close()


async def test_a_version_too_many_stays_one_when_another_branch_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "MAX_OPEN", 1)
    first = LIAR.write("key", 1)
    beyond = LIAR.write("key", 2, after=first)
    named = LIAR.write("key", 3, on=[beyond], hlc=Hlc(1, 0))
    shelf = await shelf_with(first, beyond)
    await shelf.take(named)
    assert (await shelf.states())[beyond.id] == (VOID, False)
    shelf.authority.banned = {LIAR.key.peer_id}
    await shelf.keeper.reconsider()
    shelf.authority.banned = set()
    await shelf.keeper.reconsider()
    assert (await shelf.states())[beyond.id] == (VOID, False)
    await shelf.store.close()
