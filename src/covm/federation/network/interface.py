"""What a network is to the federation: events in batches, commands that say how they failed.

Two implementations, `libp2p` (the native core) and `simulated` (one process, for tests and for users' own
tests), hold the same promises, and one set of scenarios runs on both.

A network calls `Handler.on_network_events` on the event loop with everything it found waiting, as one batch, in
order. The handler does not block and does not await: it files what it got and returns. What it has to answer to a
whole batch (verdicts, released bytes) it answers in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from covm.federation.network import ways
from covm.federation.wire.kinds import Kind

DIRECT_PROTOCOL = "/covm/direct/1.0.0"
BLOB_PROTOCOL = "/covm/blob/1.0.0"
SYNC_PROTOCOL = "/covm/sync/1.0.0"

STREAM_PROTOCOLS = (DIRECT_PROTOCOL, BLOB_PROTOCOL, SYNC_PROTOCOL)
"""Our framed streams: one for each peer, protocol and direction."""


AddressesChanged = ways.AddressesChanged
ConnectionClosed = ways.ConnectionClosed
ConnectionOpened = ways.ConnectionOpened
ExternalAddressChanged = ways.ExternalAddressChanged
HolePunched = ways.HolePunched
PeerDiscovered = ways.PeerDiscovered
PeerIdentified = ways.PeerIdentified
PingMeasured = ways.PingMeasured
ReachabilityChanged = ways.ReachabilityChanged
ReservationChanged = ways.ReservationChanged


class Verdict(IntEnum):
    """What becomes of a gossiped message at this node (gossipsub 1.1, extended validators)."""

    ACCEPT = 0
    """Right: it is forwarded."""
    IGNORE = 1
    """Not forwarded, and nobody is punished."""
    REJECT = 2
    """Wrong for every honest node: not forwarded, and the peer that handed it over is charged."""


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """A stranger said its HELLO on the join stream: answer with `admit` or `refuse`.

    Within five seconds of the connection's opening, or 30 once this side has called `talk` or `grant` on it.
    """

    connection: int
    peer: str
    hello: bytes
    outbound: bool


@dataclass(frozen=True, slots=True)
class JoinTalked:
    """The other side says something, 1 to 4,095 bytes, after its HELLO and before its answer to ours.

    It counts against what that side may say: 64 KiB and what `grant` allowed beyond, above which the join fails. What
    was granted and not yet handled waits in memory: grant a part at a time.
    """

    connection: int
    peer: str
    data: bytes


@dataclass(frozen=True, slots=True)
class JoinTalkSent:
    """All that `talk` took on this connection has been written, after it had said False."""

    connection: int
    peer: str


@dataclass(frozen=True, slots=True)
class JoinRefused:
    """The other side refused us on this connection, with its reason; the connection closes."""

    connection: int
    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class JoinFailed:
    """The join exchange broke off (deadline, bad frame, too much talk); the connection closes."""

    connection: int
    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class PeerAdmitted:
    """Both sides admitted each other on this connection: streams and gossip are open."""

    peer: str
    connection: int


@dataclass(frozen=True, slots=True)
class PeerUnadmitted:
    """The last admitted connection to the peer is gone."""

    peer: str


@dataclass(frozen=True, slots=True)
class TopicJoined:
    """An admitted peer subscribed to a gossip topic."""

    peer: str
    topic: str


@dataclass(frozen=True, slots=True)
class TopicLeft:
    """An admitted peer left a gossip topic."""

    peer: str
    topic: str


@dataclass(frozen=True, slots=True)
class GossipReceived:
    """A gossiped envelope that is canonical and whose signature holds; it waits for a verdict under `handle`."""

    handle: int
    topic: str
    source: str
    """The peer that handed it over."""
    author: str
    """The peer whose key signed it."""
    gossip_id: bytes
    body: bytes
    size_bytes: int
    """Size of the envelope as it travelled."""


@dataclass(frozen=True, slots=True)
class GossipRejected:
    """A gossiped envelope that the core refused by itself; its source has been charged."""

    topic: str
    source: str
    reason: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """A peer opened a stream to us."""

    stream: int
    peer: str
    protocol: str


@dataclass(frozen=True, slots=True)
class FramesReceived:
    """Frames in order. Their bytes count against the stream's credit until `release` gives it back."""

    stream: int
    peer: str
    frames: list[bytes]


