"""What one peer has sent us directly: in order, once. A rule: no I/O, no clock.

One sequence per incarnation of the sender. A number below the expected one is a re-send and changes nothing; one
above it is a gap, which an honest sender never leaves. A message id that was seen already is stored again without a
second effect, whatever number or incarnation it comes under.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import Enum

from covm.federation.dispatch.outbox import Violation
from covm.federation.wire.frames import Outcome
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import MessageBody

MAX_REMEMBERED_IDS = 8_192
"""Message ids kept for a sender, some 600 KiB: more than it can have under way before an acknowledgement."""

MAX_OUTCOMES = 6_144
"""Outcomes kept for a sender, to be said again after a reconnect: more than its credit lets wait for handlers here.

The smallest envelope has 384 bytes, and a stream's credit of 1 MiB can be overdrawn by one frame: 5,632 messages.
"""


class Acceptance(Enum):
    """What becomes of a message that arrived in a frame."""

    NEW = "new"
    RESENT = "resent"
    REPEATED = "repeated"
    """A new number, but an id that was seen before."""


class Inbox:
    """The state of one sender's sequence here."""

    def __init__(self) -> None:
        self._incarnation: Incarnation | None = None
        self._expected = 1
        # Not a plain dict: finding its first key scans what was deleted before it.
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._outcomes: deque[Outcome] = deque(maxlen=MAX_OUTCOMES)
        self.stored: tuple[int, bytes] | None = None

    @property
    def incarnation(self) -> Incarnation | None:
        return self._incarnation

    @property
    def outcomes(self) -> list[Outcome]:
        """The latest outcomes of this incarnation, the oldest first."""
        return list(self._outcomes)

    def open(self, incarnation: Incarnation, first: int) -> None:
        """The sender opened a stream: `first` is the lowest number that it still holds, or its next.

        What lies below it was given up (expired) or was acknowledged by us in an earlier life.
        """
        if incarnation != self._incarnation:
            self._incarnation = incarnation
            self._expected = 1
            self._outcomes.clear()
            self.stored = None
        self._expected = max(self._expected, first)

    def accept(self, body: MessageBody) -> Acceptance:
        """Judges the next message of the stream; raises `Violation`."""
        if body.incarnation != self._incarnation:
            raise Violation("wrong_incarnation")
        seq = body.seq
        if seq < self._expected:
            return Acceptance.RESENT
        if seq > self._expected:
            raise Violation("sequence_gap")
        self._expected = seq + 1
        mid = body.mid
        self.stored = (seq, mid)
        if mid in self._seen:
            return Acceptance.REPEATED
        self._seen[mid] = None
        if len(self._seen) > MAX_REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return Acceptance.NEW

    def settle(self, outcome: Outcome) -> None:
        """Remembers what became of a message, to say it again after a reconnect."""
        self._outcomes.append(outcome)
