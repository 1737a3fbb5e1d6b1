"""The tables of durable delivery. Times are milliseconds since 1970-01-01 UTC; ids that count up are ours.

out                                          in
covm_lines_out  a sequence to one peer       covm_lines_in   a peer's sequence to us
covm_outbox     what takes its places        covm_inbox      what is not dealt with yet
covm_staged     what waits for a place       covm_seen       message ids that have had their effect
                                             covm_outcomes   what became of messages, until the sender has it
durable types
covm_staged_records  to be published         covm_feeds      how far each named handler is in the records of a type
                                             covm_passed     what it passed over because it did not count then
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from covm.federation.store.schema import metadata

_Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the column says INTEGER."""

peers: Final = Table(
    "covm_peers",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("peer", Text, nullable=False, unique=True),
)
"""A small number for each peer id, which has 52 characters."""

lines_out: Final = Table(
    "covm_lines_out",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("peer_id", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("next_seq", BigInteger, nullable=False),
    Column("acked_seq", BigInteger, nullable=False),
    Column("acked_mid", LargeBinary),
    Column("released_seq", BigInteger, nullable=False),
    Column("total_bytes", BigInteger, nullable=False),
    Column("acked_bytes", BigInteger, nullable=False),
    Column("outcomes_upto", BigInteger, nullable=False),
    UniqueConstraint("peer_id", "number", "nonce"),
)
"""One for each recipient and incarnation of ours.

Everything up to `acked_seq` is acknowledged, up to `released_seq` its envelopes are dropped. `total_bytes` counts all
that was ever queued on the line, `acked_bytes` the part that is acknowledged.
"""

QUEUED: Final = 0
"""Under way; whether it is stored follows from the line's `acked_seq`."""
HANDLED: Final = 1
REFUSED: Final = 2
QUARANTINED: Final = 3
EXPIRED: Final = 4
CANCELLED: Final = 5

SKIPPED: Final = frozenset({REFUSED, EXPIRED, CANCELLED})
"""A skip travels in the stead of these."""

GIVEN_UP: Final = frozenset({EXPIRED, CANCELLED})
"""Ends that this node decided. The receiver may have the message all the same, and its word counts then."""

outbox: Final = Table(
    "covm_outbox",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("line_id", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("mid", LargeBinary, nullable=False),
    Column("type", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("was_stored", SmallInteger, nullable=False),
    Column("queued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Column("offset", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("envelope", LargeBinary),
    UniqueConstraint("line_id", "seq"),
    Index("covm_outbox_mid", "mid"),
    # Of those alone that can still expire: what is settled would otherwise be looked through at each expiry.
    Index("covm_outbox_expires_at", "expires_at", sqlite_where=text("state = 0"), postgresql_where=text("state = 0")),
)
"""What takes each place of a line. `envelope` is the message as it travels, until it is released; in the stead of what
expired, was cancelled or refused, a skip travels, made when it is sent: so each of them can be tried again.

One that this node had given up keeps its place then, besides the new one: the receiver may turn out to have it there.
The latest place that is not given up says how a message stands; if there is none, the latest.

`was_stored` is 1 where the receiver acknowledged the message at an earlier place, and it is sent again only to hear
what became of it: it cannot be called back, though this place is not acknowledged.

`offset` is the line's `total_bytes` before it, `size` that of the body.
"""

staged: Final = Table(
    "covm_staged",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("peer", Text, nullable=False),
    Column("mid", LargeBinary, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("queued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("covm_staged_mid", "mid"),
)
"""Messages that have no place yet: sent inside a transaction, tried again, or moved to a new incarnation.

`body` is encoded with place 0.
"""

lines_in: Final = Table(
    "covm_lines_in",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("peer_id", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("stored_seq", BigInteger, nullable=False),
    Column("stored_mid", LargeBinary),
    Column("last_envelope", LargeBinary),
    Column("next_outcome", BigInteger, nullable=False),
    UniqueConstraint("peer_id", "number", "nonce"),
)
"""One for each sender and incarnation of it. `last_envelope` proves to a rolled-back sender what it once sent."""

staged_records: Final = Table(
    "covm_staged_records",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("type", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
"""What was published inside a transaction and is of a durable type, until it is a record. `payload` is DAG-CBOR."""

feeds: Final = Table(
    "covm_feeds",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("type", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    UniqueConstraint("type", "name"),
)
"""A handler of a durable type, by its name. It is through with everything up to `position`, and was given what comes
next so many times.
"""

passed: Final = Table(
    "covm_passed",
    metadata,
    Column("feed_id", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""Records that did not count when a feed came by: should they ever count again, they are handed over then.

The position is negative where the handler may have been given the record all the same: before a crash, or it failed.
"""

PENDING: Final = 0
QUARANTINE: Final = 1
UNHANDLED: Final = 2
"""Nobody handles the type yet."""

NO_LINE: Final = 0
"""The line of what came from no sender's."""

inbox: Final = Table(
    "covm_inbox",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("line_id", BigInteger, nullable=False),
    Column("author_id", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("mid", LargeBinary, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("checksum", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("done", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("covm_inbox_lane", "author_id", "type", "id"),
)
"""Messages that arrived and are not dealt with; ids ascend in the order of arrival.

The signature of a body is checked before it is stored and not kept: `checksum`, its CRC-32, tells what a disk did to it
afterwards.
`done` names the handlers that are through with it, as a JSON list. What is handled or refused leaves the table.
A record of a durable type on which a handler failed is for that one alone, and of no line (`NO_LINE`).
"""

seen: Final = Table(
    "covm_seen",
    metadata,
    Column("author_id", BigInteger, primary_key=True, autoincrement=False),
    Column("mid", LargeBinary, primary_key=True),
    Column("forget_at", BigInteger, nullable=False),
    Column("inbox_id", BigInteger, nullable=False),
    Index("covm_seen_forget_at", "forget_at"),
    sqlite_with_rowid=False,
)
"""Message ids that were taken, until a day past their expiry: none has a second effect.

`inbox_id` is the message's in `covm_inbox`, where it is while it is not dealt with.
"""

outcomes: Final = Table(
    "covm_outcomes",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("line_id", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("mid", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rule", LargeBinary),
    UniqueConstraint("line_id", "number"),
)
"""What became of a run of messages, numbered along the line; said again until the sender confirms."""
