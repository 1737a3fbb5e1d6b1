"""What the sender sees of deliveries when clocks, peers or this node itself go wrong."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.service_world import EPOCH_MS, LoopClock, both_see, collect, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation import FederationService, Message
from covm.federation.dispatch import receiving
from covm.federation.dispatch.receiving import Receiver
from covm.federation.dispatch.sending import Sender
from covm.federation.errors import MessageRefused
from covm.federation.violations import Violation
from covm.federation.wire.limits import MAX_TIME_MS
from covm.testing import until

NOTE = "private.note"
BEFORE_1970_MS = -EPOCH_MS - 10**9
BEYOND_9999_MS = MAX_TIME_MS


class BrokenError(Exception):
    """What nobody expected."""


def violations(node: FederationService) -> dict[str, int]:
    return {reason: count for reason, count in node.stats()["dropped"].items() if count}


@leaping
async def test_a_message_that_lives_for_ever_arrives_and_nobody_is_charged() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        receipt = await ada.send_direct(ben.peer_id, NOTE, 1, time_to_live=timedelta.max)
        await receipt.handled()
        assert [message.payload for message in received] == [1]
        assert violations(ben) == {}


@leaping
@pytest.mark.parametrize("ahead_ms", [BEFORE_1970_MS, BEYOND_9999_MS])
async def test_a_node_whose_clock_is_ages_wrong_is_heard_all_the_same(ahead_ms: int) -> None:
    async with world() as w:
        ada = await w.start("ada", clock=LoopClock(ahead_ms))
        ben = await w.start("ben")
        received = collect(ben, NOTE)
        await connect(ada, ben)
        await (await ada.send_direct(ben.peer_id, NOTE, 1)).handled()
        await asyncio.sleep(120)
        assert both_see(ada, ben), "its heartbeats are well-formed"
        assert violations(ben) == {}
        assert len(received) == 1


@leaping
async def test_a_message_at_which_the_peer_ends_every_stream_is_refused_and_those_behind_it_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        body_of = Receiver._body_of

        def choosy(self: Receiver, opened: Any) -> Any:
            body = body_of(self, opened)
            if body.payload == "poison":
                raise Violation("malformed_body")
            return body

        monkeypatch.setattr(receiving.Receiver, "_body_of", choosy)
        notes = ["before", "poison", "behind", "last"]
        before, poison, *behind = [await ada.send_direct(ben.peer_id, NOTE, note) for note in notes]
        with pytest.raises(MessageRefused, match="three times at this message"):
            await poison.handled(timeout=timedelta(minutes=10))
        for receipt in (before, *behind):
            await receipt.handled(timeout=timedelta(minutes=10))
        assert [message.payload for message in received] == ["before", "behind", "last"]
        assert "sequence_gap" not in violations(ben)
        assert ada.stats()["dropped"]["refused_with_the_stream"] == 1


@leaping
async def test_connections_that_fall_do_not_count_against_the_message_at_the_head(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        deaf = True
        offer = Receiver._offer

        async def offer_unless_deaf(*args: Any) -> None:
            if not deaf:
                await offer(*args)

        monkeypatch.setattr(receiving.Receiver, "_offer", offer_unless_deaf)
        receipt = await ada.send_direct(ben.peer_id, NOTE, 1, time_to_live=timedelta(hours=2))
        for _ in range(5):
            await asyncio.sleep(5)
            w.fabric.cut(ada.peer_id, ben.peer_id)
            await until(lambda: not both_see(ada, ben))
            w.fabric.heal()
            await in_the_end(lambda: both_see(ada, ben))
        assert receipt.state == "queued"
        deaf = False
        w.fabric.cut(ada.peer_id, ben.peer_id)
        w.fabric.heal()
        await receipt.handled(timeout=timedelta(minutes=10))
        assert len(received) == 1


@leaping
@pytest.mark.parametrize(("half", "step"), [(Sender, "_send"), (Receiver, "_offer"), (Receiver, "_on_hello")])
async def test_after_a_fault_in_a_stream_of_ours_messages_go_on_in_the_end(
    half: type, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        works, faults = getattr(half, step), [BrokenError(), BrokenError()]

        def once_broken(self: Any, *args: Any) -> Any:
            if faults:
                raise faults.pop()
            return works(self, *args)

        monkeypatch.setattr(half, step, once_broken)
        if step == "_on_hello":
            w.fabric.cut(ada.peer_id, ben.peer_id)
            await in_the_end(lambda: not both_see(ada, ben))
            w.fabric.heal()
            await in_the_end(lambda: both_see(ada, ben) and not faults)
        receipt = await ada.send_direct(ben.peer_id, NOTE, 1)
        await receipt.handled(timeout=timedelta(seconds=30))
        assert not faults
        assert len(received) == 1


@leaping
async def test_outcomes_of_six_thousand_messages_survive_a_lost_connection() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        gate = asyncio.Event()

        @ben.subscribe(NOTE)
        async def handle(message: Message[Any]) -> None:
            await gate.wait()

        receipts = [await ada.send_direct(ben.peer_id, NOTE, None) for _ in range(6_000)]
        # As many as the credit lets in.
        await asyncio.sleep(5)
        stored = sum(receipt.state == "stored" for receipt in receipts)
        assert stored > 2_048, "otherwise this would show nothing"
        w.fabric.cut(ada.peer_id, ben.peer_id)
        gate.set()
        await in_the_end(lambda: ben.stats()["handlers"].get("handled", 0) >= stored)
        w.fabric.heal()
        for receipt in receipts:
            await receipt.handled(timeout=timedelta(minutes=10))


@leaping
@pytest.mark.parametrize("jump_ms", [10**9, -(10**9)])
async def test_a_wall_clock_that_is_set_ends_no_message_before_its_time(jump_ms: int) -> None:
    async with world() as w:
        clock = LoopClock()
        ada, ben = await w.start("ada", clock=clock), await w.start("ben")
        await connect(ada, ben)
        w.fabric.cut(ada.peer_id, ben.peer_id)
        receipt = await ada.send_direct(ben.peer_id, NOTE, 1, time_to_live=timedelta(seconds=60))
        clock.ahead_ms += jump_ms
        await asyncio.sleep(50)
        assert receipt.state == "queued"
        await asyncio.sleep(15)
        # Set back it may live longer; set forward, exactly as long as it was meant to.
        assert receipt.state == ("expired" if jump_ms > 0 else "queued")
