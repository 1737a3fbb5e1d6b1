"""Records that have their place and wait to be judged: what each of them waits for. Rules: no I/O.

The records themselves are on disk; here is as much as it takes to know which of them may be judged by now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from covm import _native
from covm.federation.wire.record import RecordHeader

MAX_HELD: Final = 16_384
"""Records that wait to be judged: what would wait beyond is not placed, and has to be offered again."""

MAX_AWAITED: Final = 65_536
"""Records that these wait for, counted for each that waits: some 30 MB with all that is kept of them."""


def builds_on(header: RecordHeader) -> set[_native.Link]:
    """The records that a record names: the one before it, and its parents."""
    named = {place.id for place in header.parents}
    return named if header.prev is None else named | {header.prev}


@dataclass(slots=True)
class Waiting:
    """A record that waits."""

    type: str
    key: str
    awaited: tuple[_native.Link, ...]
    """Parents that are not here; and the record before it, where what that one was written by is not."""
    named: int
    """Parents that it has."""
    from_ms: int | None
    """From when its clock lets it count; None where time changes nothing."""
    superseded: bool = False
    left: int = 0
    """How many are awaited still."""


class Held:
    """All that wait. `ready` are those whose last awaited one has come, until they are judged."""

    def __init__(self, waiting: Iterable[tuple[_native.Link, Waiting]] = ()) -> None:
        self.ready: dict[_native.Link, None] = {}
        self.awaited = 0
        """As `MAX_AWAITED` counts."""
        self._waiting: dict[_native.Link, Waiting] = {}
        self._awaited_by: dict[_native.Link, dict[_native.Link, None]] = {}
        for record, each in waiting:
            self.put(record, each)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, record: _native.Link) -> bool:
        return record in self._waiting

    def has_room(self, records: int, awaited: int) -> bool:
        """Whether another can be held, beside so many that are not counted yet, and what all of these wait for."""
        return len(self._waiting) + records < MAX_HELD and self.awaited + awaited <= MAX_AWAITED

    def put(self, record: _native.Link, waiting: Waiting) -> None:
        """Adds one that was judged and waits, or what it waits for now."""
        self.remove(record)
        waiting.left = len(waiting.awaited)
        self._waiting[record] = waiting
        self.awaited += len(waiting.awaited)
        for each in waiting.awaited:
            self._awaited_by.setdefault(each, {})[record] = None

    def remove(self, record: _native.Link) -> None:
        """It has been judged."""
        self.ready.pop(record, None)
        waiting = self._waiting.pop(record, None)
        if waiting is None:
            return
        self.awaited -= len(waiting.awaited)
        for each in waiting.awaited:
            others = self._awaited_by.get(each)
            if others is not None and others.pop(record, record) is None and not others:
                del self._awaited_by[each]

    def news(self, record: _native.Link) -> None:
        """What was awaited has come."""
        for each in self._awaited_by.pop(record, ()):
            waiting = self._waiting[each]
            waiting.left -= 1
            if not waiting.left:
                self.ready[each] = None

    def awaited_by(self, record: _native.Link) -> Iterable[_native.Link]:
        """Those that wait for this one."""
        return self._awaited_by.get(record, ())

    def behind(self, records: Iterable[_native.Link], limit: int) -> list[_native.Link]:
        """Those that may be judged once these are here, and so on: some of them, of so many parents together."""
        found: dict[_native.Link, None] = {}
        left: dict[_native.Link, int] = {}
        pending = list(records)
        while pending:
            for each in self.awaited_by(pending.pop()):
                waiting = self._waiting[each]
                left[each] = left.get(each, waiting.left) - 1
                if left[each] or each in found:
                    continue
                limit -= 1 + waiting.named
                if limit < 0:
                    return list(found)
                found[each] = None
                pending.append(each)
        return list(found)

    def some(self, records: Iterable[_native.Link], limit: int) -> list[_native.Link]:
        """The first of those that wait still, of so many parents together; one at least."""
        found: list[_native.Link] = []
        for each in records:
            if (waiting := self._waiting.get(each)) is not None:
                limit -= 1 + waiting.named
                if found and limit < 0:
                    break
                found.append(each)
        return found

    def idle(self) -> list[_native.Link]:
        """Those that wait for no record: for what they are written by, or for their time."""
        return [record for record, each in self._waiting.items() if not each.left]

    def due(self, now_ms: int) -> list[_native.Link]:
        """Those of them whose time has come."""
        return [each for each in self.idle() if (at := self._waiting[each].from_ms) is not None and at <= now_ms]

    def is_reached(self, record: _native.Link, key: tuple[str, str]) -> bool:
        """Whether one of a type and key waits for a record as its parent, and what counts has reached it."""
        found = (self._waiting[each] for each in self.awaited_by(record))
        return any(each.superseded and (each.type, each.key) == key for each in found)

    def supersede(self, records: Iterable[_native.Link], *, superseded: bool = True) -> None:
        """What counts has reached those of these that wait, or does not reach them any more."""
        for record in records:
            if (waiting := self._waiting.get(record)) is not None:
                waiting.superseded = superseded

    def of_keys(self, keys: set[tuple[str, str]]) -> list[_native.Link]:
        """Those of these types and keys."""
        return [record for record, each in self._waiting.items() if (each.type, each.key) in keys]
