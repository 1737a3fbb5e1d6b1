"""Who is connected to whom, and why not: as operators see it on both networks, and at libp2p's own limits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.network.world import PATIENCE, World, meet

from covm.federation import ConnectionRetry, FederationConfig, FederationService, Identity
from covm.federation.errors import ConnectionFailed, ConnectionLimitReached, NotAdmitted, NotStarted, WrongPeer
from covm.federation.events import PeerConnected
from covm.federation.network.libp2p import Libp2pNetwork
from covm.federation.peers.book import Source
from covm.testing import until

ONCE = ConnectionRetry(max_retries=0, base_delay=timedelta(milliseconds=10), max_delay=timedelta(milliseconds=10))


@pytest.fixture
async def real_world() -> AsyncIterator[World]:
    async with World("libp2p") as made:
        yield made


async def dial_behind_the_operators_back(node: FederationService, other: FederationService) -> None:
    """Dials as the core's Kademlia does in a search: nobody at the node asked for it."""
    await node._node.network.dial(other.peer_id, [other.addresses[0]])


def plain(address: str) -> str:
    return address.partition("/p2p/")[0]


async def apart(one: FederationService, other: FederationService) -> None:
    def no_connection() -> bool:
        return not (one.get_peer_info(other.peer_id).direction or other.get_peer_info(one.peer_id).direction)

    await until(no_connection, timeout=PATIENCE, what="the last connection to close")


async def test_with_connections_both_ways_the_address_that_was_dialled_is_shown(world: World) -> None:
    mill, farm = await world.pair()
    await dial_behind_the_operators_back(mill, farm)
    await until(lambda: mill.get_peer_info(farm.peer_id).direction == "both", timeout=PATIENCE)
    status = mill.get_peer_info(farm.peer_id)
    assert status.addresses[0] == farm.addresses[0]
    assert set(status.addresses) <= set(farm.addresses)


async def test_an_event_names_an_address_at_which_the_peer_listens_or_none(world: World) -> None:
    mill, farm = await world.start(), await world.start()
    events = [mill.events(), farm.events()]
    await asyncio.gather(mill.connect_peer(farm.addresses[0]), farm.connect_peer(mill.addresses[0]))
    for stream, other in zip(events, (farm, mill), strict=True):
        async for event in stream:
            if isinstance(event, PeerConnected):
                assert event.address in ([other.addresses[0]] if event.outbound else ["", *other.addresses])
                break


async def test_who_was_called_can_call_back(world: World) -> None:
    mill, farm = await world.pair()
    await until(lambda: mill.get_peer_info(farm.peer_id).addresses, timeout=PATIENCE)
    assert mill.get_peer_info(farm.peer_id).direction == "inbound"
    assert set(mill.get_peer_info(farm.peer_id).addresses) <= set(farm.addresses)
    await farm.disconnect_peer(mill.peer_id)
    await apart(mill, farm)
    assert set(mill.get_peer_info(farm.peer_id).addresses) <= set(farm.addresses)
    assert await mill.connect_peer(farm.peer_id) == farm.peer_id


@pytest.mark.parametrize("banned", [True, False])
async def test_a_search_of_the_core_brings_nobody_back_who_was_sent_away(world: World, banned: bool) -> None:
    mill, farm = await world.start(enable_kademlia=False), await world.start(enable_kademlia=False)
    await meet(mill, farm)
    if banned:
        await mill.ban_peer(farm.peer_id)
        await mill.unban_peer(farm.peer_id)
    else:
        await mill.disconnect_peer(farm.peer_id)
    await apart(mill, farm)
    events = mill.events()
    for _ in range(3):
        await dial_behind_the_operators_back(mill, farm)
        await apart(mill, farm)
    assert mill.connected_peers() == []
    await meet(farm, mill)
    seen = [event async for event in _until_stopped(mill, events) if isinstance(event, PeerConnected)]
    assert [event.outbound for event in seen] == [False]


async def _until_stopped(node: FederationService, events):  # type: ignore[no-untyped-def]
    await node.stop()
    async for event in events:
        yield event


@pytest.mark.parametrize("banned", [True, False])
async def test_the_operator_calls_back_who_was_sent_away_by_an_address_alone(world: World, banned: bool) -> None:
    mill, farm = await world.start(connection_retry=ONCE), await world.start()
    await meet(mill, farm)
    if banned:
        await mill.ban_peer(farm.peer_id)
        await mill.unban_peer(farm.peer_id)
    else:
        await mill.disconnect_peer(farm.peer_id)
    await apart(mill, farm)
    assert await mill.connect_peer(plain(farm.addresses[0])) == farm.peer_id
    assert mill.get_peer_info(farm.peer_id).direction == "outbound"


