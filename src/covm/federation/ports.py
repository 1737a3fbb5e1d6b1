"""How components see each other. A component imports its neighbours' ports from here, never the neighbours.

    gossip ──Inbound──> dispatch <──Control── peers
    gossip <──Publisher── dispatch
    gossip ──Access──> peers <──Presence── dispatch
    gossip, dispatch, peers ──Membership──> membership ──Gate──> peers
    membership ──Replicas──> sync <──Publications── dispatch
    sync ──Transactor──> dispatch
    gossip ──Contents──> blobs ──Courier──> dispatch
    sync ──BodySource──> blobs ──BodyShelf──> sync

`wiring` puts the real ones in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from covm._native import Link
from covm.federation.identity.roles import Action
from covm.federation.identity.verdicts import Verdict
from covm.federation.wire.frames import Frame
from covm.federation.wire.hints import PeerHints
from covm.federation.wire.membership import MembershipFrame
from covm.federation.wire.message import MessageBody
from covm.federation.wire.received import Via
from covm.federation.wire.record import Place
from covm.federation.wire.system import Heartbeat, PeerInfo

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

T = TypeVar("T")

GOSSIP: Final = "gossip"
DIRECT: Final = "direct"
LOCAL: Final = "local"
SYNC: Final = "sync"

HANDLED = "handled"
REFUSED = "refused"
QUARANTINED = "quarantined"


class Arrival:
    """A message whose author is proven and that was accepted, on its way to handlers."""

    __slots__ = ("body", "size_bytes", "via")

    def __init__(self, body: MessageBody, via: Via, size_bytes: int) -> None:
        self.body = body
        self.via = via
        self.size_bytes = size_bytes

    @property
    def message_id(self) -> str:
        """The id that users see."""
        return self.body.mid.hex()


class Transactor(Protocol):
    """Runs an application's function in a transaction of the store. (MessageDispatcher)"""

    async def transaction(self, work: Callable[[Any], T], beside: Callable[[Transaction], object] | None = None) -> T:
        """`work(tx)` gets what a transactional handler works with; `beside` is the node's own part of the transaction.

        Raises what they raise, with nothing kept, and `StoreError`.
        """


class Inbound(Protocol):
    """Takes accepted messages to this node's handlers. (MessageDispatcher)"""

    def deliver(self, arrivals: Sequence[Arrival]) -> None: ...


class Publisher(Protocol):
    """Publishes what a transaction left to be published. (GossipProtocol)"""

    async def publish(self, type_name: str, payload: object, limit_bytes: int) -> object:
        """Publishes one message. Raises `MessageTooLarge`, `InvalidMessage`, `NotStarted`."""


class Recording(Protocol):
    """What becomes of publications of durable types. (Recorder)"""

    def is_durable(self, type_name: str) -> bool:
        """Whether what is published of a type is a record."""

    def key_for(self, type_name: str, payload: object, limit_bytes: int) -> str:
        """The key of the record that a payload becomes.

        Raises `NotAMember`, `NotAuthorized`, `MessageTooLarge`, `InvalidMessage` where it cannot become one.
        """

    def require_room(self, type_name: str, records: int, size_bytes: int) -> None:
        """Raises `QuotaExceeded` where so many more of a type, of so many bytes, are too much. On any thread."""


class Access(Protocol):
    """Who may what at this node. (PeerManager, until there are members)"""

    def is_banned(self, peer: str) -> bool: ...

    def is_connected(self, peer: str) -> bool: ...


UNKNOWN_MEMBER: Final = "unknown_member"
"""Nobody's node, as far as is known here: whoever brings what it says may know more."""


