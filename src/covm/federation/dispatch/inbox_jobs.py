"""What the inbox does inside a transaction: jobs of the store, each a function of a `Transaction`.

A job may run more than once before it is committed, so it changes nothing but tables. Numbers of outcomes are given
here and nowhere else: jobs are committed in order, so the numbers of a line are too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from covm.federation.dispatch import tables
from covm.federation.dispatch.inbox import Run, Settled, id_runs, runs_of
from covm.federation.dispatch.peer_rows import peer_row
from covm.federation.wire.frames import Outcome, OutcomeState, Position
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import MAX_TIME_MS

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

LINES_KEPT: Final = 4
"""Incarnations of one sender that are remembered: the newest, and a few that it may ask a proof of."""

IN_SIZES: Final = (256, 64, 16, 4, 1)
"""Values of one `IN (...)`: any number is a few of these, so few statements are ever compiled."""

INBOX_COLUMNS: Final = (
    "id",
    "line_id",
    "author_id",
    "seq",
    "mid",
    "type",
    "body",
    "size",
    "checksum",
    "received_at",
    "expires_at",
    "state",
    "attempts",
    "done",
    "reason",
)


class LineRow(NamedTuple):
    """A sender's line as it is stored."""

    line_id: int
    author_id: int
    incarnation: Incarnation
    stored_seq: int
    stored_mid: bytes | None
    next_outcome: int

    @property
    def position(self) -> Position | None:
        """Where it stands, as the sender is told."""
        return None if self.stored_mid is None else Position(self.stored_seq, self.stored_mid)


class NewRow(NamedTuple):
    """A message to store.

    `refused`: it is not kept, and its sender is told why; `rule`: by what, if others may judge by something else.
    """

    inbox_id: int
    seq: int
    mid: bytes
    type: str
    body: bytes
    expires_at_ms: int | None
    forget_at_ms: int
    state: int
    refused: str = ""
    rule: bytes | None = None


class Batch(NamedTuple):
    """What one job stores of a line. `line_id` and `author_id` are None for a line that has no row yet."""

    sender: str
    incarnation: Incarnation
    line_id: int | None
    author_id: int | None
    next_outcome: int
    rows: Sequence[NewRow]
    stored_seq: int
    stored_mid: bytes | None
    last_envelope: bytes
    now_ms: int


@dataclass(slots=True)
class Stored:
    """What a committed batch came to. `repeated`: ids of messages that were here before; `revived` of these are
    again at the end of their lanes, under the id that was meant for the repetition, as large as they were."""

    line_id: int
    author_id: int
    repeated: set[int] = field(default_factory=set)
    revived: dict[int, int] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)


def load_line(tx: Transaction, sender: str) -> LineRow | None:
    """The line of a sender's newest incarnation, if it ever sent anything."""
    row = tx.execute(
        "SELECT l.id, l.peer_id, l.number, l.nonce, l.stored_seq, l.stored_mid, l.next_outcome FROM covm_lines_in l "
        "JOIN covm_peers p ON p.id = l.peer_id WHERE p.peer = :peer ORDER BY l.number DESC, l.nonce DESC LIMIT 1",
        {"peer": sender},
    ).first()
    if row is None:
        return None
    line_id, author_id, number, nonce, stored_seq, stored_mid, next_outcome = row
    mid = None if stored_mid is None else bytes(stored_mid)
    return LineRow(line_id, author_id, Incarnation(number, bytes(nonce)), stored_seq, mid, next_outcome)


def load_greeting(
    tx: Transaction, sender: str, incarnation: Incarnation, said: int, limit: int
) -> tuple[LineRow | None, list[Outcome]]:
    """A sender's newest line, and its outcomes above `said` if it is the line of this incarnation."""
    row = load_line(tx, sender)
    if row is None or row.incarnation != incarnation:
        return row, []
    return row, outcomes_after(tx, row.line_id, said, limit)


def load_again(tx: Transaction, sender: str, ids: Sequence[int]) -> tuple[LineRow | None, dict[int, int]]:
    """A sender's newest line, and which of these messages are in the inbox, with their states."""
    return load_line(tx, sender), dict(map(tuple, rows_by(tx, "SELECT id, state FROM covm_inbox WHERE", "id", ids)))


def last_envelope(tx: Transaction, sender: str, incarnation: Incarnation) -> bytes:
    """The last envelope of a sender's incarnation, as a proof to it; empty when there is none."""
    found = tx.execute(
        "SELECT l.last_envelope FROM covm_lines_in l JOIN covm_peers p ON p.id = l.peer_id "
        "WHERE p.peer = :peer AND l.number = :number AND l.nonce = :nonce",
        {"peer": sender, "number": incarnation.number, "nonce": incarnation.nonce},
    ).scalar()
    return b"" if found is None else bytes(found)


