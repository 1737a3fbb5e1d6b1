"""What one peer may ask for and show at once, and how fast that is renewed. Rules: no I/O, no clock of its own."""

from __future__ import annotations


class Quota:
    """A bucket for each peer that fills with time. Those that are full need not be remembered."""

    def __init__(self, most: float, per_s: float) -> None:
        self._most = most
        self._per_s = per_s
        self._left: dict[str, tuple[float, float]] = {}
        """What was left, and when."""

    def take(self, peer: str, amount: float, now_s: float) -> bool:
        """Takes so much, if anything is left: the last may be larger than the rest."""
        if not self.has_left(peer, now_s):
            return False
        self._left[peer] = (self._now(peer, now_s) - amount, now_s)
        return True

    def has_left(self, peer: str, now_s: float) -> bool:
        """Whether anything is left to take."""
        return self._now(peer, now_s) > 0

    def __len__(self) -> int:
        return len(self._left)

    def _now(self, peer: str, now_s: float) -> float:
        left, at_s = self._left.get(peer, (self._most, now_s))
        return min(self._most, left + (now_s - at_s) * self._per_s)

    def keep(self, peers: set[str], now_s: float) -> None:
        """Forgets peers that are not there any more and have nothing to make up for."""
        self._left = {
            peer: left for peer, left in self._left.items() if peer in peers or self._now(peer, now_s) < self._most
        }
