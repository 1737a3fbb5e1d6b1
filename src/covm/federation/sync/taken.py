"""What became of a batch of records. Values."""

from __future__ import annotations

from typing import NamedTuple

from covm import _native
from covm.federation.sync.plan import Row
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
            self.recounted | after.recounted,
            self.lacks_bodies or after.lacks_bodies,
            self.forks + after.forks,
            self.conflicts + after.conflicts,
            self.voided + after.voided,
        )
