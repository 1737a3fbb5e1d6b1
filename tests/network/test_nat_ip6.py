"""Two nodes behind routers that translate nothing but let nothing in (IPv6), alone and beside IPv4: in namespaces."""

from __future__ import annotations

import pytest
from tests.namespaces import internet
from tests.network.nat_nodes import TRANSPORTS, Node, some_more_arrive, three


async def become_direct(mill: Node, farm: Node) -> None:
    for one, other in ((mill, farm), (farm, mill)):
        punched = await one.hears_of("HolePunched", peer=other.peer)
        assert (punched["reason"], punched["connection"] is None) == ("", False)
        opened = await one.hears_of("ConnectionOpened", peer=other.peer, relayed=False)
        assert opened["address"].startswith("/ip6/2001:db8:"), opened
    await some_more_arrive(mill)


@pytest.mark.namespaces
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_without_ip4_a_relayed_connection_becomes_direct(transport: str) -> None:
    with internet(ip4=False, ip6=True) as net:
        async with three(net, transport, "ip6") as (_, mill, farm):
            await become_direct(mill, farm)


@pytest.mark.namespaces
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_where_the_routers_draw_ports_for_ip4_it_becomes_direct_by_ip6(transport: str) -> None:
    with internet("masquerade random", ip6=True) as net:
        async with three(net, transport, "ip6", "ip4") as (_, mill, farm):
            await become_direct(mill, farm)
