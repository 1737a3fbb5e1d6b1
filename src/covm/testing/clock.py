"""A clock that follows the event loop, so that a loop with virtual time moves a node's clock too."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta


class LoopClock:
    """`covm.federation.clock.Clock` on the running loop's time.

    `start_ms` is what the wall clock shows when it is first asked, in milliseconds since 1970-01-01 UTC; by default
    the machine's time. Give one to tell the same story twice.
    """

    def __init__(self, start_ms: int | None = None) -> None:
        self._start_ms = start_ms
        self._origin: tuple[int, float] | None = None
        self._jumped_ms = 0

    def now_ms(self) -> int:
        """The wall clock: its start, what has passed on the loop since, and how far it has jumped."""
        loop_s = self.monotonic_s()
        if self._origin is None:
            start_ms = time.time_ns() // 1_000_000 if self._start_ms is None else self._start_ms
            self._origin = (start_ms, loop_s)
        start_ms, began_s = self._origin
        return start_ms + round((loop_s - began_s) * 1000) + self._jumped_ms

    def monotonic_s(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    def jump(self, by: timedelta) -> None:
        """Sets the wall clock forward, or back; the time for waits goes on as it was."""
        self._jumped_ms += round(by.total_seconds() * 1000)
