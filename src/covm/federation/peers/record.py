"""What this node holds of one peer, and the part of it that users see."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from covm.federation.peers.health import Pulse
from covm.federation.wire.system import PeerInfo


class PeerState(StrEnum):
    """Where this node stands with a peer."""

    KNOWN = "known"
    DIALLING = "dialling"
    CONNECTED = "connected"
    SUSPECT = "suspect"
    LOST = "lost"
    BACKING_OFF = "backing off"
    BANNED = "banned"


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What this node knows about a peer. Name, version and agent are the peer's own words."""

    peer_id: str
    """Base58."""
    name: str
    """What it calls itself, at most 64 characters, not unique; empty before it said so. Not safe to print as it is."""
    state: str
    """known, dialling, connected, suspect, lost, backing off or banned."""
    why: str
    """How the state came about, in words; empty when it explains itself."""
    since_ms: int
    """Since when the state holds, in milliseconds since 1970-01-01 UTC."""
    addresses: tuple[str, ...]
    """Where it can be dialled: where we reached it first, then what it says of itself and other hints.

    The far end of a connection that the peer opened is never among them: nobody listens there. Each ends in
    `/p2p/<peer id>`.
    """
    direction: str
    """`outbound`, `inbound` or `both`; empty when there is no connection."""
    round_trip_ms: float | None
    """How long an answer takes: the median of the last heartbeats. None before the first measurement, and when the peer
    is not connected."""
    clock_offset_ms: float | None
    """How far the peer's clock is ahead of ours. None as the round trip is."""
    version: str
    """The covm that it says it runs; empty before it has said so."""
    agent: str
    """What its libp2p says that it is; empty before it has said so."""
    kept: bool
    """Whether the operator or the configuration asked for it: it is dialled again after a loss."""
    queued: int
    """Messages that wait to be sent to it or to be acknowledged by it."""
    queued_bytes: int
    """Their bytes."""
    oldest_queued_ms: int | None
    """Since when the oldest of them waits, in milliseconds since 1970-01-01 UTC."""
    last_error: str
    """Why the last try to reach it failed, or why it says that it can store nothing now; empty when neither is so."""
    next_try_ms: int | None
    """When this node dials it again; None when it does not, or is connected."""
    messages_in: int
    """Direct messages taken from it while this node has run."""
    bytes_in: int
    """The bytes of their envelopes."""
    messages_out: int
    """Direct messages sent to it while this node has run."""
    bytes_out: int
    """The bytes of their envelopes."""

    @property
    def is_connected(self) -> bool:
        """Whether both sides are open; a suspected peer still counts."""
        return self.state in (PeerState.CONNECTED, PeerState.SUSPECT)


@dataclass(slots=True, eq=False)
class PeerRecord:
    """The live state of a peer that is, was or shall be connected, or is banned."""

    peer: str
    since_ms: int
    state: PeerState = PeerState.KNOWN
    why: str = ""
    connections: dict[int, tuple[str, bool]] = field(default_factory=dict)
    """Connection -> address, and whether we opened it."""
    relayed_why: str = ""
    """Why it is connected through a relay alone; empty when it is not."""
    admitted: bool = False
    topic_joined: bool = False
    direct_ready: bool = False
    deadline_s: float | None = None
    """Until when a peer that has connections must be *connected*, or it is disconnected."""
    kept: bool = False
    parked: bool = False
    """The operator disconnected or banned it: this node does not dial it by itself.

    That ends when the operator connects to it or it comes by itself, not with time and not with the ban.
    """
    failures: int = 0
    retry_at_s: float = 0.0
    last_error: str = ""
    """Why the last try to reach it failed; empty once it is connected."""
    pulse: Pulse | None = None
    info: PeerInfo | None = None
    name: str = ""
    agent: str = ""
    claimed: tuple[str, ...] = ()
    """Its addresses in its own words (identify); they go into the book once it is admitted."""
    round_trip_ms: float | None = None
    """libp2p's own measurement, until heartbeats have given one."""
    is_redialled: bool = False
    redial: asyncio.Task[None] | None = None
    """Who dials it again and again, once that has begun: a task that is cancelled before cannot clean up."""
    failure: Exception | None = None
    """Why a connection was turned away or broke before whoever dialled it began to wait."""
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def is_connected(self) -> bool:
        return self.state in (PeerState.CONNECTED, PeerState.SUSPECT)

    @property
    def is_complete(self) -> bool:
        """Whether everything is there that makes a peer *connected* (both sides open, HELLO done, topic joined)."""
        return self.admitted and self.topic_joined and self.direct_ready

    @property
    def is_idle(self) -> bool:
        """Whether nothing depends on the record."""
        return not (self.connections or self.kept or self.waiters or self.is_redialled) and (
            self.state is not PeerState.BANNED
        )

    @property
    def is_relayed(self) -> bool:
        """Whether every connection goes through a relay, of which there is one at least."""
        ways = [address for address, _ in self.connections.values()]
        return bool(ways) and all("/p2p-circuit" in address for address in ways)

    @property
    def direction(self) -> str:
        ways = {outbound for _, outbound in self.connections.values()}
        return "both" if len(ways) == 2 else {True: "outbound", False: "inbound", None: ""}[next(iter(ways), None)]

    @property
    def reached_at(self) -> list[str]:
        """The addresses at which we reached it, without peer id: those of the connections that we opened."""
        ending = f"/p2p/{self.peer}"
        return [address.removesuffix(ending) for address, outbound in self.connections.values() if outbound]

    def become(self, state: PeerState, why: str, now_ms: int) -> None:
        if state is not self.state:
            self.since_ms = now_ms
        if state is PeerState.CONNECTED:
            self.last_error = ""
        self.state, self.why = state, why

    def let_go(self) -> None:
        """It is no longer kept: nobody dials it again by itself."""
        self.kept = False
        if self.redial is not None:
            self.redial.cancel()

    def resolve(self, error: Exception | None = None) -> None:
        """Wakes who waits for the peer to be connected."""
        self.failure = None if self.waiters else error
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
