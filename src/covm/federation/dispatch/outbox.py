"""What goes out to one peer: the rules. No I/O, no clock.

Each message takes the next place of the line (our incarnation, the recipient) when it is handed in, and is on disk
before anyone hears of it. The receiver acknowledges cumulatively, by place and message id. What expired or was
cancelled keeps its place, and a skip travels in its stead, so no gap blocks; a receipt follows what the receiver says
all the same.

    Outgoing   the line as it is on disk, and what is being added to it
    Window     the latest messages of it, so that a quick receiver costs no reading from disk
    Flight     what was sent on one stream and is not acknowledged
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import takewhile
from weakref import WeakValueDictionary

import msgspec

from covm.federation.dispatch.receipts import Receipt
from covm.federation.violations import Violation
from covm.federation.wire.incarnation import Incarnation

IN_ALL = 4
"""All peers together may have so many times waiting what one peer may."""

WINDOW_MESSAGES = 2_048
"""Messages of one line that are kept in memory after their commit: some tenths of a second of a fast sender."""

WINDOW_BYTES = 4 * 1024 * 1024
"""Their bytes."""

FLIGHT_MESSAGES = 4_096
"""Messages that are sent ahead of their acknowledgement: what a second's round trip lets through at full speed. A peer
that never acknowledges holds no more of this node's memory."""

NAMED_TIMES = 4
"""How often on average a receiver may name a place in its outcomes: once, again after each reconnect, and once more
when its operator tried a message again."""

NAMED_AT_FIRST = 1_000_000
"""Places that may be named beyond that: so many were perhaps sent before this node's last start."""


class Place(msgspec.Struct, gc=False):
    """What takes the places `seq` to `last`: a message (one place), or a skip. `end`: the line's bytes up to there."""

    seq: int
    last: int
    mid: bytes
    end: int
    queued_at: int
    envelope: bytes
    is_skip: bool = False


class Budget:
    """What waits for all peers together."""

    __slots__ = ("messages", "size_bytes")

    def __init__(self) -> None:
        self.messages = 0
        self.size_bytes = 0

    def add(self, messages: int, size_bytes: int) -> None:
        self.messages = max(0, self.messages + messages)
        self.size_bytes = max(0, self.size_bytes + size_bytes)


class Window:
    """The newest committed messages of a line, without gaps up to its end; empty while nobody sends."""

    __slots__ = ("_places", "size_bytes")

    def __init__(self) -> None:
        self._places: deque[Place] = deque()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def extend(self, places: Iterable[Place]) -> None:
        """Adds what was just committed; the oldest make room."""
        held = self._places
        for place in places:
            held.append(place)
            self.size_bytes += len(place.envelope)
        while len(held) > WINDOW_MESSAGES or (self.size_bytes > WINDOW_BYTES and held):
            self.size_bytes -= len(held.popleft().envelope)

    def take(self, seq: int, max_count: int, max_bytes: int) -> list[Place]:
        """The places from `seq` on, at least one if that is held; none if the window begins behind it."""
        held, taken, size_bytes = self._places, list[Place](), 0
        while held and held[0].seq < seq:
            self.size_bytes -= len(held.popleft().envelope)
        if not held or held[0].seq != seq:
            return taken
        while held and len(taken) < max_count and (not taken or size_bytes + len(held[0].envelope) <= max_bytes):
            place = held.popleft()
            size_bytes += len(place.envelope)
            taken.append(place)
        self.size_bytes -= size_bytes
        return taken

    def clear(self) -> None:
        """Forgets everything: it is read from disk when its turn comes."""
        self._places.clear()
        self.size_bytes = 0


class Flight:
    """What was sent on one stream and is not acknowledged. Its envelopes are let go of: the store has them."""

    __slots__ = ("_acked", "_places", "upto")

    def __init__(self, acked_seq: int, acked_mid: bytes | None) -> None:
        self._acked = (acked_seq, acked_mid)
        self._places: dict[int, Place] = {}
        self.upto = acked_seq
        """The last place that was sent."""

    @property
    def is_full(self) -> bool:
        return len(self._places) >= FLIGHT_MESSAGES

    @property
    def room(self) -> int:
        return FLIGHT_MESSAGES - len(self._places)

    @property
    def oldest(self) -> Place | None:
        """The first place that is sent and not acknowledged."""
        return next(iter(self._places.values()), None)

    def sent(self, places: Sequence[Place]) -> None:
        for place in places:
            place.envelope = b""
            self._places[place.last] = place
        self.upto = places[-1].last

    def acknowledge(self, seq: int, mid: bytes) -> list[Place]:
        """The receiver has everything up to here. Returns what is thereby stored; raises `Violation`."""
        acked = self._acked
        if seq <= acked[0]:
            if (seq, mid) == acked:
                return []
            raise Violation("ack_of_acknowledged")
        if seq > self.upto:
            raise Violation("ack_of_unsent")
        place = self._places.get(seq)
        if place is None or place.mid != mid:
            raise Violation("ack_forged")
        self._acked = (seq, mid)
        lasts = list(takewhile(seq.__ge__, self._places))
        return [self._places.pop(last) for last in lasts]


class Asking:
    """When a receiver is asked what became of messages that it stored. `upto_seq` was stored when last looked at."""

    __slots__ = ("due_s", "pause_s", "upto_seq")

    def __init__(self, due_s: float, pause_s: float, upto_seq: int) -> None:
        self.due_s = due_s
        self.pause_s = pause_s
        self.upto_seq = upto_seq


