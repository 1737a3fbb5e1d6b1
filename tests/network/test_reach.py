"""Nodes that are reached through members' relays, on the loopback: stated private, so that it needs no router."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.network.world import PATIENCE, World, meet

from covm.federation import FederationConfig, FederationService, Identity
from covm.federation.clock import SystemClock
from covm.federation.network.interface import ReachabilityChanged
from covm.federation.peers import detours
from covm.federation.peers.relay_choice import PUBLIC_S
from covm.testing import until


class LeapingClock(SystemClock):
    """The machine's clock, moved on by a test."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World("libp2p") as made:
        yield made


async def relay(world: World, name: str) -> FederationService:
    """A node that others can dial, and that relays for them."""
    return await world.start(name=name, enable_relay=True, reachability="public")


async def home(world: World, name: str, *relays: FederationService) -> FederationService:
    """A node that nobody is to dial, connected to the relays."""
    node = await world.start(name=name, reachability="private", enable_hole_punching=False)
    for each in relays:
        await meet(node, each)
    return node


def places(node: FederationService) -> list[str]:
    return [each.relay for each in node.reachability.relays if each.state == "accepted"]


def through(node: FederationService) -> list[str]:
    return [address for address in node.reachable_at if "/p2p-circuit/" in address]


async def test_a_node_that_nobody_can_dial_is_reached_through_a_member_and_says_where(world: World) -> None:
    square = await relay(world, "Square")
    mill, farm = await home(world, "Mill", square), await home(world, "Farm", square)
    await until(lambda: through(mill), timeout=PATIENCE)
    assert places(mill) == [square.peer_id]
    assert mill.reachable_at[0] == through(mill)[0]
    await farm.connect_peer(through(mill)[0])
    assert mill.peer_id in farm.connected_peers()
    # The others hear of it too, and need to be told nothing by people.
    await until(lambda: through(mill)[0] in square.get_peer_info(mill.peer_id).addresses, timeout=PATIENCE)


async def test_however_many_addresses_relays_have_others_learn_where_a_node_itself_listens(world: World) -> None:
    listen = [f"/ip4/127.0.0.{host}/{way}" for host in (1, 2) for way in ("tcp/0", "udp/0/quic-v1")]
    relays = [
        await world.start(name=name, enable_relay=True, reachability="public", listen_addresses=listen)
        for name in ("Square", "Bridge")
    ]
    mill = await home(world, "Mill", *relays)
    await until(lambda: len(places(mill)) == 2, timeout=PATIENCE)
    own = {address for address in mill.addresses if "/p2p-circuit" not in address}
    await until(lambda: len(mill.addresses) > 6, timeout=PATIENCE)
    assert len(through(mill)) == 2
    assert own < set(mill.reachable_at)
    farm = await home(world, "Farm", relays[0])
    await until(lambda: mill.peer_id in farm.connected_peers(), timeout=PATIENCE)
    for node in (*relays, farm):
        await until(lambda: own <= {way.address for way in node.get_peer_info(mill.peer_id).ways}, timeout=PATIENCE)  # noqa: B023


async def test_two_relays_are_taken_and_a_third_only_when_one_of_them_is_gone(world: World) -> None:
    relays = [await relay(world, name) for name in ("Square", "Bridge", "Gate")]
    mill = await home(world, "Mill", *relays)
    await until(lambda: len(places(mill)) == 2, timeout=PATIENCE)
    lost = next(each for each in relays if each.peer_id in places(mill))
    spare = next(each for each in relays if each.peer_id not in places(mill))
    await lost.stop()
    await until(lambda: spare.peer_id in places(mill), timeout=PATIENCE)
    assert len(places(mill)) == 2
    assert all(lost.peer_id not in address for address in through(mill))
    gone = next(each for each in mill.reachability.relays if each.relay == lost.peer_id)
    assert gone.state == "lost"
    assert gone.why


async def test_a_node_whose_operator_does_not_want_it_relays_for_nobody(world: World) -> None:
    square, bridge = await relay(world, "Square"), await world.start(name="Bridge", reachability="public")
    mill = await home(world, "Mill", bridge, square)
    await until(lambda: places(mill) == [square.peer_id], timeout=PATIENCE)
    assert [each.relay for each in mill.reachability.relays] == [square.peer_id], "the other one was not even asked"


async def test_a_relay_that_carries_nothing_for_somebody_is_passed_by_on_the_other(world: World) -> None:
    """As a relay does that lies about its places: who comes through it finds nobody."""
    liar, bridge = await relay(world, "Square"), await relay(world, "Bridge")
    mill = await home(world, "Mill", liar, bridge)
    await until(lambda: len(places(mill)) == 2, timeout=PATIENCE)
    farm = await world.start(name="Farm", reachability="private", bootstrap_peers=through(mill))
    await liar.ban_peer(farm.peer_id, None, "it is not carried")
    await until(lambda: mill.peer_id in farm.connected_peers(), timeout=PATIENCE)
    [way] = [address for address in farm.get_peer_info(mill.peer_id).addresses if "/p2p-circuit" in address][:1]
    assert f"/p2p/{bridge.peer_id}/p2p-circuit" in way


async def test_a_peer_that_is_reached_through_a_relay_alone_is_dialled_directly_now_and_then(world: World) -> None:
    square, clock = await relay(world, "Square"), LeapingClock()
    mill = await home(world, "Mill", square)
    await until(lambda: through(mill), timeout=PATIENCE)
    config = FederationConfig.preset(
        "local", membership="open", reachability="private", heartbeat_interval=timedelta(hours=1)
    )
    async with FederationService(Identity.generate(), config, clock=clock) as farm:
        await farm.connect_peer(through(mill)[0])
        found = farm._node.peers.connections._roster.get(mill.peer_id)
        assert found is not None
        assert found.is_relayed
        assert found.relayed_why == detours.SWITCHED_OFF
        clock.ahead_s = detours.AGAIN.base_s
        await until(lambda: not found.is_relayed, timeout=PATIENCE)
        assert found.relayed_why == ""
        assert mill.peer_id in farm.connected_peers()


async def test_who_is_reached_directly_for_a_while_gives_the_places_back_and_stays_connected(world: World) -> None:
    square, clock = await relay(world, "Square"), LeapingClock()
    config = FederationConfig.preset(
        "local", membership="open", reachability="private", heartbeat_interval=timedelta(hours=1)
    )
    async with FederationService(Identity.generate(), config, clock=clock) as mill:
        await meet(mill, square)
        await until(lambda: places(mill) == [square.peer_id], timeout=PATIENCE)
        # What the network says once an address was confirmed.
        mill._node.router.on_network_events([ReachabilityChanged("public")])
        clock.ahead_s = PUBLIC_S
        await until(lambda: not places(mill), timeout=PATIENCE)
        assert through(mill) == []
        await until(lambda: square.peer_id in mill.connected_peers(), timeout=PATIENCE)
        [gone] = mill.reachability.relays
        assert (gone.state, gone.why) == ("lost", "this node is reached without a relay")