class Membership(Protocol):
    """Who is a member, and who may what. (Members; Everyone in `open` mode)"""

    @property
    def digest(self) -> bytes | None:
        """Of everything that is known of it: nodes of equal digests judge alike. None when there is nothing to know."""

    def node_verdict(self, peer: str) -> Verdict:
        """Whether a node may take part."""

    def may(self, peer: str, action: Action, type_name: str) -> Verdict:
        """Whether a node may do this with a type."""

    def everyone_may_read(self, type_name: str) -> bool:
        """Whether a type may be gossiped."""

    def why_not_gossip(self, author: str, type_name: str) -> str:
        """Why what an author published of a type is not taken, as a name for counters; empty to take it."""

    def durable(self, type_name: str) -> bool | None:
        """Whether everyone has agreed that a type is durable, or is not; None where nothing is said of it."""

    def is_agreed(self, type_name: str) -> bool:
        """Whether everyone has agreed on a rule of this type's own."""

    def readers(self, type_name: str) -> list[str]:
        """The nodes that may read a type, this one left out."""

    def member_of(self, peer: str) -> str | None:
        """The id of the member whose a node is; None in `open` mode, and of nobody's."""

    def nodes_of(self, member: str) -> list[str]:
        """The nodes of a member; none of one that is not known."""

    def heard_digest(self, peer: str, digest: bytes | None) -> None:
        """What a connected peer says of its own."""

    def received(self, peer: str, frame: MembershipFrame) -> None:
        """A frame of an admitted peer."""

    def wanted(self, peer: str) -> None:
        """Something came by way of a peer that is of nobody known here: the peer may know more."""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Has somebody called whenever it changed who may what."""


class Written(NamedTuple):
    """The end of a log of records, and its time by the author's clock, in milliseconds since 1970-01-01 UTC."""

    place: Place
    time_ms: int


class Authored(NamedTuple):
    """A record that is here, and whose it is: a member's id, in `open` mode the peer id of its author."""

    type: str
    key: str
    owner: str
    says_value: bool
    """Whether it has a body, here or not."""


class Replicas(Protocol):
    """What nodes have written, as far as it is held here. (SyncManager)"""

    def written_by(self, nodes: Collection[str]) -> list[Written]:
        """The ends of all logs of records of these nodes."""

    async def written_until(self, nodes: Collection[str], until_ms: int) -> list[Written]:
        """The same at a time by their own clocks: what is behind a later record is later. Raises `StoreError`."""

    async def authored(self, record: Link) -> Authored | None:
        """What a record is and whose; None where it is not here, or it is not known yet whose. Raises `StoreError`."""


class Publication(NamedTuple):
    """A record that counts, of a type that is handed to handlers."""

    position: int
    """Its place among those of its type here: ascending, and the same as long as it is here."""
    record: str
    """The record's id."""
    body: MessageBody
    """It, as a message; `mid` follows from the record's id."""
    size_bytes: int
    via: Via
    """`local` for this node's own."""


class PublicationPage(NamedTuple):
    """What comes next of a type: the publications, and the positions of records that do not count now."""

    publications: list[Publication]
    void: list[int]
    upto: int
    """Everything up to this position is in the page."""
    is_all: bool
    """Whether there was nothing behind it."""


class Said(NamedTuple):
    """What a record says, for who has kept its id alone."""

    key: str
    payload: Any
    gone: str
    """Why that is not here any more; empty where it is."""


class Publications(Protocol):
    """Records as messages to this node's handlers: jobs of the store. (Published)"""

    def behind(self, tx: Transaction, type_name: str, position: int, limit: int, limit_bytes: int) -> PublicationPage:
        """The next ones behind a position, in order: at least one if there is any."""

    def counting(
        self, tx: Transaction, type_name: str, positions: Sequence[int], limit_bytes: int
    ) -> list[Publication]:
        """The first of those at these positions that count now: at least one if there is any."""

    def said(self, tx: Transaction, type_name: str, record: str) -> Said:
        """What a record says, whether it counts now or not."""

    def gone(self, tx: Transaction, records: Sequence[str]) -> dict[str, str]:
        """Those of these records of which nothing is here any more that they said, and why."""

    def follow(self, listener: Callable[[Collection[str], Collection[str]], None]) -> None:
        """Has somebody called with the types of which there is more, and those of which some may count again."""

    @property
    def hand_out(self) -> Callable[[Collection[str]], None]:
        """Told of which types handlers are given everything, those that are away for now among them."""


class Hearing(Protocol):
    """Hears who knocks and is not known, before the gate opens. (Hearings)"""

    def begin(self, connection: int, peer: str) -> None: ...


class Gate(Protocol):
    """Lets peers in and sends them away. (PeerManager)"""

    def connected_peers(self) -> list[str]: ...

    def let_in(self, connection: int, peer: str) -> None:
        """The peer of a connection that was heard is a member's; it gets in if there is a place."""

    def turn_away(self, connection: int, peer: str, reason: str) -> None:
        """It is not, or not yet: it is told why."""

    def reconsider(self) -> None:
        """It changed who may take part: who may not any more is sent away."""

    def reconsider_one(self, peer: str) -> None:
        """It has just got in: what was decided about it may have changed on the way."""

    def misbehaved(self, peer: str, reason: str) -> None:
        """An admitted peer said what no honest one says."""


