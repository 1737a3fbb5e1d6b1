"""How much may one author gossip? A token bucket for each (Turner 1986): a rate, and a second's worth at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from covm.federation.gossip.authors import forget_one, nobody_is_connected

MAX_AUTHORS = 4_096
"""Authors remembered, as in the replay window; one that was forgotten begins with a full bucket."""


class Allowances:
    """Every author's bucket."""

    def __init__(
        self,
        rate_per_s: float,
        max_authors: int = MAX_AUTHORS,
        is_connected: Callable[[str], bool] = nobody_is_connected,
    ) -> None:
        self._rate_per_s = rate_per_s
        self._is_connected = is_connected
        self._max_authors = max_authors
        self._buckets: OrderedDict[str, list[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, author: str, now_s: float) -> bool:
        """Takes one message's worth from the author's bucket; False when it is empty."""
        bucket = self._buckets.get(author)
        if bucket is None:
            while len(self._buckets) >= self._max_authors:
                forget_one(self._buckets, self._is_connected)
            self._buckets[author] = [self._rate_per_s - 1, now_s]
            return True
        tokens = min(self._rate_per_s, bucket[0] + (now_s - bucket[1]) * self._rate_per_s)
        bucket[1] = now_s
        self._buckets.move_to_end(author)
        if tokens < 1:
            bucket[0] = tokens
            return False
        bucket[0] = tokens - 1
        return True
