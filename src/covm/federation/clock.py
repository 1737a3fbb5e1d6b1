"""Time and randomness, handed in so that tests and simulations can hold them still."""

from __future__ import annotations

import os
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since 1970-01-01 UTC. It may jump; it proves nothing."""

    def monotonic_s(self) -> float:
        """Seconds that only go forward, for waits and measurements."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class Random(Protocol):
    """Where chance comes from."""

    def bytes(self, count: int) -> bytes:
        """Unpredictable bytes, for ids."""

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high], for jitter."""


class SystemRandom:
    """The operating system's source for ids, a seeded generator for jitter."""

    def __init__(self) -> None:
        self._jitter = random.Random()

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def uniform(self, low: float, high: float) -> float:
        return self._jitter.uniform(low, high)


class SeededRandom:
    """Repeatable chance from one seed, for simulations and tests."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)

    def bytes(self, count: int) -> bytes:
        return self._source.randbytes(count)

    def uniform(self, low: float, high: float) -> float:
        return self._source.uniform(low, high)
