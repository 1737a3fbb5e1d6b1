"""Has this gossiped message been here before? A window for each author, ordered by incarnation.

gossipsub forgets what it saw after some minutes; the window does not. It knows, for the author's latest incarnation,
which of the last 16,384 sequence numbers came. What is older than that, or of an earlier incarnation, is stale.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum

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

    def __len__(self) -> int:
        return len(self._authors)

    def check(self, author: str, incarnation: Incarnation, seq: int) -> Seen:
        """Judges a number and remembers it when it is new."""
        known = self._authors.get(author)
        if known is None:
            while len(self._authors) >= self._max_authors:
                forget_one(self._authors, self._is_connected)
            self._authors[author] = _Author(incarnation, seq)
            return Seen.NEW
        self._authors.move_to_end(author)
        if incarnation != known.incarnation:
            if incarnation < known.incarnation:
                return Seen.STALE
            known.incarnation, known.highest, known.bits = incarnation, seq, 1
            return Seen.NEW
        return _advance(known, seq)


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
