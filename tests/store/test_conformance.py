"""What every engine promises to those who write and read."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from tests.store.places import Place, make_notes, note, notes, numbers

from covm.federation.errors import NotStarted
from covm.federation.store.interface import MAX_GROUP, MAX_JOBS_WAITING, Store, Transaction
from covm.federation.store.tables import BanRow, delete_meta, get_meta, load_bans, put_meta, replace_bans
from covm.federation.store.transaction import JobEnded


class Refused(Exception):
    """What an application's job raises."""


def refuse(tx: Transaction) -> None:
    tx.insert(notes, ("id", "text"), [(666, "never")])
    raise Refused


async def test_what_was_written_is_there_after_a_restart(place: Place) -> None:
    first = place.store()
    await first.open()
    await first.write(make_notes)
    assert await first.write(note(1, "grüße, 世界")) == 1
    await first.close()
    again = place.store()
    await again.open()
    assert await again.read(lambda tx: tx.execute("SELECT text FROM note").scalar()) == "grüße, 世界"
    await again.close()


async def test_a_read_sees_every_write_that_returned_before(store: Store) -> None:
    for number in range(20):
        await store.write(note(number))
        assert await store.read(numbers) == list(range(number + 1))


async def test_what_arrives_together_is_committed_together(store: Store) -> None:
    before = store.stats()
    await asyncio.gather(*(store.write(note(number)) for number in range(100)))
    after = store.stats()
    assert after["transactions"] - before["transactions"] < 20
    assert after["jobs"] - before["jobs"] == 100
    assert after["largest_group"] > 10


async def test_jobs_run_in_the_order_of_the_calls(store: Store) -> None:
    seen: list[int] = []

    async def write(number: int) -> None:
        await store.write(lambda _tx: seen.append(number))

    await asyncio.gather(*(write(number) for number in range(3 * MAX_GROUP)))
    assert seen == list(range(3 * MAX_GROUP))


@pytest.mark.parametrize("bad", [{0}, {4}, {9}, {0, 1, 2}, {3, 4, 8}, set(range(10))])
async def test_a_job_that_fails_is_undone_and_touches_no_other(store: Store, bad: set[int]) -> None:
    jobs = [store.write(refuse if number in bad else note(number)) for number in range(10)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    good = [number for number in range(10) if number not in bad]
    assert [result for result in results if isinstance(result, int)] == good
    assert all(isinstance(results[number], Refused) for number in bad)
    assert await store.read(numbers) == good
    assert store.health().state == "ok"


async def test_a_job_sees_what_the_jobs_before_it_in_its_transaction_did(store: Store) -> None:
    counts = await asyncio.gather(
        store.write(note(1)), store.write(numbers), store.write(refuse), store.write(note(2)), store.write(numbers),
        return_exceptions=True,
    )  # fmt: skip
    assert counts[1] == [1]
    assert counts[4] == [1, 2]


async def test_a_statement_that_fails_fails_the_job_even_when_the_job_goes_on(store: Store) -> None:
    await store.write(note(1))

    def job(tx: Transaction) -> str:
        tx.insert(notes, ("id", "text"), [(2, "before")])
        with pytest.raises(DBAPIError):
            tx.insert(notes, ("id", "text"), [(1, "twice")])
        return "done"

    with pytest.raises(IntegrityError):
        await store.write(job)
    assert await store.read(numbers) == [1]


async def test_a_job_may_raise_what_a_future_cannot_carry(store: Store) -> None:
    def job(_tx: Transaction) -> None:
        next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await store.write(job)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 256, 257, 1000])
async def test_any_number_of_rows_is_inserted(store: Store, count: int) -> None:
    rows = [(number, f"note {number}", bytes([number % 256]) * 600) for number in range(count)]
    await store.write(lambda tx: tx.insert(notes, ("id", "text", "body"), rows))
    found = await store.read(lambda tx: [tuple(row) for row in tx.execute(select(notes).order_by(notes.c.id))])
    assert [(row[0], row[1], bytes(row[2])) for row in found] == rows


async def test_rows_that_are_there_already_can_be_left_as_they_are(store: Store) -> None:
    await store.write(note(2, "first"))
    rows = [(number, "later") for number in range(5)]
    await store.write(lambda tx: tx.insert(notes, ("id", "text"), rows, or_ignore=True))
    assert await store.read(lambda tx: tx.execute("SELECT text FROM note WHERE id = 2").scalar()) == "first"
    assert await store.read(numbers) == [0, 1, 2, 3, 4]


async def test_an_insert_names_the_column_that_is_not_there(store: Store) -> None:
    with pytest.raises(KeyError, match="note has no column colour"):
        await store.write(lambda tx: tx.insert(notes, ("id", "colour"), [(1, "red")]))


async def test_statements_are_of_core_or_text_and_count_their_rows(store: Store) -> None:
    def job(tx: Transaction) -> tuple[int, int, int]:
        many = [{"id": number, "text": "x"} for number in range(10)]
        tx.execute(insert(notes), many)
        removed = tx.execute("DELETE FROM note WHERE id >= :least", {"least": 7}).rowcount
        changed = tx.execute(notes.update().where(notes.c.id < 3).values(text="y")).rowcount
        return removed, changed, tx.execute(select(func.count()).select_from(notes)).scalar_one()

    assert await store.write(job) == (3, 3, 7)


