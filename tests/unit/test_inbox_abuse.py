"""What a sender can do to the inbox with messages that are each in order, and that it may not gain by."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.inbox_world import InboxWorld, PlayedStream, Trouble, inbox_world, mid, offered, opened
from tests.unit.outbox_world import virtually

from covm.federation.dispatch import incoming
from covm.federation.dispatch.sweeping import SWEEP_PERIOD_S
from covm.federation.events import ReceivedLess
from covm.federation.wire.frames import Hello, Position

YEAR_MS = 365 * 86_400_000


def fail(_: object) -> None:
    raise RuntimeError("no")


async def quarantined(world: InboxWorld, stream: PlayedStream) -> None:
    """The stream's first message lies in quarantine."""
    world.subscribe(fail)
    await stream.greet()
    stream.send(offered(1, expires_at=1_000))
    assert await stream.until_told(1) == [(1, 1, "failed")]
    assert world.dispatcher.inbox()["quarantined"] == 1


@virtually
async def test_one_id_sent_many_times_at_once_is_one_try_and_counts_once() -> None:
    """Else its sender would empty the quarantine's count, and fill the inbox's for everybody."""
    async with inbox_world(await opened()) as world:
        stream = PlayedStream(world)
        await quarantined(world, stream)
        stream.send(*(offered(seq, 1, expires_at=2_000) for seq in range(2, 52)))
        await stream.until_stored(51)
        assert (await stream.until_told(2))[1:] == [(51, 51, "failed")]
        await world.settled()
        assert [entry.state for entry in await world.entries()] == ["quarantined"]
        inbox = world.dispatcher.inbox()
        assert (inbox["quarantined"], inbox["pending"], inbox["pending_bytes"]) == (1, 0, 0)


@virtually
async def test_one_id_for_many_contents_is_the_first_of_them() -> None:
    async with inbox_world(await opened()) as world:
        heard: list[object] = []
        world.subscribe(lambda message: heard.append(message.payload))
        stream = PlayedStream(world)
        await stream.greet()
        stream.send(*(offered(seq, 1, payload=f"content {seq}") for seq in range(1, 4)))
        await stream.until_stored(3)
        stream.send(offered(4, 1, payload="content 4"))
        await stream.until_stored(4)
        assert (await stream.until_told(2))[-1] == (4, 4, "handled")
        await world.settled()
        assert heard == ["content 1"]
        assert world.dispatcher.inbox()["pending"] == 0
        assert world.counters.dropped["repeated"] == 3


