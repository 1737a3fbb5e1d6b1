"""Records that wait for the one before them in their log: bounded, the latest stay. Rules: no I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

from covm import _native
from covm.federation.sync.plan import Arrived, Room

MAX_UNPLACED: Final = 4096
"""Records that wait for the one before them: what comes by reconciliation is in order, and needs no room."""

MAX_UNPLACED_BYTES: Final = 16 * 1024 * 1024
"""Bytes of them, bodies and all."""


class Unplaced:
    """The room in which they wait."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[_native.Link, Arrived] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Arrived]:
        return iter(self._waiting.values())

    def behind(self) -> Room:
        """All of them, by the record that each follows."""
        room: dict[_native.Link, list[Arrived]] = {}
        for each in self:
            if each.record.body.prev is not None:
                room.setdefault(each.record.body.prev, []).append(each)
        return room

    def add(self, arrived: Iterable[Arrived]) -> None:
        """These wait too; where there are too many, the first are forgotten."""
        for each in arrived:
            self._waiting[each.record.id] = each
        left_bytes = MAX_UNPLACED_BYTES
        for number, (record, waits) in enumerate(reversed(list(self._waiting.items()))):
            left_bytes -= len(waits.record.envelope) + len(waits.body or b"")
            if left_bytes < 0 or number >= MAX_UNPLACED:
                del self._waiting[record]

    def remove(self, record: _native.Link) -> None:
        """It has its place."""
        self._waiting.pop(record, None)

    def clear(self) -> None:
        """What was written last is looked up anew."""
        self._waiting.clear()
