"""What the people at two nodes see of messages: published, sent directly, refused, failed."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.service_world import Heard, both_see, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation import FederationService, Message
from covm.federation.errors import (
    DeliveryTimeout,
    InvalidMessage,
    MessageExpired,
    MessageQuarantined,
    MessageRefused,
    MessageTooLarge,
    OutboxFull,
    PeerNotConnected,
    UnknownMessageType,
    UnknownPeer,
)
from covm.federation.events import HandlerFailed, HandlerSlow, MessagesDropped, PayloadMismatched
from covm.governance import Proposal
from covm.testing import until

NOTE = "private.note"


def proposal(**changes: Any) -> Proposal:
    fields: dict[str, Any] = {
        "id": "p-1",
        "title": "A new oven",
        "description": "",
        "author": "Ada",
        "options": ["yes", "no"],
        "created_at": 1,
    }
    return Proposal(**{**fields, **changes})


def collect(node: FederationService, type_name: str) -> list[Message[Any]]:
    received: list[Message[Any]] = []
    node.subscribe(type_name, received.append, name="collect")
    return received


@leaping
async def test_a_published_proposal_reaches_the_other_node_typed_and_with_its_author_proven() -> None:
    async with world() as w:
        ada, ben = await w.pair(types=[Proposal])
        received = collect(ben, "governance.proposal")
        published = await ada.publish("Governance.Proposal", proposal())
        assert published.peers == 1
        await until(lambda: received)
        assert received[0].payload == proposal()
        assert (received[0].author, received[0].id, received[0].via) == (ada.peer_id, published.id, "gossip")
        assert received[0].to is None


@leaping
async def test_ones_own_publication_reaches_ones_own_handlers() -> None:
    async with world() as w:
        ada = await w.start("ada", types=[Proposal])
        received = collect(ada, "governance.proposal")
        published = await ada.publish(proposal())
        assert published.peers == 0
        await until(lambda: received)
        assert (received[0].payload, received[0].via) == (proposal(), "local")


@leaping
async def test_everything_published_at_once_arrives_in_order() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        await asyncio.gather(*(ada.publish(NOTE, number) for number in range(2_000)))
        await until(lambda: len(received) == 2_000)
        assert [message.payload for message in received] == list(range(2_000))


@leaping
async def test_a_direct_message_is_stored_and_then_handled() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        receipt = await ada.send_direct(ben.peer_id, NOTE, {"amount": 12})
        assert receipt.state == "queued"
        await receipt.stored()
        await receipt.handled()
        assert receipt.state == "handled"
        message = received[0]
        assert (message.id, message.author, message.to, message.via) == (receipt.id, ada.peer_id, ben.peer_id, "direct")
        assert message.payload == {"amount": 12}


@leaping
async def test_direct_messages_arrive_in_order_and_once() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        receipts = [await ada.send_direct(ben.peer_id, NOTE, number) for number in range(3_000)]
        for receipt in receipts:
            await receipt.handled()
        assert [message.payload for message in received] == list(range(3_000))


@leaping
async def test_a_message_of_one_mebibyte_arrives() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        data = b"x" * (1024 * 1024 - 16)
        await (await ada.send_direct(ben.peer_id, NOTE, data)).handled()
        assert received[0].payload == data


@leaping
async def test_a_type_that_nobody_handles_is_stored_and_then_refused_with_the_reason() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        receipt = await ada.send_direct(ben.peer_id, NOTE, "hello")
        await receipt.stored()
        with pytest.raises(MessageRefused, match="nobody there handles this type"):
            await receipt.handled()
        await receipt.stored()


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
        assert ben.stats()["handlers"] == {"failed": 1, "handled": 1}


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
async def test_a_payload_that_does_not_fit_the_type_here_is_refused_with_its_path() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben", types=[Proposal])
        await connect(ada, ben)
        heard, received = Heard(ben), collect(ben, "governance.proposal")
        receipt = await ada.send_direct(ben.peer_id, "governance.proposal", {"title": 5})
        with pytest.raises(MessageRefused, match=r"governance\.proposal"):
            await receipt.handled()
        await ada.publish("governance.proposal", {"id": "x", "title": 5})
        await until(lambda: ben.stats()["dropped"]["payload_mismatch"] == 2)
        assert not received
        assert heard.of(PayloadMismatched)[0].message_id == receipt.id


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
async def test_what_cannot_be_sent_is_told_before_anything_is_sent() -> None:
    async with world() as w:
        ada, ben = await w.pair(types=[])
        with pytest.raises(MessageTooLarge) as large:
            await ada.publish(NOTE, b"x" * 70_000)
        assert large.value.limit_bytes == 65_536
        with pytest.raises(MessageTooLarge):
            await ada.send_direct(ben.peer_id, NOTE, b"x" * (1024 * 1024 + 1))
        with pytest.raises(InvalidMessage, match=r"payload\.price") as floating:
            await ada.publish(NOTE, {"price": 1.5})
        assert floating.value.path == "payload.price"
        with pytest.raises(InvalidMessage):
            await ada.send_direct(ben.peer_id, "not a name", 1)
        with pytest.raises(UnknownMessageType):
            await ada.publish(proposal())
        with pytest.raises(InvalidMessage):
            await ada.send_direct(ada.peer_id, NOTE, 1)
        with pytest.raises(UnknownPeer):
            await ada.send_direct("12D3KooWCMV52Ae8whqh2xD46KxJxo6NaRThgw6bh919wJAGM8HU", NOTE, 1)
        assert ada.stats()["messages"]["direct"]["out"]["messages"] == 0
        assert ada.stats()["messages"]["gossip"]["out"]["messages"] == 0


@leaping
async def test_a_peer_that_is_away_is_told_as_not_connected() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await ada.disconnect_peer(ben.peer_id)
        await until(lambda: not ada.connected_peers())
        with pytest.raises(PeerNotConnected, match="disconnected by the operator"):
            await ada.send_direct(ben.peer_id, NOTE, 1)


@leaping
async def test_what_was_under_way_when_the_connection_fell_arrives_once_after_it_came_back() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        receipts = [await ada.send_direct(ben.peer_id, NOTE, number) for number in range(1_000)]
        await until(lambda: receipts[100].state == "handled")
        w.fabric.cut(ada.peer_id, ben.peer_id)
        w.fabric.heal()
        await until(lambda: not both_see(ada, ben))
        for receipt in receipts:
            await receipt.handled()
        assert [message.payload for message in received] == list(range(1_000))


@leaping
async def test_what_became_of_a_message_while_the_connection_was_down_is_told_afterwards() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        gate = asyncio.Event()

        @ben.subscribe(NOTE)
        async def handle(message: Message[Any]) -> None:
            await gate.wait()

        receipt = await ada.send_direct(ben.peer_id, NOTE, 1)
        await receipt.stored()
        w.fabric.cut(ada.peer_id, ben.peer_id)
        gate.set()
        await until(lambda: ben.stats()["handlers"].get("handled"))
        assert receipt.state == "stored"
        w.fabric.heal()
        await receipt.handled(timeout=timedelta(minutes=3))


@leaping
async def test_gossip_that_handlers_are_too_slow_for_is_dropped_counted_and_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("covm.federation.dispatch.dispatcher.MAX_LANE", 10)
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
async def test_a_message_that_the_peer_does_not_come_back_for_expires() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        collect(ben, NOTE)
        w.fabric.cut(ada.peer_id, ben.peer_id)
        receipt = await ada.send_direct(ben.peer_id, NOTE, 1, time_to_live=timedelta(seconds=20))
        with pytest.raises(DeliveryTimeout):
            await receipt.stored(timeout=timedelta(seconds=5))
        with pytest.raises(MessageExpired):
            await receipt.stored()
        assert ada.stats()["dropped"]["expired"] == 1


@leaping
async def test_a_peer_that_takes_nothing_fills_the_outbox_which_says_so() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        w.fabric.cut(ada.peer_id, ben.peer_id)
        for number in range(10_000):
            await ada.send_direct(ben.peer_id, NOTE, number)
        with pytest.raises(OutboxFull, match="10,000 messages"):
            await ada.send_direct(ben.peer_id, NOTE, "one more")


@leaping
async def test_a_slow_handler_slows_its_sender_and_nobody_else() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        cleo = await w.start("cleo")
        await connect(cleo, ben)
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
        assert sum(receipt.state == "stored" for receipt in flood) < 60, "credit holds the rest back"
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


@leaping
async def test_a_banned_authors_gossip_is_not_taken_whoever_carries_it() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        cleo = await w.start("cleo")
        await connect(cleo, ben)
        received, at_cleo = collect(ada, NOTE), collect(cleo, NOTE)
        await ada.ban_peer(cleo.peer_id, reason="spam")
        await cleo.publish(NOTE, "from the banned one")
        await ben.publish(NOTE, "from ben")
        await until(lambda: received)
        assert [message.payload for message in received] == ["from ben"]
        await until(lambda: len(at_cleo) == 2)
        assert ada.stats()["dropped"]["banned_author"] == 1


@leaping
async def test_the_gossip_log_tells_what_passed() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        collect(ben, NOTE)
        following = ben.follow_gossip_log(NOTE)
        published = await ada.publish(NOTE, 1)
        entry = await anext(following)
        assert (entry.direction, entry.id, entry.author, entry.verdict) == ("in", published.id, ada.peer_id, "accept")
        assert ada.gossip_log(10, NOTE)[0].direction == "out"
        assert ben.gossip_log(10, "other.type") == []


@leaping
async def test_receipts_of_a_node_that_stops_say_that_it_gave_up() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        w.fabric.cut(ada.peer_id, ben.peer_id)
        receipt = await ada.send_direct(ben.peer_id, NOTE, 1)
        await ada.stop()
        assert (receipt.state, "stopped" in receipt.reason) == ("cancelled", True)