async def test_after_a_ban_kademlias_hints_bring_nobody_back(real_world: World) -> None:
    mill, farm = await real_world.start(), await real_world.start()
    await meet(mill, farm)
    book = mill._node.peers._roster.book
    await until(lambda: book.is_found(farm.peer_id), timeout=PATIENCE, what="a hint from Kademlia")
    await mill.ban_peer(farm.peer_id, reason="noisy")
    await apart(mill, farm)
    await mill.unban_peer(farm.peer_id)
    for _ in range(100):
        mill._node.peers._seeker.consider_all()
        await asyncio.sleep(0)
    assert mill.get_peer_info(farm.peer_id).state == "known"
    assert mill.get_peer_info(farm.peer_id).round_trip_ms is None
    await meet(farm, mill)


async def test_where_somebody_else_answers_the_peers_other_addresses_are_tried(world: World) -> None:
    mill, farm, thief = await world.start(), await world.start(), await world.start()
    false, right = plain(thief.addresses[0]), plain(farm.addresses[0])
    mill._node.peers._roster.book.add(farm.peer_id, [false], Source.OPERATOR, 2)
    mill._node.peers._roster.book.add(farm.peer_id, [right], Source.PEER_INFO, 1)
    assert await mill.connect_peer(farm.peer_id) == farm.peer_id
    assert mill.get_peer_info(farm.peer_id).addresses[0] == farm.addresses[0]


async def test_an_address_at_which_somebody_else_answered_is_forgotten(world: World) -> None:
    mill, farm, gone = await world.start(), await world.start(), Identity.generate().peer_id
    with pytest.raises(WrongPeer):
        await mill.connect_peer(farm.addresses[0].replace(farm.peer_id, gone))
    assert mill.get_peer_info(gone).addresses == ()
    assert f"answered as {farm.peer_id}" in mill.get_peer_info(gone).why


async def test_a_banned_peer_is_told_on_dialling_that_a_ban_may_be_the_reason(real_world: World) -> None:
    mill, farm = await real_world.pair(connection_retry=ONCE)
    await mill.ban_peer(farm.peer_id, reason="noisy")
    await apart(mill, farm)
    await farm.disconnect_peer(mill.peer_id)
    with pytest.raises(ConnectionFailed, match="no room for another connection or that banned this one"):
        await farm.connect_peer(mill.addresses[0])


async def test_the_third_connection_to_a_node_of_two_is_refused_and_both_sides_are_told(real_world: World) -> None:
    full = await real_world.start(max_connections=2, connection_retry=ONCE)
    first, second, third = [await real_world.start(connection_retry=ONCE) for _ in range(3)]
    await meet(first, full)
    await meet(second, full)
    with pytest.raises((NotAdmitted, ConnectionFailed), match=r"all 2 connections are in use|no room for another"):
        await third.connect_peer(full.addresses[0])
    with pytest.raises(ConnectionLimitReached) as reached:
        await full.connect_peer(third.addresses[0])
    assert reached.value.limit == 2
    assert set(full.connected_peers()) == {first.peer_id, second.peer_id}
    await first.disconnect_peer(full.peer_id)
    await until(lambda: len(full.connected_peers()) == 1, timeout=PATIENCE)
    await meet(third, full)


async def test_a_full_node_whose_network_has_room_for_a_few_words_says_why(real_world: World) -> None:
    full = await _with_room_to_say_no(max_connections=1)
    async with full:
        first, second = [await real_world.start(connection_retry=ONCE) for _ in range(2)]
        await meet(first, full)
        with pytest.raises(NotAdmitted, match="all 1 connections are in use"):
            await second.connect_peer(full.addresses[0])
        assert full.connected_peers() == [first.peer_id]


async def _with_room_to_say_no(max_connections: int) -> FederationService:
    """A node whose network takes a few connections more than the node, so that those are refused with a reason."""
    identity = Identity.generate()
    config = FederationConfig.preset("local", membership="open", max_connections=max_connections)
    network = Libp2pNetwork(
        identity.keypair, listen=config.listen_addresses, agent="covm", max_connections=max_connections + 16
    )
    return FederationService(identity, config, network=network)


async def test_a_connect_to_a_port_that_stays_silent_can_be_given_up_and_ends_with_the_node(real_world: World) -> None:
    mill, gone = await real_world.start(), Identity.generate().peer_id
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"/ip4/127.0.0.1/tcp/{silent.getsockname()[1]}/p2p/{gone}"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(mill.connect_peer(address), 0.3)
        assert mill.get_peer_info(gone).state == "known"
        trying = asyncio.create_task(mill.connect_peer(address))
        await until(lambda: mill.get_peer_info(gone).state == "dialling", timeout=PATIENCE)
        mill._node.peers.stop()
        with pytest.raises(NotStarted):
            await trying
