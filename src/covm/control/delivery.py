"""The control API's forms for what is under way: messages to and from this node, files, and the store they lie in.

They belong to the schema of `covm.control.schema`, whose rules hold here too: milliseconds, bytes, peer ids in base58.
An `id` in a request may be a unique beginning of it.

| request | body | answer |
|---|---|---|
| POST /v1/wait | `Wait` | `schema.Sent` |
| GET /v1/outbox?peer&state&limit | | `Outbox` |
| GET /v1/outbox/ID | | `Outgoing` |
| POST /v1/outbox/retry | `OnMessage` | `Outgoing` |
| POST /v1/outbox/cancel | `OnMessage` | `Outgoing` |
| GET /v1/inbox?limit | | `Inbox` |
| GET /v1/inbox/ID | | `Incoming` |
| GET /v1/quarantine?limit | | `Inbox` |
| GET /v1/quarantine/ID | | `Incoming` |
| POST /v1/quarantine/retry | `OnMessage` | `Incoming` |
| POST /v1/quarantine/discard | `OnMessage` | `Incoming` |
| POST /v1/send-file | `SendFile` | `TransferLine` |
| GET /v1/transfers | | `Transfers` |
| GET /v1/transfers/ID | | lines of `TransferLine`, the last of them final |
| POST /v1/store/backup | `BackUp` | `BackedUp` |
| POST /v1/store/check | `CheckStore` | `Checked` |
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from covm.control.schema import TIMEOUT_MOST_MS, Versioned

OUTBOX_STATES = ("queued", "stored", "handled", "refused", "quarantined", "expired", "cancelled")
"""What a message that this node sent may be, in the order of its life."""

FINAL = ("done", "failed")
"""States in which a file's transfer has ended."""

PATH_MOST = 4096
"""Characters of a path: what Linux takes."""

SECRET_MOST = 4096
"""Characters of a passphrase or a recipient: any that a person keeps."""


class OutgoingMessage(Struct, kw_only=True, frozen=True):
    """A message of this node for one peer, as far as is known here."""

    id: str
    peer: str
    peer_name: str
    type: str
    state: str
    """queued, stored, handled, refused, quarantined, expired or cancelled."""
    reason: str
    """Why it was refused, quarantined or cancelled, or why the last try of a queued one came to nothing."""
    queued_at: int
    expires_at: int
    size_bytes: int
    can_be_retried: bool
    """Whether it has come to an end other than handled, and its content is still held."""
    connected: bool
    """Whether the peer is connected now."""
    offline_since: int | None
    """Since when it is not; None when it is, or never was. After a crash of this node: since its start."""


class Outbox(Versioned, kw_only=True, frozen=True):
    """Messages of this node, the newest first."""

    messages: list[OutgoingMessage]


class Outgoing(Versioned, kw_only=True, frozen=True):
    """One of them."""

    message: OutgoingMessage


class IncomingMessage(Struct, kw_only=True, frozen=True):
    """A message for this node that is not dealt with."""

    id: str
    author: str
    author_name: str
    type: str
    state: str
    """pending, quarantined, or unhandled: nobody here handles its type yet."""
    attempts: int
    """How often a handler was given it."""
    reason: str
    """Why it is quarantined."""
    received_at: int
    size_bytes: int


class Inbox(Versioned, kw_only=True, frozen=True):
    """Messages that are not dealt with, the newest first."""

    messages: list[IncomingMessage]


class Incoming(Versioned, kw_only=True, frozen=True):
    """One of them."""

    message: IncomingMessage


class OnMessage(Versioned, kw_only=True, frozen=True):
    """A request about one message."""

    id: str


class Wait(Versioned, kw_only=True, frozen=True):
    """The answer comes when the message is `wait`, or `timeout_ms` have passed."""

    id: str
    wait: Literal["stored", "handled"] = "stored"
    timeout_ms: Annotated[int, Meta(gt=0, le=TIMEOUT_MOST_MS)] = 30_000


class SendFile(Versioned, kw_only=True, frozen=True):
    """A file for one peer. `path` is absolute: the node itself reads it, as the user that both run as."""

    peer: str
    path: Annotated[str, Meta(max_length=PATH_MOST)]


class Transfer(Struct, kw_only=True, frozen=True):
    """A file on its way."""

    id: str
    peer: str
    peer_name: str
    name: str
    direction: str
    """`in` or `out`."""
    size_bytes: int
    done_bytes: int
    state: str
    """running, done or failed."""
    reason: str
    path: str
    """Where it lies here: what is sent, or what has arrived; empty while it is still to come."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in FINAL


class Transfers(Versioned, kw_only=True, frozen=True):
    """The files on their way, and those that ended lately."""

    transfers: list[Transfer]


class TransferLine(Versioned, kw_only=True, frozen=True):
    """How far a file is."""

    transfer: Transfer


class BackUp(Versioned, kw_only=True, frozen=True):
    """Writes a backup to `path`, which is absolute, encrypted with the passphrase or for the age recipient."""

    path: Annotated[str, Meta(max_length=PATH_MOST)]
    passphrase: Annotated[str, Meta(max_length=SECRET_MOST)] | None = None
    recipient: Annotated[str, Meta(max_length=SECRET_MOST)] | None = None

    def __repr__(self) -> str:
        return f"BackUp(path={self.path!r})"


class BackedUp(Versioned, kw_only=True, frozen=True):
    """A backup that is on disk."""

    path: str
    peer_id: str
    size_bytes: int


class CheckStore(Versioned, kw_only=True, frozen=True):
    """Reads everything in the store of the running node."""


class Checked(Versioned, kw_only=True, frozen=True):
    """What a check of the store found. Nothing is wrong when `problems` is empty."""

    where: str
    problems: list[str]
    counts: dict[str, Any]
    salvaged: str = ""
    """Where what verifies was copied to, if that was asked for."""


class Restored(Versioned, kw_only=True, frozen=True):
    """A home that was made from a backup."""

    home: str
    peer_id: str
    made_at: int
    moved_aside: str
    """The folder in which lies what was in the home; empty when there was nothing."""
    moved_schema: str = ""
    """The PostgreSQL schema in which lie the tables that were there; empty when there were none."""
