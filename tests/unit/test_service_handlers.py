"""What handlers see of messages, and what senders learn of handlers that fail, are slow or are not there."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.service_world import Heard, collect, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation import Message
from covm.federation.errors import MessageQuarantined, MessageRefused
from covm.federation.events import HandlerFailed, HandlerSlow, MessagesDropped, PayloadMismatched
from covm.governance import Proposal
from covm.testing import until

NOTE = "private.note"


@leaping
async def test_a_message_waits_for_somebody_who_handles_its_type() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        receipts = [await ada.send_direct(ben.peer_id, NOTE, number) for number in range(3)]
        for receipt in receipts:
            await receipt.stored()
        received = collect(ben, NOTE)
        for receipt in receipts:
            await receipt.handled()
        assert [message.payload for message in received] == [0, 1, 2]


@leaping
async def test_a_type_that_nobody_comes_to_handle_is_refused_in_the_end_with_the_reason() -> None:
    async with world() as w:
        ada, ben = await w.pair(unhandled_retention=timedelta(hours=1))
        receipt = await ada.send_direct(ben.peer_id, NOTE, "hello")
        await receipt.stored()
        with pytest.raises(MessageRefused, match="nobody there handles this type"):
            await receipt.handled(timeout=timedelta(hours=2))
        await receipt.stored()
        assert ben.stats()["handlers"] == {"without_handler": 1}


@leaping
async def test_a_handler_that_raises_is_logged_with_the_message_and_the_node_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as w:
        ada, ben = await w.pair()
        heard = Heard(ben)

        @ben.subscribe(NOTE)
        async def fails_on_odd(message: Message[int]) -> None:
            if message.payload % 2:
                raise RuntimeError("the database is away: secret-password")

        with caplog.at_level(logging.ERROR, "covm"):
            odd = await ada.send_direct(ben.peer_id, NOTE, 1)
            even = await ada.send_direct(ben.peer_id, NOTE, 2)
            with pytest.raises(MessageQuarantined, match="RuntimeError") as failure:
                await odd.handled()
            await even.handled()
        assert "secret" not in str(failure.value), "what the receiver's error says is not the sender's business"
        assert odd.id in caplog.text
        assert heard.of(HandlerFailed)[0].message_id == odd.id
        assert ben.stats()["handlers"] == {"failed": 1, "handled": 1, "retried": 2}


@leaping
async def test_a_synchronous_handler_that_raises_does_not_keep_the_message_from_the_next_handler() -> None:
    async with world() as w:
        ada, ben = await w.pair()

        def fails(message: Message[int]) -> None:
            raise KeyError(message.payload)

        ben.subscribe(NOTE, fails)
        received = collect(ben, NOTE)
        await ada.publish(NOTE, 7)
        await until(lambda: received)


class Broken(BaseException):
    """Neither an `Exception` nor meant for the loop."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even this fails")


@leaping
@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, Broken, Unspeakable])
@pytest.mark.parametrize("is_async", [True, False])
async def test_whatever_a_handler_raises_fails_that_message_and_no_other(
    kind: type[BaseException], is_async: bool
) -> None:
    async with world() as w:
        ada, ben = await w.pair()

        def fails_at_first(message: Message[int]) -> None:
            if message.payload == 0:
                raise kind

        async def fails_later(message: Message[int]) -> None:
            await asyncio.sleep(0)
            fails_at_first(message)

        ben.subscribe(NOTE, fails_later if is_async else fails_at_first)
        receipts = [await ada.send_direct(ben.peer_id, NOTE, number) for number in range(5)]
        with pytest.raises(MessageQuarantined, match=kind.__name__):
            await receipts[0].handled()
        for receipt in receipts[1:]:
            await receipt.handled()
        for number in range(5):
            await ada.publish(NOTE, number)
        await until(lambda: ben.stats()["handlers"] == {"failed": 2, "handled": 8, "retried": 2})
        await until(lambda: ben.stats()["queues"]["handlers"]["lanes_running"] == 0)
        assert ben.stats()["faults"] == 0


@leaping
async def test_a_handler_that_awaits_what_was_cancelled_fails_that_message_and_no_other() -> None:
    async with world() as w:
        ada, ben = await w.pair()

        @ben.subscribe(NOTE)
        async def awaits_a_cancelled_task(message: Message[int]) -> None:
            if message.payload == 0:
                task = asyncio.create_task(asyncio.sleep(100))
                task.cancel()
                await task

        failing, fine = [await ada.send_direct(ben.peer_id, NOTE, number) for number in range(2)]
        with pytest.raises(MessageQuarantined, match="CancelledError"):
            await failing.handled()
        await fine.handled()


