"""Whole nodes behind routers, in namespaces with nftables: by their settings alone, nobody tells them of relays."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.conversation import Conversation
from tests.namespaces import PUBLIC_IP, SECOND_IP, Internet, internet, within

LISTEN = {"tcp": "tcp/4001", "quic": "udp/4001/quic-v1"}
NOTHING_WRONG: dict[str, list[int]] = {"missing": [], "twice": []}

SOON_OVER = (8, 12, 8 << 30)
"""Terms of a relay: seconds of a place and of a circuit, and its bytes."""

CARRIES_NOTHING = (3600, 0, 8 << 30)
"""Each circuit is over as soon as it is open."""

NOT_TO_THE_OTHER = """
table ip blocked {
    chain through { type filter hook forward priority -10; ip daddr 198.51.100.4 drop; }
}
"""

pytestmark = pytest.mark.namespaces


class Node(Conversation):
    """A whole node in a namespace."""

    peer: str

    @classmethod
    async def start(cls, namespace: str, transport: str, **settings: Any) -> Node:
        given = {"listen_addresses": [f"/ip4/0.0.0.0/{LISTEN[transport]}"], "membership": "open", **settings}
        node = await cls.begin("tests.network.routed_node", json.dumps(given), namespace=namespace)
        node.peer = (await node.hears(lambda said: "peer" in said))["peer"]
        return node


class Valley:
    """Nodes in an internet; ended when the story is."""

    def __init__(self, net: Internet, transport: str) -> None:
        self.net = net
        self.transport = transport
        self.nodes: list[Node] = []
        self.bootstrap: list[str] = []

    async def start(self, namespace: str, **settings: Any) -> Node:
        given = {"bootstrap_peers": self.bootstrap, "enable_mdns": False, **settings}
        self.nodes.append(node := await Node.start(namespace, self.transport, **given))
        return node

    async def relay(self, namespace: str, ip: str, **settings: Any) -> Node:
        """A public node, which all that start later know."""
        node = await self.start(namespace, reachability="public", name="square", **settings)
        self.bootstrap = [*self.bootstrap, f"/ip4/{ip}/{LISTEN[self.transport]}/p2p/{node.peer}"]
        return node

    async def homes(self, **settings: Any) -> tuple[Node, Node]:
        """The nodes at home, of which the second has dialled the first at the address that this one gives."""
        mill = await self.start(self.net.homes[0], name="mill", **settings)
        farm = await self.start(self.net.homes[1], name="farm", **settings)
        await mill.does("places", *(address.rpartition("/")[2] for address in self.bootstrap))
        through = (await mill.does("at"))[0]
        assert "/p2p-circuit/" in through
        for node in (mill, farm):
            for bootstrap in self.bootstrap:
                await node.does("connected", bootstrap.rpartition("/")[2])
        await farm.does("connect", through)
        return mill, farm


@asynccontextmanager
async def valley(net: Internet, transport: str) -> AsyncIterator[Valley]:
    made = Valley(net, transport)
    try:
        yield made
    finally:
        for node in made.nodes:
            await node.stop()


async def all_arrives_once(sender: Node, receiver: Node) -> None:
    """What was sent since `send`, and all that was published, has come, each once."""
    count = await sender.does("rest")
    assert count > 0
    assert await receiver.does("took", count) == {"direct": NOTHING_WRONG, "gossip": NOTHING_WRONG}


@pytest.mark.parametrize("transport", LISTEN)
async def test_two_nodes_behind_routers_find_a_direct_way_and_no_message_is_lost_on_it(transport: str) -> None:
    with internet() as net:
        async with valley(net, transport) as here:
            await here.relay(net.public, PUBLIC_IP)
            mill, farm = await here.homes()
            await farm.does("send", mill.peer)
            await mill.does("direct", farm.peer)
            await farm.does("direct", mill.peer)
            assert await mill.does("punched") == [[farm.peer, True]]
            await all_arrives_once(farm, mill)


@pytest.mark.parametrize("transport", LISTEN)
async def test_behind_routers_that_draw_ports_they_stay_relayed_and_say_why(transport: str) -> None:
    with internet("masquerade random") as net:
        async with valley(net, transport) as here:
            await here.relay(net.public, PUBLIC_IP)
            mill, farm = await here.homes()
            await farm.does("send", mill.peer)
            for one, other in ((mill, farm), (farm, mill)):
                await one.does("relayed", other.peer)
                why = await one.does("why", other.peer, "hole punching failed: ")
                assert "198.51.100." in why, why
            await all_arrives_once(farm, mill)


async def test_a_pair_that_stays_relayed_goes_on_past_the_terms_of_its_relay() -> None:
    with internet("masquerade random") as net:
        async with valley(net, "tcp") as here:
            square = await here.relay(net.public, PUBLIC_IP, relay_terms=SOON_OVER)
            mill, farm = await here.homes()
            await farm.does("relayed", mill.peer)
            place = await mill.does("place", square.peer)
            await farm.does("send", mill.peer)
            await farm.does("met", mill.peer, 3)  # a circuit has ended each time; the place was renewed five times
            await all_arrives_once(farm, mill)
            assert await mill.does("place", square.peer) == place


async def test_where_a_relay_gives_places_and_carries_nothing_another_one_carries() -> None:
    with internet("masquerade random") as net:
        async with valley(net, "tcp") as here:
            liar = await here.relay(net.public, PUBLIC_IP, relay_terms=CARRIES_NOTHING)
            honest = await here.relay(net.second, SECOND_IP)
            mill = await here.start(net.homes[0], name="mill")
            await mill.does("places", liar.peer, honest.peer)
            farm = await here.start(net.homes[1], name="farm")
            await farm.does("connected", mill.peer)  # told of it by the relays
            await farm.does("through", mill.peer, honest.peer)
            await farm.does("send", mill.peer)
            await all_arrives_once(farm, mill)


async def test_a_hole_that_could_not_be_punched_is_tried_again_later() -> None:
    with internet() as net:
        async with valley(net, "tcp") as here:
            await here.relay(net.public, PUBLIC_IP)
            within(net.routers[0], "nft", "-f", "-", told=NOT_TO_THE_OTHER)
            mill, farm = await here.homes(hurried=True)
            for one, other in ((mill, farm), (farm, mill)):
                await one.does("why", other.peer, "hole punching failed: ")
            within(net.routers[0], "nft", "delete", "table", "ip", "blocked")
            await farm.does("send", mill.peer)
            await farm.does("direct", mill.peer)
            await all_arrives_once(farm, mill)


async def test_when_the_relay_dies_direct_connections_live_and_places_move_to_another() -> None:
    with internet() as net:
        async with valley(net, "tcp") as here:
            first = await here.relay(net.public, PUBLIC_IP)
            mill, farm = await here.homes()
            await farm.does("direct", mill.peer)
            # A second relay comes up, and the nodes hear of it.
            second = await here.relay(net.second, SECOND_IP)
            for node in (mill, farm):
                await node.does("connect", here.bootstrap[-1])
            await farm.does("send", mill.peer)
            await first.stop()
            await mill.does("places", second.peer)
            await farm.does("places", second.peer)
            await mill.does("direct", farm.peer)
            await all_arrives_once(farm, mill)


async def test_relayed_connections_move_to_another_relay_when_theirs_dies() -> None:
    with internet("masquerade random") as net:
        async with valley(net, "tcp") as here:
            relays = [await here.relay(net.public, PUBLIC_IP), await here.relay(net.second, SECOND_IP)]
            mill, farm = await here.homes()
            await farm.does("relayed", mill.peer)
            used = (await farm.does("relays", mill.peer))[0]
            await farm.does("send", mill.peer)
            await next(relay for relay in relays if relay.peer == used).stop()
            left = next(relay for relay in relays if relay.peer != used)
            await farm.does("through", mill.peer, left.peer)
            await all_arrives_once(farm, mill)


async def test_a_lone_public_node_relays_and_serves_kademlia_from_its_first_minute() -> None:
    with internet() as net:
        async with valley(net, "tcp") as here:
            square = await here.relay(net.public, PUBLIC_IP)
            mill = await here.start(net.homes[0])
            await mill.does("places", square.peer)
            await mill.does("reached", "private")
            # Nobody tells the mill of this one but Kademlia, which the square answers.
            bridge = await here.start(net.second, reachability="public", enable_relay=False)
            await mill.does("connected", bridge.peer)