def outcomes_after(tx: Transaction, line_id: int, number: int, limit: int) -> list[Outcome]:
    """The line's next outcomes above a number, in order."""
    rows = tx.execute(
        "SELECT number, first_seq, last_seq, mid, state, reason, rule FROM covm_outcomes "
        "WHERE line_id = :line AND number > :number ORDER BY number LIMIT :limit",
        {"line": line_id, "number": number, "limit": limit},
    ).all()
    return [
        Outcome(each, first, last, bytes(mid), state, reason, None if rule is None else bytes(rule))
        for each, first, last, mid, state, reason, rule in rows
    ]


def raise_outcomes(tx: Transaction, line_id: int, number: int) -> bool:
    """Numbers up to this one are known to the sender already, from before this store went back in time. True."""
    tx.execute("DELETE FROM covm_outcomes WHERE line_id = :line AND number <= :upto", {"line": line_id, "upto": number})
    tx.execute(
        "UPDATE covm_lines_in SET next_outcome = :next WHERE id = :line AND next_outcome < :next",
        {"line": line_id, "next": number + 1},
    )
    return True


def store_batch(tx: Transaction, batch: Batch) -> Stored:
    """Stores what is new of a batch, and where the line stands."""
    author_id = peer_row(tx, batch.sender) if batch.author_id is None else batch.author_id
    line_id = _new_line(tx, author_id, batch) if batch.line_id is None else batch.line_id
    stored = Stored(line_id, author_id)
    before = _seen(tx, author_id, [row.mid for row in batch.rows])
    seen_rows: list[tuple[Any, ...]] = []
    inbox_rows: list[tuple[Any, ...]] = []
    again: list[tuple[NewRow, int]] = []
    settled: list[Settled] = []
    for row in batch.rows:
        known = before.get(row.mid)
        if known is not None:
            stored.repeated.add(row.inbox_id)
            again.append((row, known))
        elif row.refused:
            settled.append(Settled(row.seq, row.mid, OutcomeState.REFUSED.value, row.refused, row.rule))
        else:
            before[row.mid] = row.inbox_id
            seen_rows.append((author_id, row.mid, row.forget_at_ms, row.inbox_id))
            inbox_rows.append(_inbox_row(row, line_id, author_id, batch.now_ms))
    if inbox_rows:
        tx.insert(tables.seen, ("author_id", "mid", "forget_at", "inbox_id"), seen_rows)
        tx.insert(tables.inbox, INBOX_COLUMNS, inbox_rows)
    if again:
        settled += _take_again(tx, line_id, author_id, again, stored)
    tx.execute(
        "UPDATE covm_lines_in SET stored_seq = :seq, stored_mid = :mid, last_envelope = :envelope WHERE id = :line",
        {"seq": batch.stored_seq, "mid": batch.stored_mid, "envelope": batch.last_envelope, "line": line_id},
    )
    stored.outcomes = add_outcomes(tx, line_id, runs_of(settled))
    return stored


def add_outcomes(tx: Transaction, line_id: int, runs: Sequence[Run]) -> list[Outcome]:
    """Numbers outcomes and keeps them until the sender confirms; a line that is forgotten has none."""
    if not runs:
        return []
    number = tx.execute("SELECT next_outcome FROM covm_lines_in WHERE id = :line", {"line": line_id}).scalar()
    if number is None:
        return []
    outcomes = [Outcome(at, *run) for at, run in enumerate(runs, number)]
    tx.insert(
        tables.outcomes,
        ("line_id", "number", "first_seq", "last_seq", "mid", "state", "reason", "rule"),
        [(line_id, number + at, *run) for at, run in enumerate(runs)],
    )
    tx.execute(
        "UPDATE covm_lines_in SET next_outcome = :next WHERE id = :line",
        {"next": number + len(runs), "line": line_id},
    )
    return outcomes


def rows_by(tx: Transaction, select: str, column: str, values: Sequence[Any], **others: Any) -> Iterable[Any]:
    """The rows of a statement that ends in a WHERE clause, with `column IN (values)` added to it."""
    for part, statement in _in_parts(select, column, values):
        yield from tx.execute(statement, {**part, **others}).all()


def _in_parts(statement: str, column: str, values: Sequence[Any]) -> Iterable[tuple[dict[str, Any], str]]:
    start = 0
    while start < len(values):
        left = len(values) - start
        # The smallest size that takes what is left, filled up with the last value.
        size = next((size for size in reversed(IN_SIZES) if size >= left), IN_SIZES[0])
        part = values[start : start + size]
        start += len(part)
        named = {f"v{index}": part[min(index, len(part) - 1)] for index in range(size)}
        yield named, _in_text(statement, column, size)


@lru_cache(maxsize=64)
def _in_text(statement: str, column: str, size: int) -> str:
    return f"{statement} {column} IN ({', '.join(f':v{index}' for index in range(size))})"


