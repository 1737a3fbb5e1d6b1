"""How far a named handler is in the records of a durable type: jobs of the store.

A feed's position and what it passed over change only here, in the transaction in which what became of its messages is
written; so each record is handed over once, whatever is done twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

from covm.federation.dispatch import tables
from covm.federation.dispatch.inbox_jobs import INBOX_COLUMNS
from covm.federation.dispatch.peer_rows import peer_row
from covm.federation.wire.limits import MAX_TIME_MS
from covm.federation.wire.message import MessageBody

if TYPE_CHECKING:
    from covm.federation.ports import Publication, Publications
    from covm.federation.store.interface import Transaction

LATE_AT_ONCE: Final = 256
"""Positions of passed records that are looked at in one query."""


_BEHIND: Final = "position > :after ORDER BY position"
_DOUBTED_BEHIND: Final = "position < -:after ORDER BY position DESC"

_ONE_PASSED: Final = "feed_id = :id AND (position = :position OR position = -:position)"


class Opened(NamedTuple):
    """A feed as it is found."""

    id: int
    position: int
    attempts: int
    is_new: bool
    has_passed: bool
    """Whether it passed over records that may count again."""


class Quarantined(NamedTuple):
    """A record on which a handler failed for good, as a message of the inbox."""

    inbox_id: int
    position: int
    body: MessageBody
    data: bytes
    """The body, encoded."""
    size_bytes: int
    """What it takes in memory once it is handed over again."""
    attempts: int
    reason: str
    now_ms: int


@dataclass(slots=True)
class Advance:
    """What became of what a feed was given."""

    position: int
    """Everything up to here is dealt with."""
    attempts: int = 0
    """How often what comes next was given to the handler."""
    passed: list[int] = field(default_factory=list)
    """Records that did not count; the position is negative where the handler may have been given one before."""
    late: list[int] = field(default_factory=list)
    """Records that were passed over once, and are dealt with now."""
    failed: list[int] = field(default_factory=list)
    """Records that were passed over once, and on which the handler failed now."""
    quarantined: list[Quarantined] = field(default_factory=list)

    def and_(self, after: Advance) -> Advance:
        """Both, one after the other."""
        return Advance(
            after.position,
            after.attempts,
            self.passed + after.passed,
            self.late + after.late,
            self.failed + after.failed,
            self.quarantined + after.quarantined,
        )


def fed_types(tx: Transaction) -> list[str]:
    """The types that handlers were ever given."""
    return tx.execute("SELECT DISTINCT type FROM covm_feeds").scalars()


def open_feed(tx: Transaction, type_name: str, name: str) -> Opened:
    """A named handler's feed; a new one begins before everything that is held."""
    fields = {"type": type_name, "name": name}
    query = "SELECT id, position, attempts FROM covm_feeds WHERE type = :type AND name = :name"
    row = tx.execute(query, fields).first()
    if row is None:
        tx.insert(tables.feeds, ("type", "name", "position", "attempts"), [(type_name, name, 0, 0)])
        return Opened(int(tx.execute(query, fields).one()[0]), 0, 0, is_new=True, has_passed=False)
    passed = tx.execute("SELECT 1 FROM covm_passed WHERE feed_id = :id LIMIT 1", {"id": row[0]}).first()
    feed_id, position, attempts = row
    return Opened(feed_id, position, attempts, is_new=False, has_passed=passed is not None)


class Late(NamedTuple):
    """Records that a feed passed over and that count now."""

    publications: list[Publication]
    may_come_again: bool
    """Whether the handler may have been given them before."""


def late_page(tx: Transaction, publications: Publications, type_name: str, feed_id: int, limit_bytes: int) -> Late:
    """The first of them, in order; none once there are none left. Those come first that may come again."""
    for may_come_again, behind in ((True, _DOUBTED_BEHIND), (False, _BEHIND)):
        after = 0
        while True:
            positions = tx.execute(
                f"SELECT abs(position) FROM covm_passed WHERE feed_id = :id AND {behind} LIMIT :limit",  # noqa: S608
                {"id": feed_id, "after": after, "limit": LATE_AT_ONCE},
            ).scalars()
            if found := publications.counting(tx, type_name, positions, limit_bytes):
                return Late(found, may_come_again)
            if len(positions) < LATE_AT_ONCE:
                break
            after = positions[-1]
    return Late([], may_come_again=False)


def is_open(tx: Transaction, feed_id: int, position: int, *, is_late: bool) -> bool:
    """Whether a record has not been dealt with by a feed."""
    if is_late:
        query = f"SELECT 1 FROM covm_passed WHERE {_ONE_PASSED}"  # noqa: S608 - own text
        return tx.execute(query, {"id": feed_id, "position": position}).first() is not None
    at = tx.execute("SELECT position FROM covm_feeds WHERE id = :id", {"id": feed_id}).scalar()
    return at is not None and at < position


def advance(tx: Transaction, feed_id: int, by: Advance) -> None:
    """Writes what became of what a feed was given. Once more changes nothing."""
    fresh = [each for each in by.quarantined if is_open(tx, feed_id, each.position, is_late=each.position in by.late)]
    if fresh:
        tx.insert(tables.inbox, INBOX_COLUMNS, [_inbox_row(tx, each) for each in fresh], or_ignore=True)
    if by.passed:
        rows = [(feed_id, position) for position in by.passed]
        tx.insert(tables.passed, ("feed_id", "position"), rows, or_ignore=True)
    for position in by.failed:
        query = "UPDATE covm_passed SET position = -position WHERE feed_id = :id AND position = :position"
        tx.execute(query, {"id": feed_id, "position": position})
    for position in by.late:
        query = f"DELETE FROM covm_passed WHERE {_ONE_PASSED}"  # noqa: S608 - own text
        tx.execute(query, {"id": feed_id, "position": position})
    tx.execute(
        "UPDATE covm_feeds SET position = :position, attempts = :attempts WHERE id = :id AND position <= :position",
        {"id": feed_id, "position": by.position, "attempts": by.attempts},
    )


def _inbox_row(tx: Transaction, each: Quarantined) -> tuple[object, ...]:
    body = each.body
    place = (each.inbox_id, tables.NO_LINE, peer_row(tx, body.author), body.seq, body.mid, body.type)
    state = (each.now_ms, MAX_TIME_MS, tables.QUARANTINE, each.attempts, "[]", each.reason)
    return (*place, each.data, each.size_bytes, crc32(each.data), *state)