@dataclass(frozen=True, slots=True)
class StreamWritable:
    """A stream that had refused a `try_send` for want of credit takes frames again."""

    stream: int


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """A stream ended; said exactly once for each stream that was open."""

    stream: int
    reason: str


@dataclass(frozen=True, slots=True)
class StreamRefused:
    """A stream that a peer opened broke the rules before it said anything; it was never shown."""

    peer: str
    protocol: str
    reason: str


@dataclass(frozen=True, slots=True)
class NetworkFailed:
    """The core ended by itself (a panic, caught). Every pending and later call raises `NodeFailed`."""

    reason: str


NetworkEvent = (
    AddressesChanged
    | ConnectionOpened
    | ConnectionClosed
    | HelloReceived
    | JoinTalked
    | JoinTalkSent
    | JoinRefused
    | JoinFailed
    | PeerAdmitted
    | PeerUnadmitted
    | TopicJoined
    | TopicLeft
    | GossipReceived
    | GossipRejected
    | StreamOpened
    | FramesReceived
    | StreamWritable
    | StreamClosed
    | StreamRefused
    | PeerIdentified
    | PeerDiscovered
    | PingMeasured
    | ReachabilityChanged
    | ExternalAddressChanged
    | ReservationChanged
    | HolePunched
    | NetworkFailed
)


class Handler(Protocol):
    """Who takes the network's events: `wiring.Router`, which hands each component its own."""

    def on_network_events(self, events: Sequence[NetworkEvent]) -> None: ...


