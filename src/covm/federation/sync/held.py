"""Records that have their place and wait to be judged. Rules: no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from covm import _native
from covm.federation.sync.judging import Known
from covm.federation.sync.plan import Arrived
from covm.federation.wire.record import RecordHeader


def builds_on(header: RecordHeader) -> set[_native.Link]:
    """The records that a record names: the one before it, and its parents."""
    named = {place.id for place in header.parents}
    return named if header.prev is None else named | {header.prev}


MAX_HELD: Final = 16_384
"""Records that wait to be judged: what would wait beyond is not placed, and has to be offered again."""


class Held:
    """Records that have their place and wait to be judged, and what is known of them. Their bodies are on disk."""

    def __init__(self) -> None:
        self.records: dict[_native.Link, Arrived] = {}
        self.known: dict[_native.Link, Known] = {}
        self._awaited_by: dict[_native.Link, dict[_native.Link, None]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def add(self, arrived: Arrived, known: Known) -> None:
        """Adds one, or what is known of it now."""
        if known.id not in self.records:
            for named in builds_on(arrived.record.body):
                self._awaited_by.setdefault(named, {})[known.id] = None
        self.records[known.id], self.known[known.id] = Arrived(arrived.record, None), known

    def remove(self, record: _native.Link) -> None:
        """It has been judged."""
        arrived = self.records.pop(record, None)
        if arrived is None:
            return
        del self.known[record]
        for named in builds_on(arrived.record.body):
            waiting_for = self._awaited_by[named]
            del waiting_for[record]
            if not waiting_for:
                del self._awaited_by[named]

    def awaited_by(self, record: _native.Link) -> Iterable[_native.Link]:
        """Those that build on this one."""
        return self._awaited_by.get(record, ())

    def behind(self, records: Iterable[_native.Link]) -> list[Arrived]:
        """All that may be judged once these are here."""
        found: dict[_native.Link, None] = {}
        pending = list(records)
        while pending:
            for each in self.awaited_by(pending.pop()):
                if each not in found:
                    found[each] = None
                    pending.append(each)
        return [self.records[each] for each in found]
