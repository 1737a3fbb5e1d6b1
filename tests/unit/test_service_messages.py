"""What the people at two nodes see of messages: published, sent directly, acknowledged, given up."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.service_world import both_see, collect, connect, world
from tests.unit.simulated_world import leaping

from covm.federation import Message
from covm.federation.errors import (
    DeliveryTimeout,
    InvalidMessage,
    MessageExpired,
    MessageTooLarge,
    OutboxFull,
    UnknownMessageType,
    UnknownPeer,
)
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
async def test_what_cannot_be_sent_is_told_before_anything_is_sent() -> None:
    async with world() as w:
        ada, ben = await w.pair(types=[])
        with pytest.raises(MessageTooLarge) as large:
            await ada.publish(NOTE, b"x" * (1024 * 1024 + 1))
        assert large.value.limit_bytes == 1024 * 1024
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
async def test_what_is_sent_to_a_peer_that_is_away_waits_and_arrives_when_it_is_back() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        received = collect(ben, NOTE)
        await ada.disconnect_peer(ben.peer_id)
        await until(lambda: not ada.connected_peers())
        receipt = await ada.send_direct(ben.peer_id, NOTE, 1)
        status = ada.get_peer_info(ben.peer_id)
        assert (receipt.state, status.queued, status.oldest_queued_ms is not None) == ("queued", 1, True)
        await connect(ben, ada)
        await receipt.handled()
        assert [message.payload for message in received] == [1]


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
        ada, ben = await w.pair(outbox_max_messages=1_000)
        w.fabric.cut(ada.peer_id, ben.peer_id)
        for number in range(1_000):
            await ada.send_direct(ben.peer_id, NOTE, number)
        with pytest.raises(OutboxFull, match="1,000 messages"):
            await ada.send_direct(ben.peer_id, NOTE, "one more")


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
