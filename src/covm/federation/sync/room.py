"""Records without a place: the one before them is not here. They wait in a bounded room. Rules: no I/O.

What comes by reconciliation is in order, and needs no room. Who brings most is the first to lose something.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from covm import _native
from covm.federation.sync.plan import Arrived

MAX_UNPLACED: Final = 4096
"""Records that wait for the one before them."""

MAX_UNPLACED_BYTES: Final = 16 * 1024 * 1024
"""Bytes of them, bodies and all."""

UNPLACED_S: Final = 600.0
"""How long one waits: what it follows comes in the same session, or it is offered again."""


class Brought(NamedTuple):
    """A record as it was brought: read, it takes several times as much."""

    envelope: bytes
    body: bytes | None


class _Waits(NamedTuple):
    brought: Brought
    prev: _native.Link
    source: str
    until_s: float
    size_bytes: int


class Room:
    """All that wait. `ready` are those whose turn has come: what they follow has a place now, or is ready too."""

    def __init__(self) -> None:
        self.ready: dict[_native.Link, Brought] = {}
        self._waits: dict[_native.Link, _Waits] = {}
        """In the order in which they came."""
        self._behind: dict[_native.Link, dict[_native.Link, None]] = {}
        self._of: dict[str, dict[_native.Link, None]] = {}
        """By who brought them."""
        self._size_of: dict[str, int] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._waits)

    def put(self, arrived: Iterable[Arrived], source: str, now_s: float) -> None:
        """Some that somebody brought, and that have no place. Who brings what is here already changes nothing."""
        self._expire(now_s)
        for each in arrived:
            link, prev = each.record.id, each.record.body.prev
            if prev is None or link in self._waits:
                continue
            brought = Brought(each.record.envelope, each.body)
            size_bytes = len(brought.envelope) + len(brought.body or b"")
            self._waits[link] = _Waits(brought, prev, source, now_s + UNPLACED_S, size_bytes)
            self._behind.setdefault(prev, {})[link] = None
            self._of.setdefault(source, {})[link] = None
            self._size_of[source] = self._size_of.get(source, 0) + size_bytes
            self._size_bytes += size_bytes
            while len(self._waits) > MAX_UNPLACED or self._size_bytes > MAX_UNPLACED_BYTES:
                self._remove(next(iter(self._of[max(self._of, key=self._share)])))

    def came(self, record: _native.Link) -> None:
        """A record has its place: what follows it, and what follows that, can have theirs."""
        pending = [record]
        for each in pending:
            for link in list(self._behind.get(each, ())):
                self.ready[link] = self._remove(link).brought
                pending.append(link)

    def next(self, limit: int) -> list[Brought]:
        """The first of those that are ready, which are not any more."""
        return [self.ready.pop(each) for each in list(self.ready)[:limit]]

    def _share(self, source: str) -> float:
        """How much of the room is taken by what somebody brought."""
        return max(len(self._of[source]) / MAX_UNPLACED, self._size_of[source] / MAX_UNPLACED_BYTES)

    def _expire(self, now_s: float) -> None:
        while self._waits and self._waits[first := next(iter(self._waits))].until_s <= now_s:
            self._remove(first)

    def _remove(self, record: _native.Link) -> _Waits:
        waits = self._waits.pop(record)
        del self._behind[waits.prev][record]
        if not self._behind[waits.prev]:
            del self._behind[waits.prev]
        del self._of[waits.source][record]
        self._size_bytes -= waits.size_bytes
        self._size_of[waits.source] -= waits.size_bytes
        if not self._of[waits.source]:
            del self._of[waits.source], self._size_of[waits.source]
        return waits
