"""Whose clock is wrong? Heartbeats say how far each peer's is ahead of ours; most clocks are taken to be right.

Nothing is granted or lost by it: clocks prove nothing. It is told, so that somebody sets the clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

WRONG_MS = 5_000.0
"""A clock that something sets is off by far less than five seconds."""

RIGHT_MS = 4_000.0
"""Below it a clock that was wrong is right again, so that one at the edge is not told of again and again."""


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A clock was found wrong, or right again. `peer` is None for our own."""

    peer: str | None
    ahead_ms: float
    """By how much it is ahead of those of the others; negative: behind."""
    is_wrong: bool


def middle(offsets_ms: Collection[float]) -> float:
    """The median; of two in the middle the one nearer to us, so that one peer of two does not make us wrong."""
    ordered = sorted(offsets_ms)
    pair = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return min(pair, key=abs)


class Clocks:
    """Which clocks are wrong now: our own, and those of connected peers."""

    def __init__(self) -> None:
        self._wrong: set[str | None] = set()
        self.own_ahead_ms: float | None = None
        """By how much our own clock is ahead of most, while it is wrong."""

    def judge(self, offsets_ms: Mapping[str, float]) -> list[ClockChange]:
        """What has changed, by how far the clocks of connected peers are ahead of ours."""
        self._wrong &= {None, *offsets_ms}
        if not offsets_ms:
            return []
        # Of two clocks that differ nobody knows which is wrong; ours is doubted where two others agree.
        middle_ms = middle(offsets_ms.values()) if len(offsets_ms) > 1 else 0.0
        found = self._judged(None, -middle_ms)
        self.own_ahead_ms = -middle_ms if None in self._wrong else None
        # Where ours is wrong, the others are measured by each other.
        reference_ms = middle_ms if self.own_ahead_ms is not None else 0.0
        for peer, offset_ms in offsets_ms.items():
            found += self._judged(peer, offset_ms - reference_ms)
        return found

    def _judged(self, peer: str | None, ahead_ms: float) -> list[ClockChange]:
        was_wrong = peer in self._wrong
        is_wrong = abs(ahead_ms) > (RIGHT_MS if was_wrong else WRONG_MS)
        if is_wrong is was_wrong:
            return []
        (self._wrong.add if is_wrong else self._wrong.discard)(peer)
        return [ClockChange(peer, ahead_ms, is_wrong)]
