"""How often may one peer say what it is? A token bucket (Turner 1986): many at once, then one now and then."""

from __future__ import annotations

from dataclasses import dataclass

AT_ONCE = 32
"""A node says it when it is connected, and when its addresses change: a handful while interfaces come up."""

EVERY_S = 2.0
"""An interface that comes and goes is told of no faster by an honest node than this, over a longer time."""


@dataclass(slots=True)
class InformationAllowance:
    """One peer's bucket."""

    tokens: float = AT_ONCE
    at_s: float = 0.0
    """When it was looked at last, on the monotonic clock."""

    def take(self, now_s: float) -> bool:
        """Whether the peer may say it once more now."""
        self.tokens = min(AT_ONCE, self.tokens + (now_s - self.at_s) / EVERY_S)
        self.at_s = now_s
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
