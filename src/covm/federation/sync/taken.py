"""What became of a batch of records. Values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from covm import _native
from covm.federation.sync.plan import Plan, Row
from covm.federation.sync.quotas import Full
from covm.federation.wire.record import SignedRecord


class Taken(NamedTuple):
    """What became of a batch."""

    placed: int = 0
    refused: int = 0
    keys: frozenset[tuple[str, str]] = frozenset()
    """Types and keys with new judgements."""
    malformed: int = 0
    """Those that were no records, or not what was asked for."""
    postponed: frozenset[_native.Link] = frozenset()
    """Logs of which records are to be offered again: too many wait to be judged."""
    declined: frozenset[_native.Link] = frozenset()
    """Logs that are not taken any further: a quota has no room for more, or their author has begun too many."""
    full: tuple[Full, ...] = ()
    """Quotas of which it is news that they decline something."""
    recounted: frozenset[str] = frozenset()
    """Types of which records were judged that were here before."""
    lacks_bodies: bool = False
    """Whether some came without their bodies."""
    forks: tuple[SignedRecord, ...] = ()
    """Records at whose place in their log another one stood already."""
    conflicts: tuple[tuple[str, str, bool], ...] = ()
    """Types and keys that have several heads from now on, or have them no more."""
    voided: tuple[Row, ...] = ()
    """Records that had counted and are void now."""

    def and_(self, after: Taken) -> Taken:
        """What became of both batches."""
        return Taken(
            self.placed + after.placed,
            self.refused + after.refused,
            self.keys | after.keys,
            self.malformed + after.malformed,
            self.postponed | after.postponed,
            self.declined | after.declined,
            self.full + after.full,
            self.recounted | after.recounted,
            self.lacks_bodies or after.lacks_bodies,
            self.forks + after.forks,
            self.conflicts + after.conflicts,
            self.voided + after.voided,
        )


def taken_of(plan: Plan, full: Iterable[Full], conflicts: Iterable[tuple[str, str, bool]] = ()) -> Taken:
    """What became of a batch by its plan; `conflicts` are those of the commit."""
    rows = plan.rows
    return Taken(
        placed=sum(row.is_new for row in rows.values()),
        refused=len(plan.refused),
        keys=frozenset((rows[each].known.type, rows[each].known.key) for each in plan.judged),
        postponed=frozenset(plan.postponed),
        declined=frozenset(plan.declined),
        full=tuple(full),
        recounted=frozenset(row.known.type for row in rows.values() if not row.is_new and not row.is_held),
        lacks_bodies=any(row.lacks_body and plan.erased.get(link) is None for link, row in rows.items()),
        forks=tuple(plan.forks),
        conflicts=tuple(conflicts),
        voided=tuple(rows[each] for each in plan.voided),
    )
