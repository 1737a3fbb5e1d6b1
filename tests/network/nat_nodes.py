"""Bare network nodes (`nat_node`) in namespaces, as a test drives them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.conversation import Conversation
from tests.namespaces import PUBLIC_IP, PUBLIC_IP6, Internet

TRANSPORTS = {"tcp": "tcp/4001", "quic": "udp/4001/quic-v1"}
PUBLIC = {"ip4": f"/ip4/{PUBLIC_IP}", "ip6": f"/ip6/{PUBLIC_IP6}"}
EVERY = {"ip4": "/ip4/0.0.0.0", "ip6": "/ip6/::"}


class Node(Conversation):
    """A bare network node in a namespace."""

    peer: str

    @classmethod
    async def start(
        cls, namespace: str, transport: str, reachability: str, *settings: str, ip: Sequence[str] = ("ip4",)
    ) -> Node:
        """A node that listens on port 4001 with this transport; `settings` are the parts of `Traversal` that are on."""
        listen = ",".join(f"{EVERY[version]}/{TRANSPORTS[transport]}" for version in ip)
        node = await cls.begin("tests.network.nat_node", listen, reachability, *settings, namespace=namespace)
        node.peer = (await node.hears(lambda said: "peer" in said))["peer"]
        return node


@asynccontextmanager
async def three(net: Internet, transport: str, *ip: str) -> AsyncIterator[tuple[Node, Node, Node]]:
    """The public node and the two at home, of which the second has dialled the first through the public one.

    They listen on these versions of IP, and reach it by the first.
    """
    nodes: list[Node] = []
    ip = ip or ("ip4",)
    public = PUBLIC[ip[0]]
    try:
        nodes.append(relay := await Node.start(net.public, transport, "public", "relay_server", ip=ip))
        nodes.append(mill := await Node.start(net.homes[0], transport, "auto", "relay_client", "dcutr", ip=ip))
        nodes.append(farm := await Node.start(net.homes[1], transport, "auto", "relay_client", "dcutr", ip=ip))
        place = await mill.does("reserve", f"{public}/{TRANSPORTS[transport]}/p2p/{relay.peer}")
        await farm.does("send", mill.peer)
        assert await farm.does("dial", mill.peer, [place]) == mill.peer
        for one, other in ((mill, farm), (farm, mill)):
            opened = await one.hears_of("ConnectionOpened", peer=other.peer)
            assert (opened["relayed"], opened["relay"]) == (True, relay.peer)
            await one.hears_of("PeerAdmitted", peer=other.peer, connection=opened["connection"])
        yield relay, mill, farm
    finally:
        for node in nodes:
            await node.stop()


async def some_more_arrive(at: Node) -> None:
    """Several hundred frames later, none of all is missing or out of its turn."""
    before = (await at.does("received", 0))["received"]
    assert (await at.does("received", before + 500))["wrong"] is None
