"""What a sender can do to the inbox with messages that are each in order, and that it may not gain by."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.unit.inbox_world import LATER, InboxWorld, PlayedStream, Trouble, inbox_world, offered, opened
from tests.unit.outbox_world import virtually

from covm.federation.dispatch import incoming
from covm.federation.events import ReceivedLess


def fail(_: object) -> None:
    raise RuntimeError("no")


async def quarantined(world: InboxWorld, stream: PlayedStream) -> None:
    """The stream's first message lies in quarantine."""
    world.subscribe(fail)
    await stream.greet()
    stream.send(1)
    assert await stream.until_told(1) == [(1, 1, "failed")]
    assert world.dispatcher.inbox()["quarantined"] == 1


@virtually
async def test_one_id_sent_many_times_at_once_is_one_try_and_counts_once() -> None:
    async with inbox_world(await opened()) as world:
        stream = PlayedStream(world)
        await quarantined(world, stream)
        stream.send(*(offered(seq, 1) for seq in range(2, 52)))
        await stream.until_stored(51)
        await world.until(lambda: len([each for each in stream.outcomes if each.state == "failed"]) == 2)
        await world.settled()
        assert [(entry.seq, entry.state) for entry in await world.entries()] == [(51, "quarantined")]
        inbox = world.dispatcher.inbox()
        assert (inbox["quarantined"], inbox["pending"], inbox["pending_bytes"]) == (1, 0, 0)


@virtually
async def test_one_id_many_times_in_the_first_batch_is_one_message() -> None:
    async with inbox_world(await opened()) as world:
        heard: list[object] = []
        world.subscribe(lambda message: heard.append(message.payload))
        stream = PlayedStream(world)
        await stream.greet()
        stream.send(*(offered(seq, 1, payload=f"content {seq}") for seq in range(1, 4)))
        await stream.until_stored(3)
        await world.until(lambda: stream.outcomes)
        await world.settled()
        assert heard == ["content 1"]
        assert world.dispatcher.inbox()["pending"] == 0
        assert world.counters.dropped["repeated"] == 2


@virtually
async def test_a_sender_that_forgot_what_it_confirmed_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk went back behind its confirmations, and not behind its messages: nobody can prove that to it."""
    monkeypatch.setattr(incoming, "MAX_UNCONFIRMED", 4)
    async with inbox_world(await opened()) as world:
        world.subscribe(lambda _: None)
        stream = PlayedStream(world)
        await stream.greet()
        for seq in range(1, 9):
            stream.send(seq)
            await stream.until_told(seq)
            stream.incoming.confirm(stream, stream.outcomes[-1].number)
        await world.settled()
        stream.end()
        again = PlayedStream(world)
        await again.greet(next=9, outcomes_upto=0)
        again.send(9)
        assert (await again.until_told(1))[-1] == (9, 9, "handled")


@virtually
async def test_streams_that_come_and_go_while_the_disk_is_slow_leave_nothing_behind() -> None:
    """Their credit is given back with them, so what they brought must not stay in memory."""
    trouble = Trouble()
    async with inbox_world(await opened(faults=trouble)) as world:
        world.subscribe(lambda _: None)
        trouble.latency_s = lambda: 60.0  # type: ignore[method-assign]
        first = PlayedStream(world)
        await first.greet()
        first.send(1)
        await asyncio.sleep(1)
        for _ in range(50):
            stream = PlayedStream(world)
            stream.incoming.greet(stream, _hello(stream))
            stream.send(*range(1, 100))
            stream.end()
            stream.send(*range(1, 100))
        assert len(first.incoming._steps) <= 4
        last = PlayedStream(world)
        trouble.latency_s = lambda: 0.001  # type: ignore[method-assign]
        await last.greet()
        last.send(2)
        await last.until_stored(2)


def _hello(stream: PlayedStream):
    from covm.federation.wire.frames import Hello

    return Hello(v=(1, 0), incarnation=stream.life, types=bytes(32), next=1)


@virtually
async def test_who_says_on_every_stream_that_we_hold_less_is_told_of_once_in_a_while() -> None:
    from covm.federation.wire.frames import Position

    async with inbox_world(await opened()) as world:
        for count in range(1, 100):
            stream = PlayedStream(world)
            await stream.greet(acked=Position(count, bytes(16)))
            stream.end()
        told = []
        while not world.events._queue.empty() if hasattr(world.events, "_queue") else False:
            told.append(world.events._queue.get_nowait())
        print(told[:2], len(told))