@leaping
async def test_a_handler_that_cancels_its_own_task_keeps_neither_slot_nor_credit() -> None:
    async with world() as w:
        ada, ben = await w.pair()

        @ben.subscribe(NOTE)
        async def cancels_itself(message: Message[int]) -> None:
            if message.payload == 0:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(1)

        failing, fine = [await ada.send_direct(ben.peer_id, NOTE, number) for number in range(2)]
        with pytest.raises(MessageQuarantined, match="interrupted"):
            await failing.handled()
        await fine.handled()
        await until(lambda: ben.stats()["queues"]["handlers"]["lanes_running"] == 0)


@leaping
async def test_a_handler_that_is_a_lambda_around_a_coroutine_is_told_to_be_async() -> None:
    async with world() as w:
        ada, ben = await w.pair()

        async def handle(message: Message[int]) -> None:
            pass

        ben.subscribe(NOTE, lambda message: handle(message))
        with pytest.raises(MessageQuarantined, match="TypeError"):
            await (await ada.send_direct(ben.peer_id, NOTE, 1)).handled()


@leaping
async def test_a_payload_that_does_not_fit_the_type_there_is_kept_until_both_agree_on_the_type() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben", types=[Proposal])
        await connect(ada, ben)
        heard, received = Heard(ben), collect(ben, "governance.proposal")
        receipt = await ada.send_direct(ben.peer_id, "governance.proposal", {"title": 5})
        await until(lambda: heard.of(PayloadMismatched))
        assert heard.of(PayloadMismatched)[0].message_id == receipt.id
        await asyncio.sleep(1)
        shown = await ada.outbox.show(receipt.id)
        assert "it does not fit governance.proposal there" in shown.reason
        assert receipt.state == "queued", "ada does not know the type: once she does, it may fit"
        dropped = ben.stats()["dropped"]["payload_mismatch"]
        await ada.publish("governance.proposal", {"id": "x", "title": 5})
        await until(lambda: ben.stats()["dropped"]["payload_mismatch"] > dropped)
        assert not received


@leaping
async def test_unsubscribed_handlers_hear_no_more() -> None:
    async with world() as w:
        ada = await w.start("ada")
        received: list[Message[Any]] = []
        subscription = ada.subscribe(NOTE, received.append)
        await ada.publish(NOTE, 1)
        await until(lambda: received)
        assert ada.unsubscribe(subscription) == 1
        await ada.publish(NOTE, 2)
        assert len(received) == 1


@leaping
async def test_gossip_that_handlers_are_too_slow_for_is_dropped_counted_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("covm.federation.dispatch.gossip_room.MAX_LANE", 10)
    async with world() as w:
        ada, ben = await w.pair()
        heard, gate = Heard(ben), asyncio.Event()

        @ben.subscribe(NOTE)
        async def handle(message: Message[Any]) -> None:
            await gate.wait()

        await asyncio.gather(*(ada.publish(NOTE, number) for number in range(50)))
        await in_the_end(lambda: heard.of(MessagesDropped))
        dropped = sum(event.count for event in heard.of(MessagesDropped))
        assert dropped == ben.stats()["dropped"]["handlers_too_slow"] >= 39
        gate.set()
        await until(lambda: ben.stats()["handlers"].get("handled") == 50 - dropped)


@leaping
async def test_a_slow_handler_slows_its_sender_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        ada, ben = await w.pair()
        cleo = await w.start("cleo")
        await connect(cleo, ben)
        # As if a hundred thousand were twenty.
        monkeypatch.setattr(ben._node.dispatcher.journal.holdings, "_max_messages", 20)
        gate = asyncio.Event()
        from_cleo: list[Message[Any]] = []

        @ben.subscribe(NOTE)
        async def handle(message: Message[Any]) -> None:
            if message.author == ada.peer_id:
                await gate.wait()
            else:
                from_cleo.append(message)

        flood = [await ada.send_direct(ben.peer_id, NOTE, b"x" * 50_000) for _ in range(100)]
        calm = [await cleo.send_direct(ben.peer_id, NOTE, number) for number in range(100)]
        for receipt in calm:
            await receipt.handled()
        assert len(from_cleo) == 100
        assert sum(receipt.state == "stored" for receipt in flood) < 60, "the full inbox holds the rest back"
        assert ada.get_peer_info(ben.peer_id).queued > 40
        gate.set()
        for receipt in flood:
            await receipt.handled()


@leaping
async def test_a_handler_that_takes_very_long_is_reported_and_not_interrupted() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        heard = Heard(ben)

        @ben.subscribe(NOTE, name="archive")
        async def handle(message: Message[Any]) -> None:
            await asyncio.sleep(100)

        receipt = await ada.send_direct(ben.peer_id, NOTE, 1)
        await receipt.handled(timeout=timedelta(seconds=200))
        slow = heard.of(HandlerSlow)
        assert len(slow) == 1
        assert (slow[0].handler, slow[0].message_id) == ("archive", receipt.id)
