"""Two nodes behind two routers, and one public node: in namespaces, with nftables as the routers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.namespaces import PUBLIC_IP, Internet, internet
from tests.network.nat_nodes import TRANSPORTS, Node


@asynccontextmanager
async def three(net: Internet, transport: str) -> AsyncIterator[tuple[Node, Node, Node]]:
    """The public node and the two at home, of which the second has dialled the first through the public one."""
    nodes: list[Node] = []
    try:
        nodes.append(relay := await Node.start(net.public, transport, "public", "relay_server"))
        nodes.append(mill := await Node.start(net.homes[0], transport, "auto", "relay_client", "dcutr"))
        nodes.append(farm := await Node.start(net.homes[1], transport, "auto", "relay_client", "dcutr"))
        through = await mill.does("reserve", f"/ip4/{PUBLIC_IP}/{TRANSPORTS[transport]}/p2p/{relay.peer}")
        await farm.does("send", mill.peer)
        assert await farm.does("dial", mill.peer, [through]) == mill.peer
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


@pytest.mark.namespaces
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_relayed_connection_becomes_direct_and_outlives_its_relay(transport: str) -> None:
    with internet() as net:
        async with three(net, transport) as (relay, mill, farm):
            for one, other in ((mill, farm), (farm, mill)):
                punched = await one.hears_of("HolePunched", peer=other.peer)
                assert (punched["reason"], punched["connection"] is None) == ("", False)
            assert (await farm.hears_of("StreamClosed"))["reason"] == "moved to a direct connection"
            await some_more_arrive(mill)
            # The relay is not needed any more: first the nodes leave it, then it is gone.
            await mill.hears_of("ConnectionClosed", peer=farm.peer, remaining=1)
            await relay.stop()
            await mill.hears_of("ReservationChanged", relay=relay.peer, state="lost")
            await some_more_arrive(mill)


@pytest.mark.namespaces
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_behind_routers_that_draw_ports_it_stays_relayed_and_says_why(transport: str) -> None:
    with internet("masquerade random") as net:
        async with three(net, transport) as (_, mill, farm):
            for one, other in ((mill, farm), (farm, mill)):
                punched = await one.hears_of("HolePunched", peer=other.peer)
                assert punched["connection"] is None
                assert "198.51.100." in punched["reason"], punched
            await some_more_arrive(mill)


@pytest.mark.namespaces
async def test_a_node_behind_a_router_learns_that_it_is_private_and_that_the_router_opens_no_port() -> None:
    with internet() as net:
        nodes: list[Node] = []
        try:
            nodes.append(public := await Node.start(net.public, "tcp", "public", "autonat"))
            nodes.append(home := await Node.start(net.homes[0], "tcp", "auto", "autonat", "upnp"))
            await home.does("dial", public.peer, [f"/ip4/{PUBLIC_IP}/{TRANSPORTS['tcp']}/p2p/{public.peer}"])
            told = await home.hears_of("ExternalAddressChanged", source="autonat")
            assert (told["address"], told["state"]) == ("/ip4/198.51.100.3/tcp/4001", "unreachable")
            await home.hears_of("ReachabilityChanged", reachability="private")
            told = await home.hears_of("ExternalAddressChanged", source="upnp")
            assert (told["address"], told["state"]) == ("", "unreachable")
        finally:
            for node in nodes:
                await node.stop()
