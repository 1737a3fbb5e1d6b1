"""Nodes that know one of them find each other, by each way alone, and a newcomer finds them when that one is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from tests.network.world import Inbox, World

from covm.federation import FederationService
from covm.testing import until

LISTEN = {"listen_addresses": ["/ip4/127.0.0.1/tcp/0"]}
"""TCP alone: a node whose QUIC connections have just ended keeps its port for seconds, and thirty stop one by one."""

WAYS: dict[str, dict[str, Any]] = {
    "kademlia": {**LISTEN, "enable_kademlia": True, "enable_peer_exchange": False},
    "exchange": {**LISTEN, "enable_kademlia": False, "enable_peer_exchange": True},
}
LONG = timedelta(seconds=100)
"""They take a few seconds; on a machine that does other things, more."""

NOTE = "garden.note"

both_ways = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
async def real_world() -> AsyncIterator[World]:
    async with World("libp2p") as made:
        yield made


async def village(world: World, count: int, **changes: Any) -> list[FederationService]:
    first = await world.start(**changes)
    more = [world.start(bootstrap_peers=[first.addresses[0]], **changes) for _ in range(count - 1)]
    return [first, *await asyncio.gather(*more)]


async def all_meet(nodes: Sequence[FederationService]) -> None:
    ids = {node.peer_id for node in nodes}

    def done() -> bool:
        return all({*node.connected_peers(), node.peer_id} >= ids for node in nodes)

    await until(done, timeout=LONG, what=f"{len(nodes)} nodes to be connected with each other")


@both_ways
async def test_thirty_nodes_that_know_one_of_them_are_all_connected(real_world: World, way: str) -> None:
    nodes = await village(real_world, 30, **WAYS[way])
    await all_meet(nodes)
    inboxes = [Inbox(node, NOTE) for node in nodes]
    await nodes[7].publish(NOTE, "to all")
    for inbox in inboxes:
        await inbox.holds(1)


@both_ways
async def test_when_the_node_that_all_began_with_is_gone_a_newcomer_finds_the_others_from_any(
    real_world: World, way: str
) -> None:
    first, *others = await village(real_world, 6, **WAYS[way])
    await all_meet([first, *others])
    known = [first.addresses[0], others[3].addresses[0]]
    await first.stop()
    late = await real_world.start(bootstrap_peers=known, **WAYS[way])
    await all_meet([late, *others])


@both_ways
async def test_a_node_that_nobody_can_dial_finds_the_others_itself(real_world: World, way: str) -> None:
    first, second, third = await village(real_world, 3, **WAYS[way])
    hidden = await real_world.start(**{**WAYS[way], "listen_addresses": [], "bootstrap_peers": [first.addresses[0]]})
    await all_meet([first, second, third, hidden])
