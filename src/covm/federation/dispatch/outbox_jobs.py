"""What the outbox does on disk: functions that run inside a job, with the values that they take and give.

The loop decides places and numbers before a job runs, and one job of the outbox is under way at a time; so a job
writes what it is told and judges nothing but what only the disk knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from covm.federation.dispatch import tables
from covm.federation.dispatch.peer_rows import peer_row
from covm.federation.dispatch.standing import Held, Settlement
from covm.federation.store.interface import Transaction
from covm.federation.wire.incarnation import Incarnation

ROW: Final = (
    "line_id",
    "seq",
    "mid",
    "type",
    "state",
    "reason",
    "was_stored",
    "queued_at",
    "expires_at",
    "offset",
    "size",
    "envelope",
)
STAGED: Final = ("peer", "mid", "type", "body", "queued_at", "expires_at")

Seal = Callable[[Sequence[bytes]], list[bytes]]


class LineRow(NamedTuple):
    """A line as it is on disk."""

    id: int
    peer: str
    number: int
    nonce: bytes
    next_seq: int
    acked_seq: int
    acked_mid: bytes | None
    acked_bytes: int
    total_bytes: int
    released_seq: int
    outcomes_upto: int


_LINES: Final = (
    "SELECT l.id, p.peer, l.number, l.nonce, l.next_seq, l.acked_seq, l.acked_mid, l.acked_bytes, l.total_bytes, "
    "l.released_seq, l.outcomes_upto FROM covm_lines_out l JOIN covm_peers p ON p.id = l.peer_id"
)


@dataclass(slots=True)
class LineWork:
    """One line's part of a batch: its numbers after it, its new rows, what became of earlier ones."""

    id: int | None
    peer: str
    incarnation: Incarnation
    next_seq: int
    total_bytes: int
    acked_seq: int
    acked_mid: bytes | None
    acked_bytes: int
    released_seq: int
    outcomes_upto: int
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    """As `ROW`, without line and envelope."""
    bodies: list[bytes] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    """Places that expired or were cancelled, and of which the receiver has the message all the same."""


@dataclass(slots=True)
class Batch:
    """One commit of the outbox."""

    lines: list[LineWork] = field(default_factory=list)
    staged: list[tuple[Any, ...]] = field(default_factory=list)
    moved_rows: list[int] = field(default_factory=list)
    """Outbox rows that got a new place."""
    moved_staged: list[int] = field(default_factory=list)
    envelopes: list[bytes] | None = None
    """The bodies signed; kept for the case that the job runs again, since signing is the dearest part of it."""

    def bodies(self) -> list[bytes]:
        """Every body that is to be signed, line by line."""
        return [body for work in self.lines for body in work.bodies]


class Settled(Enum):
    """What the disk says to an outcome."""

    DONE = "done"
    FORGED = "forged"
    GONE = "gone"
    """The message's row is no longer kept."""


class Written(NamedTuple):
    """What a batch came to, in the order of its lines."""

    line_ids: list[int]
    settled: list[list[tuple[Settled, int]]]
    """For each settlement, and how many messages it settled."""


def write_batch(tx: Transaction, batch: Batch, seal: Seal) -> Written:
    """Writes one batch."""
    if batch.envelopes is None:
        bodies = batch.bodies()
        batch.envelopes = seal(bodies) if bodies else []
    line_ids = [work.id if work.id is not None else obtain_line(tx, work) for work in batch.lines]
    rows: list[tuple[Any, ...]] = []
    envelopes = iter(batch.envelopes)
    for line_id, work in zip(line_ids, batch.lines, strict=True):
        rows += [(line_id, *row, next(envelopes)) for row in work.rows]
    if rows:
        tx.insert(tables.outbox, ROW, rows)
    if batch.staged:
        tx.insert(tables.staged, STAGED, batch.staged)
    _delete(tx, "covm_outbox", batch.moved_rows)
    _delete(tx, "covm_staged", batch.moved_staged)
    settled = [_write_line(tx, line_id, work) for line_id, work in zip(line_ids, batch.lines, strict=True)]
    return Written(line_ids, settled)


def obtain_line(tx: Transaction, work: LineWork) -> int:
    """The row of a line, made if there is none."""
    life = {"number": work.incarnation.number, "nonce": work.incarnation.nonce, "peer_id": peer_row(tx, work.peer)}
    where = "FROM covm_lines_out WHERE peer_id = :peer_id AND number = :number AND nonce = :nonce"
    tx.execute(
        "INSERT INTO covm_lines_out (peer_id, number, nonce, next_seq, acked_seq, released_seq, total_bytes, "
        "acked_bytes, outcomes_upto) VALUES (:peer_id, :number, :nonce, 1, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
        life,
    )
    return int(tx.execute(f"SELECT id {where}", life).scalar_one())


def _write_line(tx: Transaction, line_id: int, work: LineWork) -> list[tuple[Settled, int]]:
    tx.execute(
        "UPDATE covm_lines_out SET next_seq = :next_seq, total_bytes = :total_bytes, acked_seq = :acked_seq, "
        "acked_mid = :acked_mid, acked_bytes = :acked_bytes, outcomes_upto = :outcomes_upto WHERE id = :id",
        {
            "id": line_id,
            "next_seq": work.next_seq,
            "total_bytes": work.total_bytes,
            "acked_seq": work.acked_seq,
            "acked_mid": work.acked_mid,
            "acked_bytes": work.acked_bytes,
            "outcomes_upto": work.outcomes_upto,
        },
    )
    for seq in work.restored:
        tx.execute(
            "UPDATE covm_outbox SET state = 0, reason = '', settled_at = NULL "
            "WHERE line_id = :line AND seq = :seq AND state IN (4, 5)",
            {"line": line_id, "seq": seq},
        )
    return [_settle(tx, line_id, work.released_seq, each) for each in work.settlements]


