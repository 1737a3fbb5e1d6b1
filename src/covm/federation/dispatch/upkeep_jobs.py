"""What time does to the outbox, on disk: expiry, release of what is settled, pruning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from covm.federation.store.interface import Transaction

AT_ONCE: Final = 1_024
"""Rows of one job: a fraction of a second for the writer."""


class Due(NamedTuple):
    """A message whose time is over."""

    id: int
    line_id: int
    seq: int
    mid: bytes
    size_bytes: int
    reason: str


def soonest_expiry(tx: Transaction, after_ms: int) -> int | None:
    """When the next message expires, of those that can."""
    query = "SELECT min(expires_at) FROM covm_outbox WHERE state = 0 AND expires_at > :after"
    soonest: int | None = tx.execute(query, {"after": after_ms}).scalar()
    return soonest


def due(tx: Transaction, now_ms: int) -> list[Due]:
    """Messages that are over and not stored at the receiver, or refused there for now."""
    found = tx.execute(
        "SELECT o.id, o.line_id, o.seq, o.mid, o.size, o.reason FROM covm_outbox o "
        "JOIN covm_lines_out l ON l.id = o.line_id "
        "WHERE o.state = 0 AND o.expires_at <= :now AND (o.seq > l.acked_seq OR o.reason <> '') "
        "ORDER BY o.expires_at LIMIT :count",
        {"now": now_ms, "count": AT_ONCE},
    )
    return [Due(row_id, line_id, seq, bytes(mid), size, reason) for row_id, line_id, seq, mid, size, reason in found]


def over_of(tx: Transaction, ids: Sequence[int]) -> set[int]:
    """Those of these rows that have their end."""
    over: set[int] = set()
    for start in range(0, len(ids), 256):
        chosen = ", ".join(map(str, ids[start : start + 256]))
        found = tx.execute(f"SELECT id FROM covm_outbox WHERE state <> 0 AND id IN ({chosen})")  # noqa: S608 - integers
        over.update(found.scalars())
    return over


def settle_rows(tx: Transaction, ids: Sequence[int], state: int, now_ms: int, reason: str | None = None) -> None:
    """Gives queued messages their end, as this node decides it."""
    for start in range(0, len(ids), 256):
        chosen = ", ".join(map(str, ids[start : start + 256]))
        said = "" if reason is None else ", reason = :reason"
        tx.execute(
            f"UPDATE covm_outbox SET state = :state, settled_at = :now{said} "  # noqa: S608 - integers of ours
            f"WHERE state = 0 AND id IN ({chosen})",
            {"state": state, "now": now_ms} | ({} if reason is None else {"reason": reason}),
        )


def release(tx: Transaction, line_id: int, after_seq: int, upto_seq: int) -> None:
    """Drops the envelopes of what was handled."""
    where = {"line": line_id, "after": after_seq, "upto": upto_seq}
    tx.execute(
        "UPDATE covm_outbox SET envelope = NULL "
        "WHERE line_id = :line AND seq > :after AND seq <= :upto AND state = 1 AND envelope IS NOT NULL",
        where,
    )
    tx.execute("UPDATE covm_lines_out SET released_seq = :upto WHERE id = :line", where)


def shed(tx: Transaction, line_id: int, upto_seq: int, settled_before: int, all_before: int) -> None:
    """Drops old envelopes by the line's bytes: those of settled messages, and further back all that are stored."""
    tx.execute(
        "UPDATE covm_outbox SET envelope = NULL WHERE line_id = :line AND seq <= :upto AND envelope IS NOT NULL "
        'AND (("offset" < :settled AND state <> 0) OR "offset" < :all)',
        {"line": line_id, "upto": upto_seq, "settled": settled_before, "all": all_before},
    )


def first_seq(tx: Transaction, line_id: int) -> int | None:
    """The lowest place that is still kept."""
    first: int | None = tx.execute("SELECT min(seq) FROM covm_outbox WHERE line_id = :line", {"line": line_id}).scalar()
    return first


