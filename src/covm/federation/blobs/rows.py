"""What the store knows of files: jobs and queries, called inside transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from covm.federation.blobs import tables
from covm.federation.blobs.chunks import Node, Place
from covm.federation.blobs.source import Source
from covm.federation.store.interface import Transaction

MAX_ENDED: Final = 1_000
"""Rows of ended transfers that are kept in each direction."""


class OutRow(NamedTuple):
    """A row of `covm_files_out`."""

    mid: bytes
    peer: str
    name: str
    source: Source
    root: bytes
    state: int
    reason: str
    begun_at: int


class InRow(NamedTuple):
    """A row of `covm_files_in`."""

    peer: str
    mid: bytes
    name: str
    path: bytes | None
    size: int
    root: bytes
    done_bytes: int
    state: int
    reason: str
    begun_at: int
    touched_at: int


_OUT: Final = (
    "SELECT mid, peer, name, path, size, inode, modified_ns, root, state, reason, begun_at FROM covm_files_out "
)
_IN: Final = (
    "SELECT peer, mid, name, path, size, root, done_bytes, state, reason, begun_at, touched_at FROM covm_files_in "
)
_RUNNING_OR_LATEST: Final = (
    "WHERE state = 0 OR ended_at >= (SELECT COALESCE(MIN(ended_at), 0) FROM "
    "(SELECT ended_at FROM {table} WHERE state <> 0 ORDER BY ended_at DESC LIMIT :most) AS latest) ORDER BY begun_at"
)


def load_out(tx: Transaction, most: int) -> list[OutRow]:
    """Every file that is being sent, and the latest that were; the oldest first. Clears what was never offered."""
    rows = tx.execute(_OUT + _RUNNING_OR_LATEST.format(table="covm_files_out"), {"most": most}).all()
    return [
        OutRow(bytes(mid), peer, name, Source(bytes(path), size, inode, modified), bytes(root), state, reason, begun_at)
        for mid, peer, name, path, size, inode, modified, root, state, reason, begun_at in rows
    ]


def drop_strays(tx: Transaction) -> None:
    """Nodes of files that were hashed and never offered: this node ended meanwhile."""
    tx.execute("DELETE FROM covm_file_nodes WHERE mid NOT IN (SELECT mid FROM covm_files_out WHERE state = 0)")


def add_out(tx: Transaction, row: OutRow) -> None:
    source = row.source
    tx.insert(
        tables.files_out,
        ("mid", "peer", "name", "path", "size", "root", "inode", "modified_ns", "state", "reason", "begun_at"),
        [
            (
                row.mid,
                row.peer,
                row.name,
                source.path,
                source.size,
                row.root,
                source.inode,
                source.modified_ns,
                row.state,
                row.reason,
                row.begun_at,
            )
        ],
    )


def add_nodes(tx: Transaction, mid: bytes, nodes: Sequence[Node]) -> None:
    rows = [(mid, node.place.level, node.place.position, node.body) for node in nodes]
    tx.insert(tables.file_nodes, ("mid", "level", "position", "body"), rows)


def node_body(tx: Transaction, mid: bytes, place: Place) -> bytes | None:
    found = tx.execute(
        "SELECT body FROM covm_file_nodes WHERE mid = :mid AND level = :level AND position = :position",
        {"mid": mid, "level": place.level, "position": place.position},
    ).scalar()
    return None if found is None else bytes(found)


def drop_out(tx: Transaction, mid: bytes) -> None:
    """As if it had never been offered."""
    tx.execute("DELETE FROM covm_file_nodes WHERE mid = :mid", {"mid": mid})
    tx.execute("DELETE FROM covm_files_out WHERE mid = :mid", {"mid": mid})


def end_out(tx: Transaction, mid: bytes, state: int, reason: str, now_ms: int) -> None:
    """It arrived or failed: its tree is not needed any more, the oldest ended ones are forgotten."""
    tx.execute("DELETE FROM covm_file_nodes WHERE mid = :mid", {"mid": mid})
    tx.execute(
        "UPDATE covm_files_out SET state = :state, reason = :reason, ended_at = :now WHERE mid = :mid",
        {"state": state, "reason": reason, "now": now_ms, "mid": mid},
    )
    _prune(tx, "covm_files_out")


def load_in(tx: Transaction, most: int) -> list[InRow]:
    """Every file that is being received, and the latest that were; the oldest first."""
    rows = tx.execute(_IN + _RUNNING_OR_LATEST.format(table="covm_files_in"), {"most": most}).all()
    return [_in_row(*row) for row in rows]


def find_in(tx: Transaction, peer: str, mid: bytes) -> InRow | None:
    row = tx.execute(_IN + "WHERE peer = :peer AND mid = :mid", {"peer": peer, "mid": mid}).first()
    return None if row is None else _in_row(*row)


def add_in(tx: Transaction, row: InRow) -> None:
    """Begins it; one that is there already stays as it is."""
    tx.insert(tables.files_in, InRow._fields, [tuple(row)], or_ignore=True)


def progress_in(tx: Transaction, peer: str, mid: bytes, done_bytes: int, now_ms: int) -> None:
    tx.execute(
        "UPDATE covm_files_in SET done_bytes = :done, touched_at = :now WHERE peer = :peer AND mid = :mid",
        {"done": done_bytes, "now": now_ms, "peer": peer, "mid": mid},
    )


def end_in(tx: Transaction, peer: str, mid: bytes, *, state: int, reason: str, path: bytes | None, now_ms: int) -> None:
    """It is whole, or will never be; the oldest ended ones are forgotten."""
    tx.execute(
        "UPDATE covm_files_in SET state = :state, reason = :reason, path = :path, ended_at = :now, "
        "done_bytes = CASE WHEN :state = 1 THEN size ELSE done_bytes END WHERE peer = :peer AND mid = :mid",
        {"state": state, "reason": reason, "path": path, "now": now_ms, "peer": peer, "mid": mid},
    )
    _prune(tx, "covm_files_in")


def _in_row(
    peer: str,
    mid: bytes,
    name: str,
    path: bytes | None,
    size: int,
    root: bytes,
    done_bytes: int,
    state: int,
    reason: str,
    begun_at: int,
    touched_at: int,
) -> InRow:
    where = None if path is None else bytes(path)
    return InRow(peer, bytes(mid), name, where, size, bytes(root), done_bytes, state, reason, begun_at, touched_at)


def _prune(tx: Transaction, table: str) -> None:
    oldest = tx.execute(
        f"SELECT ended_at FROM {table} WHERE state <> 0 ORDER BY ended_at DESC LIMIT 1 OFFSET :most",  # noqa: S608
        {"most": MAX_ENDED},
    ).scalar()
    if oldest is not None:
        tx.execute(f"DELETE FROM {table} WHERE state <> 0 AND ended_at <= :oldest", {"oldest": oldest})  # noqa: S608
