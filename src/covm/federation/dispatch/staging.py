"""What waits for a place, by peer: counted, so that it has its part in the bounds of the outbox. A rule: no I/O."""

from __future__ import annotations


class Staging:
    """Messages that are staged on disk, or are just being staged inside a transaction.

    Transactions run on the store's thread, and count there; each step here is one that a thread is not interrupted in.
    """

    __slots__ = ("_of", "messages", "size_bytes")

    def __init__(self) -> None:
        self.messages = 0
        self.size_bytes = 0
        self._of: dict[str, tuple[int, int, float]] = {}

    def of(self, peer: str) -> tuple[int, int]:
        """Messages and bytes for one peer."""
        messages, size_bytes, _ = self._of.get(peer, (0, 0, 0.0))
        return messages, size_bytes

    def add(self, peer: str, size_bytes: int, now_s: float, messages: int = 1) -> None:
        before, before_bytes, _ = self._of.get(peer, (0, 0, 0.0))
        self._of[peer] = (before + messages, before_bytes + size_bytes, now_s)
        self.messages += messages
        self.size_bytes += size_bytes

    def remove(self, peer: str, size_bytes: int) -> None:
        """One of them has its place."""
        messages, held_bytes, at_s = self._of.get(peer, (0, 0, 0.0))
        size_bytes = min(size_bytes, held_bytes)
        if messages > 1:
            self._of[peer] = (messages - 1, held_bytes - size_bytes, at_s)
            self.messages -= 1
            self.size_bytes -= size_bytes
        elif messages:
            self._drop(peer)

    def forget(self, before_s: float) -> None:
        """Nothing is staged on disk: what was counted before then was in transactions that were undone."""
        for peer, (_, _, at_s) in list(self._of.items()):
            if at_s < before_s:
                self._drop(peer)

    def _drop(self, peer: str) -> None:
        messages, size_bytes, _ = self._of.pop(peer)
        self.messages -= messages
        self.size_bytes -= size_bytes
