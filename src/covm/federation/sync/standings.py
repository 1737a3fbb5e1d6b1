"""How this node stands in each type, and beside each peer: what people look at. Values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from covm.federation.sync.frontier import EMPTY_ROOT

MOST_SHOWN: Final = 8
"""Members whose usage is told."""


@dataclass(frozen=True, slots=True)
class PeerStanding:
    """How this node and a connected peer stand in one type."""

    peer: str
    """Its peer id."""
    state: str
    """`same`, `fetching`, `differs` (it lacks something, or what it has is not to be had) or `interrupted`."""
    fetched: int
    """Records that came from it since it connected."""
    last_ms: int | None
    """When it was asked to the end last, in milliseconds since 1970-01-01 UTC; None before."""
    error: str
    """Why it was interrupted last; empty when it was not."""
    position: str
    """As far as it is known: `same`; `ahead` (this node has what the peer lacks, and lacks nothing of the peer's);
    `behind` (the peer has what this node lacks, and maybe the other way round too); `unknown` (they differ, and the
    peer has not been asked to the end since)."""
    size_bytes: int
    """Bytes that came from it since it connected."""
    lacking: int | None
    """About how many of the peer's records are known to be lacking here, while it is asked; None where it says that it
    has more than there can be."""
    lag_s: float
    """How long this node and the peer have not held the same, in seconds; 0 where they do."""
    declined: int = 0
    """Logs of the peer's that are not taken any further here: what keeps most of them out says `Replica.usage`."""


def position(own: bytes, theirs: bytes, asked: bytes | None, *, is_lacking: bool) -> str:
    """How this node stands beside a peer: their roots, the root of which the peer was asked to the end last.

    What is held is never given up, so that who was asked to the end has nothing more while its root is the same.
    """
    if own == theirs:
        return "same"
    if is_lacking:
        return "behind"
    return "ahead" if theirs in (asked, EMPTY_ROOT) else "unknown"


@dataclass(frozen=True, slots=True)
class MemberUsage:
    """How much one member has here of a type, by all its nodes."""

    member: str
    """Its id, in `open` mode the peer id of its node; empty for all those together whose member is not known here."""
    records: int
    """Records, of which `record_quota` are taken."""
    size_bytes: int
    """Bytes of them, and of their values as far as those are here, of which `record_quota_bytes` are taken."""
    is_declined: bool
    """Whether more of it is declined, for want of room."""


@dataclass(frozen=True, slots=True)
class Replica:
    """What this node holds of a type."""

    type: str
    """Its name."""
    logs: int
    """Logs, one for each author and life of its node."""
    records: int
    """Records, void ones and those that wait too."""
    held: int
    """Records that wait to be judged: for what they build on, or for their author to become known."""
    void: int
    """Records that count for nothing."""
    conflicts: int
    """Keys with several versions side by side."""
    root: bytes
    """Equal roots, equal records."""
    peers: tuple[PeerStanding, ...]
    """Connected peers that hold something of it."""
    usage: tuple[MemberUsage, ...] = ()
    """The members that have most of it here, up to `MOST_SHOWN`, the largest first."""


@dataclass(frozen=True, slots=True)
class Applied:
    """How far the application's store of a sync type is with one type."""

    type: str
    """The type of the records."""
    behind: int
    """Judgements that it has not had yet."""
    failed: int
    """Keys that it did not take; they are handed over again."""
    last_ms: int | None
    """When it took something last since this node started, in milliseconds since 1970-01-01 UTC."""
    error: str
    """What it raised last, or what the node's own store did; empty since it has taken everything."""


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """How a sync type stands."""

    name: str
    """As it was registered, or the type's."""
    replicas: tuple[Replica, ...]
    """Its types of which there are records, here or at a connected peer: conflicts, void, held, and each peer."""
    applied: tuple[Applied, ...]
    """How far the application's store is; empty where there is none."""
    resolvers: dict[str, str]
    """By which resolver each of its types is shown."""


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """What has come of a sync type from connected peers since they connected, and what is known to be lacking."""

    records: int
    size_bytes: int
    lacking: int | None
    """About how many records; None where what peers say of it makes no sense."""
