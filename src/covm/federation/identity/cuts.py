"""Cuts: up to where what somebody wrote still counts after a removal.

A cut lists for each log its last record, `[log, seq, id]`. Within it are the listed records and what they reach by
`prev`; a log that it does not list ends at nothing, and a listed record that nobody has reaches nothing. Several cuts
bind together: within means within all of them. So a cut that is false, or names logs that do not exist, can only take
away what it does not name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from covm import _native
from covm.federation.wire.limits import MAX_CUT
from covm.federation.wire.record import Place
from covm.federation.wire.signed import in_order

Cut = tuple[Place, ...]
"""As it is signed: sorted by log, no log twice."""


class History(Protocol):
    """The records that are held of all logs, as far as cuts have to know them."""

    def reaches(self, place: Place, record: _native.Link) -> bool:
        """Whether the record at this place is that one, or reaches it by `prev`; False when it is not there."""


def make_cut(places: Iterable[Place]) -> Cut:
    """A cut in its signed form. Raises `ValueError` for a log listed twice, or too many of them."""
    cut = tuple(sorted(places, key=lambda place: place.log.bytes))
    if (problem := cut_problem(cut)) is not None:
        raise ValueError(f"the cut {problem}")
    return cut


def cut_problem(cut: Cut) -> str | None:
    """Why this is no cut, as the end of a sentence; None when it is."""
    if len(cut) > MAX_CUT:
        return f"lists {len(cut):,} logs, at most {MAX_CUT:,} are allowed"
    if not in_order(cut, lambda place: place.log.bytes):
        return "lists a log twice, or its logs are not in order"
    return None


def place_in(cut: Cut, log: _native.Link) -> Place | None:
    """Where a cut ends a log; None for one that it does not list."""
    low, high, wanted = 0, len(cut), log.bytes
    while low < high:
        middle = (low + high) // 2
        if cut[middle].log.bytes < wanted:
            low = middle + 1
        else:
            high = middle
    return cut[low] if low < len(cut) and cut[low].log == log else None


class Within(Protocol):
    """Says what lies within cuts. (CutIndex)"""

    def within(self, cuts: Iterable[Cut], log: _native.Link, record: _native.Link) -> bool:
        """Whether a record of a log is within all of these cuts."""


class CutIndex:
    """What is within each of several cuts."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._ends: dict[int, Mapping[_native.Link, Place]] = {}
        self._cuts: list[Cut] = []
        """Keeps the cuts alive whose `id()` stands for them in `_ends`."""

    def within(self, cuts: Iterable[Cut], log: _native.Link, record: _native.Link) -> bool:
        """Whether a record of a log is within all of these cuts."""
        return all(self._within(cut, log, record) for cut in cuts)

    def _within(self, cut: Cut, log: _native.Link, record: _native.Link) -> bool:
        end = self._ends_of(cut).get(log)
        return end is not None and self._history.reaches(end, record)

    def _ends_of(self, cut: Cut) -> Mapping[_native.Link, Place]:
        ends = self._ends.get(id(cut))
        if ends is None:
            ends = self._ends[id(cut)] = {place.log: place for place in cut}
            self._cuts.append(cut)
        return ends
