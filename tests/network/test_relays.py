"""Relays as the network interface shows them: over libp2p on loopback, and what the simulated network says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest
from tests.network.join_side import LISTEN, Side
from tests.network.world import PATIENCE

from covm import _native
from covm.federation.clock import SeededRandom
from covm.federation.errors import ConnectionFailed, InvalidAddress, NetworkError
from covm.federation.network import interface as net
from covm.federation.network.libp2p import Libp2pNetwork
from covm.federation.network.simulated import SimulatedFabric
from covm.federation.network.ways import Traversal
from covm.testing import until

RELAY = Traversal(relay_server=True)
MEMBER = Traversal(relay_client=True)


class Member(Side):
    """A side that admits whoever says HELLO."""

    def on_network_events(self, events: Sequence[net.NetworkEvent]) -> None:
        super().on_network_events(events)
        for event in events:
            if isinstance(event, net.HelloReceived):
                self.network.admit(event.connection)


@asynccontextmanager
async def running(*all_of: tuple[Traversal, str]) -> AsyncIterator[list[Member]]:
    async with AsyncExitStack() as stack:
        members = []
        for traversal, reachability in all_of:
            keypair = _native.Keypair.generate()
            network = Libp2pNetwork(
                keypair, listen=LISTEN, agent="covm-test", reachability=reachability, traversal=traversal
            )
            members.append(member := Member(network))
            await network.start(member, b"hello")
            stack.push_async_callback(network.stop)
        yield members


def _relays(side: Member) -> list[str | None]:
    """Through whom its relayed connections go."""
    return [event.relay for event in side.heard(net.ConnectionOpened) if event.relayed]


async def test_a_place_at_a_relay_is_an_address_at_which_others_come_through() -> None:
    async with running((RELAY, "public"), (MEMBER, "auto"), (MEMBER, "auto")) as (relay, mill, farm):
        through = await mill.network.reserve(relay.network.addresses[0])
        assert through.endswith(f"/p2p/{relay.network.peer_id}/p2p-circuit/p2p/{mill.network.peer_id}")
        assert (await mill.hears(net.ReservationChanged)).state == "accepted"
        await until(lambda: through in mill.network.addresses, timeout=PATIENCE, what="the address to be known")
        assert await farm.network.dial(mill.network.peer_id, [through]) == mill.network.peer_id

        for side in (mill, farm):
            await until(partial(_relays, side), timeout=PATIENCE, what="a relayed connection")
            assert _relays(side) == [relay.network.peer_id]
        await mill.network.drop_reservation(relay.network.peer_id)
        await until(lambda: mill.heard(net.ReservationChanged)[-1].state == "lost", timeout=PATIENCE, what="its loss")
        assert through not in mill.network.addresses


async def test_what_cannot_be_is_said_with_the_reason() -> None:
    async with running((RELAY, "public"), (Traversal(), "auto")) as (relay, plain):
        at = relay.network.addresses[0]
        with pytest.raises(NetworkError, match="relay_client is off"):
            await plain.network.reserve(at)
        with pytest.raises(InvalidAddress, match="names no relay"):
            await plain.network.reserve(at.split("/p2p/")[0])
        with pytest.raises(NetworkError, match="relay_server is off"):
            await plain.network.allow_relay(relay.network.peer_id, 1, 60)
        with pytest.raises(NetworkError, match="at most 16 circuits"):
            await relay.network.allow_relay(plain.network.peer_id, 17, 60)
        with pytest.raises(ValueError, match="no time"):
            await relay.network.allow_relay(plain.network.peer_id, 1, -1)
        gone = _native.Keypair.generate().peer_id
        with pytest.raises(ConnectionFailed, match="relay_client is off"):
            await plain.network.dial(gone, [f"{at}/p2p-circuit/p2p/{gone}"])


async def test_a_public_node_is_told_so_and_at_which_addresses() -> None:
    async with running((RELAY, "public")) as (relay,):
        await until(lambda: len(relay.heard(net.ReachabilityChanged)) == 2, timeout=PATIENCE)
        assert relay.heard(net.ReachabilityChanged)[-1].reachability == "public"
        told = await relay.hears(net.ExternalAddressChanged)
        assert (told.source, told.state) == ("announced", "confirmed")
        assert relay.network.addresses[0].startswith(told.address)


async def test_the_simulated_network_has_no_relays_and_says_so() -> None:
    fabric = SimulatedFabric(random=SeededRandom(1))
    network = fabric.network(_native.Keypair.generate(), listen=["/memory/1"], max_connections=5)
    await network.start(Side(network), b"hello")
    with pytest.raises(NetworkError, match="no relays"):
        await network.reserve("/memory/2")
    with pytest.raises(NetworkError, match="no relays"):
        await network.allow_relay(network.peer_id, 1, 60)
    await network.drop_reservation(network.peer_id)
    await network.stop()
