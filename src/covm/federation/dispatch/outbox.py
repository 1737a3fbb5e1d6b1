"""What waits to be sent to one peer, and what was sent and not yet acknowledged. A rule: no I/O, no clock.

Each message takes the next sequence number for its recipient when it is handed in, and keeps it once it was sealed.
What expires before that leaves no gap: those behind it move up. What was sealed and sent is in doubt until the
receiver says what it holds, so it expires only while no stream stands, and only at the head, where nothing behind it
is blocked by the gap. A head at which the peer ends one stream after another is taken out in the same way. A receipt
follows what the receiver says, even after its message expired.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from covm.federation.dispatch.receipts import Receipt

MAX_WAITING = 10_000
"""Messages for one peer that wait or are unacknowledged: a second of the fastest sender."""

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Their bytes: 64 of the largest messages."""

MAX_WAITING_BYTES_IN_ALL = 256 * 1024 * 1024
"""The bytes for all peers together: what a small machine can spare."""

MAX_AWAITING_OUTCOME = 20_000
"""Acknowledged messages whose outcome is not known yet; the receiver's credit keeps honest ones far below."""

MAX_ENDS_AT_HEAD = 3
"""Streams that a peer may end at one message before that one is given up: one or two may be mishaps."""


class Violation(Exception):
    """What the peer said cannot be true. `reason` is a snake_case name for counters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Entry:
    """One message on its way out. `body` is encoded with `seq` in it; `envelope` is there once it was sealed.

    `expires_s` is monotonic time: a wall clock that is set right must not end what was just handed in.
    """

    __slots__ = ("body", "envelope", "expires_s", "mid", "receipt", "seq", "size_bytes", "type")

    def __init__(self, type_name: str, mid: bytes, seq: int, body: bytes, expires_s: float, receipt: Receipt) -> None:
        self.type = type_name
        self.mid = mid
        self.seq = seq
        self.body = body
        self.size_bytes = len(body)
        self.expires_s = expires_s
        self.receipt = receipt
        self.envelope: bytes | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the receiver has acknowledged it; its bytes are no longer held."""
        return not self.body


class Budget:
    """The bytes that wait in all outboxes together."""

    __slots__ = ("size_bytes",)

    def __init__(self) -> None:
        self.size_bytes = 0


