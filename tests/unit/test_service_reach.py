"""What a node knows of how it is reached, and whom it asks for a place: whole nodes in a world whose time leaps.

The simulated network has no relays, so every request is refused; what the network would tell is said by the tests.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
from tests.unit.outbox_world import virtually
from tests.unit.service_world import World, connect, world

from covm.federation import FederationService
from covm.federation.network.interface import (
    ExternalAddressChanged,
    HolePunched,
    NetworkEvent,
    ReachabilityChanged,
)
from covm.federation.peers import detours, reach
from covm.federation.reachability import OwnAddress
from covm.testing import until

HOUR = timedelta(hours=1)


def hears(node: FederationService, *events: NetworkEvent) -> None:
    """The node's network says this."""
    node._node.router.on_network_events(events)


async def village(w: World, relays: int) -> tuple[FederationService, list[FederationService]]:
    """A node that nobody can dial, connected to some that say that they relay."""
    mill = await w.start("mill")
    squares = [await w.start(f"square {number}", enable_relay=True) for number in range(relays)]
    for each in squares:
        await connect(mill, each)
        hears(each, ReachabilityChanged("public"))
    return mill, squares


def says_relay(node: FederationService, at: FederationService) -> bool:
    info = at._node.peers.connections._roster.obtain(node.peer_id).info
    return info is not None and "relay" in info.capabilities


def tries(node: FederationService, relay: FederationService) -> int:
    place = node._node.reach._places.get(relay.peer_id)
    return 0 if place is None else place.failures


def says(relay: FederationService, *addresses: str) -> None:
    """The node says that it relays, and that it is at these addresses."""
    info = relay._node.peers._describe()
    told = msgspec.structs.replace(info, addresses=list(addresses), capabilities=[*info.capabilities, reach.RELAY])
    relay._node.peers._describe = lambda: told
    relay._node.peers.announce()


@virtually
async def test_a_node_says_that_it_relays_once_others_can_dial_it_and_no_longer() -> None:
    async with world() as w:
        mill, [square] = await village(w, 1)
        await until(lambda: says_relay(square, mill))
        hears(square, ReachabilityChanged("private"))
        await until(lambda: not says_relay(square, mill))


@virtually
async def test_a_relay_that_refuses_is_asked_again_less_and_less_often() -> None:
    async with world() as w:
        mill, [square] = await village(w, 1)
        hears(mill, ReachabilityChanged("private"))
        await asyncio.sleep(300)
        early = tries(mill, square)
        await asyncio.sleep(600)
        assert 2 < early < 20
        assert tries(mill, square) - early < early
        [place] = mill.reachability.relays
        assert (place.relay, place.state) == (square.peer_id, "refused")
        assert "has no relays" in place.why


@virtually
async def test_a_relay_is_asked_where_it_was_reached_and_not_where_it_says_that_it_is() -> None:
    async with world() as w:
        mill, square, bridge = [await w.start(name) for name in ("mill", "square", "bridge")]
        await connect(mill, square)
        await connect(bridge, mill)
        for each in (square, bridge):
            says(each, "/ip4/198.51.100.9/tcp/0", "/ip4/0.0.0.0/tcp/9000", "/ip4/198.51.100.9/tcp/4001")
        await until(lambda: says_relay(square, mill) and says_relay(bridge, mill))
        hears(mill, ReachabilityChanged("private"))
        await until(lambda: tries(mill, square) and tries(mill, bridge), timeout=HOUR)
        places = mill._node.reach._places
        assert places[square.peer_id].address == square.addresses[0]
        assert places[bridge.peer_id].address == f"/ip4/198.51.100.9/tcp/4001/p2p/{bridge.peer_id}"
        assert places[bridge.peer_id].outside == ""


