"""How many gossiped messages wait for handlers: they are in memory alone, so beyond it they are dropped and told."""

from __future__ import annotations

from collections import Counter

MAX_LANE = 10_000
"""Gossiped messages that wait in one lane: two seconds of an author's allowance."""

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Bytes of gossiped messages that wait in all lanes together."""

AUTHORS_SHARE = 8
"""One author's messages may take this part of `MAX_QUEUED_BYTES`, so that nobody fills the places of the others."""


class GossipRoom:
    """Counts bytes, by author and in all."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._of: Counter[str] = Counter()

    def takes(self, author: str, depth: int, size_bytes: int) -> bool:
        """Whether a message finds room in a lane of this depth, which is then counted."""
        if (
            depth >= MAX_LANE
            or self._of[author] + size_bytes > MAX_QUEUED_BYTES // AUTHORS_SHARE
            or self.size_bytes + size_bytes > MAX_QUEUED_BYTES
        ):
            return False
        self.size_bytes += size_bytes
        self._of[author] += size_bytes
        return True

    def left(self, author: str, size_bytes: int) -> None:
        """A message that was counted left its lane."""
        self.size_bytes -= size_bytes
        self._of[author] -= size_bytes
        if not self._of[author]:
            del self._of[author]
