"""Is a connected peer well? Judged by its silence, and by how much this node may trust its own sense of time.

A peer is heard whenever anything of it arrives. Two missed heartbeats make it suspect, four lost. A node that was
itself slow doubts itself first (Lifeguard, Dadgar et al. 2018): each of its own late rounds makes it more patient
with everybody, each timely one less.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

SUSPECT_AFTER_MISSED = 2
LOST_AFTER_MISSED = 4
MAX_DOUBT = 8
"""A node that was slow eight rounds in a row waits nine times as long; beyond that it would never notice a loss."""

ESTIMATES = 8
"""Round trips and offsets kept for the median: one odd sample changes nothing."""

MAX_OFFSET_MS = 5 * 60 * 1000.0
"""Clocks that are set at all differ by seconds; five minutes is a clock that nobody sets."""

UNANSWERED = 8
"""Own heartbeats that may still be answered: twice as many as make a peer lost."""

ANSWERS_AT_ONCE = 64
"""Heartbeats of one peer that are answered in a row: a few rounds, and operators who measure the way here."""

MOST_PINGS = 16
"""Round trips that are measured in a row."""

ANSWERS_PER_S = 1.0
ANSWERS_PER_INTERVAL = 4
"""The same for good, whichever is more: honest peers ask once an interval."""


class Health(StrEnum):
    """How a connected peer is."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    LOST = "lost"


def judge(silent_s: float, interval_s: float, doubt: int) -> Health:
    """How a peer is that has been silent for so long.

    A heartbeat counts as missed once half an interval has passed since it was due, so that a peer whose rounds fall
    just after ours is not suspected for it.
    """
    missed = silent_s / interval_s - 0.5
    patience = 1 + doubt
    if missed >= LOST_AFTER_MISSED * patience:
        return Health.LOST
    if missed >= SUSPECT_AFTER_MISSED * patience:
        return Health.SUSPECT
    return Health.HEALTHY


def next_doubt(doubt: int, late_s: float, interval_s: float) -> int:
    """This node's doubt in itself after a round that began `late_s` after it was due."""
    if late_s > interval_s / 2:
        return min(doubt + 1, MAX_DOUBT)
    return max(doubt - 1, 0)


def clock_is_doubtful(offsets_ms: Collection[float]) -> bool:
    """Whether most of the peers' clocks are far from ours, so that ours may be the wrong one. Nobody: no doubt."""
    return bool(offsets_ms) and abs(median(offsets_ms)) > MAX_OFFSET_MS


@dataclass(frozen=True, slots=True)
class Estimate:
    """One exchange: round trip, and how far the peer's clock is ahead of ours."""

    round_trip_ms: float
    clock_offset_ms: float


def estimate(sent_ms: int, received_there_ms: int, sent_there_ms: int, received_ms: int, elapsed_ms: float) -> Estimate:
    """From the four times of an exchange (NTP, RFC 5905 section 8); `elapsed_ms` is measured on a monotonic clock."""
    held_there_ms = max(0, sent_there_ms - received_there_ms)
    offset_ms = ((received_there_ms - sent_ms) + (sent_there_ms - received_ms)) / 2
    return Estimate(round_trip_ms=max(0.0, elapsed_ms - held_there_ms), clock_offset_ms=offset_ms)


@dataclass(slots=True)
class Pulse:
    """What is known of one connected peer's health."""

    heard_s: float
    """When it was last heard, on our monotonic clock."""
    health: Health = Health.HEALTHY
    estimates: deque[Estimate] = field(default_factory=lambda: deque(maxlen=ESTIMATES))
    sent: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Own heartbeats without an answer yet: sequence -> (wall ms, monotonic s), bounded by `UNANSWERED`."""

    def note_sent(self, sequence: int, wall_ms: int, monotonic_s: float) -> None:
        self.sent[sequence] = (wall_ms, monotonic_s)
        while len(self.sent) > UNANSWERED:
            del self.sent[next(iter(self.sent))]

    def note_answer(
        self, sequence: int, received_there_ms: int, sent_there_ms: int, wall_ms: int, monotonic_s: float
    ) -> Estimate | None:
        """Takes an answer into account, and says what follows from it; None when nothing of ours waits for it."""
        asked = self.sent.pop(sequence, None)
        if asked is None:
            return None
        elapsed_ms = (monotonic_s - asked[1]) * 1000
        found = estimate(asked[0], received_there_ms, sent_there_ms, wall_ms, elapsed_ms)
        self.estimates.append(found)
        return found

    @property
    def round_trip_ms(self) -> float | None:
        return median(sample.round_trip_ms for sample in self.estimates) if self.estimates else None

    @property
    def clock_offset_ms(self) -> float | None:
        return median(sample.clock_offset_ms for sample in self.estimates) if self.estimates else None


INFOS_AT_ONCE = 32
INFOS_PER_S = 0.5
"""`PeerInfo`s taken of one peer: said when it connects, and with new addresses, a handful while interfaces come up."""


@dataclass(slots=True)
class Allowance:
    """How much of one kind a peer may still say or ask for: a token bucket (Turner 1986)."""

    at_s: float
    left: float

    def take(self, now_s: float, rate_per_s: float, at_once: float) -> bool:
        """Whether one more is allowed now."""
        self.left = min(at_once, self.left + (now_s - self.at_s) * rate_per_s)
        self.at_s = now_s
        if self.left < 1:
            return False
        self.left -= 1
        return True
