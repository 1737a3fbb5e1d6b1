"""The bounds of what both sides of a simulated connection say to each other before they decide."""

from __future__ import annotations

from collections.abc import Sequence

from covm.federation.network.simulated import limits
from covm.federation.network.talk import counted


class TalkBounds:
    """One side's count: what it may still hear, and what it has said that is still under way."""

    def __init__(self) -> None:
        self._heard_bytes = self._granted_bytes = self._unsent_bytes = 0
        self._is_awaited = False

    @property
    def limit_bytes(self) -> int:
        """What the other side may say in all."""
        return limits.JOIN_TALK_BYTES + self._granted_bytes

    def grant(self, size_bytes: int) -> None:
        self._granted_bytes = min(self._granted_bytes + size_bytes, limits.JOIN_TALK_GRANTED_BYTES)

    def hears(self, frame: bytes) -> bool:
        """Counts what came; whether that is within what the other side may say."""
        self._heard_bytes += counted(frame)
        return self._heard_bytes <= self.limit_bytes

    def take(self, size_bytes: int) -> bool:
        """Takes room for what is to be said. Without room: False, and `sent` says so when all has arrived."""
        if self._unsent_bytes + size_bytes > limits.JOIN_TALK_UNSENT_BYTES:
            self._is_awaited = True
            return False
        self._unsent_bytes += size_bytes
        return True

    def sent(self, frames: Sequence[bytes]) -> bool:
        """These have arrived; whether that was all and somebody waits to hear it."""
        self._unsent_bytes -= sum(map(counted, frames))
        if self._unsent_bytes or not self._is_awaited:
            return False
        self._is_awaited = False
        return True
