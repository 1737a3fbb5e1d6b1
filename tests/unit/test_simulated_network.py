"""Nodes of the simulated network meet, admit each other, and part. Time leaps: no test waits."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.simulated_world import (
    TOPIC,
    Node,
    World,
    key,
    leaping,
    pair,
    pass_time,
    rest,
)

from covm.federation.errors import (
    AlreadyStarted,
    ConnectionFailed,
    ConnectionLimitReached,
    InvalidAddress,
    MessageTooLarge,
    NetworkError,
    NodeFailed,
    NotStarted,
    PeerBanned,
    PeerNotConnected,
    WrongPeer,
)
from covm.federation.network.interface import (
    DIRECT_PROTOCOL,
    ConnectionClosed,
    ConnectionOpened,
    GossipReceived,
    HelloReceived,
    JoinFailed,
    JoinRefused,
    Network,
    NetworkFailed,
    PeerAdmitted,
    PeerIdentified,
    PeerUnadmitted,
    StreamOpened,
    TopicJoined,
)
from covm.federation.network.simulated import LinkFaults, SimulatedFabric, limits
from covm.federation.network.simulated.packets import Gossip, StreamFrames, StreamOpen, Subscribe
from covm.federation.wire.kinds import Kind

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_a_network_like_any_other() -> None:
    network: Network = SimulatedFabric().network(key(1))
    assert network.peer_id == key(1).peer_id


@leaping
async def test_two_nodes_meet_admit_each_other_and_are_open() -> None:
    one, other = await pair()
    for here, there, outbound in ((one, other, True), (other, one, False)):
        (opened,) = here.heard(ConnectionOpened)
        assert (opened.peer, opened.outbound) == (there.peer, outbound)
        (hello,) = here.heard(HelloReceived)
        assert hello.hello.startswith(b"hello from")
        assert here.heard(PeerAdmitted) == [PeerAdmitted(there.peer, opened.connection)]
        assert here.heard(TopicJoined) == [TopicJoined(there.peer, TOPIC)]
        (identified,) = here.heard(PeerIdentified)
        assert identified.addresses == there.network.addresses


@leaping
async def test_an_address_ends_in_the_peer_id_and_a_free_port_is_found() -> None:
    world = World()
    node = await world.node(listen=["/ip4/0.0.0.0/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/memory/7"])
    for address in node.network.addresses:
        assert address.endswith(f"/p2p/{node.peer}")
        assert "/0/" not in address
    assert node.network.addresses[2] == f"/memory/7/p2p/{node.peer}"


@leaping
async def test_a_refused_peer_hears_why_and_the_connection_ends() -> None:
    world = World()
    one, other = await world.nodes(2)
    other.admits = "another network: å" + "x" * 300
    await one.dial(other)
    (refused,) = one.heard(JoinRefused)
    assert refused.reason.startswith("another network: å")
    assert len(refused.reason.encode()) <= 256
    for node in (one, other):
        assert len(node.heard(ConnectionClosed)) == 1
        assert not node.heard(PeerAdmitted)


@leaping
async def test_one_that_admits_alone_gets_neither_gossip_nor_streams() -> None:
    world = World()
    one, other = await world.nodes(2)
    other.admits = False
    await one.dial(other)
    assert await one.publish(b"too early") == 0
    with pytest.raises(PeerNotConnected):
        await one.network.open_stream(other.peer, DIRECT_PROTOCOL)
    assert not one.heard(PeerAdmitted)
    assert not one.heard(TopicJoined)


@leaping
async def test_a_stranger_that_goes_on_without_admission_is_not_heard() -> None:
    world = World()
    one, other = await world.nodes(2)
    other.admits = False
    await one.dial(other)
    end = one.network._running().end(1)
    assert end is not None
    (envelope,) = await one.network.seal(Kind.MESSAGE, [b"let me in"])
    for packet in (Subscribe((TOPIC,)), Gossip(TOPIC, envelope), StreamOpen(0, DIRECT_PROTOCOL)):
        end.send(packet)
    end.send(StreamFrames(0, (b"hello",)))
    await rest(one)
    assert not [event for event in other.events if isinstance(event, GossipReceived | TopicJoined | StreamOpened)]
    assert other.network.stats()["drops"] == {"not_admitted": 4}


@leaping
async def test_a_hello_that_is_never_answered_fails_after_five_seconds() -> None:
    world = World()
    one, other = await world.nodes(2)
    other.admits = False
    await one.dial(other)
    await pass_time(4.9)
    assert not one.heard(JoinFailed)
    await pass_time(0.2)
    assert len(one.heard(JoinFailed)) == len(one.heard(ConnectionClosed)) == len(other.heard(ConnectionClosed)) == 1


@leaping
async def test_a_hello_larger_than_a_page_is_never_said() -> None:
    node = Node(SimulatedFabric().network(key(1)))
    with pytest.raises(MessageTooLarge, match="4,096 bytes, the limit is 4,095"):
        await node.network.start(node, bytes(4096))
    await node.network.start(node, bytes(4095))


@leaping
async def test_strangers_cannot_take_more_than_their_places() -> None:
    world = World()
    host = await world.node()
    host.admits = False
    strangers = await world.nodes(limits.STRANGERS_INBOUND + 3)
    for stranger in strangers:
        await stranger.dial(host)
    assert len(host.heard(ConnectionOpened)) == limits.STRANGERS_INBOUND
    assert [bool(stranger.heard(ConnectionClosed)) for stranger in strangers[-3:]] == [True] * 3


@leaping
async def test_dialling_says_how_it_failed() -> None:
    world = World()
    one, other, third = await world.nodes(3)
    dial = one.network.dial
    with pytest.raises(ConnectionFailed, match="/memory/999: connection refused"):
        await dial(other.peer, ["/memory/999"])
    with pytest.raises(ConnectionFailed, match="no address is known"):
        await dial(other.peer, [])
    with pytest.raises(InvalidAddress, match="somewhere"):
        await dial(None, ["somewhere"])
    with pytest.raises(InvalidAddress, match="65536"):
        await dial(None, ["/ip4/127.0.0.1/tcp/65536"])
    with pytest.raises(InvalidAddress, match="this node itself"):
        await dial(None, one.network.addresses)
    base = third.network.addresses[0].partition("/p2p/")[0]
    with pytest.raises(WrongPeer) as wrong:
        await dial(None, [f"{base}/p2p/{other.peer}"])
    assert (wrong.value.expected, wrong.value.found) == (other.peer, third.peer)
    with pytest.raises(WrongPeer):
        await dial(other.peer, third.network.addresses)
    assert await dial(other.peer, ["/memory/999", *other.network.addresses]) == other.peer
    await rest(one)


@leaping
async def test_a_full_node_neither_dials_nor_answers() -> None:
    world = World()
    full = await world.node(max_connections=1)
    one, other = await world.nodes(2)
    await full.dial(one)
    with pytest.raises(ConnectionLimitReached, match="all 1 connections"):
        await full.network.dial(None, other.network.addresses)
    await other.dial(full)
    assert len(other.heard(ConnectionClosed)) == 1
    assert len(full.heard(ConnectionOpened)) == 1


@leaping
async def test_one_peer_does_not_take_every_place() -> None:
    one, other = await pair()
    for _ in range(limits.CONNECTIONS_PER_PEER - 1):
        await one.dial(other)
    for here, there in ((one, other), (other, one)):
        with pytest.raises(ConnectionLimitReached):
            await here.network.dial(None, there.network.addresses)


@leaping
async def test_a_blocked_peer_is_thrown_out_and_kept_out_until_it_is_unblocked() -> None:
    one, other = await pair()
    one.network.block(other.peer)
    await rest(one)
    assert one.heard(PeerUnadmitted) == [PeerUnadmitted(other.peer)]
    assert other.heard(PeerUnadmitted) == [PeerUnadmitted(one.peer)]
    with pytest.raises(PeerBanned):
        await one.network.dial(None, other.network.addresses)
    await other.dial(one)
    assert len(one.heard(ConnectionOpened)) == 1
    assert len(other.heard(ConnectionClosed)) == 2
    one.network.unblock(other.peer)
    await other.dial(one)
    assert len(one.heard(PeerAdmitted)) == 2


@leaping
async def test_of_two_connections_the_last_one_matters() -> None:
    one, other = await pair()
    await other.dial(one)
    assert len(one.heard(PeerAdmitted)) == 2
    assert len(one.heard(TopicJoined)) == 1
    await one.network.disconnect(other.peer)
    await rest(one)
    assert [closed.remaining for closed in one.heard(ConnectionClosed)] == [1, 0]
    assert len(one.heard(PeerUnadmitted)) == len(other.heard(PeerUnadmitted)) == 1


@leaping
async def test_a_network_runs_once_between_start_and_stop() -> None:
    world = World()
    one, other = await world.line(2)
    with pytest.raises(AlreadyStarted):
        await one.network.start(one, b"")
    await one.network.stop()
    await one.network.stop()
    before = len(one.events)
    await rest(other)
    assert len(one.events) == before
    assert len(other.heard(PeerUnadmitted)) == 1
    with pytest.raises(NotStarted):
        await one.network.publish(TOPIC, [])
    with pytest.raises(ConnectionFailed):
        await other.network.dial(None, one.network.addresses)


@leaping
async def test_an_address_in_use_is_named_and_free_again_after_a_stop() -> None:
    world = World()
    one = await world.node(listen=["/ip4/127.0.0.1/tcp/9000"])
    with pytest.raises(NetworkError, match=r"cannot listen on /ip4/0\.0\.0\.0/tcp/9000.*in use"):
        await world.node(listen=["/memory/8", "/ip4/0.0.0.0/tcp/9000"])
    await one.network.stop()
    await world.node(listen=["/memory/8", "/ip4/0.0.0.0/tcp/9000"])


@leaping
async def test_a_dial_under_way_ends_with_the_node() -> None:
    world = World(LinkFaults(latency=timedelta(seconds=1)))
    one, other = await world.nodes(2)
    dialling = asyncio.ensure_future(one.network.dial(None, other.network.addresses))
    await asyncio.sleep(0)
    await one.network.stop()
    with pytest.raises(NotStarted):
        await dialling


@leaping
async def test_a_core_that_fails_says_so_last_and_every_call_raises() -> None:
    one, other = await pair()
    opening = asyncio.ensure_future(one.network.open_stream(other.peer, DIRECT_PROTOCOL))
    await asyncio.sleep(0)
    one.network.fail("a panic")
    assert one.events[-1] == NetworkFailed("a panic")
    with pytest.raises(NodeFailed, match="a panic"):
        await opening
    with pytest.raises(NodeFailed):
        one.network.judge([])
    await rest(other)
    assert isinstance(one.events[-1], NetworkFailed)
    assert len(other.heard(PeerUnadmitted)) == 1


def bounds_of_the_core() -> dict[str, float]:
    text = (ROOT / "native/core/src/limits.rs").read_text()
    bounds: dict[str, float] = {}
    for name, value in re.findall(r"^pub const (\w+): \w+ = (.+);$", text, re.MULTILINE):
        seconds = value.replace("Duration::from_secs", "").replace("Duration::from_millis", "0.001 * ")
        bounds[name] = eval(seconds, {}, dict(bounds))
    return bounds


def test_the_bounds_are_those_of_the_native_core() -> None:
    ours, _, own = Path(limits.__file__).read_text().partition("# --- the simulation's own")
    assert own
    core = bounds_of_the_core()
    for name in re.findall(r"^([A-Z_]+) = ", ours, re.MULTILINE):
        assert getattr(limits, name) == core[name if name in core else re.sub(r"_(BYTES|S)$", "", name)], name
