"""One peer's line: what goes out to it, what came in from it, and the streams that carry both at the moment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from covm.federation.clock import Clock, Random
from covm.federation.config import FederationConfig
from covm.federation.counters import Counters
from covm.federation.errors import NodeFailed, NotStarted
from covm.federation.events import EventHub
from covm.federation.network.interface import Network
from covm.federation.ports import Membership, Presence
from covm.federation.store.interface import Store, Transaction
from covm.federation.supervisor import Supervisor
from covm.federation.violations import Violation, punish
from covm.federation.wire.federation_id import FederationId
from covm.federation.wire.frames import Frame
from covm.federation.wire.hints import PeerHints
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.membership import MembershipFrame
from covm.federation.wire.system import Heartbeat, PeerInfo

if TYPE_CHECKING:
    from covm.federation.dispatch.incoming import Incomings
    from covm.federation.dispatch.outbox import Outgoing
    from covm.federation.dispatch.receiving import Receiver
    from covm.federation.dispatch.sending import Sender

STREAM_ATTEMPTS = 3
"""Streams that are tried before an admitted peer is given up: a restart of its side takes one."""

FAULT = "a fault in this node ended its direct stream; its log has the details"
"""What peers and people are told when something of ours broke: the supervisor logs what it was."""

HELLO_DEADLINE_S = 10.0
"""A peer that was admitted a moment ago answers a HELLO in a round trip; on the slowest link in seconds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says about messages that go out."""

    message_timeout_s: float
    """How long a receipt is awaited when the caller does not say."""
    time_to_live_s: float
    """How long a message is tried when the caller does not say."""
    max_messages: int
    """Messages that may wait for one peer; `IN_ALL` times as many for all together."""
    max_bytes: int
    retry_base_s: float
    """First pause before a message is sent again that the peer did not take for a reason that may pass."""
    retry_max_s: float

    @classmethod
    def of(cls, config: FederationConfig) -> Terms:
        return cls(
            message_timeout_s=config.message_timeout.total_seconds(),
            time_to_live_s=config.message_time_to_live.total_seconds(),
            max_messages=config.outbox_max_messages,
            max_bytes=config.outbox_max_bytes,
            retry_base_s=config.connection_retry.base_delay.total_seconds(),
            retry_max_s=config.connection_retry.max_delay.total_seconds(),
        )


@dataclass(slots=True)
class Post:
    """What every line needs of its surroundings."""

    network: Network
    presence: Presence
    membership: Membership
    inbox: Incomings
    supervisor: Supervisor
    counters: Counters
    hub: EventHub
    clock: Clock
    random: Random
    store: Store
    seal: Callable[[Sequence[bytes]], list[bytes]]
    """Signs bodies of messages; called inside jobs, so it neither awaits nor touches the loop."""
    federation: FederationId
    peer_id: str
    terms: Terms
    types_digest: Callable[[], bytes]
    is_own_rule: Callable[[bytes], bool]
    """Whether this is the digest of the rule of a type as it is registered here."""
    save_incarnation: Callable[[Transaction, Incarnation], None]
    """Makes it the incarnation that the next start goes on with."""
    incarnation: Incarnation | None = None

    @property
    def own_incarnation(self) -> Incarnation:
        if self.incarnation is None:
            raise NotStarted
        return self.incarnation

    def close_stream(self, stream: int) -> None:
        """Closes a stream; that the whole network is gone already is as good."""
        with contextlib.suppress(NotStarted, NodeFailed):
            self.network.close_stream(stream)

    def release(self, stream: int, size_bytes: int) -> None:
        """Gives credit back; that the whole network is gone already is as good."""
        with contextlib.suppress(NotStarted, NodeFailed):
            self.network.release(stream, size_bytes)

    def hear(self, peer: str, frame: Frame) -> bool:
        """Hands on what a peer says of itself, of others or of members; whether it was that. Raises `Violation`."""
        if isinstance(frame, Heartbeat):
            self.presence.heartbeat_received(peer, frame)
        elif isinstance(frame, PeerInfo):
            if not self.presence.peer_info_received(peer, frame):
                raise Violation("too_much_peer_info")
        elif isinstance(frame, PeerHints):
            self.presence.peer_hints_received(peer, frame)
        elif isinstance(frame, MembershipFrame):
            self.membership.received(peer, frame)
        else:
            return False
        return True

    def violation(self, peer: str, reason: str) -> None:
        """Counts, tells and charges what no honest peer does."""
        punish(peer, reason, self.network, self.counters, self.hub)


class Line:
    """`outgoing` lives as long as this node remembers the peer; sender and receiver while it is admitted."""

    __slots__ = (
        "admitted",
        "bytes_in",
        "bytes_out",
        "messages_in",
        "messages_out",
        "outgoing",
        "peer",
        "ready",
        "receiver",
        "sender",
        "trouble",
        "violations",
    )

    def __init__(self, peer: str, outgoing: Outgoing) -> None:
        self.peer = peer
        self.outgoing = outgoing
        self.sender: Sender | None = None
        self.receiver: Receiver | None = None
        self.admitted = False
        self.ready = False
        self.violations = 0
        self.trouble = ""
        """Why the peer can store nothing now, as it says."""
        self.messages_in = self.bytes_in = self.messages_out = self.bytes_out = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is lost when this node forgets the peer's line: the store keeps what it needs."""
        return not self.admitted and self.outgoing.is_idle

    def update_ready(self, post: Post, reason: str = "") -> None:
        """Tells the peer manager when HELLO is done on both streams, and when that ends."""
        sender, receiver = self.sender, self.receiver
        ready = sender is not None and sender.greeted and receiver is not None and receiver.greeted
        if ready and not self.ready:
            self.ready = True
            post.presence.direct_ready(self.peer)
        elif not ready and self.ready:
            self.ready = False
            if self.admitted:
                post.presence.direct_lost(self.peer, reason)
