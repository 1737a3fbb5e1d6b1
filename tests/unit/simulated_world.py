"""A loop whose time leaps, and nodes of a simulated network that write down what they hear."""

from __future__ import annotations

import asyncio
import functools
import itertools
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from covm import _native
from covm.federation.clock import SeededRandom
from covm.federation.network.interface import (
    DIRECT_PROTOCOL,
    FramesReceived,
    GossipReceived,
    HelloReceived,
    NetworkEvent,
    StreamOpened,
    Verdict,
)
from covm.federation.network.simulated import LinkFaults, SimulatedFabric, SimulatedNetwork
from covm.federation.wire.kinds import Kind

TOPIC = "/covm/test"
MIB = 1024 * 1024
Event = TypeVar("Event")


class LeapingLoop(asyncio.SelectorEventLoop):
    """Where nothing is ready, time leaps to the next timer."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(LeapingSelector(self))

    def time(self) -> float:
        return self.now_s


class LeapingSelector(selectors.SelectSelector):
    def __init__(self, loop: LeapingLoop) -> None:
        super().__init__()
        self.loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("the test waits for something that will never happen")
        self.loop.now_s += max(0.0, timeout)
        return super().select(0)


def leaping(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(story)
    def told(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            runner.run(story(*args, **kwargs))

    return told


class Node:
    """A network and a handler that admits, accepts and releases, unless a test says otherwise."""

    def __init__(self, network: SimulatedNetwork) -> None:
        self.network = network
        self.peer = network.peer_id
        self.events: list[NetworkEvent] = []
        self.batches: list[list[NetworkEvent]] = []
        self.admits: bool | str = True
        self.verdict: Verdict | None = Verdict.ACCEPT
        self.releases = True

    def on_network_events(self, events: Sequence[NetworkEvent]) -> None:
        self.batches.append(list(events))
        for event in events:
            self.events.append(event)
            match event:
                case HelloReceived(connection) if self.admits is True:
                    self.network.admit(connection)
                case HelloReceived(connection) if isinstance(self.admits, str):
                    self.network.refuse(connection, self.admits)
                case FramesReceived(stream, _, frames) if self.releases:
                    self.network.release(stream, sum(map(len, frames)))
        waiting = [event.handle for event in events if isinstance(event, GossipReceived)]
        if waiting and self.verdict is not None:
            self.network.judge([(handle, self.verdict) for handle in waiting])

    def heard(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def bodies(self) -> list[bytes]:
        return [event.body for event in self.heard(GossipReceived)]

    @property
    def frames(self) -> list[bytes]:
        return [frame for event in self.heard(FramesReceived) for frame in event.frames]

    async def publish(self, *bodies: bytes) -> int:
        published = await self.network.publish(TOPIC, await self.network.seal(Kind.MESSAGE, bodies))
        return published[0].peers

    async def dial(self, other: Node) -> None:
        assert await self.network.dial(None, other.network.addresses) == other.peer
        await rest(self)


async def rest(*nodes: Node, turns: int = 5) -> None:
    """Until nothing is under way in the fabric."""
    traffic = nodes[0].network._fabric.traffic
    await traffic.idle()
    for _ in range(turns):
        await asyncio.sleep(0)
    await traffic.idle()


async def pass_time(seconds: float) -> None:
    await asyncio.sleep(seconds)


def key(index: int) -> _native.Keypair:
    return _native.Keypair.from_seed(bytes([index]) * 32)


class World:
    """A fabric with started nodes, subscribed to the topic, not connected."""

    def __init__(self, faults: LinkFaults | None = None, seed: int = 0) -> None:
        self.fabric = SimulatedFabric(random=SeededRandom(seed), faults=faults)
        self.count = 0

    async def node(self, *, subscribed: bool = True, **options: Any) -> Node:
        self.count += 1
        node = Node(self.fabric.network(key(self.count), **options))
        await node.network.start(node, b"hello from %d" % self.count)
        if subscribed:
            await node.network.subscribe(TOPIC)
        return node

    async def nodes(self, count: int) -> list[Node]:
        return [await self.node() for _ in range(count)]

    async def line(self, count: int) -> list[Node]:
        nodes = await self.nodes(count)
        for one, other in itertools.pairwise(nodes):
            await one.dial(other)
        return nodes


async def pair(**faults: Any) -> tuple[Node, Node]:
    one, other = await World(LinkFaults(**faults)).line(2)
    return one, other


async def stream_between(one: Node, other: Node) -> tuple[int, int]:
    mine = await one.network.open_stream(other.peer, DIRECT_PROTOCOL)
    assert one.network.try_send(mine, [b"first"])
    await rest(one)
    return mine, other.heard(StreamOpened)[-1].stream


def damaged(envelope: bytes) -> bytes:
    return envelope[:-1] + bytes([envelope[-1] ^ 1])