@virtually
async def test_where_two_refuse_a_third_is_asked_and_a_public_node_asks_nobody() -> None:
    async with world() as w:
        mill, squares = await village(w, 3)
        hears(mill, ReachabilityChanged("private"))
        await until(lambda: all(tries(mill, each) for each in squares), timeout=HOUR)
        farm = await w.start("farm")
        for each in squares:
            await connect(farm, each)
        hears(farm, ReachabilityChanged("public"))
        await asyncio.sleep(60)
        assert farm.reachability.relays == ()


@virtually
async def test_the_newest_word_on_each_address_is_kept_and_no_more_than_some() -> None:
    async with world() as w:
        mill = await w.start("mill")
        at = "/ip4/203.0.113.7/tcp/9000"
        hears(mill, ExternalAddressChanged(at, "autonat", "unreachable", "nobody came through"))
        assert mill.reachability.addresses == (OwnAddress(at, "autonat", "unreachable", "nobody came through"),)
        assert not any(at in each for each in mill.reachable_at)
        hears(mill, ExternalAddressChanged(at, "autonat", "confirmed", ""))
        assert mill.reachable_at[0] == f"{at}/p2p/{mill.peer_id}"
        many = (
            ExternalAddressChanged(f"/ip4/203.0.113.8/tcp/{port}", "autonat", "unreachable", "")
            for port in range(1, 2 * reach.MAX_ADDRESSES)
        )
        hears(mill, *many)
        assert len(mill.reachability.addresses) == reach.MAX_ADDRESSES


@virtually
async def test_what_the_router_answers_is_said() -> None:
    async with world() as w:
        mill = await w.start("mill")
        hears(mill, ExternalAddressChanged("", "upnp", "unreachable", "no router here speaks UPnP"))
        assert mill.reachability.upnp == "no router here speaks UPnP"
        hears(mill, ExternalAddressChanged("/ip4/203.0.113.7/tcp/9000", "upnp", "confirmed", ""))
        assert mill.reachability.upnp == ""
        assert mill.reachability.addresses[0].source == "upnp"


@virtually
async def test_what_came_of_punching_holes_is_kept_for_some_peers_the_newest_first() -> None:
    async with world() as w:
        mill = await w.start("mill")
        hears(mill, *(HolePunched(f"peer {number}", None, "\x1b[2J" * 1000) for number in range(1000)))
        kept = mill.reachability.punches
        assert len(kept) == detours.MAX_PUNCHES
        assert kept[0].peer == "peer 999"
        assert "\x1b" not in kept[0].why
        assert len(kept[0].why) <= detours.MAX_REASON


@virtually
async def test_of_a_hole_that_cannot_be_punched_any_more_it_is_known_when_it_could() -> None:
    async with world() as w:
        mill = await w.start("mill")
        hears(mill, HolePunched("peer", None, "timed out"))
        [never] = mill.reachability.punches
        assert never.worked_ms is None
        hears(mill, HolePunched("peer", 7, ""))
        [worked] = mill.reachability.punches
        assert worked.worked_ms == worked.at_ms
        await asyncio.sleep(3600)
        hears(mill, HolePunched("peer", None, "timed out"))
        [punch] = mill.reachability.punches
        assert (punch.worked, punch.why, punch.worked_ms) == (False, "timed out", worked.at_ms)
        assert punch.at_ms > worked.at_ms


@virtually
async def test_what_cannot_be_reached_pushes_out_no_address_that_can() -> None:
    async with world() as w:
        mill = await w.start("mill")
        hears(mill, ExternalAddressChanged("/ip4/203.0.113.5/tcp/9000", "autonat", "confirmed", ""))
        lies = (f"/ip4/203.0.113.6/tcp/{port}" for port in range(1, 1000))
        hears(mill, *(ExternalAddressChanged(each, "autonat", "unreachable", "no answer") for each in lies))
        assert len(mill.reachability.addresses) == reach.MAX_ADDRESSES
        assert mill.reachable_at[0].startswith("/ip4/203.0.113.5/tcp/9000/")
