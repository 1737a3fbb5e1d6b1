"""What transactional handlers do happens once, or not at all."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from tests.unit.inbox_world import (
    NOTE,
    InboxWorld,
    Trouble,
    accounting,
    mid,
    offered,
    opened,
)
from tests.unit.simulated_world import leaping

from covm.federation import Message
from covm.federation.dispatch import tables, watch
from covm.federation.dispatch.transaction import MAX_STAGED, Tx
from covm.federation.events import HandlerSlow
from covm.federation.ports import LOCAL, Arrival
from covm.federation.store.sqlite import SqliteStore
from covm.federation.wire.frames import Position


def note(message: Message[Any], tx: Tx) -> None:
    tx.execute("INSERT INTO effects VALUES (:number, :seq)", {"number": message.payload, "seq": message.seq})


async def effects(w: InboxWorld) -> list[int]:
    return await w.store.read(lambda tx: list(tx.execute("SELECT number FROM effects ORDER BY rowid").scalars()))


@leaping
async def test_effects_are_committed_with_the_message_many_in_one_transaction() -> None:
    async with accounting(await opened()) as (w, stream):
        w.subscribe(note, transactional=True)
        before = w.store.stats()["transactions"]
        stream.send(*range(1, 101))
        assert await stream.until_told(100) == [(1, 64, "handled"), (65, 100, "handled")]
        assert await effects(w) == list(range(1, 101))
        assert w.store.stats()["transactions"] - before < 10
        assert w.counters.handlers == {"handled": 100}


@leaping
async def test_a_handler_that_raises_leaves_no_trace_and_those_beside_it_have_their_effect() -> None:
    async with accounting(await opened()) as (w, stream):

        def fails_on_three(message: Message[Any], tx: Tx) -> None:
            note(message, tx)
            if message.payload == 3:
                raise RuntimeError

        w.subscribe(fails_on_three, transactional=True)
        stream.send(1, 2, 3, 4, 5)
        await stream.until_told(5)
        assert {(each.first, each.last, each.state) for each in stream.outcomes} == {
            (1, 2, "handled"),
            (3, 3, "failed"),
            (4, 5, "handled"),
        }
        assert await effects(w) == [1, 2, 4, 5]
        [entry] = await w.dispatcher.desk.listed(state="quarantined")
        assert (entry.attempts, entry.reason) == (3, "its handler raised RuntimeError")


@leaping
async def test_a_handler_that_exits_ends_nothing_but_its_message() -> None:
    """On the store's thread it would end no process; let through, it would end the node again at every start."""
    async with accounting(await opened()) as (w, stream):

        def leave(message: Message[Any], tx: Tx) -> None:
            note(message, tx)
            raise SystemExit(3)

        w.subscribe(leave, transactional=True)
        stream.send(1)
        assert await stream.until_told(1) == [(1, 1, "failed")]
        assert await effects(w) == []
        (entry,) = await w.entries(tables.QUARANTINE)
        assert entry.reason == "its handler raised SystemExit"


@leaping
async def test_two_handlers_of_a_type_fail_by_themselves() -> None:
    async with accounting(await opened()) as (w, stream):
        failures = 2

        def shaky(message: Message[Any], tx: Tx) -> None:
            nonlocal failures
            note(message, tx)
            if message.attempt < 3:
                raise RuntimeError

        plain: list[int] = []
        w.subscribe(shaky, transactional=True)
        w.subscribe(note, transactional=True)
        w.subscribe(lambda message: plain.append(message.payload))
        stream.send(1, 2)
        await stream.until_told(2)
        assert sorted(await effects(w)) == [1, 1, 2, 2]
        assert plain == [1, 2]


@leaping
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_of_which_nobody_knows_is_not_done_twice(when: str) -> None:
    trouble = Trouble()
    async with accounting(await opened(faults=trouble)) as (w, stream):
        handled: list[int] = []

        def handle(message: Message[Any], tx: Tx) -> None:
            note(message, tx)
            if not handled:
                setattr(trouble, when, 2)
            handled.append(message.payload)

        w.subscribe(handle, transactional=True)
        stream.send(1, 2, 3)
        await stream.until_told(3)
        assert await effects(w) == [1, 2, 3]
        assert w.counters.handlers == {"handled": 3}


