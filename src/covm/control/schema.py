"""The control API's requests and answers, version 1. Every object says its version.

Durations are milliseconds, times are milliseconds since 1970-01-01 UTC, sizes are bytes. Peers are peer ids in
base58, addresses multiaddrs. Payloads are JSON; bytes and links in them are spelled as in DAG-JSON
(`{"/": {"bytes": "<base64>"}}` and `{"/": "<cid>"}`).

| request | body | answer |
|---|---|---|
| GET /v1/status | | `Status` |
| POST /v1/stop | | lines: `Stopping`, `Stopping` |
| GET /v1/peers?peer | | `Peers` |
| POST /v1/connect | `Connect` | `Connected` |
| POST /v1/disconnect | `OnPeer` | `Done` |
| GET /v1/bans | | `Bans` |
| POST /v1/ban | `BanPeer` | `Done` |
| POST /v1/unban | `OnPeer` | `Done` |
| POST /v1/publish | `Publish` | `Published` |
| POST /v1/send | `Send` | `Sent` |
| GET /v1/gossip-log?type&limit&follow | | `GossipLog`, or lines of `GossipLine` |
| GET /v1/messages?type&limit&follow | | `Messages`, or lines of `MessageLine` |
| GET /v1/stats | | `Stats` |
| GET /v1/types | | `Types` |

`covm.control.delivery` has the rest: what is under way, files, and the store. Anything that goes wrong is a `Failure`
with an HTTP status of its kind.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

VERSION = 1
"""The version of everything below. Fields may be added within a version; readers ignore what they do not know."""

REQUEST_LIMIT_BYTES = 2 * 1024 * 1024
"""The largest request body: a direct message's 1 MiB, and as much again for JSON's escapes."""

HOST = "localhost"
"""The only `Host` the control server answers to."""

LIMIT_DEFAULT = 100
"""Entries of a log that are answered unless the caller says how many."""

LIMIT_MOST = 1000
"""The most entries of a log in one answer: what a node keeps by default."""

BAN_MOST_MS = 100 * 365 * 24 * 3600 * 1000
"""The longest ban that has an end, a hundred years: one that is to outlast a node is given none."""

TIMEOUT_MOST_MS = 24 * 3600 * 1000
"""The longest that one request waits for a message, a day; the node itself gives up on it far earlier."""


LIFE_MOST_MS = 30 * 24 * 3600 * 1000
"""The longest that a message is tried, 30 days: receivers remember ids little longer."""


class Versioned(Struct, kw_only=True, frozen=True):
    """What all requests and answers begin with."""

    version: int = VERSION


class Problem(Struct, kw_only=True, frozen=True):
    """What went wrong. `kind` sorts it (see `control.failures`), `code` names it, `message` tells it."""

    kind: str
    code: str
    message: str
    details: dict[str, Any] = {}


class Failure(Versioned, kw_only=True, frozen=True):
    """The answer when something went wrong."""

    error: Problem


class Done(Versioned, kw_only=True, frozen=True):
    """It is done; `peer` is the full id of whom it concerned."""

    peer: str


class StoreStatus(Struct, kw_only=True, frozen=True):
    """The store and how it is."""

    engine: str
    where: str
    """A path, or a URL without its password; empty when everything is in memory."""
    state: str
    """`ok`, `full` or `failing`."""
    why: str
    since: int | None
    """Since when it is full or failing."""
    size_bytes: int
    durable: bool
    """Whether it outlives the process."""
    version: str
    """The engine's."""


class Notice(Struct, kw_only=True, frozen=True):
    """Something that the operator should know although the node goes on by itself."""

    time: int
    """When it was so last."""
    text: str
    times: int = 1
    """How often it was so."""


class Forker(Struct, kw_only=True, frozen=True):
    """A node that has signed two records at one place of a log, and how often it has done so."""

    peer_id: str
    name: str
    """What it is called; empty when it is not known."""
    forks: int


class Status(Versioned, kw_only=True, frozen=True):
    """Who the node is and how it is."""

    name: str
    peer_id: str
    did_key: str
    addresses: list[str]
    home: str
    pid: int
    membership: str
    network: str
    federation: str
    federation_name: str
    """What its founders called it; empty in `open` mode."""
    member: str
    """The member whose node this is; empty for none."""
    takes_part: bool
    """Whether this node may take part, as far as it knows."""
    why: str
    """Why it may, or may not."""
    warning: str
    connected_peers: int
    started_at: int
    uptime_ms: int
    software: str
    store: StoreStatus
    incarnation: str
    """Under which this node's messages are numbered: a new one after a restore or a rollback."""
    notices: list[Notice]
    """The latest of what happened since the start, such as a rollback; the oldest first."""
    forkers: list[Forker] = []
    """Who has said two things at one place; see `covm.control.forks`."""
    clock: str = ""
    """What is wrong with the node's clock, by those of its peers; empty for nothing."""
    void: dict[str, int] = {}
    """By type, how many records of shared data do not count here; `covm.control.records` says why of each."""


class Stopping(Versioned, kw_only=True, frozen=True):
    """A line of the answer to a stop: first `stopping`, then `stopped`, when ports and home are free."""

    state: Literal["stopping", "stopped"]
    pid: int


class Way(Struct, kw_only=True, frozen=True):
    """One address of a peer: who named it, when it was heard of, tried and worked, and why the last try failed."""

    address: str
    source: str
    first_heard: int
    last_heard: int
    last_tried: int | None
    last_worked: int | None
    error: str


