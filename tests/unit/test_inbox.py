"""The receiving half, from messages that are judged to what their senders are told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.unit.inbox_world import LATER, LIFE, PlayedStream, Trouble, inbox_world, mid, offered, opened, skip
from tests.unit.simulated_world import leaping

from covm.federation import Message
from covm.federation.events import ReceivedLess
from covm.federation.ports import Refusal
from covm.federation.wire.frames import Position


@leaping
async def test_what_came_is_stored_handled_and_told() -> None:
    async with inbox_world(await opened()) as w:
        got: list[Message[Any]] = []
        w.subscribe(got.append)
        stream = PlayedStream(w)
        assert (await stream.greet()).stored is None
        stream.send(1, 2, 3)
        assert await stream.until_told(3) == [(1, 3, "handled")]
        assert stream.stored == Position(3, mid(3))
        assert stream.credit == 3
        assert [(each.payload, each.attempt, each.out_of_order) for each in got] == [
            (1, 1, False),
            (2, 1, False),
            (3, 1, False),
        ]
        await w.settled()
        assert await w.entries() == []
        assert w.dispatcher.inbox()["pending"] == 0


@leaping
async def test_a_new_stream_hears_where_it_stands_and_what_became_of_messages_until_it_confirms() -> None:
    async with inbox_world(await opened()) as w:
        w.subscribe(lambda message: None)
        first = PlayedStream(w)
        await first.greet()
        first.send(1, 2)
        await first.until_told(2)
        first.end()
        second = PlayedStream(w)
        greeting = await second.greet(acked=Position(2, mid(2)), next=3)
        assert greeting.stored == Position(2, mid(2))
        assert [(each.number, each.first, each.last) for each in greeting.outcomes] == [(1, 1, 2)]
        second.incoming.confirm(second, 1)
        await w.settled()
        assert await w.count("covm_outcomes") == 0
        second.end()
        assert (await PlayedStream(w).greet(outcomes_upto=1)).outcomes == []


@leaping
async def test_what_was_under_way_when_its_stream_ended_is_part_of_what_the_next_hears() -> None:
    async with inbox_world(await opened(faults=Trouble())) as w:
        got: list[int] = []
        w.subscribe(lambda message: got.append(message.payload))
        first, second = PlayedStream(w), PlayedStream(w)
        await first.greet()
        first.send(1, 2)
        await asyncio.sleep(0)
        first.end()
        assert (await second.greet()).stored == Position(2, mid(2))
        second.send(1, 2, 3)
        await second.until_stored(3)
        assert got == [1, 2, 3]


# --- liars


@leaping
@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ([offered(2)], "sequence_gap"),
        ([offered(1, incarnation=LATER)], "wrong_incarnation"),
        ([skip(1, 0)], "malformed_skip"),
        ([skip(1, "far")], "malformed_skip"),
        ([skip(1, 2**63)], "malformed_skip"),
        ([skip(3, 4)], "sequence_gap"),
    ],
)
async def test_what_no_honest_peer_sends_ends_the_stream_and_what_came_before_it_is_kept(
    sent: list[Any], reason: str
) -> None:
    async with inbox_world(await opened()) as w:
        got: list[int] = []
        w.subscribe(lambda message: got.append(message.payload))
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(*sent)
        await w.until(lambda: stream.violations == [reason])
        assert got == []
        again = PlayedStream(w)
        await again.greet()
        again.send(1)
        await again.until_stored(1)


@leaping
async def test_messages_before_one_that_cannot_be_are_stored_and_handled() -> None:
    async with inbox_world(await opened()) as w:
        got: list[int] = []
        w.subscribe(lambda message: got.append(message.payload))
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, 2, 9)
        await w.until(lambda: stream.violations == ["sequence_gap"])
        assert got == [1, 2]
        assert stream.stored == Position(2, mid(2))


@leaping
async def test_a_confirmation_of_outcomes_that_were_never_told_is_charged_and_forgets_nothing() -> None:
    async with inbox_world(await opened()) as w:
        w.subscribe(lambda message: None)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1)
        await stream.until_told(1)
        stream.incoming.confirm(stream, 99)
        assert stream.violations == ["confirm_of_untold"]
        await w.settled()
        assert await w.count("covm_outcomes") == 1


@leaping
async def test_an_older_life_of_the_sender_hears_of_the_newer_one_and_may_send_nothing() -> None:
    async with inbox_world(await opened()) as w:
        newer, older = PlayedStream(w, life=LATER), PlayedStream(w, life=LIFE)
        await newer.greet()
        newer.send(1)
        await newer.until_stored(1)
        newer.end()
        greeting = await older.greet()
        assert (greeting.newer, greeting.stored) == (LATER, None)
        older.incoming.prove(older, LATER)
        await w.until(lambda: older.proofs)
        assert older.proofs == [offered(1, incarnation=LATER).envelope]
        older.send(1)
        await w.until(lambda: older.violations == ["wrong_incarnation"])


@leaping
async def test_a_peer_that_says_we_acknowledged_more_than_we_hold_is_reported() -> None:
    async with inbox_world(await opened()) as w:
        stream = PlayedStream(w)
        await stream.greet(acked=Position(7, mid(7)), next=8, outcomes_upto=5)
        assert await anext(w.events) == ReceivedLess("ada", 7, 0)
        stream.send(skip(1, 6), 7)
        w.subscribe(lambda message: None)
        assert await stream.until_told(1) == [(7, 7, "handled")]
        assert stream.outcomes[0].number == 6, "numbers that the sender knows do not come again"


@leaping
async def test_a_skip_takes_places_and_nothing_else_and_changes_nothing_for_what_is_stored() -> None:
    async with inbox_world(await opened()) as w:
        got: list[int] = []
        w.subscribe(lambda message: got.append(message.payload))
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1, skip(1, 1), skip(2, 4), skip(3, 5), offered(6, 2))
        assert await stream.until_told(2) == [(1, 1, "handled"), (6, 6, "handled")]
        assert got == [1, 2]
        # A skipped message may be sent again under another place.
        stream.send(offered(7, 902))
        await stream.until_told(3)
        assert got == [1, 2, 902]


# --- duplicates


@leaping
async def test_a_message_has_one_effect_whatever_place_or_life_it_comes_under(tmp_path: Path) -> None:
    got: list[int] = []
    for life, places in ((LIFE, (1, 2)), (LATER, (1, 2))):
        async with inbox_world(await opened(tmp_path / "store")) as w:
            w.subscribe(lambda message: got.append(message.payload))
            stream = PlayedStream(w, life=life)
            await stream.greet()
            stream.send(*(offered(seq, 5, incarnation=life) for seq in places))
            told = await stream.until_told(1 if life is LIFE else 2)
            assert {state for _, _, state in told} == {"handled"}
            await w.settled()
    assert got == [5]


@leaping
async def test_a_repeated_message_that_still_waits_is_told_at_its_new_place() -> None:
    async with inbox_world(await opened()) as w:
        gate = asyncio.Event()

        async def waits(message: Message[Any]) -> None:
            await gate.wait()

        w.subscribe(waits)
        first = PlayedStream(w)
        await first.greet()
        first.send(1)
        await first.until_stored(1)
        first.end()
        second = PlayedStream(w, life=LATER)
        await second.greet()
        second.send(offered(1, 99, incarnation=LATER), offered(2, 1, incarnation=LATER))
        await second.until_stored(2)
        gate.set()
        await second.until_told(2)
        assert {each.last for each in second.outcomes} >= {2}


@leaping
async def test_a_refused_message_may_be_sent_again_under_its_id() -> None:
    async with inbox_world(await opened()) as w:
        refuses = True
        got: list[int] = []

        def choosy(message: Message[Any]) -> None:
            if refuses:
                raise Refusal("the oven is cold")
            got.append(message.payload)

        w.subscribe(choosy)
        stream = PlayedStream(w)
        await stream.greet()
        stream.send(1)
        assert await stream.until_told(1) == [(1, 1, "refused")]
        assert stream.outcomes[0].reason == "the oven is cold"
        refuses = False
        stream.send(offered(2, 1))
        assert await stream.until_told(2) == [(1, 1, "refused"), (2, 2, "handled")]
        assert got == [1]
