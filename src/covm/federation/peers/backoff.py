"""How long to wait before the next try: full jitter (Brooker, "Exponential Backoff And Jitter", 2015)."""

from __future__ import annotations

from dataclasses import dataclass

from covm.federation.clock import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `base_s` up to `max_s`, each drawn anew so that many nodes do not retry in step."""

    base_s: float
    max_s: float

    def ceiling_s(self, failures: int) -> float:
        """The longest wait after this many failures in a row (1 is the first)."""
        # 2**32 base delays exceed every max_delay; the cap keeps the power small for a peer that is gone for years.
        return min(self.max_s, self.base_s * 2.0 ** min(failures - 1, 32))

    def delay_s(self, failures: int, random: Random) -> float:
        """A wait in [0, ceiling]."""
        return random.uniform(0.0, self.ceiling_s(failures))
