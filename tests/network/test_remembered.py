"""Peers that are found again over real sockets: without bootstrap, after a restart, after a lost connection."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.network.world import PATIENCE, World, meet

from covm.federation import FederationService, Identity
from covm.federation.errors import NetworkError
from covm.testing import until

LOOPBACK = "/ip4/127.0.0.1/tcp/0"


@pytest.fixture
async def real_world() -> AsyncIterator[World]:
    async with World("libp2p") as made:
        yield made


def together(one: FederationService, other: FederationService) -> bool:
    return other.peer_id in one.connected_peers() and one.peer_id in other.connected_peers()


def plain(node: FederationService) -> list[str]:
    return [address.partition("/p2p/")[0] for address in node.addresses]


async def test_a_node_that_restarts_finds_its_peers_although_its_bootstrap_is_gone(
    real_world: World, tmp_path: Path
) -> None:
    identity = Identity.generate()
    bootstrap, friend = [await real_world.start(listen_addresses=[LOOPBACK]) for _ in range(2)]
    settings = {"home": str(tmp_path), "enable_kademlia": False}
    node = await real_world.start(identity, bootstrap_peers=[bootstrap.addresses[0]], **settings)
    await until(lambda: together(node, bootstrap), timeout=PATIENCE)
    await node.connect_peer(friend.addresses[0])
    await node.stop()
    await bootstrap.stop()
    again = await real_world.start(identity, **settings)
    await until(lambda: together(again, friend), timeout=PATIENCE, what="the friend to be found again")
    assert again.get_peer_info(friend.peer_id).direction == "outbound"
    (way, *_) = again.get_peer_info(friend.peer_id).ways
    assert way.worked_ms is not None
    gone = again.get_peer_info(bootstrap.peer_id)
    await until(
        lambda: again.get_peer_info(bootstrap.peer_id).ways[0].error, timeout=PATIENCE, what="the bootstrap to be tried"
    )
    assert not gone.is_connected


async def test_a_kept_peer_that_restarts_is_there_again_within_moments(real_world: World) -> None:
    identity = Identity.generate()
    node, peer = await real_world.start(), await real_world.start(identity, listen_addresses=[LOOPBACK])
    await meet(node, peer)
    addresses = plain(peer)
    await peer.stop()
    again = await real_world.start(identity, listen_addresses=addresses)
    began_s = time.monotonic()
    await until(lambda: together(node, again), timeout=PATIENCE, what="the peer to be there again")
    assert time.monotonic() - began_s < 10


async def test_a_kept_connection_that_is_closed_is_there_again_within_moments(world: World) -> None:
    node, peer = await world.pair()
    before = set(peer._node.peers._roster.obtain(node.peer_id).connections)
    assert before
    await peer._node.network.disconnect(node.peer_id)
    await until(lambda: not before & set(peer._node.peers._roster.obtain(node.peer_id).connections), timeout=PATIENCE)
    await until(lambda: together(node, peer), timeout=PATIENCE, what="the connection to be there again")


async def test_a_kept_peer_takes_the_place_of_a_stranger_and_the_stranger_learns_why(real_world: World) -> None:
    node = await real_world.start(max_connections=1)
    stranger, kept = await real_world.start(), await real_world.start()
    await meet(stranger, node)
    node._node.peers._roster.obtain(stranger.peer_id).admitted_s -= 60  # it came a minute ago
    await node.connect_peer(kept.addresses[0])
    await until(lambda: node.connected_peers() == [kept.peer_id], timeout=PATIENCE, what="the stranger to go")
    await until(
        lambda: "all 1 connections are in use" in stranger.get_peer_info(node.peer_id).last_error,
        timeout=PATIENCE,
        what="the stranger to be told",
    )


@pytest.mark.parametrize("address", ["/ip4/127.0.0.1/tcp/0", "/ip4/0.0.0.0/tcp/9", "/ip4/127.0.0.1/udp/9"])
async def test_an_address_that_leads_nowhere_is_refused_with_the_reason(world: World, address: str) -> None:
    node = await world.start()
    with pytest.raises(NetworkError, match=r"port 0|every address|QUIC"):
        await node.connect_peer(f"{address}/p2p/{Identity.generate().peer_id}")
    assert node.peers() == []
