"""Lanes: one message after the other for each (sender, type), different lanes side by side. A rule: no I/O.

A slow handler of one type holds up neither other types of its sender nor other senders. At most `slots` lanes run at
once; the others wait their turn, and a lane that has had its turn goes to the end.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")
Lane = tuple[str, str]
"""Sender's peer id and type name."""

SLOTS = 64
"""Lanes that run at once: handlers wait for I/O most of the time, and a database pool is rarely larger."""

TURN = 64
"""Messages of one lane before it yields to a waiting one."""


class Lanes(Generic[T]):
    """Which message is next, and which lane may run."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = slots
        self._queues: dict[Lane, deque[T]] = {}
        self._running: set[Lane] = set()
        self._ready: deque[Lane] = deque()
        self.queued = 0

    def __contains__(self, lane: Lane) -> bool:
        """Whether the lane has something queued or under way."""
        return lane in self._queues

    def depth(self, lane: Lane) -> int:
        queue = self._queues.get(lane)
        return len(queue) if queue is not None else 0

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def is_full(self) -> bool:
        """Whether a lane waits for a slot, so that those that run should yield after their turn."""
        return bool(self._ready)

    def push(self, lane: Lane, item: T) -> bool:
        """Queues an item; True when the lane takes a slot and is to be run by the caller."""
        self.queued += 1
        queue = self._queues.get(lane)
        if queue is not None:
            queue.append(item)
            return False
        self._queues[lane] = deque((item,))
        if len(self._running) < self._slots:
            self._running.add(lane)
            return True
        self._ready.append(lane)
        return False

    def pop(self, lane: Lane) -> T | None:
        """The running lane's next item, or None when it is empty."""
        queue = self._queues[lane]
        if not queue:
            return None
        self.queued -= 1
        return queue.popleft()

    def finish(self, lane: Lane) -> Lane | None:
        """The lane's turn is over; returns the lane that has its slot now and is to be run, if any."""
        self._running.discard(lane)
        if self._queues[lane]:
            self._ready.append(lane)
        else:
            del self._queues[lane]
        if not self._ready:
            return None
        following = self._ready.popleft()
        self._running.add(following)
        return following
