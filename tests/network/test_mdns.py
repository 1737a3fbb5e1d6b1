"""Nodes on one segment find each other without being told anything. In namespaces: multicast never leaves the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.conversation import Conversation
from tests.namespaces import segment

pytestmark = pytest.mark.namespaces


class Node(Conversation):
    """A node in a namespace, of the federation of a network's name."""

    peer: str

    @classmethod
    async def start(cls, namespace: str, network: str) -> Node:
        node = await cls.begin("tests.network.mdns_node", network, namespace=namespace)
        node.peer = (await node.hears(lambda said: "peer" in said and "event" not in said))["peer"]
        return node

    async def meets(self, others: Sequence[Node]) -> None:
        for other in others:
            await self.hears_of("met", peer=other.peer)


@asynccontextmanager
async def nodes_on_a_segment(*networks: str) -> AsyncIterator[list[Node]]:
    nodes: list[Node] = []
    with segment(len(networks)) as machines:
        try:
            for machine, network in zip(machines, networks, strict=True):
                nodes.append(await Node.start(machine, network))
            yield nodes
        finally:
            for node in nodes:
                await node.stop()


async def all_meet_and_talk(nodes: Sequence[Node]) -> None:
    for node in nodes:
        await node.meets([other for other in nodes if other is not node])
    await nodes[0].does("publish", "the oven is hot")
    for node in nodes:
        await node.hears_of("heard", text="the oven is hot")


@pytest.mark.parametrize("count", [2, 3])
async def test_nodes_on_one_segment_find_each_other_and_talk(count: int) -> None:
    async with nodes_on_a_segment(*["valley"] * count) as nodes:
        await all_meet_and_talk(nodes)


async def test_a_node_of_another_federation_on_the_segment_is_left_alone_after_it_has_refused() -> None:
    async with nodes_on_a_segment("valley", "valley", "hills") as (mill, farm, stranger):
        await all_meet_and_talk([mill, farm])
        refused = await mill.hears_of("refused", peer=stranger.peer)
        assert "another federation" in refused["reason"]
        await mill.does("rounds", 5)
        # Both may have dialled once, and of each connection each side refuses and hears that it is refused. No more.
        assert len([said for said in mill.said if said.get("event") == "refused"]) <= 3
        assert not [said for said in stranger.said if said.get("event") == "met"]
