"""How components see each other. A component imports its neighbours' ports from here, never the neighbours.

    gossip ──Inbound──> dispatch <──Control── peers
    gossip ──Access──> peers <──Presence── dispatch

`wiring` puts the real ones in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from covm.federation.wire.frames import Frame
from covm.federation.wire.message import MessageBody
from covm.federation.wire.received import Via
from covm.federation.wire.system import Heartbeat, PeerInfo

GOSSIP: Final = "gossip"
DIRECT: Final = "direct"
LOCAL: Final = "local"

HANDLED = "handled"
REFUSED = "refused"
QUARANTINED = "quarantined"


class Origin(Protocol):
    """Who wants to know what became of an arrival: the direct stream on which it came."""

    def settled(self, arrival: Arrival, state: str, reason: str) -> None:
        """The arrival left this node's queues: `handled`, `refused` or `quarantined`, with a reason for the latter."""


class Arrival:
    """A message whose author is proven and that was accepted, on its way to handlers."""

    __slots__ = ("body", "origin", "size_bytes", "via")

    def __init__(self, body: MessageBody, via: Via, size_bytes: int, origin: Origin | None = None) -> None:
        self.body = body
        self.via = via
        self.size_bytes = size_bytes
        self.origin = origin


class Inbound(Protocol):
    """Takes accepted messages to this node's handlers. (MessageDispatcher)"""

    def deliver(self, arrivals: Sequence[Arrival]) -> None: ...


class Access(Protocol):
    """Who may what at this node. (PeerManager, until there are members)"""

    def is_banned(self, peer: str) -> bool: ...

    def is_connected(self, peer: str) -> bool: ...


class Presence(Protocol):
    """What the direct streams tell about peers, and ask. (PeerManager)"""

    def require_connected(self, peer: str) -> None:
        """Raises `PeerNotConnected`, `UnknownPeer` or `PeerBanned`, unless the peer is connected."""

    def heard(self, peer: str) -> None:
        """Something of the peer arrived: it lives."""

    def direct_ready(self, peer: str) -> None:
        """HELLO is done on both direct streams with the peer."""

    def direct_lost(self, peer: str, reason: str) -> None:
        """A direct stream with the peer ended while the peer is still admitted; it is being opened again."""

    def heartbeat_received(self, peer: str, heartbeat: Heartbeat) -> None: ...

    def peer_info_received(self, peer: str, info: PeerInfo) -> None: ...

    def give_up(self, peer: str, reason: str) -> None:
        """No direct stream can be had with the peer: it is of no use connected."""


class Control(Protocol):
    """Sends what is not a message over the direct streams. (DirectProtocol)"""

    def send_control(self, peer: str, frame: Frame) -> bool:
        """Sends a frame unacknowledged, ahead of no message; False when there is no stream or it has no credit."""

    def queued(self, peer: str) -> int:
        """Messages that wait to be sent to the peer or to be acknowledged by it."""

    def traffic(self, peer: str) -> tuple[int, int, int, int]:
        """Messages in, bytes in, messages out, bytes out."""