class Outbox:
    """The sequence for one recipient, in one incarnation of ours."""

    def __init__(self, budget: Budget, next_seq: int = 1) -> None:
        """`next_seq` is above 1 when an earlier outbox for the peer was forgotten in this incarnation."""
        self._budget = budget
        self._waiting: deque[Entry] = deque()
        self._sent: deque[Entry] = deque()
        self._doubtful: deque[Entry] = deque(maxlen=MAX_WAITING)
        self._awaiting: dict[int, Entry] = {}
        self._next_seq = next_seq
        self._ended_at = (b"", 0)
        self._acked: tuple[int, bytes] | None = None
        self._soonest_expiry_s: float = float("inf")
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    @property
    def next_seq(self) -> int:
        """The number that the next message handed in gets."""
        return self._next_seq

    @property
    def first_held(self) -> int:
        """The lowest number that is still held unacknowledged, or the next."""
        if self._sent:
            return self._sent[0].seq
        return self._waiting[0].seq if self._waiting else self._next_seq

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def add(self, entry: Entry) -> None:
        """Queues an entry that was encoded with `next_seq`."""
        self._waiting.append(entry)
        self._next_seq += 1
        self._hold(entry.size_bytes)
        self._soonest_expiry_s = min(self._soonest_expiry_s, entry.expires_s)

    def take(self, max_count: int, max_bytes: int) -> list[Entry]:
        """The next entries to seal and send, at least one if any waits; from now on their numbers are fixed."""
        taken: list[Entry] = []
        size_bytes = 0
        waiting = self._waiting
        while waiting and len(taken) < max_count and (not taken or size_bytes + waiting[0].size_bytes <= max_bytes):
            entry = waiting.popleft()
            size_bytes += entry.size_bytes
            taken.append(entry)
        self._sent.extend(taken)
        return taken

    def acknowledge(self, seq: int, mid: bytes) -> list[Entry]:
        """The receiver has everything up to here. Returns what is thereby stored; raises `Violation`."""
        if self._acked is not None and seq <= self._acked[0]:
            if (seq, mid) == self._acked:
                return []
            raise Violation("ack_of_acknowledged")
        stored = [entry for entry in self._doubtful if entry.seq <= seq]
        if self._sent and seq >= self._sent[0].seq:
            position = seq - self._sent[0].seq
            if position >= len(self._sent):
                raise Violation("ack_of_unsent")
            if self._sent[position].mid != mid or self._sent[position].envelope is None:
                raise Violation("ack_forged")
            for _ in range(position + 1):
                entry = self._sent.popleft()
                self._hold(-entry.size_bytes)
                stored.append(entry)
        elif seq >= self.first_held:
            raise Violation("ack_of_unsent")
        elif stored and stored[-1].seq == seq and stored[-1].mid != mid:
            raise Violation("ack_forged")
        return self._store(stored, seq, mid)

    def settle(self, seq: int, mid: bytes) -> Entry | None:
        """The receiver names an outcome. None when it is known already; raises `Violation`."""
        entry = self._awaiting.get(seq)
        if entry is None:
            if self._acked is None or seq > self._acked[0] or seq < 1:
                raise Violation("outcome_of_unsent")
            return None
        if entry.mid != mid:
            raise Violation("outcome_forged")
        del self._awaiting[seq]
        return entry

    def is_acknowledged(self, seq: int, mid: bytes) -> bool:
        """Whether exactly this is the latest acknowledgement: a HELLO may say it again."""
        return self._acked == (seq, mid)

    def resume(self) -> list[Entry]:
        """What was sent on an earlier stream and has to be sent again."""
        return list(self._sent)

    def expire(self, now_s: float, *, in_flight: bool, renumber: Callable[[bytes, int], bytes]) -> list[Entry]:
        """Takes out and returns what has expired. `in_flight`: a stream stands, so what was sent is not in doubt."""
        if now_s < self._soonest_expiry_s:
            return []
        expired: list[Entry] = []
        while not in_flight and self._sent and self._sent[0].expires_s <= now_s:
            entry = self._sent.popleft()
            self._doubtful.append(entry)
            expired.append(entry)
        expired += self._expire_waiting(now_s, renumber)
        self._hold(-sum(entry.size_bytes for entry in expired))
        held = (entry.expires_s for queue in (self._sent, self._waiting) for entry in queue)
        self._soonest_expiry_s = min(held, default=float("inf"))
        return expired

    def ended_at_head(self) -> Entry | None:
        """The peer ended a stream on which the head was sent. Takes the head out and returns it when that repeats.

        Only while no stream stands: the next HELLO then begins behind it, so it leaves no gap.
        """
        if not self._sent:
            return None
        head = self._sent[0]
        mid, count = self._ended_at
        count = count + 1 if mid == head.mid else 1
        self._ended_at = (head.mid, count)
        if count < MAX_ENDS_AT_HEAD:
            return None
        self._doubtful.append(self._sent.popleft())
        self._hold(-head.size_bytes)
        return head

    def unsettled(self) -> Iterator[Entry]:
        """Everything whose fate is not known."""
        yield from self._sent
        yield from self._waiting
        yield from self._awaiting.values()

    def _expire_waiting(self, now_s: float, renumber: Callable[[bytes, int], bytes]) -> list[Entry]:
        expired = [entry for entry in self._waiting if entry.expires_s <= now_s]
        if expired:
            first = self._waiting[0].seq
            self._waiting = deque(entry for entry in self._waiting if entry.expires_s > now_s)
            for seq, entry in enumerate(self._waiting, first):
                if entry.seq != seq:
                    entry.seq, entry.body = seq, renumber(entry.body, seq)
            self._next_seq = first + len(self._waiting)
        return expired

    def _hold(self, size_bytes: int) -> None:
        self.size_bytes += size_bytes
        self._budget.size_bytes += size_bytes

    def _store(self, stored: list[Entry], seq: int, mid: bytes) -> list[Entry]:
        self._acked = (seq, mid)
        while self._doubtful and self._doubtful[0].seq <= seq:
            self._doubtful.popleft()
        for entry in stored:
            entry.body = b""
            entry.envelope = None
            self._awaiting[entry.seq] = entry
        if len(self._awaiting) > MAX_AWAITING_OUTCOME:
            for forgotten in list(islice(self._awaiting, len(self._awaiting) - MAX_AWAITING_OUTCOME)):
                del self._awaiting[forgotten]
        return stored
