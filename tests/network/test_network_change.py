"""What becomes of addresses and connections when the network changes: in namespaces, and on both networks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.namespaces import PUBLIC_IP, cable, close_ports, forward_port, internet, ip
from tests.network.join_side import Sides
from tests.network.nat_nodes import TRANSPORTS, Node

from covm.federation.errors import NotStarted
from covm.federation.network.interface import DIRECT_PROTOCOL, ConnectionClosed, PeerAdmitted


@asynccontextmanager
async def ended_after(*nodes: Node) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for node in nodes:
            await node.stop()


@pytest.mark.namespaces
async def test_a_port_that_is_opened_at_the_router_is_found_and_one_that_is_closed_is_missed() -> None:
    with internet() as net:
        far = await Node.start(net.public, "tcp", "public", "autonat")
        home = await Node.start(net.homes[0], "tcp", "auto", "autonat")
        async with ended_after(far, home):
            await home.does("dial", far.peer, [f"/ip4/{PUBLIC_IP}/{TRANSPORTS['tcp']}"])
            await home.hears_of("ReachabilityChanged", reachability="private")
            forward_port(net.routers[0], "tcp", 4001, "10.8.1.2")
            await home.does("network_changed")
            told = await home.hears_of("ExternalAddressChanged", state="confirmed")
            assert (told["address"], told["source"]) == ("/ip4/198.51.100.3/tcp/4001", "autonat")
            await home.hears_of("ReachabilityChanged", reachability="public")
            close_ports(net.routers[0])
            await home.does("network_changed")
            told = await home.hears_of("ExternalAddressChanged", state="expired")
            assert told["detail"] == "the network has changed"
            await home.hears_of("ReachabilityChanged", reachability="private")


@pytest.mark.namespaces
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_connections_of_an_address_that_goes_are_closed_at_once_and_made_again_from_the_new_one(
    transport: str,
) -> None:
    with cable() as (left, right):
        mill, farm = await Node.start(left, transport, "auto"), await Node.start(right, transport, "auto")
        async with ended_after(mill, farm):
            there = [f"/ip4/10.99.0.2/{TRANSPORTS[transport]}"]
            await mill.does("dial", farm.peer, there)
            await mill.hears_of("PeerAdmitted", peer=farm.peer)
            ip("-n", left, "address", "add", "10.99.0.3/24", "dev", "cable")
            ip("-n", left, "address", "delete", "10.99.0.1/24", "dev", "cable")
            # The second address of a network goes with its first.
            ip("-n", left, "address", "replace", "10.99.0.3/24", "dev", "cable")
            await mill.hears_of("ConnectionClosed", peer=farm.peer, remaining=0)
            assert await mill.does("dial", farm.peer, there) == farm.peer


@pytest.mark.parametrize("kind", ["simulated", "libp2p"])
async def test_where_the_addresses_stay_so_do_the_connections(kind: str) -> None:
    async with Sides(kind) as sides:
        guest, ours, host, theirs = await sides.greeted()
        guest.network.admit(ours)
        host.network.admit(theirs)
        await guest.hears(PeerAdmitted)
        guest.network.network_changed()
        assert await guest.network.open_stream(host.network.peer_id, DIRECT_PROTOCOL)
        assert not guest.heard(ConnectionClosed)
        await guest.network.stop()
        with pytest.raises(NotStarted):
            guest.network.network_changed()