@dataclass(frozen=True, slots=True)
class Published:
    """What the network did with one gossiped envelope: its gossip id and to how many subscribed peers it could go."""

    gossip_id: bytes
    peers: int


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope whose signature holds."""

    author: str
    body: bytes


@dataclass(frozen=True, slots=True)
class NotOpened:
    """An envelope that does not verify; `reason` is a snake_case name for counters."""

    reason: str


class Network(Protocol):
    """Commands to the network. All raise `NotStarted` outside `start` and `stop`, and `NodeFailed` after a panic."""

    @property
    def peer_id(self) -> str:
        """Our peer id, base58."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where we listen; each ends in `/p2p/<peer id>`."""

    async def start(self, handler: Handler, hello: bytes) -> None:
        """Listens on the configured addresses and begins to hand events to `handler`.

        `hello` is what the join stream says first (at most 4,095 bytes). Raises `MessageTooLarge`, `InvalidAddress`, or
        `NetworkError` when an address cannot be bound (naming it and why).
        """

    async def stop(self) -> None:
        """Closes everything; returns once the sockets are closed and the ports free. Twice is once."""

    async def dial(self, peer: str | None, addresses: Sequence[str]) -> str:
        """Connects and returns the peer id that answered. Does not wait for admission.

        The addresses, 64 at most, are tried in their order, those through relays last: each 250 ms after the one before
        it, or at once when all before have failed (RFC 8305). The first that connects ends it; an address fails five
        seconds after its turn, or 25 if it has to wait for its relay. Without a peer there is one address.

        Raises `ConnectionFailed` with each address's error, `WrongPeer` if none led to the peer and one to somebody
        else, `PeerBanned`, `ConnectionLimitReached`.
        """

    async def disconnect(self, peer: str) -> None:
        """Closes every connection to the peer."""

    def block(self, peer: str) -> None:
        """Refuses every connection with the peer from now on and closes those that stand."""

    def unblock(self, peer: str) -> None: ...

    def admit(self, connection: int) -> None:
        """Answers a `HelloReceived`: this side is open; `PeerAdmitted` follows when both are."""

    def refuse(self, connection: int, reason: str) -> None:
        """Answers a `HelloReceived`: the reason (at most 256 bytes of UTF-8) is said, the connection closed."""

    def talk(self, connection: int, frames: Sequence[bytes]) -> bool:
        """Says something to the other side before this side's answer to its HELLO, a `JoinTalked` for each frame.

        Takes all or none: False when more than 1 MiB would wait to be written, and then `JoinTalkSent` follows. Once
        this side has answered, or the connection has ended, nobody would hear it: that is no error, it is dropped, and
        True. A frame counts as its bytes and at least 64, here and at the other side. Raises `MessageTooLarge` for a
        frame above 4,095 bytes or more than 1 MiB at once, `ValueError` for an empty frame.
        """

    def grant(self, connection: int, size_bytes: int) -> None:
        """Lets the other side say so much more than 64 KiB before its answer, 16 MiB in sum.

        A join that has ended is no error.
        """

    def set_hello(self, hello: bytes) -> None:
        """Changes what connections established from now on say first. Raises `MessageTooLarge` above 4,095 bytes."""

    async def subscribe(self, topic: str) -> None: ...

    async def seal(self, kind: Kind, bodies: Sequence[bytes]) -> list[bytes]:
        """Signs bodies into envelopes, in order. One alone is done in place, many on the core's threads."""

    async def open(self, kind: Kind, envelopes: Sequence[bytes]) -> list[Opened | NotOpened]:
        """Verifies envelopes, in order."""

    async def publish(self, topic: str, envelopes: Sequence[bytes]) -> list[Published]:
        """Gossips sealed envelopes, in order. No peers is no error. Raises `MessageTooLarge`."""

    def judge(self, verdicts: Sequence[tuple[int, Verdict]]) -> None:
        """Gives verdicts on received gossip, by handle, a batch in one call."""

    def charge(self, peer: str, amount: float) -> None:
        """Lowers the peer's application score in gossip by `amount` (it recovers with time)."""

    async def open_stream(self, peer: str, protocol: str) -> int:
        """Opens our stream to an admitted peer. Raises `PeerNotConnected`, `NetworkError` with the reason."""

    def try_send(self, stream: int, frames: Sequence[bytes]) -> bool:
        """Hands frames over if the stream has credit; else takes none, returns False, and `StreamWritable` follows.

        Raises `PeerNotConnected` when the stream is gone.
        """

    def release(self, stream: int, size_bytes: int) -> None:
        """Gives back credit for received frames that have been dealt with. A closed stream is no error."""

    def close_stream(self, stream: int) -> None:
        """Sends what is queued, then closes. A closed stream is no error."""

    async def reserve(self, address: str) -> str:
        """Takes a place at the relay whose address this is (ending in `/p2p/<relay>`), so that others come through it.

        Connects to the relay and waits until that has admitted this node, if need be; returns the address at which
        others now reach it. The place renews itself, and `ReservationChanged` says when it is lost. At most 4 at once.
        Raises `NetworkError` with what the relay, or this node, has against it, and `InvalidAddress`.
        """

    async def drop_reservation(self, relay: str) -> None:
        """Gives the place back, and closes the connection to the relay with it. Without one, that is no error."""

    async def allow_relay(self, peer: str, circuits: int, lasts_s: float) -> None:
        """Lets a stranger reach members through this node: so many circuits, for so long, in place of what it had.

        0 circuits take its pass away. Raises `NetworkError` above 16 circuits, 30 days, or 64 peers with passes.
        """

    def network_changed(self) -> None:
        """The machine is on another network, or may be: another cable or router, or it has slept.

        What was found out of this node's addresses is forgotten and asked again (`ExternalAddressChanged` and
        `ReachabilityChanged` say what becomes of it): tests by peers, and the router's port. What the operator has
        stated stays, and so do relays' places, which end with their connections. Connections that begin at an address
        which this machine has no more are closed, as they are by themselves when a listen address goes.
        """

    def stats(self) -> dict[str, Any]:
        """Counters of the network: bytes, drops by reason, queue depths."""
