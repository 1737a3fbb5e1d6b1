"""The store's own tables: a few named values, and the bans.

What is named: `peer_id` (whose store this is), `incarnation`, `new_incarnation` (a restored store must not go on
with the old one), and the store's own below. Values are bytes; the functions run inside a job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import BigInteger, Column, LargeBinary, Table, Text, delete, insert, select

from covm.federation.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from covm.federation.store.interface import Transaction

PEER_ID: Final = "peer_id"
"""The node whose store this is, as text."""
INCARNATION: Final = "incarnation"
"""The incarnation under which the node speaks; the format is its user's."""
NEW_INCARNATION: Final = "new_incarnation"
"""Present after a restore: what the node said since the backup is unknown here, so it begins a new incarnation."""
STORE_ID: Final = "store_id"
"""Random bytes that the file beside the store repeats."""
COMMIT_TOKEN: Final = "commit_token"  # noqa: S105 - tells transactions apart, opens nothing
"""The last transaction on PostgreSQL, by which a COMMIT without an answer is settled."""
PROBE: Final = "probe"
"""What is written to see whether a failing store works again."""

meta: Final = Table(
    "covm_meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""Named values."""

bans: Final = Table(
    "covm_bans",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger),
)
"""Peers that this node will have nothing to do with. `until_ms` NULL: until it is lifted."""


class BanRow(NamedTuple):
    """One ban as it is stored; times in milliseconds since 1970-01-01 UTC."""

    peer: str
    reason: str
    since_ms: int
    until_ms: int | None


def get_meta(tx: Transaction, key: str) -> bytes | None:
    """The named value, or None."""
    value = tx.execute("SELECT value FROM covm_meta WHERE key = :key", {"key": key}).scalar()
    return None if value is None else bytes(value)


def put_meta(tx: Transaction, key: str, value: bytes) -> None:
    """Sets the named value."""
    tx.execute(
        "INSERT INTO covm_meta (key, value) VALUES (:key, :value) "
        "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        {"key": key, "value": value},
    )


def delete_meta(tx: Transaction, key: str) -> None:
    """Removes the named value, if there is one."""
    tx.execute("DELETE FROM covm_meta WHERE key = :key", {"key": key})


def load_bans(tx: Transaction) -> list[BanRow]:
    """Every ban, the oldest first."""
    columns = (bans.c.peer, bans.c.reason, bans.c.since_ms, bans.c.until_ms)
    rows = tx.execute(select(*columns).order_by(bans.c.since_ms, bans.c.peer))
    return [BanRow(*row) for row in rows]


def replace_bans(tx: Transaction, rows: Iterable[BanRow]) -> None:
    """Makes these the bans."""
    tx.execute(delete(bans))
    if values := [row._asdict() for row in rows]:
        tx.execute(insert(bans), values)
