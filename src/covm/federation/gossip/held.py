"""Gossip by authors who are nobody's here yet: it waits, while whoever brought it is asked, for its verdict's time.

gossipsub forgets a message without a verdict after a few seconds, so this is a moment and not a queue.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from covm.federation.network.interface import GossipReceived

MAX_HELD: Final = 1024
"""Messages that wait, 64 KiB each at most: what finds no room is ignored, and comes again from nobody."""

MAX_HELD_OF_ONE: Final = 256
"""Of these what one peer brought: whoever floods with strangers leaves room for what others bring."""

MAX_HELD_BYTES: Final = 8 * 1024 * 1024

HELD_S: Final = 1.5
"""How long: the verdict is due within two seconds."""


class Held:
    """The shell around a bounded queue with one timer."""

    def __init__(self, judge_again: Callable[[Sequence[GossipReceived], bool], None]) -> None:
        """`judge_again` takes messages, and whether this was their last chance."""
        self._judge_again = judge_again
        self._waiting: deque[tuple[float, GossipReceived]] = deque()
        self._size_bytes = 0
        self._brought: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def hold(self, received: GossipReceived) -> bool:
        """Keeps a message for a moment; False when there is no room."""
        if len(self._waiting) >= MAX_HELD or self._size_bytes + received.size_bytes > MAX_HELD_BYTES:
            return False
        if self._brought[received.source] >= MAX_HELD_OF_ONE:
            return False
        self._brought[received.source] += 1
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + HELD_S, received))
        self._size_bytes += received.size_bytes
        if self._timer is None:
            self._timer = loop.call_later(HELD_S, self._over)
        return True

    def release(self) -> None:
        """It changed who is a member: everything that waits is judged again."""
        if self._waiting:
            waiting, self._waiting, self._size_bytes = [each for _, each in self._waiting], deque(), 0
            self._brought.clear()
            self._judge_again(waiting, False)

    def close(self) -> None:
        """Nothing is judged any more."""
        self._waiting.clear()
        self._brought.clear()
        self._size_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        over: list[GossipReceived] = []
        while self._waiting and self._waiting[0][0] <= loop.time():
            over.append(self._waiting.popleft()[1])
            self._size_bytes -= over[-1].size_bytes
            self._brought[over[-1].source] -= 1
        self._brought = +self._brought
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self._over)
        if over:
            self._judge_again(over, True)
