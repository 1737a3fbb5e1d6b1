"""A router that opens a port when it is asked (UPnP), and routers that do not: in namespaces, with miniupnpd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.namespaces import internet, upnp
from tests.network.nat_nodes import TRANSPORTS, Node

OUTSIDE = "203.0.114"
"""Addresses that look like real ones: a router at one for documentation is taken for one behind another router."""


@asynccontextmanager
async def two(public: str, home: str, transport: str) -> AsyncIterator[tuple[Node, Node]]:
    nodes: list[Node] = []
    try:
        nodes.append(outside := await Node.start(public, transport, "public"))
        nodes.append(inside := await Node.start(home, transport, "auto", "upnp"))
        yield outside, inside
    finally:
        for node in nodes:
            await node.stop()


@pytest.mark.namespaces
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_router_opens_a_port_by_which_others_come_in(transport: str, tmp_path: Path) -> None:
    with internet(outside=OUTSIDE) as net, upnp(net.routers[0], tmp_path):
        async with two(net.public, net.homes[0], transport) as (far, mill):
            told = await mill.hears_of("ExternalAddressChanged", source="upnp")
            opened = f"/ip4/{OUTSIDE}.3/{TRANSPORTS[transport]}"
            assert (told["address"], told["state"]) == (opened, "confirmed")
            await mill.hears_of("ReachabilityChanged", reachability="public")
            assert await far.does("dial", mill.peer, [opened]) == mill.peer


@pytest.mark.namespaces
async def test_a_router_that_has_no_public_address_opens_no_port_and_that_is_told(tmp_path: Path) -> None:
    with internet(outside="192.168.9") as net, upnp(net.routers[0], tmp_path):
        async with two(net.public, net.homes[0], "tcp") as (_, mill):
            told = await mill.hears_of("ExternalAddressChanged", source="upnp")
            assert (told["address"], told["state"]) == ("", "unreachable")
