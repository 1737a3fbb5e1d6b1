"""The jobs about applications' own stores: how far they are, and what they did not take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from covm.federation.sync.rows import in_lists

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

MAX_ERROR: Final = 500
"""Characters of an error that are kept."""

_OF: Final = "name = :name AND type = :type"


class Feeding(NamedTuple):
    """Which store, and which type of records."""

    name: str
    type: str


class Failure(NamedTuple):
    """A key that a store did not take."""

    key: str
    error: str


class Marks(NamedTuple):
    """How far a store is."""

    cursor: int
    failures: int


class Judged(NamedTuple):
    """What was judged behind a cursor."""

    keys: list[tuple[int, str]]
    """With the numbers of the judgements."""
    highest: int
    """Of all judgements, of whatever type: up to there nothing of this type is missing in a list that is not full."""


def marks(tx: Transaction, of: Feeding) -> Marks:
    """How far a store is."""
    cursor = tx.execute(f"SELECT judged FROM covm_sync_cursors WHERE {_OF}", of._asdict()).scalar()  # noqa: S608
    return Marks(cursor or 0, failures(tx, of))


def failures(tx: Transaction, of: Feeding) -> int:
    """How many keys a store did not take."""
    query = f"SELECT count(*) FROM covm_sync_failures WHERE {_OF}"  # noqa: S608 - own text
    return int(tx.execute(query, of._asdict()).scalar_one())


def judged(tx: Transaction, type_name: str, after: int, limit: int) -> Judged:
    """Keys of records in the order of their judgements, behind one."""
    # Asked first: what is committed in between has a higher number.
    highest = tx.execute("SELECT max(judged) FROM covm_records").scalar() or 0
    rows = tx.execute(
        "SELECT r.judged, r.key FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "
        "WHERE t.name = :type AND r.judged > :after ORDER BY r.judged LIMIT :limit",
        {"type": type_name, "after": after, "limit": limit},
    )
    return Judged([(row[0], row[1]) for row in rows], highest)


def behind(tx: Transaction, type_name: str, after: int) -> int:
    """How many judgements there are behind one."""
    query = (
        "SELECT count(*) FROM covm_records r JOIN covm_record_types t ON t.id = r.type_id "
        "WHERE t.name = :type AND r.judged > :after"
    )
    return int(tx.execute(query, {"type": type_name, "after": after}).scalar_one())


def failing(tx: Transaction, of: Feeding, limit: int) -> list[str]:
    """Keys that a store did not take, those first that were tried the longest ago."""
    query = f"SELECT key FROM covm_sync_failures WHERE {_OF} ORDER BY tried_ms, key LIMIT :limit"  # noqa: S608
    return tx.execute(query, {**of._asdict(), "limit": limit}).scalars()


def note(
    tx: Transaction, of: Feeding, cursor: int, taken: Sequence[str], failed: Sequence[Failure], now_ms: int
) -> None:
    """Keeps how far a store is: up to where, which keys it took that it had not taken before, and which it did not."""
    tx.execute(
        "INSERT INTO covm_sync_cursors (name, type, judged) VALUES (:name, :type, :judged) "
        "ON CONFLICT (name, type) DO UPDATE SET judged = excluded.judged",
        {**of._asdict(), "judged": cursor},
    )
    for names, values in in_lists("k", taken):
        delete = f"DELETE FROM covm_sync_failures WHERE {_OF} AND key IN ({names})"  # noqa: S608 - own text
        tx.execute(delete, {**of._asdict(), **values})
    for each in failed:
        tx.execute(
            "INSERT INTO covm_sync_failures (name, type, key, since_ms, tried_ms, attempts, error) "
            "VALUES (:name, :type, :key, :now, :now, 1, :error) ON CONFLICT (name, type, key) DO UPDATE SET "
            "tried_ms = excluded.tried_ms, attempts = covm_sync_failures.attempts + 1, error = excluded.error",
            {
                **of._asdict(),
                "key": each.key,
                "now": now_ms,
                "error": each.error.replace("\0", " ").encode(errors="replace").decode()[:MAX_ERROR],
            },
        )
