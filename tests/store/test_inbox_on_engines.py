"""The inbox's jobs on every engine: the whole life of messages, told once for each."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.unit.inbox_world import LATER, LIFE, NOTE, PlayedStream, inbox_world, mid, offered, skip

from covm.federation import Message
from covm.federation.dispatch import inbox_jobs, inbox_queries
from covm.federation.dispatch.transaction import Tx
from covm.federation.ports import Refusal
from covm.federation.store.interface import Store


async def test_messages_are_handled_refused_quarantined_and_told(store: Store) -> None:
    async with inbox_world(store, attempts=1) as w:
        broken = True

        def choosy(message: Message[Any]) -> None:
            if message.payload == 2:
                raise Refusal("no\0thanks")
            if message.payload in (3, 4) and broken:
                raise RuntimeError

        w.subscribe(choosy)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2, 3, 4, skip(5, 6), 7)
        await stream.until_told(5)
        told = {(each.first, each.last, each.state, each.reason) for each in stream.outcomes}
        assert (2, 2, "refused", "no thanks") in told
        assert (7, 7, "handled", "") in told
        desk = w.dispatcher.desk
        assert [each.id for each in await desk.listed(state="quarantined", peer="ada", type_name=NOTE)] == [
            mid(4).hex(),
            mid(3).hex(),
        ]
        assert await desk.ids_from("0000000000000000000000000000000") == [mid(3).hex(), mid(4).hex()]
        assert await desk.payload(mid(3).hex()) == 3
        broken = False
        await desk.retry(mid(3).hex())
        await desk.discard(mid(4).hex())
        await stream.until_told(6)
        assert await w.entries() == []
        last = stream.outcomes[-1].number
        stream.incoming.confirm(stream, last)
        await w.settled()
        assert await w.count("covm_outcomes") == 0


async def test_what_nobody_handles_waits_and_time_forgets_ids(store: Store) -> None:
    async with inbox_world(store) as w:
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(*range(1, 301))
        await stream.until_stored(300)
        assert await store.read(partial(inbox_queries.overdue, lane=("ada", NOTE), before_ms=2**60, limit=9))
        got: list[int] = []
        w.subscribe(lambda message: got.append(message.payload))
        await stream.until_told(300)
        assert got == list(range(1, 301))
        forget = partial(inbox_queries.forget_seen, now_ms=2**60, limit=200)
        assert [await store.write(forget) for _ in range(3)] == [200, 100, 0]


async def test_a_sender_begins_again_and_old_lives_are_forgotten_in_the_end(store: Store) -> None:
    async with inbox_world(store) as w:
        w.subscribe(lambda message: None)
        for number in range(1, 8):
            life = type(LIFE)(number, LATER.nonce)
            stream = PlayedStream(w, life=life)
            await stream.greet(outcomes_upto=5)
            stream.send(offered(1, incarnation=life), offered(2, 100 + number, incarnation=life))
            await stream.until_told(2)
            assert stream.outcomes[0].number == 6
            stream.end()
        assert await w.count("covm_lines_in") == inbox_jobs.LINES_KEPT
        proof = partial(inbox_jobs.last_envelope, sender="ada", incarnation=type(LIFE)(7, LATER.nonce))
        assert await store.read(proof) == offered(2, 107, incarnation=type(LIFE)(7, LATER.nonce)).envelope
        assert await store.read(partial(inbox_jobs.last_envelope, sender="ada", incarnation=LIFE)) == b""


async def test_transactional_effects_are_there_once(store: Store) -> None:
    async with inbox_world(store) as w:
        await w.dispatcher.transaction(lambda tx: tx.execute("CREATE TABLE effects (number BIGINT)"))

        def handle(message: Message[Any], tx: Tx) -> None:
            tx.execute("INSERT INTO effects VALUES (:number)", {"number": message.payload})
            tx.send_direct("cleo", NOTE, message.payload)
            if message.payload == 5 and message.attempt == 1:
                tx.execute("SELECT * FROM nowhere")

        w.subscribe(handle, transactional=True)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(*range(1, 11))
        await stream.until_told(10)
        found = await w.dispatcher.transaction(
            lambda tx: list(tx.execute("SELECT number FROM effects ORDER BY number").scalars())
        )
        assert found == list(range(1, 11))
        assert await w.count("covm_staged") == 10


async def test_a_message_that_comes_again_is_told_at_its_last_place(store: Store) -> None:
    async with inbox_world(store) as w:
        w.subscribe(lambda message: None)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, offered(2, 1), offered(3, 1))
        assert await stream.until_told(1) == [(3, 3, "handled")]
        stream.send(offered(4, 1))
        assert await stream.until_told(2) == [(3, 3, "handled"), (4, 4, "handled")]