def prune_line(tx: Transaction, line_id: int, after_seq: int, upto_seq: int) -> None:
    """Forgets settled messages."""
    tx.execute(
        "DELETE FROM covm_outbox WHERE line_id = :line AND seq > :after AND seq <= :upto AND state <> 0",
        {"line": line_id, "after": after_seq, "upto": upto_seq},
    )


def still_waiting(tx: Transaction, line_id: int, acked_seq: int) -> tuple[int, int]:
    """Messages of a line that are neither acknowledged nor over, and their bytes."""
    [count, size_bytes] = tx.execute(
        "SELECT count(*), sum(size) FROM covm_outbox WHERE line_id = :line AND seq > :acked AND state NOT IN (2, 4, 5)",
        {"line": line_id, "acked": acked_seq},
    ).one()
    return count, int(size_bytes or 0)


def prune_over(tx: Transaction, line_id: int, acked_seq: int, kept: int, kept_bytes: int) -> int:
    """Forgets what ended before its receiver had it, but for the newest. Returns how many rows went.

    A skip takes the place of what has no row as well.
    """
    over = "line_id = :line AND seq > :acked AND state IN (2, 4, 5)"
    result = tx.execute(
        f"DELETE FROM covm_outbox WHERE id IN (SELECT id FROM covm_outbox WHERE {over} AND ("  # noqa: S608 - own text
        f"seq <= coalesce((SELECT seq FROM covm_outbox WHERE {over} ORDER BY seq DESC LIMIT 1 OFFSET :kept), 0) "
        f'OR "offset" < (SELECT max("offset") FROM covm_outbox WHERE {over}) - :bytes) LIMIT :count)',
        {"line": line_id, "acked": acked_seq, "kept": kept, "bytes": kept_bytes, "count": AT_ONCE},
    )
    return int(result.rowcount)


def prune_by_age(tx: Transaction, settled_before_ms: int, expired_before_ms: int) -> int:
    """Forgets what was settled long ago, and what was stored and never settled. Returns how many rows went."""
    result = tx.execute(
        "DELETE FROM covm_outbox WHERE id IN (SELECT o.id FROM covm_lines_out l "
        "JOIN covm_outbox o ON o.line_id = l.id AND o.seq <= l.acked_seq "
        "WHERE o.settled_at < :settled OR (o.state = 0 AND o.expires_at < :expired) LIMIT :count)",
        {"settled": settled_before_ms, "expired": expired_before_ms, "count": AT_ONCE},
    )
    return int(result.rowcount)


def prune_lines(tx: Transaction, number: int, nonce: bytes) -> None:
    """Forgets lines of earlier incarnations of which nothing is kept any more."""
    tx.execute(
        "DELETE FROM covm_lines_out WHERE (number <> :number OR nonce <> :nonce) "
        "AND NOT EXISTS (SELECT 1 FROM covm_outbox o WHERE o.line_id = covm_lines_out.id)",
        {"number": number, "nonce": nonce},
    )


def close_line(tx: Transaction, line_id: int) -> None:
    """Nothing more goes out on this line of an earlier incarnation: what is left in it is history."""
    tx.execute("UPDATE covm_lines_out SET acked_seq = next_seq - 1 WHERE id = :line", {"line": line_id})


def unsettled(tx: Transaction, line_id: int, acked_seq: int) -> int:
    """The last place up to `acked_seq` that is stored, not settled, and still held; 0 when there is none."""
    found = tx.execute(
        "SELECT max(seq) FROM covm_outbox "
        "WHERE line_id = :line AND seq <= :acked AND state = 0 AND reason = '' AND envelope IS NOT NULL",
        {"line": line_id, "acked": acked_seq},
    ).scalar()
    return int(found or 0)


def given_back(tx: Transaction) -> list[tuple[int, int]]:
    """How many messages of each line their receivers refused for now."""
    found = tx.execute("SELECT line_id, count(*) FROM covm_outbox WHERE state = 0 AND reason <> '' GROUP BY line_id")
    return [(line_id, count) for line_id, count in found]
