"""Bare network nodes (`nat_node`) in namespaces, as a test drives them."""

from __future__ import annotations

from tests.conversation import Conversation

TRANSPORTS = {"tcp": "tcp/4001", "quic": "udp/4001/quic-v1"}


class Node(Conversation):
    """A bare network node in a namespace."""

    peer: str

    @classmethod
    async def start(cls, namespace: str, transport: str, reachability: str, *settings: str) -> Node:
        """A node that listens on port 4001 with this transport; `settings` are the parts of `Traversal` that are on."""
        listen = f"/ip4/0.0.0.0/{TRANSPORTS[transport]}"
        node = await cls.begin("tests.network.nat_node", listen, reachability, *settings, namespace=namespace)
        node.peer = (await node.hears(lambda said: "peer" in said))["peer"]
        return node
