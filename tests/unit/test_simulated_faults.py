"""Faults of the simulated network: latency, jitter, loss, cuts and partitions, the same for the same seed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.simulated_world import (
    LeapingLoop,
    World,
    leaping,
    pair,
    rest,
    stream_between,
)

from covm.federation.errors import (
    ConnectionFailed,
)
from covm.federation.network.interface import (
    FramesReceived,
    GossipReceived,
    NetworkEvent,
    PeerUnadmitted,
)
from covm.federation.network.simulated import LinkFaults, SimulatedFabric


@leaping
async def test_what_is_due_in_one_turn_comes_as_one_batch() -> None:
    one, other = await pair(latency=timedelta(milliseconds=10))
    mine, _ = await stream_between(one, other)
    before = len(other.batches)
    await one.publish(*(b"%d" % index for index in range(50)))
    one.network.try_send(mine, [b"x"])
    one.network.try_send(mine, [b"y", b"z"])
    await rest(one)
    (batch,) = other.batches[before:]
    assert len(batch) == 51
    assert isinstance(batch[-1], FramesReceived)
    assert batch[-1].frames == [b"x", b"y", b"z"]


@leaping
async def test_latency_is_the_time_a_message_takes() -> None:
    one, other = await pair(latency=timedelta(milliseconds=250))
    began_s = asyncio.get_running_loop().time()
    await one.publish(b"slow")
    await rest(one)
    assert other.bodies == [b"slow"]
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(0.25)


@leaping
async def test_jitter_and_loss_delay_streams_but_neither_reorder_nor_lose() -> None:
    one, other = await pair(latency=timedelta(milliseconds=20), jitter=timedelta(milliseconds=50), loss=0.3)
    mine, _ = await stream_between(one, other)
    sent = [b"%d" % index for index in range(200)]
    for frame in sent:
        assert one.network.try_send(mine, [frame])
    await rest(one)
    assert other.frames == [b"first", *sent]


@leaping
async def test_lost_gossip_is_gone() -> None:
    one, other = await pair(loss=0.5)
    for index in range(200):
        await one.publish(b"%d" % index)
    await rest(one)
    assert 50 < len(other.bodies) < 150
    assert one.network.stats()["drops"]["lost_on_link"] == 200 - len(other.bodies)


@pytest.mark.parametrize(
    "faults", [{"loss": 1.0}, {"loss": -0.1}, {"latency": timedelta(-1)}, {"jitter": timedelta(-1)}]
)
def test_faults_that_make_no_sense_are_refused(faults: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not"):
        LinkFaults(**faults)


@leaping
async def test_a_partition_parts_and_healing_lets_meet_again() -> None:
    world = World()
    nodes = await world.line(4)
    groups = [[node.peer for node in nodes[:2]], [node.peer for node in nodes[2:]]]
    await nodes[1].publish(b"under way")
    world.fabric.partition(groups)
    await rest(*nodes)
    assert nodes[0].bodies == [b"under way"]
    assert nodes[2].bodies == []
    assert [len(node.heard(PeerUnadmitted)) for node in nodes] == [0, 1, 1, 0]
    with pytest.raises(ConnectionFailed, match="the network is cut"):
        await nodes[1].network.dial(None, nodes[2].network.addresses)
    world.fabric.heal()
    await nodes[1].dial(nodes[2])
    await nodes[0].publish(b"together")
    await rest(*nodes)
    assert nodes[3].bodies == [b"together"]


def test_a_peer_is_on_one_side_of_a_partition() -> None:
    with pytest.raises(ValueError, match="two groups"):
        SimulatedFabric().partition([["a", "b"], ["b"]])


@leaping
async def test_a_cut_link_leaves_the_others() -> None:
    world = World()
    nodes = await world.line(3)
    await nodes[0].dial(nodes[2])
    world.fabric.cut(nodes[0].peer, nodes[2].peer)
    await rest(*nodes)
    await nodes[0].publish(b"the long way")
    await rest(*nodes)
    assert nodes[2].heard(GossipReceived)[-1].source == nodes[1].peer
    with pytest.raises(ConnectionFailed, match="the network is cut"):
        await nodes[0].network.dial(None, nodes[2].network.addresses)
    world.fabric.heal()
    await nodes[0].dial(nodes[2])
    assert len(nodes[2].heard(PeerUnadmitted)) == 1


async def _story(seed: int) -> list[tuple[float, str, NetworkEvent]]:
    world = World(LinkFaults(timedelta(milliseconds=5), timedelta(milliseconds=30), 0.2), seed=seed)
    nodes = await world.line(4)
    for node in nodes:
        await node.publish(*(node.peer.encode() + b"%d" % index for index in range(20)))
    await rest(*nodes)
    return [(asyncio.get_running_loop().time(), node.peer, event) for node in nodes for event in node.events]


def test_the_same_seed_tells_the_same_story() -> None:
    stories = []
    for seed in (1, 1, 2):
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            stories.append(runner.run(_story(seed)))
    assert stories[0] == stories[1]
    assert stories[0] != stories[2]
