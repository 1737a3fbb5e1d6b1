"""Lanes: one message after the other for each (sender, type), different lanes side by side. A rule: no I/O.

A slow handler of one type holds up neither other types of its sender nor other senders. At most `slots` lanes run at
once, half of them of one type; the others wait their turn, and a lane that has had its turn goes to the end.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")
Lane = tuple[str, str]
"""Sender's peer id and type name."""

SLOTS = 64
"""Lanes that run at once: handlers wait for I/O most of the time, and a database pool is rarely larger."""

SLOTS_A_TYPE = SLOTS // 2
"""Lanes of one type that run at once: a handler that is stuck leaves slots to the handlers of other types, however
many authors somebody invents for it."""

TURN = 64
"""Messages of one lane before it yields to a waiting one."""


class Lanes(Generic[T]):
    """Which message is next, and which lane may run."""

    def __init__(self, slots: int = SLOTS, slots_a_type: int = SLOTS_A_TYPE) -> None:
        self._slots = slots
        self._slots_a_type = slots_a_type
        self._queues: dict[Lane, deque[T]] = {}
        self._running: set[Lane] = set()
        self._running_of: Counter[str] = Counter()
        self._ready: OrderedDict[str, deque[Lane]] = OrderedDict()
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
        if len(self._running) < self._slots and self._has_slot(lane[1]):
            self._run(lane)
            return True
        self._wait(lane)
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
        self._running_of[lane[1]] -= 1
        if not self._running_of[lane[1]]:
            del self._running_of[lane[1]]
        if self._queues[lane]:
            self._wait(lane)
        else:
            del self._queues[lane]
        return self._following()

    def _has_slot(self, type_name: str) -> bool:
        return self._running_of[type_name] < self._slots_a_type

    def _run(self, lane: Lane) -> None:
        self._running.add(lane)
        self._running_of[lane[1]] += 1

    def _wait(self, lane: Lane) -> None:
        self._ready.setdefault(lane[1], deque()).append(lane)

    def _following(self) -> Lane | None:
        """The lane that waited longest, of the type whose turn it is; types take turns."""
        for type_name, waiting in self._ready.items():
            if self._has_slot(type_name):
                lane = waiting.popleft()
                self._ready.move_to_end(type_name)
                if not waiting:
                    del self._ready[type_name]
                self._run(lane)
                return lane
        return None