def _seen(tx: Transaction, author_id: int, mids: Sequence[bytes]) -> dict[bytes, int]:
    rows = rows_by(
        tx, "SELECT mid, inbox_id FROM covm_seen WHERE author_id = :author AND", "mid", mids, author=author_id
    )
    return {bytes(mid): inbox_id for mid, inbox_id in rows}


def _inbox_row(row: NewRow, line_id: int, author_id: int, now_ms: int) -> tuple[Any, ...]:
    place = (row.inbox_id, line_id, author_id, row.seq, row.mid, row.type, row.body, len(row.body), crc32(row.body))
    return (*place, now_ms, _expiry(row), row.state, 0, "[]", "")


def _expiry(row: NewRow) -> int:
    return MAX_TIME_MS if row.expires_at_ms is None else row.expires_at_ms


def _take_again(
    tx: Transaction, line_id: int, author_id: int, again: Sequence[tuple[NewRow, int]], stored: Stored
) -> list[Settled]:
    """Messages that were taken before, under a new place: what still waits is told there; the rest was handled.

    What lies in quarantine gets another try, at the end of its lane, if its sender gave it a new time to live: one,
    however often it is sent at once. Otherwise the sender only lost what it was told, and is told again.
    """
    select = "SELECT id, mid, state, expires_at, reason, size FROM covm_inbox WHERE"
    found = rows_by(tx, select, "id", [known for _, known in again])
    held = {(each, bytes(mid)): tuple(rest) for each, mid, *rest in found}
    settled: list[Settled] = []
    moved: dict[bytes, int] = {}
    for row, seen_as in again:
        known = moved.get(row.mid, seen_as)
        there = held.get((known, row.mid))
        if there is None:
            settled.append(Settled(row.seq, row.mid, OutcomeState.HANDLED.value, "", None))
            continue
        state, expires_at, reason, size = there
        new_id, new_state = known, state
        if state == tables.QUARANTINE and _expiry(row) <= expires_at:
            settled.append(Settled(row.seq, row.mid, OutcomeState.FAILED.value, reason, None))
        elif state == tables.QUARANTINE:
            new_id, new_state = row.inbox_id, tables.PENDING
            stored.revived[new_id] = size
            moved[row.mid], held[new_id, row.mid] = new_id, (new_state, expires_at, reason, size)
            tx.execute(
                "UPDATE covm_seen SET inbox_id = :id, forget_at = :forget WHERE author_id = :author AND mid = :mid",
                {"id": new_id, "forget": row.forget_at_ms, "author": author_id, "mid": row.mid},
            )
        tx.execute(
            "UPDATE covm_inbox SET id = :new, line_id = :line, seq = :seq, state = :state WHERE id = :known",
            {"new": new_id, "line": line_id, "seq": row.seq, "state": new_state, "known": known},
        )
    return settled


def _new_line(tx: Transaction, author_id: int, batch: Batch) -> int:
    of = batch.incarnation
    fields: Mapping[str, Any] = {"peer": author_id, "number": of.number, "nonce": of.nonce, "next": batch.next_outcome}
    line_id = tx.execute(
        "INSERT INTO covm_lines_in (peer_id, number, nonce, stored_seq, next_outcome) "
        "VALUES (:peer, :number, :nonce, 0, :next) RETURNING id",
        fields,
    ).scalar_one()
    old = tx.execute(
        "SELECT id FROM covm_lines_in WHERE peer_id = :peer ORDER BY number DESC, nonce DESC LIMIT 100 OFFSET :kept",
        {"peer": author_id, "kept": LINES_KEPT},
    ).scalars()
    for each in old:
        tx.execute("DELETE FROM covm_outcomes WHERE line_id = :line", {"line": each})
        tx.execute("DELETE FROM covm_lines_in WHERE id = :line", {"line": each})
    return int(line_id)


def delete_settled(tx: Transaction, ids: Sequence[int]) -> list[tuple[int, int, int, int, bytes, str]]:
    """Takes messages out; returns (id, line, author, seq, mid, done) of those that were there."""
    gone: list[Any] = []
    returning = " RETURNING id, line_id, author_id, seq, mid, done"
    runs = id_runs(sorted(ids))
    if len(runs) * 8 <= len(ids):
        for first, last in runs:
            statement = f"DELETE FROM covm_inbox WHERE id BETWEEN :first AND :last{returning}"  # noqa: S608 - own text
            gone += tx.execute(statement, {"first": first, "last": last}).all()
    else:
        for part, statement in _in_parts("DELETE FROM covm_inbox WHERE", "id", sorted(ids)):
            gone += tx.execute(statement + returning, part).all()
    return [(at, line, author, seq, bytes(mid), done) for at, line, author, seq, mid, done in gone]