class Peer(Struct, kw_only=True, frozen=True):
    """A peer as this node sees it. Name, version and agent are the peer's own words: to be shown escaped."""

    peer_id: str
    name: str
    state: str
    """known, dialling, connected, suspect, lost, backing off or banned."""
    why: str
    since: int
    connected: bool
    addresses: list[str]
    """The connection's first, then what else is known."""
    direction: str
    """`outbound`, `inbound`, `both`, or empty."""
    round_trip_ms: float | None
    clock_offset_ms: float | None
    """How far the peer's clock is ahead."""
    software: str
    agent: str
    kept: bool
    """Whether it is dialled again after a loss."""
    queued: int
    """Messages that wait to be sent to it or to be acknowledged by it."""
    queued_bytes: int
    oldest_queued: int | None
    """Since when the oldest of them waits."""
    last_error: str
    """Why the last try to reach it failed; empty while it is connected."""
    next_try: int | None
    """When it is dialled again; None when it is not, or is connected."""
    offline_since: int | None
    """Since when it is not connected; None when it is, or never was. After a crash of this node: since its start."""
    messages_in: int
    bytes_in: int
    messages_out: int
    bytes_out: int
    ways: list[Way] = []
    """What is known of each address, in the order in which they are tried."""
    relayed: bool = False
    relayed_why: str = ""
    protocol: str = ""
    pinned: bool = False


class Peers(Versioned, kw_only=True, frozen=True):
    """All peers that the node knows."""

    peers: list[Peer]


class Connect(Versioned, kw_only=True, frozen=True):
    """`target` is a multiaddr, or a known peer's id, a unique beginning of it, or its name."""

    target: str


class Connected(Versioned, kw_only=True, frozen=True):
    """Both sides are open: what is published next reaches the peer."""

    peer: str
    name: str
    elapsed_ms: float


class OnPeer(Versioned, kw_only=True, frozen=True):
    """A request about one peer, given by id, a unique beginning of it, or name."""

    peer: str


class BanPeer(Versioned, kw_only=True, frozen=True):
    """Bans a peer, or (`member`) a member with all its nodes, for a time or (None) until it is lifted."""

    peer: str
    member: bool = False
    duration_ms: Annotated[int, Meta(gt=0, le=BAN_MOST_MS)] | None = None
    reason: str = ""


class Ban(Struct, kw_only=True, frozen=True):
    """A ban that stands. `until` is None when it has no end."""

    peer_id: str
    reason: str
    since: int
    until: int | None


class Bans(Versioned, kw_only=True, frozen=True):
    """All bans that stand."""

    bans: list[Ban]


class Publish(Versioned, kw_only=True, frozen=True):
    """A message for the whole federation."""

    type: str
    payload: Any


class Published(Versioned, kw_only=True, frozen=True):
    """The message's id and to how many connected peers it could go; none is no error."""

    id: str
    type: str
    peers: int


class Send(Versioned, kw_only=True, frozen=True):
    """A message for one peer; the answer comes when it is `wait`, or `timeout_ms` have passed.

    `queued` is on this node's disk: the answer comes at once, whether the peer is connected or not. `time_to_live_ms`
    is how long it is tried; None: as configured.
    """

    peer: str
    type: str
    payload: Any
    wait: Literal["queued", "stored", "handled"] = "stored"
    timeout_ms: Annotated[int, Meta(gt=0, le=TIMEOUT_MOST_MS)] = 30_000
    time_to_live_ms: Annotated[int, Meta(gt=0, le=LIFE_MOST_MS)] | None = None


class Sent(Versioned, kw_only=True, frozen=True):
    """What became of a direct message, and how long it took to become that."""

    id: str
    type: str
    peer: str
    state: str
    """What was waited for: `queued`, `stored` or `handled`. What becomes of it then is for who waits for more."""
    elapsed_ms: float
    peer_name: str
    connected: bool
    """Whether the peer is connected now."""
    offline_since: int | None
    """Since when it is not; None when it is, or never was. After a crash of this node: since its start."""
    expires_at: int
    """Until when it is tried."""


class GossipEntry(Struct, kw_only=True, frozen=True):
    """One line of the gossip log."""

    time: int
    direction: str
    type: str
    id: str
    author: str
    author_name: str
    carrier: str
    size_bytes: int
    verdict: str
    reason: str


class GossipLog(Versioned, kw_only=True, frozen=True):
    """The newest entries, the oldest of them first."""

    entries: list[GossipEntry]


class GossipLine(Versioned, kw_only=True, frozen=True):
    """One entry as it is made, while following."""

    entry: GossipEntry


class Received(Struct, kw_only=True, frozen=True):
    """A message that the node took, with its payload. `to` is None for what was published to all."""

    id: str
    type: str
    author: str
    author_name: str
    sent_at: int
    received_at: int
    to: str | None
    via: str
    payload: Any


class Messages(Versioned, kw_only=True, frozen=True):
    """The newest messages that are still held, the oldest of them first. `forgotten` counts what no longer is."""

    messages: list[Received]
    forgotten: int


class MessageLine(Versioned, kw_only=True, frozen=True):
    """One message as it arrives, while following. `skipped` counts those lost before it to a reader too slow."""

    message: Received
    skipped: int = 0


class Stats(Versioned, kw_only=True, frozen=True):
    """The node's counters, as `FederationService.stats()` gives them."""

    stats: dict[str, Any]


class TypeInfo(Struct, kw_only=True, frozen=True):
    """A message type that is registered at the node, with its JSON Schema."""

    name: str
    version: int
    size_limit_bytes: int | None
    schema: dict[str, Any]
    durable: bool = False
    """Whether what is published of it is kept, and reaches who was away."""


class Types(Versioned, kw_only=True, frozen=True):
    """All registered types, and those whose messages the node takes into its `messages`."""

    types: list[TypeInfo]
    received: list[str]