@leaping
async def test_after_a_crash_effects_are_neither_lost_nor_doubled(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for _ in range(12):
        store = await opened(path, Trouble())
        async with accounting(store, crash=True) as (w, stream):
            w.subscribe(note, transactional=True)
            assert stream.greeting is not None
            begin = stream.greeting.stored.seq if stream.greeting.stored is not None else 0
            for seq in range(begin + 1, begin + 11):
                stream.send(seq)
                await asyncio.sleep(0)
            await asyncio.sleep(0.001 * (begin % 7))
            store.sever()
    async with accounting(await opened(path)) as (w, stream):
        w.subscribe(note, transactional=True)
        stored = stream.greeting.stored.seq if stream.greeting and stream.greeting.stored else 0
        await w.until(lambda: w.dispatcher.inbox()["pending"] == 0)
        assert await effects(w) == list(range(1, stored + 1))


@leaping
async def test_a_statement_that_fails_fails_the_message_also_when_the_handler_goes_on() -> None:
    async with accounting(await opened(), attempts=1) as (w, stream):

        def goes_on(message: Message[Any], tx: Tx) -> None:
            note(message, tx)
            with pytest.raises(DBAPIError):
                tx.execute("INSERT INTO nowhere VALUES (1)")

        w.subscribe(goes_on, transactional=True)
        stream.send(1)
        assert await stream.until_told(1) == [(1, 1, "failed")]
        assert await effects(w) == []


@leaping
async def test_what_a_handler_sends_and_publishes_goes_out_with_its_commit_and_not_without() -> None:
    async with accounting(await opened(), attempts=1) as (w, stream):
        sent: list[str] = []

        def answers(message: Message[Any], tx: Tx) -> None:
            sent.append(tx.send_direct("cleo", NOTE, {"answer": message.payload}))
            tx.publish("public.note", message.payload)
            if message.payload == 1:
                raise RuntimeError

        w.subscribe(answers, transactional=True)
        stream.send(1, 2)
        await stream.until_told(2)
        await w.until(lambda: w.gossip.published)
        assert w.gossip.published == [("public.note", 2)]
        rows = await w.store.read(lambda tx: tx.execute("SELECT peer, mid FROM covm_staged").all())
        assert [(peer, bytes(each).hex()) for peer, each in rows] == [("cleo", sent[-1])]
        assert w.staged == 1


@leaping
async def test_a_handler_that_commits_by_itself_fails_and_nothing_is_kept() -> None:
    async with accounting(await opened(), attempts=1) as (w, stream):

        def commits(message: Message[Any], tx: Tx) -> None:
            note(message, tx)
            tx.execute("COMMIT")

        w.subscribe(commits, transactional=True)
        stream.send(1)
        assert await stream.until_told(1) == [(1, 1, "failed")]
        assert await effects(w) == []


@leaping
async def test_a_handler_that_sends_without_end_fails() -> None:
    async with accounting(await opened(), attempts=1) as (w, stream):

        def floods(message: Message[Any], tx: Tx) -> None:
            for _ in range(MAX_STAGED + 1):
                tx.send_direct("cleo", NOTE, 1)

        w.subscribe(floods, transactional=True)
        stream.send(1)
        assert await stream.until_told(1) == [(1, 1, "failed")]
        assert await w.count("covm_staged") == 0


@leaping
async def test_an_asynchronous_transactional_handler_is_refused_and_a_disguised_one_fails() -> None:
    async with accounting(await opened(), attempts=1) as (w, stream):

        async def waits(message: Message[Any], tx: Tx) -> None:
            note(message, tx)

        with pytest.raises(TypeError, match="is asynchronous"):
            w.subscribe(waits, transactional=True)
        w.subscribe(lambda message, tx: waits(message, tx), transactional=True)
        stream.send(1)
        assert await stream.until_told(1) == [(1, 1, "failed")]
        assert stream.outcomes[0].reason == "its handler raised TypeError"
        assert await effects(w) == []


@leaping
async def test_what_is_published_here_and_elsewhere_reaches_transactional_handlers_too() -> None:
    async with accounting(await opened()) as (w, _):
        w.subscribe(note, transactional=True)
        for number in range(1, 4):
            w.dispatcher.deliver([Arrival(offered(number).body, LOCAL, 100)])
        await w.until(lambda: w.counters.handlers.get("handled") == 3)
        assert await effects(w) == [1, 2, 3]


@leaping
async def test_a_program_reads_and_writes_in_transactions_of_its_own() -> None:
    async with accounting(await opened()) as (w, _):

        def work(tx: Tx) -> int:
            tx.execute("INSERT INTO effects VALUES (7, 7)")
            tx.send_direct("cleo", NOTE, 1)
            return int(tx.execute("SELECT count(*) FROM effects").scalar_one())

        assert await w.dispatcher.transaction(work) == 1
        assert w.staged == 1

        def fails(tx: Tx) -> None:
            tx.execute("INSERT INTO effects VALUES (8, 8)")
            raise KeyError("no")

        with pytest.raises(KeyError):
            await w.dispatcher.transaction(fails)
        assert await effects(w) == [7]


async def test_on_threads_it_is_the_same(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    try:
        async with accounting(store) as (w, stream):

            def fails_on_seventy(message: Message[Any], tx: Tx) -> None:
                note(message, tx)
                if message.payload == 70 and message.attempt < 2:
                    raise RuntimeError

            w.subscribe(fails_on_seventy, transactional=True)
            stream.send(*range(1, 201))
            await stream.until_told(200)
            assert await effects(w) == list(range(1, 201))
            assert {each.state for each in stream.outcomes} == {"handled"}
            assert stream.stored is not None
            assert stream.stored.mid == mid(200)
    finally:
        await store.close()


async def test_one_that_blocks_is_reported_and_costs_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole store waits for it, so nothing is acknowledged meanwhile; what comes is neither lost nor refused."""
    monkeypatch.setattr(watch, "SLOW_HANDLER_S", 0.0)
    monkeypatch.setattr(watch, "WATCH_PERIOD_S", 0.01)
    let_go = threading.Event()
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    try:
        async with accounting(store) as (w, stream):

            def blocks(message: Message[Any], tx: Tx) -> None:
                let_go.wait(60)
                note(message, tx)

            w.subscribe(blocks, name="blocks", transactional=True)
            stream.send(1)
            slow = await anext(w.events)
            assert isinstance(slow, HandlerSlow)
            assert slow.handler == "blocks"
            stream.send(2)
            await asyncio.sleep(0)
            assert stream.stored == Position(1, mid(1))
            let_go.set()
            await stream.until_told(2)
            assert await effects(w) == [1, 2]
    finally:
        let_go.set()
        await store.close()