async def test_large_and_extreme_values_come_back(store: Store) -> None:
    body = bytes(range(256)) * 4096
    rows = [(2**63 - 1, "", body), (-(2**63), "", None)]
    await store.write(lambda tx: tx.insert(notes, ("id", "text", "body"), rows))
    found = await store.read(lambda tx: {row[0]: row[1] for row in tx.execute("SELECT id, body FROM note")})
    assert bytes(found[2**63 - 1]) == body
    assert found[-(2**63)] is None


async def test_a_transaction_ends_with_its_job(store: Store) -> None:
    kept = await store.write(lambda tx: tx)
    with pytest.raises(JobEnded, match="has ended with its job"):
        kept.execute("SELECT 1")
    with pytest.raises(JobEnded):
        kept.insert(notes, ("id",), [(1,)])


async def test_a_query_changes_nothing(store: Store) -> None:
    await asyncio.gather(store.read(note(1)), return_exceptions=True)
    assert await store.read(numbers) == []


async def test_a_query_that_fails_says_so_and_the_next_one_works(store: Store) -> None:
    with pytest.raises(DBAPIError):
        await store.read(lambda tx: tx.execute("SELECT colour FROM note"))
    with pytest.raises(Refused):
        await store.read(refuse_query)
    assert await store.read(numbers) == []


def refuse_query(_tx: Transaction) -> None:
    raise Refused


async def test_a_result_that_is_not_read_to_its_end_holds_nothing_up(store: Store) -> None:
    await store.write(lambda tx: tx.insert(notes, ("id", "text"), [(number, "x") for number in range(5000)]))
    await store.read(lambda tx: tx.execute(select(notes)).fetchone())
    await store.write(lambda tx: tx.execute(select(notes)).fetchone())
    await store.write(note(5000))
    assert len(await store.read(numbers)) == 5001


async def test_cancelling_the_wait_does_not_stop_the_job(store: Store) -> None:
    waiting = asyncio.create_task(store.write(note(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await store.write(note(2))
    assert await store.read(numbers) == [1, 2]


def see(seen: list[int], number: int, _tx: Transaction) -> None:
    seen.append(number)


async def test_more_writes_than_may_wait_wait_for_their_turn_and_all_arrive(store: Store) -> None:
    count = MAX_JOBS_WAITING + 500
    seen: list[int] = []
    writes = [asyncio.create_task(store.write(partial(see, seen, number))) for number in range(count)]
    await asyncio.sleep(0)
    for late in writes[-10:]:
        late.cancel()
    await asyncio.gather(*writes, return_exceptions=True)
    assert seen == list(range(count - 10))


async def test_closing_finishes_what_was_submitted(place: Place) -> None:
    store = place.store()
    await store.open()
    await store.write(make_notes)
    writes = [asyncio.create_task(store.write(note(number))) for number in range(1000)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    again = place.store()
    await again.open()
    assert len(await again.read(numbers)) == 1000
    await again.close()


async def test_a_store_is_used_only_while_it_is_open(place: Place) -> None:
    store = place.store()
    for use in (store.write, store.read):
        with pytest.raises(NotStarted):
            await use(numbers)
    await store.open()
    await store.close()
    await store.close()
    for use in (store.write, store.read):
        with pytest.raises(NotStarted):
            await use(numbers)


async def test_closing_one_that_was_never_opened_is_nothing(place: Place) -> None:
    await place.store().close()


async def test_it_says_what_it_is_and_did(store: Store, place: Place) -> None:
    stats = store.stats()
    assert stats["engine"] == {"inline": "memory"}.get(place.kind, place.kind)
    assert stats["version"]
    assert stats["transactions"] >= 1
    assert stats["commit_p50_ms"] > 0
    assert stats["size_bytes"] > 0 or place.kind == "inline"
    assert store.health().state == "ok"
    assert store.is_durable


async def test_named_values_and_bans_are_kept(place: Place) -> None:
    bans = [BanRow("peer-a", "noise", 5, None), BanRow("peer-b", "", 7, 99)]
    store = place.store()
    await store.open()
    await store.write(lambda tx: put_meta(tx, "incarnation", b"1"))
    await store.write(lambda tx: put_meta(tx, "incarnation", b"\x002"))
    await store.write(lambda tx: put_meta(tx, "gone", b""))
    await store.write(lambda tx: delete_meta(tx, "gone"))
    await store.write(lambda tx: replace_bans(tx, [BanRow("peer-z", "old", 1, 2)]))
    await store.write(lambda tx: replace_bans(tx, reversed(bans)))
    await store.close()
    again = place.store()
    await again.open()
    assert await again.read(lambda tx: get_meta(tx, "incarnation")) == b"\x002"
    assert await again.read(lambda tx: get_meta(tx, "gone")) is None
    assert await again.read(load_bans) == bans
    await again.close()
