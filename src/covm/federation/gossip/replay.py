"""Has this gossiped message been here before? A window for each author, ordered by incarnation.

gossipsub forgets what it saw after some minutes; the window does not. It knows, for the author's latest incarnation,
which of the last 16,384 sequence numbers came. What is older than that, or of an earlier incarnation, is stale. What
changed since it was last asked is told, so that `journal` can write it down.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from covm.federation.gossip.authors import forget_one, nobody_is_connected
from covm.federation.wire.incarnation import Incarnation

WINDOW = 16_384
"""Numbers that may arrive out of order: three seconds of an author's allowance. Two KiB for each author."""

MAX_AUTHORS = 4_096
"""Authors remembered for a topic, eight MiB at most; beyond that `authors.forget_one` says who is forgotten."""

_MASK = (1 << WINDOW) - 1


class Seen(Enum):
    """What the window says of a sequence number."""

    NEW = "new"
    DUPLICATE = "duplicate"
    STALE = "stale"


class Window(NamedTuple):
    """One author's window as a value."""

    author: str
    incarnation: Incarnation
    highest: int
    bits: int
    """Bit k: number `highest - k` came."""


class Changes(NamedTuple):
    """What became of the windows: those that took a number, and the authors that were forgotten."""

    windows: list[Window]
    forgotten: list[str]


class _Author:
    __slots__ = ("bits", "highest", "incarnation")

    def __init__(self, incarnation: Incarnation, seq: int) -> None:
        self.incarnation = incarnation
        self.highest = seq
        self.bits = 1
        """Bit k: number `highest - k` came."""


class ReplayWindows:
    """The windows of one topic."""

    def __init__(
        self, max_authors: int = MAX_AUTHORS, is_connected: Callable[[str], bool] = nobody_is_connected
    ) -> None:
        self._max_authors = max_authors
        self._is_connected = is_connected
        self._authors: OrderedDict[str, _Author] = OrderedDict()
        self._touched: set[str] = set()
        self._forgotten: set[str] = set()

    def __len__(self) -> int:
        return len(self._authors)

    def restore(self, window: Window) -> None:
        """Puts a window back that was written down; the longest silent author first."""
        author = self._authors[window.author] = _Author(window.incarnation, window.highest)
        author.bits = window.bits & _MASK

    def take_changes(self) -> Changes:
        """What changed since this was last called; as many authors as are remembered, at most twice."""
        windows = []
        for author in self._touched:
            known = self._authors[author]
            windows.append(Window(author, known.incarnation, known.highest, known.bits))
        changes = Changes(windows, list(self._forgotten))
        self._touched.clear()
        self._forgotten.clear()
        return changes

    def put_back(self, changes: Changes) -> None:
        """The changes were not written down after all: the next ones contain them."""
        for window in changes.windows:
            if window.author in self._authors:
                self._touched.add(window.author)
        for author in changes.forgotten:
            if author not in self._authors:
                self._forgotten.add(author)

    def check(self, author: str, incarnation: Incarnation, seq: int) -> Seen:
        """Judges a number and remembers it when it is new."""
        seen = self._check(author, incarnation, seq)
        if seen is Seen.NEW:
            self._touched.add(author)
        return seen

    def _check(self, author: str, incarnation: Incarnation, seq: int) -> Seen:
        known = self._authors.get(author)
        if known is None:
            self._make_room()
            self._authors[author] = _Author(incarnation, seq)
            self._forgotten.discard(author)
            return Seen.NEW
        self._authors.move_to_end(author)
        if incarnation != known.incarnation:
            if incarnation < known.incarnation:
                return Seen.STALE
            known.incarnation, known.highest, known.bits = incarnation, seq, 1
            return Seen.NEW
        return _advance(known, seq)

    def _make_room(self) -> None:
        while len(self._authors) >= self._max_authors:
            author = forget_one(self._authors, self._is_connected)
            self._touched.discard(author)
            if len(self._forgotten) < self._max_authors:
                self._forgotten.add(author)


def _advance(known: _Author, seq: int) -> Seen:
    ahead = seq - known.highest
    if ahead > 0:
        known.bits = ((known.bits << ahead) | 1) & _MASK if ahead < WINDOW else 1
        known.highest = seq
        return Seen.NEW
    if -ahead >= WINDOW:
        return Seen.STALE
    bit = 1 << -ahead
    if known.bits & bit:
        return Seen.DUPLICATE
    known.bits |= bit
    return Seen.NEW
