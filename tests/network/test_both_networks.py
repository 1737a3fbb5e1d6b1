"""What users are promised, the same on the simulated network and on libp2p."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.network.world import PATIENCE, PROPOSAL, Inbox, World, meet

from covm.federation import ConnectionRetry, Identity, Message, Refusal
from covm.federation.errors import (
    AlreadyStarted,
    DeliveryTimeout,
    InvalidMessage,
    MessageRefused,
    MessageTooLarge,
    NotAdmitted,
    NotStarted,
    PeerBanned,
    UnknownPeer,
    WrongPeer,
)
from covm.testing import until

TYPE = "governance.proposal"


async def test_a_published_proposal_arrives_typed_with_its_author_proven(world: World) -> None:
    mill, farm = await world.pair()
    received = Inbox(farm, TYPE)
    published = await mill.publish(TYPE, PROPOSAL)
    await received.holds(1)
    message = received.messages[0]
    assert message.payload == PROPOSAL
    assert (message.id, message.type, message.author, message.via) == (published.id, TYPE, mill.peer_id, "gossip")
    assert published.peers == 1


async def test_what_is_published_reaches_ones_own_handlers_too(world: World) -> None:
    mill = await world.start()
    own = Inbox(mill, TYPE)
    published = await mill.publish(TYPE, PROPOSAL)
    await own.holds(1)
    assert published.peers == 0
    assert own.messages[0].author == mill.peer_id


async def test_a_message_travels_through_a_node_that_has_no_handler_for_it(world: World) -> None:
    mill, between, farm = await world.start(), await world.start(), await world.start()
    await meet(mill, between)
    await meet(farm, between)
    received = Inbox(farm, "village.news")
    await mill.publish("village.news", {"text": "the oven is warm"})
    await received.holds(1)
    assert received.messages[0].author == mill.peer_id
    assert received.payloads == [{"text": "the oven is warm"}]


async def test_a_direct_message_is_stored_and_then_handled(world: World) -> None:
    mill, farm = await world.pair()
    received = Inbox(farm, "private.message")
    receipt = await mill.send_direct(farm.peer_id, "private.message", "the flour is on its way")
    await receipt.stored(timeout=PATIENCE)
    await receipt.handled(timeout=PATIENCE)
    assert receipt.state == "handled"
    message = received.messages[0]
    assert (message.payload, message.author, message.to) == ("the flour is on its way", mill.peer_id, farm.peer_id)


async def test_the_first_message_of_a_peer_can_be_answered_at_once(world: World) -> None:
    farm = await world.start()

    @farm.subscribe("village.news")
    async def _answer(message: Message[str]) -> None:
        await farm.send_direct(message.author, "private.message", f"thanks for {message.payload}")

    for number in range(20):
        mill = await world.start()
        answers = Inbox(mill, "private.message")
        await mill.connect_peer(farm.addresses[0])
        await mill.publish("village.news", f"news {number}")
        await answers.holds(1)
        assert answers.payloads == [f"thanks for news {number}"]


async def test_direct_messages_keep_their_order_both_ways(world: World) -> None:
    mill, farm = await world.pair()
    at_farm, at_mill = Inbox(farm, "count.up"), Inbox(mill, "count.down")
    for number in range(500):
        await mill.send_direct(farm.peer_id, "count.up", number)
        await farm.send_direct(mill.peer_id, "count.down", -number)
    await at_farm.holds(500)
    await at_mill.holds(500)
    assert at_farm.payloads == list(range(500))
    assert at_mill.payloads == [-number for number in range(500)]


async def test_a_direct_message_of_one_mebibyte_arrives_whole_and_a_larger_one_is_refused_at_once(
    world: World,
) -> None:
    mill, farm = await world.pair()
    received = Inbox(farm, "files.part")
    part = bytes(range(256)) * 4095
    receipt = await mill.send_direct(farm.peer_id, "files.part", part)
    await receipt.handled(timeout=PATIENCE)
    assert received.payloads == [part]
    with pytest.raises(MessageTooLarge) as refused:
        await mill.send_direct(farm.peer_id, "files.part", bytes(2**20 + 1))
    assert refused.value.size_bytes > refused.value.limit_bytes == 2**20


async def test_a_handler_that_raises_costs_its_message_and_nothing_else(world: World) -> None:
    mill, farm = await world.pair()
    handled: list[int] = []

    @farm.subscribe("count.up")
    async def _fragile(message: Message[int]) -> None:
        if message.payload == 1:
            raise ValueError("one is too few")
        handled.append(message.payload)

    receipts = [await mill.send_direct(farm.peer_id, "count.up", number) for number in range(3)]
    await receipts[2].handled(timeout=PATIENCE)
    assert handled == [0, 2]
    await until(lambda: receipts[1].state == "quarantined", timeout=PATIENCE)


async def test_a_payload_that_does_not_fit_is_told_with_its_path_and_not_sent(world: World) -> None:
    mill = await world.start()
    with pytest.raises(InvalidMessage) as refused:
        await mill.publish(TYPE, {"id": "7", "title": 3})
    assert "payload" in refused.value.path
    with pytest.raises(InvalidMessage) as refused:
        await mill.publish("shop.price", {"items": [{"price": 1.5}]})
    assert refused.value.path == "payload.items[0].price"


async def test_a_direct_message_that_nobody_handles_waits_there_until_somebody_does(world: World) -> None:
    mill, farm = await world.pair()
    receipt = await mill.send_direct(farm.peer_id, "private.message", "anyone?")
    await receipt.stored(timeout=PATIENCE)
    assert receipt.state == "stored"
    taken: list[Any] = []
    farm.subscribe("private.message", lambda message: taken.append(message.payload))
    await receipt.handled(timeout=PATIENCE)
    assert taken == ["anyone?"]


async def test_a_handler_that_refuses_a_message_says_so_to_its_sender(world: World) -> None:
    mill, farm = await world.pair()

    @farm.subscribe("private.message")
    def refuse(message: Message[Any]) -> None:
        raise Refusal("we are closed")

    receipt = await mill.send_direct(farm.peer_id, "private.message", "a loaf")
    with pytest.raises(MessageRefused, match="we are closed"):
        await receipt.handled(timeout=PATIENCE)
    assert (receipt.state, receipt.reason) == ("refused", "we are closed")


async def test_a_message_waits_for_a_peer_that_is_away_and_nobody_writes_to_one_that_is_unknown(world: World) -> None:
    mill, farm = await world.pair()
    taken: list[Any] = []
    farm.subscribe("private.message", lambda message: taken.append(message.payload))
    await mill.disconnect_peer(farm.peer_id)
    await until(lambda: not mill.connected_peers(), timeout=PATIENCE)
    receipt = await mill.send_direct(farm.peer_id, "private.message", "hello?")
    assert receipt.state == "queued"
    with pytest.raises(UnknownPeer):
        await mill.send_direct(Identity.generate().peer_id, "private.message", "hello?")
    with pytest.raises(UnknownPeer):
        mill.get_peer_info(Identity.generate().peer_id)
    await farm.connect_peer(mill.addresses[0])
    await receipt.handled(timeout=PATIENCE)
    assert taken == ["hello?"]


async def test_a_banned_peer_is_gone_and_cannot_return_until_the_ban_is_lifted(world: World) -> None:
    mill, farm = await world.pair()
    await mill.ban_peer(farm.peer_id, timedelta(minutes=5), reason="too loud")
    await until(lambda: not mill.connected_peers() and not farm.connected_peers(), timeout=PATIENCE)
    assert [ban.reason for ban in mill.bans()] == ["too loud"]
    with pytest.raises(PeerBanned):
        await mill.connect_peer(farm.addresses[0])
    await mill.unban_peer(farm.peer_id)
    await meet(mill, farm)


async def test_a_node_of_another_network_is_refused_and_both_are_told_why(world: World) -> None:
    mill = await world.start(network="valley")
    stranger = await world.start(network="coast")
    with pytest.raises(NotAdmitted, match=r"another federation.*set the same network on both"):
        await stranger.connect_peer(mill.addresses[0])
    assert not mill.connected_peers()
    assert not stranger.connected_peers()


async def test_another_peer_than_the_address_names_is_not_taken_for_it(world: World) -> None:
    mill, farm = await world.start(), await world.start()
    wrong = f"{mill.addresses[0].rsplit('/p2p/')[0]}/p2p/{Identity.generate().peer_id}"
    with pytest.raises(WrongPeer) as refused:
        await farm.connect_peer(wrong)
    assert refused.value.found == mill.peer_id


async def test_a_peer_that_comes_back_is_found_again_and_messages_flow(world: World) -> None:
    who = Identity.generate()
    mill = await world.start()
    first = world.make(who)
    async with first:
        await meet(first, mill)
    await until(lambda: not mill.connected_peers(), timeout=PATIENCE)
    second = await world.start(who)
    await meet(second, mill)
    received = Inbox(mill, "private.message")
    receipt = await second.send_direct(mill.peer_id, "private.message", "back again")
    await receipt.handled(timeout=PATIENCE)
    assert received.payloads == ["back again"]


async def test_a_bootstrap_peer_is_called_again_after_it_was_lost(world: World) -> None:
    mill = await world.start()
    retry = ConnectionRetry(base_delay=timedelta(milliseconds=50), max_delay=timedelta(milliseconds=200))
    farm = await world.start(bootstrap_peers=[mill.addresses[0]], connection_retry=retry)
    await until(lambda: mill.peer_id in farm.connected_peers(), timeout=PATIENCE)
    await mill.disconnect_peer(farm.peer_id)
    await until(lambda: not mill.connected_peers(), timeout=PATIENCE)
    await until(lambda: mill.peer_id in farm.connected_peers(), timeout=PATIENCE)


async def test_a_receipt_that_is_awaited_in_vain_says_so_and_stays_good(world: World) -> None:
    mill, farm = await world.pair()
    release = asyncio.Event()

    @farm.subscribe("slow.work")
    async def _slow(message: Message[str]) -> None:
        await release.wait()

    receipt = await mill.send_direct(farm.peer_id, "slow.work", "take your time")
    await receipt.stored(timeout=PATIENCE)
    with pytest.raises(DeliveryTimeout) as late:
        await receipt.handled(timeout=timedelta(milliseconds=1))
    assert late.value.state == "stored"
    release.set()
    await receipt.handled(timeout=PATIENCE)


async def test_a_service_is_started_once_and_used_while_it_runs(world: World) -> None:
    mill = world.make()
    with pytest.raises(NotStarted):
        await mill.publish("village.news", "too early")
    async with mill:
        with pytest.raises(AlreadyStarted):
            await mill.start()
    with pytest.raises(NotStarted):
        await mill.publish("village.news", "too late")
    with pytest.raises(AlreadyStarted):
        await mill.start()
    await mill.stop()


async def test_the_gossip_log_tells_what_came_and_went(world: World) -> None:
    mill, farm = await world.pair()
    received = Inbox(farm, TYPE)
    published = await mill.publish(TYPE, PROPOSAL)
    await received.holds(1)
    out, came = mill.gossip_log()[-1], farm.gossip_log()[-1]
    assert (out.id, came.id) == (published.id, published.id)
    assert (came.type, came.author) == (TYPE, mill.peer_id)


async def test_heartbeats_measure_the_round_trip_between_nodes(world: World) -> None:
    mill, farm = await world.pair(heartbeat_interval=timedelta(milliseconds=200))
    await until(lambda: mill.get_peer_info(farm.peer_id).clock_offset_ms is not None, timeout=PATIENCE)
    info = mill.get_peer_info(farm.peer_id)
    assert info.name == "Riverside Farm"
    assert info.round_trip_ms is not None


async def test_a_peer_that_left_while_a_handler_was_slow_is_not_slowed_for_ever(world: World) -> None:
    mill, farm = await world.pair()
    release = asyncio.Event()
    handled: list[int] = []

    @farm.subscribe("slow.work")
    async def _slow(message: Message[bytes]) -> None:
        await release.wait()
        handled.append(len(message.payload))

    part = bytes(300_000)
    for _ in range(3):
        receipt = await mill.send_direct(farm.peer_id, "slow.work", part)
        await receipt.stored(timeout=PATIENCE)
    await mill.disconnect_peer(farm.peer_id)
    await until(lambda: not mill.connected_peers() and not farm.connected_peers(), timeout=PATIENCE)
    await meet(mill, farm)
    release.set()
    for _ in range(6):
        receipt = await mill.send_direct(farm.peer_id, "slow.work", part)
        await receipt.handled(timeout=PATIENCE)
    assert handled == [300_000] * 9