def _settle(tx: Transaction, line_id: int, released_seq: int, found: Settlement) -> tuple[Settled, int]:
    where = {"line": line_id, "last": found.last}
    mid = tx.execute("SELECT mid FROM covm_outbox WHERE line_id = :line AND seq = :last", where).scalar()
    if mid is None:
        return Settled.GONE, 0
    if bytes(mid) != found.mid:
        return Settled.FORGED, 0
    # What was refused for now stays queued; an outcome after that, or after the operator there tried it again, counts.
    open_states = "(0, 3, 4, 5)" if found.is_final else "(0)"
    result = tx.execute(
        "UPDATE covm_outbox SET state = :state, reason = :reason, settled_at = :now, envelope = "  # noqa: S608 - ours
        "CASE WHEN :state = 1 AND seq <= :released THEN NULL ELSE envelope END "
        f"WHERE line_id = :line AND seq BETWEEN :first AND :last AND state IN {open_states}",
        {
            **where,
            "state": found.state,
            "reason": found.reason,
            "now": found.settled_at if found.is_final else None,
            "released": released_seq,
            "first": found.first,
        },
    )
    return Settled.DONE, int(result.rowcount)


def _delete(tx: Transaction, table: str, ids: Sequence[int]) -> None:
    for start in range(0, len(ids), 256):
        chosen = ", ".join(map(str, ids[start : start + 256]))
        tx.execute(f"DELETE FROM {table} WHERE id IN ({chosen})")  # noqa: S608 - integers of ours


def load_lines(tx: Transaction) -> list[LineRow]:
    """Every line of every incarnation, the oldest incarnation first."""
    return [_line(row) for row in tx.execute(f"{_LINES} ORDER BY l.number, l.nonce, l.id")]


def places_from(tx: Transaction, peer: str, incarnation: Incarnation, seq: int) -> list[tuple[int, bytes]]:
    """Places from `seq` on that are on disk, with their message ids."""
    found = tx.execute(
        "SELECT o.seq, o.mid FROM covm_outbox o JOIN covm_lines_out l ON l.id = o.line_id "
        "JOIN covm_peers p ON p.id = l.peer_id "
        "WHERE p.peer = :peer AND l.number = :number AND l.nonce = :nonce AND o.seq >= :seq",
        {"peer": peer, "number": incarnation.number, "nonce": incarnation.nonce, "seq": seq},
    )
    return [(place, bytes(mid)) for place, mid in found]


def load_line(tx: Transaction, peer: str, incarnation: Incarnation) -> LineRow | None:
    """One line as it is on disk now."""
    found = tx.execute(
        f"{_LINES} WHERE p.peer = :peer AND l.number = :number AND l.nonce = :nonce",
        {"peer": peer, "number": incarnation.number, "nonce": incarnation.nonce},
    ).first()
    return None if found is None else _line(found)


def _line(row: Sequence[Any]) -> LineRow:
    line_id, peer, number, nonce, next_seq, acked_seq, acked_mid, *rest = row
    return LineRow(
        line_id, peer, number, bytes(nonce), next_seq, acked_seq, None if acked_mid is None else bytes(acked_mid), *rest
    )


def held_at(tx: Transaction, line_id: int, seq: int) -> Held | None:
    """What is held at a place."""
    row = tx.execute(
        'SELECT mid, state, "offset" + size, envelope IS NOT NULL FROM covm_outbox '
        "WHERE line_id = :line AND seq = :seq",
        {"line": line_id, "seq": seq},
    ).first()
    return None if row is None else Held(bytes(row[0]), row[1], row[2], bool(row[3]))


class Row(NamedTuple):
    """One place as it is read back to be sent."""

    id: int
    seq: int
    mid: bytes
    state: int
    offset: int
    size: int
    queued_at: int
    type: str
    envelope: bytes | None


def read_on(tx: Transaction, line_id: int, after_seq: int, max_count: int, max_bytes: int) -> list[Row]:
    """The places behind `after_seq`, in order, at least one if there is any. Bounded by bytes as well."""
    found = tx.execute(
        'SELECT id, seq, mid, state, "offset", size, queued_at, type, envelope FROM covm_outbox '
        'WHERE line_id = :line AND seq > :seq AND "offset" < :bytes + (SELECT "offset" FROM covm_outbox '
        "WHERE line_id = :line AND seq > :seq ORDER BY seq LIMIT 1) ORDER BY seq LIMIT :count",
        {"line": line_id, "seq": after_seq, "count": max_count, "bytes": max_bytes},
    )
    return [
        Row(
            row_id, seq, bytes(mid), state, offset, size, queued_at, name, None if envelope is None else bytes(envelope)
        )
        for row_id, seq, mid, state, offset, size, queued_at, name, envelope in found
    ]


def oldest_waiting(tx: Transaction, line_id: int, acked_seq: int) -> int | None:
    """Since when the oldest message waits that is not acknowledged, in milliseconds."""
    oldest: int | None = tx.execute(
        "SELECT queued_at FROM covm_outbox WHERE line_id = :line AND seq > :seq ORDER BY seq LIMIT 1",
        {"line": line_id, "seq": acked_seq},
    ).scalar()
    return oldest
