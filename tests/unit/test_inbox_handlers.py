"""Handlers that fail, leave or are not there yet, and what becomes of the messages they should have had."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.inbox_world import NOTE, PlayedStream, inbox_world, mid, offered, opened
from tests.unit.simulated_world import leaping

from covm.federation import Message
from covm.federation.dispatch.inbox import NO_HANDLER
from covm.federation.errors import UnknownMessage
from covm.federation.events import HandlerFailed, MessageQuarantined

# --- handlers that fail


@leaping
async def test_a_handler_that_fails_gets_the_message_again_and_its_lane_waits() -> None:
    async with inbox_world(await opened()) as w:
        got: list[tuple[int, int]] = []

        def fails_twice(message: Message[Any]) -> None:
            got.append((message.payload, message.attempt))
            if message.payload == 1 and message.attempt < 3:
                raise RuntimeError("not yet")

        w.subscribe(fails_twice)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2)
        await stream.until_told(2)
        assert got == [(1, 1), (1, 2), (1, 3), (2, 1)]
        assert w.counters.handlers == {"handled": 2, "retried": 2}


@leaping
@pytest.mark.parametrize("is_async", [True, False])
async def test_what_fails_for_good_is_quarantined_and_its_lane_goes_on(is_async: bool) -> None:
    async with inbox_world(await opened()) as w:
        got: list[int] = []

        def fails_on_one(message: Message[Any]) -> None:
            got.append(message.payload)
            if message.payload == 1:
                raise KeyError("secret")

        async def waits_and_fails(message: Message[Any]) -> None:
            await asyncio.sleep(1)
            fails_on_one(message)

        w.subscribe(waits_and_fails if is_async else fails_on_one, name="bakery")
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2)
        assert await stream.until_told(2) == [(1, 1, "failed"), (2, 2, "handled")]
        assert got == [1, 1, 1, 2]
        [entry] = await w.dispatcher.desk.listed(state="quarantined")
        assert (entry.id, entry.attempts, entry.reason) == (mid(1).hex(), 3, "its handler raised KeyError")
        events = [await anext(w.events) for _ in range(4)]
        assert [type(each) for each in events] == [HandlerFailed] * 3 + [MessageQuarantined]
        assert events[-1] == MessageQuarantined("bakery", NOTE, mid(1).hex(), "ada", entry.reason, 3)


@leaping
async def test_a_quarantined_message_that_is_retried_comes_out_of_order_and_says_so() -> None:
    async with inbox_world(await opened(), attempts=1) as w:
        broken = True
        got: list[tuple[int, int, bool]] = []

        def handle(message: Message[Any]) -> None:
            if broken and message.payload == 1:
                raise RuntimeError
            got.append((message.payload, message.attempt, message.out_of_order))

        w.subscribe(handle)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2)
        await stream.until_told(2)
        broken = False
        entry = await w.dispatcher.desk.retry(mid(1).hex())
        assert entry.state == "pending"
        assert await stream.until_told(3) == [(1, 1, "failed"), (2, 2, "handled"), (1, 1, "handled")]
        assert got == [(2, 1, False), (1, 2, True)]
        await w.settled()
        assert await w.entries() == []
        assert w.dispatcher.inbox() == {
            "pending": 0,
            "pending_bytes": 0,
            "unhandled": 0,
            "unhandled_bytes": 0,
            "quarantined": 0,
        }
        with pytest.raises(UnknownMessage):
            await w.dispatcher.desk.retry(mid(1).hex())


@leaping
async def test_a_quarantined_message_that_comes_with_a_new_time_to_live_is_tried_again_and_else_told_again() -> None:
    async with inbox_world(await opened(), attempts=1) as w:
        broken = True

        def handle(message: Message[Any]) -> None:
            if broken:
                raise RuntimeError

        w.subscribe(handle)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(offered(1, expires_at=10**13))
        await stream.until_told(1)
        broken = False
        stream.send(offered(2, 1, expires_at=10**13))
        assert await stream.until_told(2) == [(1, 1, "failed"), (2, 2, "failed")]
        stream.send(offered(3, 1, expires_at=10**13 + 1))
        assert await stream.until_told(3) == [(1, 1, "failed"), (2, 2, "failed"), (3, 3, "handled")]
        assert w.dispatcher.inbox()["quarantined"] == 0


@leaping
async def test_a_discarded_message_is_gone() -> None:
    async with inbox_world(await opened(), attempts=1) as w:
        w.subscribe(lambda message: 1 // 0)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1)
        await stream.until_told(1)
        entry = await w.dispatcher.desk.discard(mid(1).hex())
        assert entry.state == "quarantined"
        assert await w.entries() == []
        with pytest.raises(UnknownMessage):
            await w.dispatcher.desk.show(mid(1).hex())


@leaping
async def test_a_retry_repeats_only_the_handlers_that_failed() -> None:
    async with inbox_world(await opened()) as w:
        calls: list[str] = []

        def steady(message: Message[Any]) -> None:
            calls.append("steady")

        async def shaky(message: Message[Any]) -> None:
            calls.append("shaky")
            if message.attempt == 1:
                raise RuntimeError

        w.subscribe(steady)
        w.subscribe(shaky)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1)
        assert await stream.until_told(1) == [(1, 1, "handled")]
        assert calls == ["steady", "shaky", "shaky"]


# --- nobody handles it


@leaping
async def test_messages_that_nobody_handles_wait_for_a_handler_in_order(tmp_path: Path) -> None:
    async with inbox_world(await opened(tmp_path / "store")) as w:
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2)
        await stream.until_stored(2)
    async with inbox_world(await opened(tmp_path / "store")) as w:
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(3)
        await stream.until_stored(3)
        assert w.dispatcher.inbox()["unhandled"] == 3
        got: list[int] = []
        w.subscribe(lambda message: got.append(message.payload))
        stream.send(4)
        await stream.until_told(4)
        assert got == [1, 2, 3, 4]
        assert w.dispatcher.inbox()["unhandled"] == 0


@leaping
async def test_messages_that_nobody_comes_to_handle_are_refused_in_the_end() -> None:
    async with inbox_world(await opened(), retention=timedelta(hours=1)) as w:
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2)
        await stream.until_stored(2)
        await asyncio.sleep(50 * 60)
        assert stream.outcomes == []
        await asyncio.sleep(12 * 60)
        assert [(each.first, each.last, each.state, each.reason) for each in stream.outcomes] == [
            (1, 2, "refused", NO_HANDLER)
        ]
        assert await w.entries() == []
        assert w.dispatcher.inbox()["unhandled"] == 0


@leaping
async def test_a_handler_that_leaves_while_messages_wait_leaves_them_to_the_next_one() -> None:
    async with inbox_world(await opened()) as w:
        gate = asyncio.Event()
        got: list[tuple[str, int]] = []

        async def early(message: Message[Any]) -> None:
            await gate.wait()
            got.append(("early", message.payload))

        subscription = w.subscribe(early)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2, 3)
        await stream.until_stored(3)
        w.dispatcher.unsubscribe(subscription)
        gate.set()
        await stream.until_told(1)
        await w.until(lambda: w.dispatcher.inbox()["unhandled"] == 2)
        w.subscribe(lambda message: got.append(("late", message.payload)))
        await stream.until_told(3)
        assert got == [("early", 1), ("late", 2), ("late", 3)]


@leaping
async def test_what_finds_no_room_on_the_shelf_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inbox_world(await opened()) as w:
        monkeypatch.setattr(w.dispatcher.shelf._holdings, "_max_messages", 2)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2, 3)
        assert await stream.until_told(1) == [(3, 3, "refused")]
        stream.send(offered(4, 3))
        assert await stream.until_told(2) == [(3, 3, "refused"), (4, 4, "refused")]


@leaping
async def test_what_is_larger_than_this_node_takes_is_refused() -> None:
    async with inbox_world(await opened(), max_message_size=1_000) as w:
        w.subscribe(lambda message: None)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(offered(1, payload=b"x" * 3_000), 2)
        assert sorted(await stream.until_told(2)) == [(1, 1, "refused"), (2, 2, "handled")]