@virtually
async def test_a_sender_that_forgot_what_it_confirmed_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk went back behind its confirmations, and not behind its messages: nothing proves that to it."""
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
async def test_a_sender_that_never_confirms_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "MAX_UNCONFIRMED", 4)
    async with inbox_world(await opened()) as world:
        world.subscribe(lambda _: None)
        stream = PlayedStream(world)
        await stream.greet()
        for seq in range(1, 6):
            stream.send(seq)
            await stream.until_told(seq)
        stream.send(6)
        await asyncio.sleep(60)
        assert stream.stored == Position(5, mid(5))
        stream.end()
        again = PlayedStream(world)
        await again.greet(next=7)
        again.send(6)
        await asyncio.sleep(60)
        assert again.stored == Position(5, mid(5)), "a new stream changes nothing"
        again.incoming.confirm(again, 5)
        await again.until_stored(6)


@virtually
async def test_streams_that_come_and_go_while_the_disk_is_slow_leave_nothing_behind() -> None:
    """Their credit is given back with them, so what they brought must not stay in memory."""
    trouble = Trouble()
    async with inbox_world(await opened(faults=trouble)) as world:
        world.subscribe(lambda _: None)
        first = PlayedStream(world)
        await first.greet()
        trouble.latency_s = lambda: 60.0  # type: ignore[method-assign]
        first.send(1)
        await asyncio.sleep(1)
        for _ in range(50):
            stream = PlayedStream(world)
            stream.incoming.greet(stream, Hello(v=(1, 0), incarnation=stream.life, types=bytes(32), next=1))
            stream.send(*range(1, 100))
            stream.end()
            stream.send(*range(1, 100))
        assert len(first.incoming._steps) <= 2
        last = PlayedStream(world)
        trouble.latency_s = lambda: 0.001  # type: ignore[method-assign]
        await last.greet()
        last.send(2)
        await last.until_stored(2)


@virtually
async def test_who_says_on_every_stream_that_we_hold_less_is_told_of_once_in_a_while() -> None:
    async with inbox_world(await opened()) as world:
        for acknowledged in range(1, 100):
            stream = PlayedStream(world)
            await stream.greet(acked=Position(acknowledged, bytes(16)))
            stream.end()
        assert await anext(world.events) == ReceivedLess("ada", 1, 0)
        await asyncio.sleep(incoming.LESS_PERIOD_S)
        await PlayedStream(world).greet(acked=Position(200, bytes(16)))
        assert await anext(world.events) == ReceivedLess("ada", 200, 0)


@virtually
async def test_who_floods_types_that_nobody_handles_takes_nobody_elses_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inbox_world(await opened()) as world:
        monkeypatch.setattr(world.dispatcher.shelf._holdings, "_max_messages", 10)
        flood = PlayedStream(world, "mallory")
        await flood.greet()
        for start in range(1, 1_000, 100):
            flood.send(*(offered(seq, sender="mallory", type=f"no.body{seq}") for seq in range(start, start + 100)))
        await flood.until_stored(1_000)
        assert sum(last - first + 1 for first, last, _ in await flood.until_told(990)) == 990
        assert await world.count("covm_inbox") == 10
        honest = PlayedStream(world)
        await honest.greet()
        honest.send(1)
        await honest.until_stored(1)
        heard: list[object] = []
        world.subscribe(lambda message: heard.append(message.payload))
        assert await honest.until_told(1) == [(1, 1, "handled")]
        assert heard == [1]


@virtually
async def test_who_sends_what_handlers_fail_on_takes_nobody_elses_place_in_the_quarantine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await opened()
    async with inbox_world(store, attempts=1) as world:
        monkeypatch.setattr(world.dispatcher.journal.quarantine, "_max_messages", 2)
        world.subscribe(fail)
        flood, honest = PlayedStream(world, "mallory"), PlayedStream(world)
        for stream in (flood, honest):
            await stream.greet()
        flood.send(*range(1, 10))
        assert await flood.until_told(9) == [(1, 2, "failed"), (3, 9, "refused")]
        assert "the quarantine there is full" in flood.outcomes[-1].reason
        honest.send(offered(1, 101, expires_at=1_000))
        assert await honest.until_told(1) == [(1, 1, "failed")]
        # Room is made by whoever is tried again, and by what is thrown away.
        honest.send(offered(2, 101, expires_at=2_000))
        assert (await honest.until_told(2))[1:] == [(2, 2, "failed")]
        await world.dispatcher.desk.discard(mid(1).hex())
        flood.send(10, 11)
        assert (await flood.until_told(11))[2:] == [(10, 10, "failed"), (11, 11, "refused")]
    async with inbox_world(store, attempts=1) as world:
        monkeypatch.setattr(world.dispatcher.journal.quarantine, "_max_messages", 2)
        world.subscribe(fail)
        flood = PlayedStream(world, "mallory")
        await flood.greet()
        flood.send(12)
        assert (await flood.until_told(12))[-1] == (12, 12, "refused")


@virtually
async def test_a_wall_clock_that_is_set_forward_a_year_ends_and_forgets_nothing() -> None:
    async with inbox_world(await opened()) as world:
        stream = PlayedStream(world)
        await stream.greet()
        stream.send(1)
        await stream.until_stored(1)
        now_ms = world.clock.now_ms
        world.clock.now_ms = lambda: now_ms() + YEAR_MS  # type: ignore[method-assign]
        await asyncio.sleep(3 * SWEEP_PERIOD_S)
        assert stream.outcomes == []
        assert await world.count("covm_seen") == await world.count("covm_inbox") == 1
