"""What may happen: each event a plain frozen value in the past tense."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """The peer is admitted, its direct stream stands and it listens to the federation's topic."""

    peer: str
    address: str
    outbound: bool


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """A peer that was connected is so no more."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class PeerSuspected:
    """A connected peer has been silent for two heartbeats."""

    peer: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class PeerRecovered:
    """A suspected peer was heard again."""

    peer: str


@dataclass(frozen=True, slots=True)
class PeerLost:
    """A peer was silent for four heartbeats; its connections were closed."""

    peer: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """One side refused the other. `by` is the peer id of the side that refused."""

    peer: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class PeerWasBanned:
    """The peer is banned at this node until `until_ms` (None: until it is lifted)."""

    peer: str
    reason: str
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class PeerWasUnbanned:
    """A ban ended: lifted, or its time was over."""

    peer: str
    why: str


@dataclass(frozen=True, slots=True)
class ClockFoundWrong:
    """A clock is more than 5 s ahead of those of the others, or behind (negative): that of a peer, or this node's own.

    `peer` is the peer id of whose clock it is.
    """

    peer: str
    ahead_ms: float


@dataclass(frozen=True, slots=True)
class ClockFoundRight:
    """A clock that was wrong is right again; `peer` is the peer id of whose clock it is."""

    peer: str


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """This machine has slept, or has other addresses: connections are tested, and all kept peers dialled again."""

    why: str


@dataclass(frozen=True, slots=True)
class AddressesUpdated:
    """The addresses at which this node listens changed."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HandlerFailed:
    """A handler of this node raised. The message counts as quarantined; the node goes on."""

    handler: str
    type: str
    message_id: str
    author: str
    error: str


@dataclass(frozen=True, slots=True)
class HandlerSlow:
    """A handler has been busy with one message for a long time; its lane waits for it."""

    handler: str
    type: str
    message_id: str
    author: str
    busy_s: float


@dataclass(frozen=True, slots=True)
class SyncStoreSlow:
    """The application's store of a sync type has been busy with one key for a long time; it is waited for."""

    name: str
    type: str
    key: str
    busy_s: float


@dataclass(frozen=True, slots=True)
class PayloadMismatched:
    """A message of a registered type arrived whose payload does not fit that type here; no handler saw it."""

    type: str
    message_id: str
    author: str
    path: str
    why: str


@dataclass(frozen=True, slots=True)
class MessageRejected:
    """Messages from a peer were turned away. Said at most once a second for each peer and reason, with the count."""

    peer: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class MessagesDropped:
    """Gossip was dropped because this node's handlers for the type do not keep up. Said as `MessageRejected` is."""

    type: str
    author: str
    count: int


@dataclass(frozen=True, slots=True)
class MessageQuarantined:
    """A handler of this node failed on a message for good. It is kept: `covm federation quarantine`.

    `handler` is empty where it never came to one, because the disk damaged the message.
    """

    handler: str
    type: str
    message_id: str
    author: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class RolledBack:
    """This node's store went back in time, as a peer proved; a new incarnation has begun and sends what is pending."""

    peer: str
    incarnation: str
    proven_seq: int


@dataclass(frozen=True, slots=True)
class PeerRolledBack:
    """A peer holds less than it had acknowledged; what is still held here is sent again."""

    peer: str
    acknowledged: int
    stored: int


@dataclass(frozen=True, slots=True)
class ReceivedLess:
    """A peer says that this node acknowledged more than it holds: its store may have gone back in time."""

    peer: str
    acknowledged: int
    stored: int


@dataclass(frozen=True, slots=True)
class StoreTroubled:
    """The store cannot be written (`state`: full or failing); nothing is acknowledged meanwhile."""

    state: str
    why: str


@dataclass(frozen=True, slots=True)
class StoreRecovered:
    """The store can be written again."""

    after_s: float


@dataclass(frozen=True, slots=True)
class MemberAdmitted:
    """Somebody is a member now. `name` is what it calls itself, not unique."""

    member: str
    name: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """A member is one no more."""

    member: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Several versions of a key stand side by side from now on (`is_open`), or do so no more.

    Where very many do within a second, `key` is empty for those beyond the first, and `count` says how many they are.
    """

    type: str
    key: str
    is_open: bool
    count: int = 1


@dataclass(frozen=True, slots=True)
class RecordVoided:
    """A record that counted until now counts for nothing: what has become known of members says so.

    Where very many do within a second, `key`, `record_id`, `author` and `reason` are empty, and `count` says how many.
    """

    type: str
    key: str
    record_id: str
    author: str
    reason: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class InviteRefused:
    """A node showed an invite that was not redeemed: expired, used up, altered, guessed."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class EquivocationFound:
    """A node has signed two records at one place of its log. Both are kept: `fork` names the one that came later here.

    It is proof against its author, which `FederationService.export_fork` writes to a file.
    """

    author: str
    type: str
    seq: int
    fork: str


@dataclass(frozen=True, slots=True)
class QuotaReached:
    """A member has as much of a type on this node as it may have: more of it is declined. Said once, and again only if
    it has made much room meanwhile.

    `member` is its id, in `open` mode the peer id of its node; empty for those whose member is not known here. `unit`
    is `records` or `bytes`.
    """

    type: str
    member: str
    used: int
    limit: int
    unit: str


@dataclass(frozen=True, slots=True)
class FileProgressed:
    """Part of a file came (`direction`: in) or went (out). Said at most a few times a second for each file."""

    transfer_id: str
    peer: str
    name: str
    direction: str
    done_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileReceived:
    """A whole file has arrived and verified; `path` is where it lies."""

    transfer_id: str
    peer: str
    name: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A file will not arrive."""

    transfer_id: str
    peer: str
    name: str
    direction: str
    reason: str


@dataclass(frozen=True, slots=True)
class EventsDropped:
    """This listener did not keep up; its oldest `count` events are gone."""

    count: int


@dataclass(frozen=True, slots=True)
class NodeFailed:
    """The network core ended by itself; the process lives, this node does not."""

    reason: str


Event = (
    PeerConnected
    | PeerDisconnected
    | PeerSuspected
    | PeerRecovered
    | PeerLost
    | PeerRefused
    | PeerWasBanned
    | PeerWasUnbanned
    | ClockFoundWrong
    | ClockFoundRight
    | NetworkChanged
    | AddressesUpdated
    | HandlerFailed
    | HandlerSlow
    | PayloadMismatched
    | MessageRejected
    | MessagesDropped
    | MessageQuarantined
    | RolledBack
    | PeerRolledBack
    | ReceivedLess
    | StoreTroubled
    | StoreRecovered
    | MemberAdmitted
    | MemberRemoved
    | InviteRefused
    | EquivocationFound
    | QuotaReached
    | Conflict
    | RecordVoided
    | SyncStoreSlow
    | FileProgressed
    | FileReceived
    | FileFailed
    | EventsDropped
    | NodeFailed
)