class Presence(Protocol):
    """What the direct streams tell about peers, and ask. (PeerManager)"""

    def heard(self, peer: str) -> None:
        """Something of the peer arrived: it lives."""

    def direct_ready(self, peer: str) -> None:
        """HELLO is done on both direct streams with the peer."""

    def direct_lost(self, peer: str, reason: str) -> None:
        """A direct stream with the peer ended while the peer is still admitted; it is being opened again."""

    def heartbeat_received(self, peer: str, heartbeat: Heartbeat) -> None: ...

    def peer_info_received(self, peer: str, info: PeerInfo) -> bool:
        """False for a peer that says it more often than any honest node does."""

    def peer_hints_received(self, peer: str, hints: PeerHints) -> None: ...

    def may_write_to(self, peer: str) -> None:
        """Raises `PeerBanned`, or `UnknownPeer` for one of whom this node never heard. Nobody needs to be connected."""

    def clock_is_doubtful(self) -> bool:
        """Whether this node's clock and those of most connected peers are minutes apart: nothing expires meanwhile."""

    def give_up(self, peer: str, reason: str) -> None:
        """No direct stream can be had with the peer: it is of no use connected."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in the outbox for one peer.

    `oldest_ms`: since when the oldest of it does; `trouble`: why the peer says that it can store none of it now.
    """

    messages: int = 0
    size_bytes: int = 0
    oldest_ms: int | None = None
    trouble: str = ""


class Refusal(Exception):
    """A handler raises it to refuse a message for good: its sender learns the reason (`refused`)."""


class Unobtainable(Exception):
    """Content that cannot be had: nobody connected has it, or it is not what was announced."""


class Following(Protocol):
    """Follows one message to one peer. (Receipt)"""

    @property
    def id(self) -> str: ...

    @property
    def reason(self) -> str: ...

    async def handled(self, timeout: timedelta | None = None) -> None:
        """As `Receipt.handled`."""


class Courier(Protocol):
    """Sends durable messages to one peer. (DirectProtocol)"""

    async def send(
        self,
        peer: str,
        type_name: str,
        payload: object,
        time_to_live_s: float | None,
        limit_bytes: int,
        mid: bytes | None = None,
    ) -> Following:
        """Returns once the message is on disk, under this id if given."""

    async def receipt(self, message_id: str) -> Following:
        """Follows a message that was sent before, also in an earlier run. Raises `UnknownMessage`."""


class Contents(Protocol):
    """Payloads that are announced by id and fetched. (BlobProtocol)"""

    async def keep(self, data: bytes) -> Link:
        """Keeps content for others to fetch, for an hour, and returns its id. Raises `StoreError`."""

    async def fetch(self, link: Link, size_bytes: int, sources: Sequence[str]) -> tuple[bytes, str]:
        """The content, verified, and the peer that had it; these sources are asked first, then whoever is connected.

        What was fetched is kept for others. Raises `Unobtainable`.
        """


class Withheld(Unobtainable):
    """A peer says nothing, or other bytes than it was asked for: it had better not be asked again for a while."""


class BodySource(Protocol):
    """Fetches bodies of records in chunks, from one peer at a time. (BlobProtocol)"""

    async def fetch_body(self, peer: str, record: Link, body: Link, size_bytes: int) -> bytes:
        """The body with this id that a peer has of a record, verified. Raises `Unobtainable`, `Withheld`."""


class BodyShelf(Protocol):
    """What this node has of them for others. (SyncManager)"""

    async def body_for(self, peer: str, record: bytes, begin: int, count: int) -> bytes | None:
        """Bytes of the body of a record, by its binary id; None where the peer may not read it, or it is not here."""


class Control(Protocol):
    """Sends what is not a message over the direct streams. (DirectProtocol)"""

    def send_control(self, peer: str, frame: Frame) -> bool:
        """Sends a frame unacknowledged, ahead of no message; False when there is no stream or it has no credit."""

    def waiting_for(self, peer: str) -> Waiting:
        """What waits to be sent to the peer or to be acknowledged by it."""

    def traffic(self, peer: str) -> tuple[int, int, int, int]:
        """Messages in, bytes in, messages out, bytes out."""
