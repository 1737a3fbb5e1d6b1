"""The outbox as people look at it: queries, and the values that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from covm.federation.dispatch import receipts, tables
from covm.federation.store.interface import Transaction

MAX_LISTED: Final = 1_000
"""Messages of one answer; `before` asks for those further back."""

STATES: Final = {
    tables.QUEUED: receipts.QUEUED,
    tables.HANDLED: receipts.HANDLED,
    tables.REFUSED: receipts.REFUSED,
    tables.QUARANTINED: receipts.QUARANTINED,
    tables.EXPIRED: receipts.EXPIRED,
    tables.CANCELLED: receipts.CANCELLED,
}
_BY_NAME: Final = {name: state for state, name in STATES.items()}


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that was sent to one peer. Times are milliseconds since 1970-01-01 UTC."""

    id: str
    """32 hexadecimal digits."""
    peer: str
    """The recipient's peer id."""
    type: str
    """The type's name, in small letters."""
    state: str
    """As `Receipt.state`."""
    reason: str
    """As `Receipt.reason`."""
    size_bytes: int
    """Of the signed body."""
    queued_at_ms: int
    """When it was sent, or sent again by hand."""
    expires_at_ms: int
    """Until when it is tried."""
    settled_at_ms: int | None
    """When its state became final; None before that."""
    seq: int | None
    """Its place among the messages to the peer; None while it waits for one."""
    can_be_retried: bool
    """Whether its content is still held here and it is over."""
    number: int
    """Ascending in the order of sending: `before` of a list."""


@dataclass(frozen=True, slots=True)
class PeerOutbox:
    """What waits for one peer. Times are milliseconds since 1970-01-01 UTC."""

    peer: str
    """The recipient's peer id."""
    messages: int
    """How many are not acknowledged."""
    size_bytes: int
    """Their bytes."""
    oldest_ms: int | None
    """Since when the oldest of it waits."""
    last_error: str
    """Why the peer refused messages for now, or can store none; empty when neither is so."""
    next_try_ms: int | None
    """When what was refused for now is tried again."""


class Found:
    """A message's row, with its line."""

    __slots__ = ("has_envelope", "id", "is_current", "line_id", "message", "mid", "peer", "seq", "state", "was_stored")

    def __init__(self, row: Sequence[Any]) -> None:
        row_id, line_id, peer, seq, mid, type_name, state, reason, queued_at, expires_at, settled_at, size = row[:12]
        acked_seq, has_envelope, was_stored = row[12], bool(row[13]), bool(row[14])
        self.id: int = row_id
        self.line_id: int = line_id
        self.peer: str = peer
        self.seq: int = seq
        self.mid = bytes(mid)
        self.state: int = state
        self.has_envelope = has_envelope
        self.was_stored = was_stored
        is_stored = state == tables.QUEUED and (seq <= acked_seq or was_stored) and not reason
        name = receipts.STORED if is_stored else STATES[state]
        over = state not in (tables.QUEUED, tables.HANDLED)
        self.message = SentMessage(
            self.mid.hex(),
            peer,
            type_name,
            name,
            reason,
            size,
            queued_at,
            expires_at,
            settled_at,
            seq,
            over and has_envelope,
            row_id,
        )


_ROWS: Final = (
    "SELECT o.id, o.line_id, p.peer, o.seq, o.mid, o.type, o.state, o.reason, o.queued_at, o.expires_at, "
    "o.settled_at, o.size, l.acked_seq, o.envelope IS NOT NULL, o.was_stored FROM covm_outbox o "
    "JOIN covm_lines_out l ON l.id = o.line_id JOIN covm_peers p ON p.id = l.peer_id"
)


_OTHER: Final = (
    "EXISTS (SELECT 1 FROM covm_outbox n WHERE n.mid = o.mid AND CASE WHEN (n.state IN (4, 5)) = (o.state IN (4, 5)) "
    "THEN n.id > o.id ELSE o.state IN (4, 5) END)"
)
"""Whether a message has a place that says more of how it stands: see `tables.outbox`."""


