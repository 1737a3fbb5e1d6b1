"""What only the real network has: transports, ports, forks, panics, event loops."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import uvloop
from tests.network.world import PATIENCE, PROPOSAL, Inbox, World, meet

from covm import _native
from covm.federation import FederationConfig, FederationService, Identity
from covm.federation.config import ConnectionRetry
from covm.federation.errors import ConnectionFailed, InvalidAddress, NetworkError, NodeFailed
from covm.testing import until


def _port(address: str) -> int:
    return int(address.split("/")[4])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World("libp2p") as made:
        yield made


@pytest.mark.parametrize(
    "listen", ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws", "/ip6/::1/tcp/0"]
)
async def test_messages_travel_over_every_transport(world: World, listen: str) -> None:
    if listen.startswith("/ip6") and not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    mill, farm = await world.pair(listen_addresses=[listen])
    received = Inbox(farm, "governance.proposal")
    await mill.publish("governance.proposal", PROPOSAL)
    await received.holds(1)
    receipt = await farm.send_direct(mill.peer_id, "private.message", "seen")
    await receipt.stored(timeout=PATIENCE)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_a_peer_is_found_by_its_dns_name(world: World) -> None:
    mill, farm = await world.start(), await world.start()
    by_name = mill.addresses[0].replace("/ip4/127.0.0.1/", "/dns4/localhost/")
    await farm.connect_peer(by_name)
    assert list(farm.connected_peers()) == [mill.peer_id]


async def test_a_stopped_node_has_given_its_ports_back(world: World) -> None:
    mill, farm = await world.pair()
    ports = [_port(address) for address in mill.addresses]
    await farm.stop()
    await mill.stop()
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for port in ports:
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if kind == socket.SOCK_STREAM else 0)
                probe.bind(("127.0.0.1", port))


async def test_a_taken_port_is_told_with_what_to_do(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = world.make(listen_addresses=[f"/ip4/127.0.0.1/tcp/{taken.getsockname()[1]}"])
        with pytest.raises(NetworkError, match=r"in use.*free the port"):
            await node.start()


async def test_a_dead_address_is_told_with_the_error_of_each_attempt(world: World) -> None:
    mill = await world.start(
        connection_retry=ConnectionRetry(
            max_retries=1, base_delay=timedelta(milliseconds=10), max_delay=timedelta(milliseconds=10)
        )
    )
    with socket.create_server(("127.0.0.1", 0)) as once:
        port = once.getsockname()[1]
    address = f"/ip4/127.0.0.1/tcp/{port}"
    with pytest.raises(ConnectionFailed) as failed:
        await mill.connect_peer(f"{address}/p2p/{Identity.generate().peer_id}")
    assert any("refused" in error for error in failed.value.attempts.values())


async def test_an_address_that_is_none_is_told(world: World) -> None:
    mill = await world.start()
    for address in ("localhost:9000", "/ip4/127.0.0.1", "/ip4/300.0.0.1/tcp/1", "", "/ip4/127.0.0.1/udp/9000"):
        with pytest.raises(InvalidAddress):
            await mill.connect_peer(address)


async def test_nodes_that_know_one_bootstrap_find_each_other_through_kademlia(world: World) -> None:
    first = await world.start()
    others = [await world.start(bootstrap_peers=[first.addresses[0]]) for _ in range(3)]
    everyone = {node.peer_id for node in (first, *others)}
    await until(
        lambda: all(set(node.connected_peers()) == everyone - {node.peer_id} for node in (first, *others)),
        timeout=PATIENCE,
        what="all four to be connected to each other",
    )


@pytest.mark.parametrize("in_task", [True, False])
async def test_a_panic_in_the_core_ends_the_node_and_not_the_process(world: World, in_task: bool) -> None:
    mill, farm = await world.pair()
    mill._node.network._node.provoke_panic(in_task)  # type: ignore[attr-defined]
    async for event in mill.events():
        if type(event).__name__ == "NodeFailed":
            break
    with pytest.raises(NodeFailed, match="provoked"):
        await mill.publish("village.news", "is anyone there?")
    await mill.stop()
    await until(lambda: not farm.connected_peers(), timeout=PATIENCE)
    third = await world.start()
    await meet(third, farm)


async def _two_nodes_talk() -> list[str]:
    async with World("libp2p") as world:
        mill, farm = await world.pair()
        received = Inbox(farm, "village.news")
        for number in range(100):
            await mill.publish("village.news", f"news {number}")
        await received.holds(100)
        return received.payloads


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_nodes_run_on_either_event_loop(loop_factory) -> None:  # type: ignore[no-untyped-def]
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(_two_nodes_talk()) == [f"news {number}" for number in range(100)]


def test_one_process_runs_nodes_on_one_loop_after_the_other() -> None:
    for _ in range(3):
        with asyncio.Runner() as runner:
            assert len(runner.run(_two_nodes_talk())) == 100


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_every_call_raises_and_nothing_hangs() -> None:
    script = """
import os, sys
from covm import _native
make = lambda: _native.Node(_native.Keypair.generate(), hello=b"x", agent="a", gossip_kind="k",
                            stream_protocols=["/s/1"], announce=[])
node = make()
child = os.fork()
if child == 0:
    told = 0
    for call in (make, lambda: node.drain(1), lambda: node.listen([]), lambda: node.judge([]), node.stop,
                 lambda: node.seal("k", [b"x"]), node.stats, lambda: node.release(1, 1), lambda: node.send(1, [b"x"])):
        try:
            call()
        except RuntimeError as error:
            told += "forked" in str(error)
    os._exit(0 if told == 9 else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(("count", "size"), [(20_000, 10), (1_000, 30_000)])
async def test_a_burst_of_publications_reaches_the_neighbour_whole(world: World, count: int, size: int) -> None:
    mill, farm = await world.pair(gossip_allowance=100_000)
    received = Inbox(farm, "village.news")
    text = "x" * size
    await asyncio.gather(*(mill.publish("village.news", text) for _ in range(count)))
    await received.holds(count)
    assert "gossip_send_queues_full" not in mill.stats()["dropped"]


async def test_a_node_full_of_commands_says_so_and_still_stops(world: World) -> None:
    mill = await world.start()
    nobody = Identity.generate().peer_id
    dials = [asyncio.create_task(mill.connect_peer(f"/ip4/127.0.0.1/tcp/1/p2p/{nobody}")) for _ in range(17_000)]
    await asyncio.sleep(0)
    with pytest.raises(NetworkError, match="busy"):
        await mill.publish("village.news", "is there room?")
    await mill.stop()
    assert all(isinstance(error, Exception) for error in await asyncio.gather(*dials, return_exceptions=True))


async def test_nodes_started_and_stopped_leave_no_descriptor_and_no_task_behind() -> None:
    async def round_trip() -> None:
        async with World("libp2p") as world:
            await world.pair()

    await round_trip()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await round_trip()
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before, timeout=PATIENCE)
    assert len(asyncio.all_tasks()) == 1


async def test_a_service_dropped_without_a_stop_takes_its_core_along() -> None:
    async def dropped() -> None:
        network = FederationService(
            Identity.generate(), FederationConfig.preset("local", membership="open")
        )._node.network
        assert not network.addresses

    await dropped()
    node = _native.Node(
        _native.Keypair.generate(), hello=b"x", agent="a", gossip_kind="k", stream_protocols=["/s/1"], announce=[]
    )
    before = len(os.listdir("/proc/self/fd"))
    del node
    await until(lambda: len(os.listdir("/proc/self/fd")) < before, timeout=PATIENCE)
