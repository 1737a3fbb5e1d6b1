"""The control API's requests and answers about shared data, version 1; see `covm.control.schema`.

| request | body | answer |
|---|---|---|
| GET /v1/records/{type}?prefix=P&after=K&limit=N | | `Entries` |
| GET /v1/records/{type}/entry?key=K | | `OneEntry` |
| GET /v1/records/{type}/history?key=K&after=V | | `History` |
| POST /v1/records/put | `Put` | `Written` |
| POST /v1/records/delete | `OnKey` | `Written` |
| POST /v1/records/resolve | `Resolve` | `Written` |
| POST /v1/records/erase | `Erase` | `Erasing` |
| POST /v1/records/preview | `Resolve` | `Preview` |
| GET /v1/conflicts?type=T | | `Entries` |
| GET /v1/sync?peer=P | | `Replicas` |
| POST /v1/sync?type=T&peer=P | | `SyncLine` whenever something has come; the last says how it stands |
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from covm.control.membership import Decision
from covm.control.schema import Versioned


class Erased(Struct, kw_only=True, frozen=True):
    """Who took a value away, and why."""

    id: str
    author: str
    """The peer id of the node that wrote the erase, or proposed it."""
    name: str
    """What that node is called; empty when it is not known."""
    reason: str
    approved_by: list[str] = []
    """The names of the founders who approved it; empty where its own member erased it."""


class Version(Struct, kw_only=True, frozen=True):
    """One record of a key."""

    id: str
    author: str
    """The peer id of the node that wrote it."""
    name: str
    """What that node is called; empty when it is not known."""
    written_at: int
    """By the author's clock, in milliseconds since 1970-01-01 UTC."""
    op: str
    value: Any
    state: str
    reason: str
    lacks_value: bool = False
    """Whether it says a value that is not held here."""
    erased: Erased | None = None


class Entry(Struct, kw_only=True, frozen=True):
    """A key, with what its versions come to."""

    type: str
    key: str
    value: Any
    conflict: bool
    trouble: str
    versions: list[Version]
    """Those that stand side by side, the latest first."""


class Entries(Versioned, kw_only=True, frozen=True):
    """Entries by key: up to the limit, and fewer where values are large."""

    entries: list[Entry]


class OneEntry(Versioned, kw_only=True, frozen=True):
    """One entry."""

    entry: Entry


class History(Versioned, kw_only=True, frozen=True):
    """Records of a key, the oldest first, behind the version `after`: up to 10,000, fewer where values are large."""

    type: str
    key: str
    versions: list[Version]


class Put(Versioned, kw_only=True, frozen=True):
    """Write a value that replaces the one that is shown."""

    type: str
    key: str
    value: Any


class OnKey(Versioned, kw_only=True, frozen=True):
    """Something with one key."""

    type: str
    key: str


class Resolve(Versioned, kw_only=True, frozen=True):
    """Write what replaces all versions that stand side by side: a value, or that of one of them."""

    type: str
    key: str
    value: Any = None
    take: str = ""
    """The id of a version, or the beginning of it behind what all ids begin with; empty for `value`."""
    based_on: list[str] | None = None
    """The ids of the versions that it is to replace: it is refused where others stand there by now."""


class Preview(Versioned, kw_only=True, frozen=True):
    """What a `Resolve` would write; nothing is written."""

    type: str
    key: str
    op: str
    value: Any
    replaces: list[Version]
    """Those that stand side by side now."""


class Erase(Versioned, kw_only=True, frozen=True):
    """Take a version's value away, everywhere."""

    id: str
    """The version's id, or the beginning of it, with or without what all ids begin with."""
    reason: str


class Written(Versioned, kw_only=True, frozen=True):
    """A record that is on this node's disk."""

    type: str
    key: str
    written: Version


class Erasing(Versioned, kw_only=True, frozen=True):
    """What became of an erase: a record that is written, or what founders are to approve."""

    type: str
    key: str
    written: Version | None = None
    """Of what this node's member wrote."""
    decision: Decision | None = None
    """Of what another member wrote."""


class Partner(Struct, kw_only=True, frozen=True):
    """A connected peer."""

    peer_id: str
    name: str
    state: str
    """`same`, `fetching`, `differs` (it lacks something, or what it has is not to be had) or `interrupted`."""
    fetched: int
    last: int | None
    error: str
    position: str = ""
    """`same`, `ahead` (the peer lacks something, and this node nothing), `behind` (this node does) or `unknown`."""
    size: int = 0
    """Bytes that came from it since it connected."""
    lacking: int | None = 0
    """About how many of its records are known to be lacking here; None where what it says makes no sense."""
    lag_s: float = 0.0
    """How long the two have not held the same."""
    declined: int = 0
    """Logs of the peer's that are not taken any further here."""


class Usage(Struct, kw_only=True, frozen=True):
    """How much one member has of a type on this node."""

    member: str
    """Its id, in `open` mode the peer id of its node; empty for all those together whose member is not known here."""
    name: str
    records: int
    size: int
    """Bytes, with the values that are here."""
    declined: bool
    """Whether more of it is declined, for want of room."""


class Replica(Struct, kw_only=True, frozen=True):
    """One type."""

    type: str
    logs: int
    records: int
    held: int
    void: int
    conflicts: int
    root: str
    peers: list[Partner]
    usage: list[Usage] = []
    """The members that have most of it, the largest first."""


class PutOff(Struct, kw_only=True, frozen=True):
    """Types that a peer names and of which nothing is known here: they are asked for in turns."""

    peer_id: str
    name: str
    types: int


class Replicas(Versioned, kw_only=True, frozen=True):
    """Every type of which there are records, here or at a connected peer."""

    replicas: list[Replica]
    put_off: list[PutOff] = field(default_factory=list)


class SyncLine(Versioned, kw_only=True, frozen=True):
    """How far the fetching is that was asked for."""

    records: int
    """That came since it was asked for."""
    size: int
    """Their bytes."""
    lacking: int | None
    """About how many are known to be lacking still; None where what peers say makes no sense."""
    seconds: float
    """Since it was asked for."""
    replicas: list[Replica] | None = None
    """How it stands, once it is over."""