class Outgoing:
    """One line: our incarnation, one recipient. The numbers are those on disk, except where `assigned` says so."""

    __slots__ = (
        "acked_bytes",
        "acked_mid",
        "acked_seq",
        "asking",
        "assigned_bytes",
        "assigned_seq",
        "budget",
        "doubtful",
        "ended_at",
        "ending",
        "fallen_to",
        "falls",
        "former",
        "given_back",
        "id",
        "incarnation",
        "is_counted",
        "live",
        "named",
        "next_seq",
        "oldest_ms",
        "outcomes_seen",
        "outcomes_upto",
        "over_bytes",
        "over_messages",
        "peer",
        "pruned_seq",
        "released_seq",
        "total_bytes",
        "window",
    )

    def __init__(self, peer: str, incarnation: Incarnation, budget: Budget) -> None:
        self.peer = peer
        self.incarnation = incarnation
        self.budget = budget
        self.id: int | None = None
        """Its row; None until something is to be kept."""
        self.next_seq = 1
        """The place that the next committed message gets."""
        self.acked_seq = 0
        self.acked_mid: bytes | None = None
        self.acked_bytes = 0
        self.total_bytes = 0
        self.released_seq = 0
        self.pruned_seq = 0
        self.outcomes_upto = 0
        """The last outcome that is on disk here."""
        self.outcomes_seen = 0
        """The last one that came."""
        self.assigned_seq = 1
        """The place that the next message handed in gets, if everything before it is committed."""
        self.assigned_bytes = 0
        """Bytes of what was handed in and is not committed."""
        self.window = Window()
        self.live: WeakValueDictionary[int, Receipt] = WeakValueDictionary()
        """The receipts that somebody holds, by place."""
        self.former: WeakValueDictionary[int, Receipt] = WeakValueDictionary()
        """Those of messages that were given up at a place and tried again: by the places where they were before, of
        which the receiver may still say that it has the message there."""
        self.doubtful: set[int] = set()
        """Places that expired or were cancelled after their message was sent on the stream that stands."""
        self.ending: set[int] = set()
        """Places of which the end is being written, or may be on disk, and of which no skip was acknowledged."""
        self.over_messages = 0
        """Places that are not acknowledged and whose messages have come to their end: they take no room."""
        self.over_bytes = 0
        self.is_counted = True
        """Whether these are what the disk says; else they are less, and are counted there soon."""
        self.ended_at = (0, 0)
        """The message at which the peer ended a stream, and how often in a row."""
        self.fallen_to: int | None = None
        """Where the receiver stood when it said that it has less than it acknowledged, until it has that again."""
        self.falls = 0
        self.given_back = 0
        """Messages that the receiver refused for now, and that are tried again."""
        self.named = 0
        self.asking: Asking | None = None
        self.oldest_ms: int | None = None

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged and not over, those being committed among them."""
        return self.assigned_seq - 1 - self.acked_seq - self.over_messages

    @property
    def waiting_bytes(self) -> int:
        return max(0, self.total_bytes - self.acked_bytes - self.over_bytes) + self.assigned_bytes

    @property
    def is_idle(self) -> bool:
        """Whether it holds nothing that is not on disk, and has no row there either."""
        return self.id is None and self.assigned_seq == self.next_seq

    def assign(self, size_bytes: int) -> int:
        """Takes the next place for a message that is handed in."""
        seq = self.assigned_seq
        self.assigned_seq = seq + 1
        self.assigned_bytes += size_bytes
        self.budget.add(1, size_bytes)
        return seq

    def unassign(self, size_bytes: int) -> None:
        """A message that was handed in was not committed; those behind it move up when their turn comes."""
        self.assigned_seq -= 1
        self.assigned_bytes -= size_bytes
        self.budget.add(-1, -size_bytes)

    def committed(self, count: int, size_bytes: int) -> None:
        """So many messages are on disk now, at the line's end."""
        self.next_seq += count
        self.total_bytes += size_bytes
        self.assigned_bytes -= size_bytes

    def acknowledged(self, seq: int, mid: bytes | None, end: int) -> None:
        """Everything up to `seq` is stored at the receiver; `end` is the line's bytes up to there."""
        self.budget.add(self.acked_seq - seq, self.acked_bytes - end)
        self.acked_seq, self.acked_mid, self.acked_bytes = seq, mid, end
        if self.acked_seq >= self.next_seq - 1:
            self.oldest_ms = None
            self.set_over(0, 0)

    def set_over(self, messages: int, size_bytes: int) -> None:
        """So many unacknowledged places are over. They stay within what is unacknowledged."""
        messages = max(0, min(messages, self.next_seq - 1 - self.acked_seq))
        size_bytes = max(0, min(size_bytes, self.total_bytes - self.acked_bytes)) if messages else 0
        self.budget.add(self.over_messages - messages, self.over_bytes - size_bytes)
        self.over_messages, self.over_bytes = messages, size_bytes

    def gave_up(self, size_bytes: int) -> None:
        """A message that is not acknowledged has come to its end."""
        self.set_over(self.over_messages + 1, self.over_bytes + size_bytes)

    def passed(self, messages: int, size_bytes: int) -> None:
        """Places that were over are acknowledged, as skips or as what they were."""
        self.set_over(self.over_messages - messages, self.over_bytes - size_bytes)

    def skipped(self, first: int, last: int) -> None:
        """The receiver has a skip at these places."""
        if self.ending:
            self.ending = {seq for seq in self.ending if not first <= seq <= last}

    def name(self, places: int) -> None:
        """Counts the places that the receiver names in an outcome. Raises `Violation` when it does that for ever."""
        self.named += places
        if self.named > NAMED_AT_FIRST + NAMED_TIMES * self.next_seq:
            self.named -= places
            raise Violation("outcomes_without_end")
