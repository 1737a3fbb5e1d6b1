"""One end of a simulated connection: the join exchange, and what is open after it.

    JOINING ──both said READY──> OPEN
       │ refuse()                  │
       v                           v
    REFUSING ──flushed──────────> CLOSED   (from every phase: closed, cut, deadline)

Until it is OPEN an end knows the join exchange alone; whatever else arrives is dropped and counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from enum import Enum, auto
from typing import Protocol

from covm.federation.network.interface import HelloReceived, JoinFailed, JoinRefused, NetworkEvent, PeerIdentified
from covm.federation.network.simulated import limits, streams
from covm.federation.network.simulated.gossip import GossipState
from covm.federation.network.simulated.links import Link, Pipe, Traffic
from covm.federation.network.simulated.packets import (
    Close,
    Gossip,
    Hello,
    Identify,
    Packet,
    Ready,
    Refused,
    Subscribe,
    Unsubscribe,
)
from covm.federation.network.simulated.streams import ConnectionStreams


class Phase(Enum):
    """How far a connection has come."""

    JOINING = auto()
    REFUSING = auto()
    OPEN = auto()
    CLOSED = auto()


class Owner(streams.Owner, Protocol):
    """What a connection needs of its node."""

    @property
    def gossip(self) -> GossipState: ...

    @property
    def drops(self) -> Counter[str]: ...

    def emit(self, event: NetworkEvent) -> None: ...

    def end_opened(self, end: ConnectionEnd) -> None: ...

    def end_closed(self, end: ConnectionEnd, reason: str) -> None: ...

    def is_followed(self) -> bool:
        """Whether this node is gone, and another runs on its machine."""


class ConnectionEnd:
    """This node's end of one connection."""

    def __init__(self, owner: Owner, number: int, peer: str, address: str, *, outbound: bool) -> None:
        self.number = number
        self.peer = peer
        self.address = address
        self.outbound = outbound
        self.phase = Phase.JOINING
        self.streams = ConnectionStreams(owner, peer, outbound, self._send_reliably)
        self._owner = owner
        self._pipe: Pipe | None = None
        self._heard = self._admitted = self._peer_ready = False
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(limits.JOIN_DEADLINE_S, self._join_failed, "the join exchange took too long")

    def attach(self, pipe: Pipe) -> None:
        """The way to the other end."""
        self._pipe = pipe

    def greet(self, identify: Identify, hello: bytes) -> None:
        """The first words: who we are, and our HELLO."""
        self.send(identify)
        self.send(Hello(hello))

    def send(self, packet: Packet) -> bool:
        """False when the packet was lost, or the connection is gone."""
        if self._pipe is None or self.phase is Phase.CLOSED:
            return False
        return self._pipe.send(packet)

    # --- answers to a HELLO ---

    def admit(self) -> None:
        if self.phase is Phase.JOINING and self._heard and not self._admitted:
            self._admitted = True
            self.send(Ready())
            self._open_if_both()

    def refuse(self, reason: str) -> None:
        if self.phase is not Phase.JOINING or self._admitted:
            return
        self.send(Refused(reason.encode()[: limits.JOIN_REASON_BYTES].decode(errors="ignore")))
        self.phase = Phase.REFUSING
        self._deadline.cancel()
        # The peer closes once it has read the reason; this is for one that does not.
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(limits.REFUSAL_DEADLINE_S, self.close, "refused")

    # --- what arrives ---

    def receive(self, packet: Packet) -> None:
        match packet:
            case _ if self.phase is Phase.CLOSED:
                self._reset(packet)
            case Close():
                self.fall("closed by the peer")
            case Identify(agent, protocols, addresses, observed):
                self._owner.emit(PeerIdentified(self.peer, agent, protocols, addresses, observed))
            case Hello() | Ready() | Refused():
                self._join(packet)
            case _ if self.phase is not Phase.OPEN:
                self._owner.drops["not_admitted"] += 1
            case Gossip(topic, envelope):
                self._owner.gossip.receive(self.peer, topic, envelope)
            case Subscribe(topics):
                self._owner.gossip.peer_subscribed(self.peer, topics)
            case Unsubscribe(topic):
                self._owner.gossip.peer_unsubscribed(self.peer, topic)
            case _:
                self.streams.receive(packet)

    def _reset(self, packet: Packet) -> None:
        """A machine that is up again knows nothing of connections from before, and says so to who uses them."""
        if self._pipe is not None and self._owner.is_followed() and not isinstance(packet, Close):
            self._pipe.send(Close())

    def _join(self, packet: Hello | Ready | Refused) -> None:
        if self.phase is not Phase.JOINING:
            return
        match packet:
            case Hello(hello) if not self._heard:
                self._heard = True
                self._owner.emit(HelloReceived(self.number, self.peer, hello, self.outbound))
            case Ready() if self._heard:
                self._peer_ready = True
                self._open_if_both()
            case Refused(reason):
                self._owner.emit(JoinRefused(self.number, self.peer, reason))
                self.close("refused by the peer")
            case _:
                self._join_failed("a frame out of turn")

    def _open_if_both(self) -> None:
        if self._admitted and self._peer_ready:
            self._deadline.cancel()
            self.phase = Phase.OPEN
            self._owner.end_opened(self)

    def _join_failed(self, reason: str) -> None:
        self._owner.emit(JoinFailed(self.number, self.peer, reason))
        self.close("join failed")

    # --- the end ---

    def close(self, reason: str) -> None:
        """Ends the connection after what is under way to the peer."""
        self.send(Close())
        self.fall(reason)

    def sever(self, reason: str) -> None:
        """Ends the connection as a cut cable does: nothing under way arrives."""
        if self._pipe is not None:
            self._pipe.sever()
        self.fall(reason)

    def fall(self, reason: str) -> None:
        """This end is gone; streams end with it. Said once."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self._deadline.cancel()
        self.streams.end_all("connection closed")
        self._owner.end_closed(self, reason)

    def _send_reliably(self, packet: Packet) -> None:
        self.send(packet)


def join_ends(link: Link, traffic: Traffic, one: ConnectionEnd, other: ConnectionEnd) -> None:
    """Makes one connection of two ends."""
    one.attach(Pipe(link, traffic, other.receive))
    other.attach(Pipe(link, traffic, one.receive))


def deny(link: Link, traffic: Traffic, dialer: ConnectionEnd) -> None:
    """A connection that the listener closes as soon as it stands, as libp2p does with a peer it has no place for."""
    dialer.attach(Pipe(link, traffic, lambda _: None))
    Pipe(link, traffic, dialer.receive).send(Close())
