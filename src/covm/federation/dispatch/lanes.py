"""Lanes: one message after the other for each (sender, type), different lanes side by side. Rules: no I/O.

A slow handler of one type holds up neither other types of its sender nor other senders. At most `slots` lanes run at
once, half of them of one type; the others wait their turn, and a lane that has had its turn goes to the end.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Generic, TypeGuard, TypeVar

T = TypeVar("T")
U = TypeVar("U")
Lane = tuple[str, str]
"""Sender's peer id and type name."""

SLOTS = 64
"""Lanes that run at once: handlers wait for I/O most of the time, and a database pool is rarely larger."""

SLOTS_A_TYPE = SLOTS // 2
"""Lanes of one type that run at once: a handler that is stuck leaves slots to the handlers of other types, however
many authors somebody invents for it."""

TURN = 64
"""Messages of one lane before it yields to a waiting one."""

LANE_MESSAGES = 1_000
"""Stored messages of one lane in memory; the rest is read from the store when they are done."""

LANE_BYTES = 4 * 1024 * 1024
"""Their bytes: a few of the largest."""

LANES_BYTES = 64 * 1024 * 1024
"""Bytes of stored messages in memory, in all lanes."""


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

    def open(self, lane: Lane) -> bool:
        """As `push` without an item, for a lane that has something to fetch."""
        if lane in self._queues:
            return False
        self._queues[lane] = deque()
        if len(self._running) < self._slots and self._has_slot(lane[1]):
            self._run(lane)
            return True
        self._wait(lane)
        return False

    def put_back(self, lane: Lane, item: T) -> bool:
        """As `push`, but the item is the lane's next."""
        queue = self._queues.get(lane)
        if queue is None:
            return self.push(lane, item)
        self.queued += 1
        queue.appendleft(item)
        return False

    def extend(self, lane: Lane, items: Iterable[T]) -> None:
        """Queues what a running lane has fetched."""
        queue = self._queues[lane]
        before = len(queue)
        queue.extend(items)
        self.queued += len(queue) - before

    def peek(self, lane: Lane) -> T | None:
        """The running lane's next item, which stays."""
        queue = self._queues[lane]
        return queue[0] if queue else None

    def ahead(self, lane: Lane, count: int, fits: Callable[[T], TypeGuard[U]]) -> list[U]:
        """The running lane's next items, at most `count`, up to the first that does not fit; they stay."""
        found: list[U] = []
        for item in islice(self._queues[lane], count):
            if not fits(item):
                break
            found.append(item)
        return found

    def pop(self, lane: Lane) -> T | None:
        """The running lane's next item, or None when it is empty."""
        queue = self._queues[lane]
        if not queue:
            return None
        self.queued -= 1
        return queue.popleft()

    def finish(self, lane: Lane, *, more: bool = False) -> Lane | None:
        """The lane's turn is over; returns the lane that has its slot now and is to be run, if any.

        `more`: the lane has something to fetch, so it waits for its next turn also with nothing queued.
        """
        self._running.discard(lane)
        self._running_of[lane[1]] -= 1
        if not self._running_of[lane[1]]:
            del self._running_of[lane[1]]
        if self._queues[lane] or more:
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


class Backlogs:
    """Lanes whose further messages lie in the store alone, to be fetched in order when their turn comes.

    A lane is behind from the first message that found no room in memory until everything was fetched: what comes
    meanwhile lies behind it, and must not overtake.
    """

    def __init__(
        self, max_messages: int = LANE_MESSAGES, max_bytes: int = LANE_BYTES, all_bytes: int = LANES_BYTES
    ) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._all_bytes = all_bytes
        self._spans: dict[Lane, tuple[int, int]] = {}
        self._messages: Counter[Lane] = Counter()
        self._bytes: Counter[Lane] = Counter()
        self._in_all_bytes = 0

    def __contains__(self, lane: Lane) -> bool:
        """Whether the lane is behind."""
        return lane in self._spans

    def __len__(self) -> int:
        return len(self._spans)

    def takes(self, lane: Lane, size_bytes: int) -> bool:
        """Whether a message goes into memory, which is then counted; otherwise call `add`."""
        if (
            lane in self._spans
            or self._messages[lane] >= self._max_messages
            or self._bytes[lane] + size_bytes > self._max_bytes
            or self._in_all_bytes + size_bytes > self._all_bytes
        ):
            return False
        self.count(lane, size_bytes)
        return True

    def count(self, lane: Lane, size_bytes: int) -> None:
        """A message is in memory."""
        self._messages[lane] += 1
        self._bytes[lane] += size_bytes
        self._in_all_bytes += size_bytes

    def left(self, lane: Lane, size_bytes: int) -> None:
        """A message that was counted left its lane."""
        self._messages[lane] -= 1
        self._bytes[lane] -= size_bytes
        self._in_all_bytes -= size_bytes
        if not self._messages[lane]:
            del self._messages[lane], self._bytes[lane]

    def add(self, lane: Lane, first: int, last: int) -> None:
        """Messages from `first` to `last` are in the store alone; the lane is behind."""
        after, upto = self._spans.get(lane, (first - 1, last))
        self._spans[lane] = (min(after, first - 1), max(upto, last))

    def of_type(self, type_name: str) -> list[Lane]:
        """The lanes of a type that are behind."""
        return [lane for lane in self._spans if lane[1] == type_name]

    def span(self, lane: Lane) -> tuple[int, int]:
        """Fetch what comes after the first number; the second is the last that is known to be there."""
        return self._spans[lane]

    def fetched(self, lane: Lane, span: tuple[int, int], last: int, *, is_all: bool) -> None:
        """What was there of `span`, as it was when the fetch began, is in memory up to `last`, or all of it is."""
        after, upto = self._spans[lane]
        if after < span[0]:
            return  # something before it was added meanwhile: all of it is fetched again
        if is_all and upto <= span[1]:
            del self._spans[lane]
        else:
            self._spans[lane] = (max(after, span[1] if is_all else last), upto)

    def drop(self, lane: Lane) -> tuple[int, int] | None:
        """The lane is not to be fetched any more: nobody handles its type."""
        return self._spans.pop(lane, None)
