"""Who knocks at a federation of the simulated network and says what it likes: no node, only a key and a wire."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from tests.unit.members_world import Valley, in_time
from tests.unit.membership_world import key_of

from covm.federation.membership.hearing import LAST, MORE, TALK_PIECE
from covm.federation.membership.ledger import Ledger
from covm.federation.network import interface as net
from covm.federation.network.simulated import SimulatedNetwork
from covm.federation.wire.frames import Frame, KnownFrame, decode_frame, encode_frame
from covm.federation.wire.join import JoinHello, encode_join_hello
from covm.testing.machine import Machine

_ports = itertools.count(20_001)


class Knocker:
    """`told` are the frames that it is told, `events` all that the network tells it."""

    def __init__(self, v: Valley, name: str = "stranger") -> None:
        self.v = v
        self.name = name
        self.key = key_of(f"{name}: node")
        self.told: list[Frame] = []
        self.events: list[net.NetworkEvent] = []
        self.says_first: list[bytes] = []
        """Said right behind the HELLO, before any answer."""
        self.connection = 0
        self._piece = bytearray()
        self.network = SimulatedNetwork(
            v.world.fabric, self.key, (f"/ip4/127.0.0.1/tcp/{next(_ports)}",), 100, net.STREAM_PROTOCOLS
        )

    @property
    def peer_id(self) -> str:
        return self.key.peer_id

    @property
    def refusal(self) -> str:
        """Why it was refused; empty while it was not."""
        return next((event.reason for event in self.events if isinstance(event, net.JoinRefused)), "")

    @property
    def is_out(self) -> bool:
        """Whether the connection has ended."""
        return any(isinstance(event, net.ConnectionClosed) for event in self.events)

    @property
    def is_in(self) -> bool:
        return any(isinstance(event, net.PeerAdmitted) for event in self.events)

    async def knock(self, at: Machine, **hello: Any) -> None:
        """Connects, and says a HELLO of the federation."""
        fields: dict[str, Any] = {"federation": self.v.charter.id, "agent": "knocker/1", "name": self.name} | hello
        await self.network.start(self, encode_join_hello(JoinHello(**fields)))
        await self.again(at)

    async def again(self, at: Machine) -> None:
        """Connects once more."""
        self.events.clear()
        self.told.clear()
        self._piece.clear()
        [address, *_] = at.service.addresses
        await self.network.dial(at.peer_id, [address])
        await in_time(lambda: self.is_out or any(isinstance(event, net.HelloReceived) for event in self.events))

    def say(self, *frames: KnownFrame) -> None:
        """Says frames, in pieces as they travel before the gate opens."""
        for frame in frames:
            self.say_pieces(list(pieces(encode_frame(frame))))

    def say_pieces(self, data: Sequence[bytes]) -> None:
        self.network.talk(self.connection, data)

    def on_network_events(self, events: Sequence[net.NetworkEvent]) -> None:
        for event in events:
            self.events.append(event)
            if isinstance(event, net.ConnectionOpened):
                self.connection = event.connection
                self.network.grant(event.connection, 16 * 1024 * 1024)
                if self.says_first:
                    self.say_pieces(self.says_first)
            elif isinstance(event, net.JoinTalked):
                self._piece += event.data[1:]
                if event.data[:1] == LAST:
                    self.told.append(decode_frame(bytes(self._piece)))
                    self._piece.clear()


def pieces(data: bytes) -> Iterator[bytes]:
    """A frame as it travels before the gate opens."""
    for start in range(0, len(data), TALK_PIECE):
        yield (LAST if start + TALK_PIECE >= len(data) else MORE) + data[start : start + TALK_PIECE]


def ledger_of(v: Valley, name: str = "mill") -> Ledger:
    """What a machine holds."""
    members = v[name].service._node.members
    assert members is not None
    assert members.ledger is not None
    return members.ledger