def find(tx: Transaction, mid: bytes) -> Found | None:
    """The place of a message that says how it stands."""
    row = tx.execute(f"{_ROWS} WHERE o.mid = :mid AND NOT {_OTHER}", {"mid": mid}).first()
    return None if row is None else Found(row)


def places_of(tx: Transaction, mid: bytes, line_id: int) -> list[int]:
    """Every place that a message has on a line."""
    query = "SELECT seq FROM covm_outbox WHERE mid = :mid AND line_id = :line"
    return list(tx.execute(query, {"mid": mid, "line": line_id}).scalars())


def find_staged(tx: Transaction, mid: bytes) -> SentMessage | None:
    """A message that waits for a place."""
    row = tx.execute(
        "SELECT id, peer, type, length(body), queued_at, expires_at FROM covm_staged WHERE mid = :mid "
        "ORDER BY id DESC LIMIT 1",
        {"mid": mid},
    ).first()
    if row is None:
        return None
    row_id, peer, type_name, size, queued_at, expires_at = row
    return SentMessage(
        mid.hex(), peer, type_name, receipts.QUEUED, "", size, queued_at, expires_at, None, None, False, row_id
    )


def look_up(tx: Transaction, mid: bytes) -> SentMessage | None:
    """A message, wherever it is."""
    found = find(tx, mid)
    return found.message if found is not None else find_staged(tx, mid)


def ids_from(tx: Transaction, prefix: str, limit: int) -> list[str]:
    """Ids that begin with these hexadecimal digits, at most so many."""
    width = 2 * 16
    low, high = bytes.fromhex(prefix.ljust(width, "0")), bytes.fromhex(prefix.ljust(width, "f"))
    where = {"low": low, "high": high, "limit": limit}
    found = tx.execute(
        "SELECT mid FROM covm_outbox WHERE mid BETWEEN :low AND :high "
        "UNION SELECT mid FROM covm_staged WHERE mid BETWEEN :low AND :high ORDER BY mid LIMIT :limit",
        where,
    )
    return [bytes(mid).hex() for (mid,) in found]


def listed(tx: Transaction, peer: str | None, state: str | None, limit: int, before: int | None) -> list[SentMessage]:
    """The newest messages first, of one peer and in one state if given. Raises `ValueError` for an unknown state."""
    where, given = [f"NOT {_OTHER}"], dict[str, Any](limit=max(1, min(limit, MAX_LISTED)))
    if peer is not None:
        where.append("p.peer = :peer")
        given["peer"] = peer
    if before is not None:
        where.append("o.id < :before")
        given["before"] = before
    if state is not None:
        where.append(_in_state(state))
    rows = tx.execute(f"{_ROWS} WHERE {' AND '.join(where)} ORDER BY o.id DESC LIMIT :limit", given)
    return [Found(row).message for row in rows]


def staged_of(tx: Transaction) -> list[tuple[str, int, int, int]]:
    """Peer, messages, bytes and the oldest time of what waits for a place."""
    found = tx.execute("SELECT peer, count(*), sum(length(body)), min(queued_at) FROM covm_staged GROUP BY peer")
    return [(peer, count, int(size or 0), oldest) for peer, count, size, oldest in found]


def last_reasons(tx: Transaction) -> dict[int, str]:
    """By line, why its receiver refused messages for now."""
    found = tx.execute("SELECT line_id, max(reason) FROM covm_outbox WHERE state = 0 AND reason <> '' GROUP BY line_id")
    return dict(found.all())


def _in_state(state: str) -> str:
    if state == receipts.STORED:
        return "o.state = 0 AND o.reason = '' AND (o.seq <= l.acked_seq OR o.was_stored = 1)"
    if state == receipts.QUEUED:
        return "o.state = 0 AND (o.reason <> '' OR (o.seq > l.acked_seq AND o.was_stored = 0))"
    if state not in _BY_NAME:
        raise ValueError(f"{state!r} is no state of a message: {', '.join([receipts.STORED, *_BY_NAME])}")
    return f"o.state = {_BY_NAME[state]}"
