"""One end of a simulated connection: the join exchange, and what is open after it.

    JOINING ──both said READY──> OPEN          (TALK: while JOINING, before one's own READY)
       │ refuse()                  │ refuse()
       v                           v
    REFUSING ──flushed──────────> CLOSED   (from every phase: closed, cut, deadline)

Until it is OPEN an end knows the join exchange alone; whatever else arrives is dropped and counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from enum import Enum, auto
from functools import partial
from typing import Protocol

from covm.federation.network.interface import (
    HelloReceived,
    JoinFailed,
    JoinRefused,
    JoinTalked,
    JoinTalkSent,
    NetworkEvent,
    PeerIdentified,
)
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
    Talk,
    Unsubscribe,
)
from covm.federation.network.simulated.streams import ConnectionStreams
from covm.federation.network.simulated.talk import TalkBounds


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
        self._talk = TalkBounds()
        self._opened_s = asyncio.get_running_loop().time()
        self._has_reprieve = False
        self._deadline = self._join_deadline(limits.JOIN_DEADLINE_S)

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

    # --- talk before the answer to a HELLO ---

    def talk(self, frames: tuple[bytes, ...], size_bytes: int) -> bool:
        """Says it, if there is room; drops it after our answer. See `interface.Network.talk`."""
        if self.phase is not Phase.JOINING or self._admitted:
            return True
        if not self._talk.take(size_bytes):
            return False
        self._reprieve()
        self.send(Talk(frames))
        return True

    def grant(self, size_bytes: int) -> None:
        if self.phase is Phase.JOINING:
            self._talk.grant(size_bytes)
            self._reprieve()

    def arrived(self, packet: Packet) -> None:
        """A packet of ours is at the other end, and takes no more room here."""
        is_awaited = isinstance(packet, Talk) and self._talk.sent(packet.frames)
        if is_awaited and self.phase is Phase.JOINING and not self._admitted:
            self._owner.emit(JoinTalkSent(self.number, self.peer))

    def _reprieve(self) -> None:
        """The application is at work on this join: it may take longer, once."""
        if not self._has_reprieve:
            self._has_reprieve = True
            self._deadline.cancel()
            self._deadline = self._join_deadline(limits.JOIN_TALK_DEADLINE_S)

    def _join_deadline(self, seconds: float) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_at(self._opened_s + seconds, self._join_failed, "the join exchange took too long")

    # --- answers to a HELLO ---

    def admit(self) -> None:
        if self.phase is Phase.JOINING and self._heard and not self._admitted:
            self._admitted = True
            self.send(Ready())
            self._open_if_both()

    def refuse(self, reason: str) -> None:
        if self.phase not in (Phase.JOINING, Phase.OPEN):
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
            case Hello() | Ready() | Talk() | Refused():
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

    def _join(self, packet: Hello | Ready | Talk | Refused) -> None:
        if self.phase is Phase.REFUSING:
            return
        match packet:
            case Hello(hello) if not self._heard:
                self._heard = True
                self._owner.emit(HelloReceived(self.number, self.peer, hello, self.outbound))
            case Ready() if self._heard and not self._peer_ready:
                self._peer_ready = True
                self._open_if_both()
            case Talk(frames) if self._heard and not self._peer_ready:
                self._hear(frames)
            case Refused(reason):
                self._owner.emit(JoinRefused(self.number, self.peer, reason))
                self.close("refused by the peer")
            case _:
                self._join_failed("a frame out of turn")

    def _hear(self, frames: tuple[bytes, ...]) -> None:
        for frame in frames:
            if not self._talk.hears(frame):
                limit = self._talk.limit_bytes
                self._join_failed(f"the peer talked more than the {limit} bytes that it was allowed")
                return
            self._owner.emit(JoinTalked(self.number, self.peer, frame))

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
    one.attach(Pipe(link, traffic, partial(_hand_over, one, other)))
    other.attach(Pipe(link, traffic, partial(_hand_over, other, one)))


def _hand_over(sender: ConnectionEnd, receiver: ConnectionEnd, packet: Packet) -> None:
    receiver.receive(packet)
    sender.arrived(packet)


def deny(link: Link, traffic: Traffic, dialer: ConnectionEnd) -> None:
    """A connection that the listener closes as soon as it stands, as libp2p does with a peer it has no place for."""
    dialer.attach(Pipe(link, traffic, lambda _: None))
    Pipe(link, traffic, dialer.receive).send(Close())
