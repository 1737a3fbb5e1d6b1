"""Two bare networks, simulated or real, whose application decides nothing by itself: the test does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Self, TypeVar

from tests.network.world import PATIENCE

from covm import _native
from covm.federation.clock import SeededRandom
from covm.federation.network.interface import (
    ConnectionClosed,
    HelloReceived,
    JoinTalked,
    JoinTalkSent,
    Network,
    NetworkEvent,
)
from covm.federation.network.libp2p import Libp2pNetwork
from covm.federation.network.simulated import SimulatedFabric
from covm.testing import until

Event = TypeVar("Event")

LISTEN = ["/ip4/127.0.0.1/tcp/0"]


class Side:
    """A network and all that it said."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.events: list[NetworkEvent] = []

    def on_network_events(self, events: Sequence[NetworkEvent]) -> None:
        self.events += events

    def heard(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def hears(self, kind: type[Event]) -> Event:
        """The first event of this kind, now or later."""
        await until(lambda: self.heard(kind), timeout=PATIENCE, what=f"a {kind.__name__}")
        return self.heard(kind)[0]

    @property
    def told(self) -> bytes:
        """What the other side said in talk, in all."""
        return b"".join(event.data for event in self.heard(JoinTalked))

    async def says(self, connection: int, frames: Sequence[bytes]) -> bool:
        """Says it as soon as there is room; whether that was at once."""
        written = len(self.heard(JoinTalkSent))
        if self.network.talk(connection, frames):
            return True
        await until(lambda: len(self.heard(JoinTalkSent)) > written, timeout=PATIENCE, what="room for more talk")
        assert self.network.talk(connection, frames)
        return False

    async def is_told(self, data: bytes) -> None:
        await until(lambda: self.told == data, timeout=PATIENCE, what=f"{len(data):,} bytes of talk")


class Sides:
    """Makes sides and stops them all at the end. `kind` is `simulated` or `libp2p`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._fabric = SimulatedFabric(random=SeededRandom(1))
        self._running = AsyncExitStack()
        self._count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._running.aclose()

    def make(self) -> Network:
        self._count += 1
        keypair = _native.Keypair.from_seed(bytes([self._count]) * 32)
        if self.kind == "simulated":
            return self._fabric.network(keypair, listen=LISTEN)
        return Libp2pNetwork(keypair, listen=LISTEN, agent="covm-test")

    async def start(self, hello: bytes = b"hello") -> Side:
        side = Side(self.make())
        await side.network.start(side, hello)
        self._running.push_async_callback(side.network.stop)
        return side

    async def greeted(self) -> tuple[Side, int, Side, int]:
        """A guest that has dialled, its connection; its host, and the host's connection: both have heard HELLO."""
        guest, host = await self.start(), await self.start()
        return guest, *await meet(guest, host)


async def meet(guest: Side, host: Side) -> tuple[int, Side, int]:
    await guest.network.dial(None, host.network.addresses)
    ours, theirs = await guest.hears(HelloReceived), await host.hears(HelloReceived)
    return ours.connection, host, theirs.connection


async def both_closed(*sides: Side) -> None:
    for side in sides:
        await side.hears(ConnectionClosed)
