"""What peers have cost this node: the simulation's plain form of gossip scoring."""

from __future__ import annotations

import math

from covm.federation.network.simulated import limits


class Standing:
    """Penalties by peer, half of which is forgotten each minute. Nothing is earned in advance."""

    def __init__(self) -> None:
        self._penalties: dict[str, tuple[float, float]] = {}

    def charge(self, peer: str, amount: float, now_s: float) -> float:
        """Adds to a peer's penalty and returns it. An amount that is not a positive number is none."""
        penalty = self.penalty(peer, now_s)
        if not math.isfinite(amount) or amount <= 0.0:
            return penalty
        penalty = min(penalty + amount, limits.PENALTY_MOST)
        self._penalties.pop(peer, None)
        self._penalties[peer] = (penalty, now_s)
        if len(self._penalties) > limits.PENALTIES:
            # The one that behaved longest has the least left to forget.
            del self._penalties[next(iter(self._penalties))]
        return penalty

    def penalty(self, peer: str, now_s: float) -> float:
        """What is left of a peer's penalty."""
        penalty, since_s = self._penalties.get(peer, (0.0, now_s))
        return penalty * math.exp2((since_s - now_s) / limits.PENALTY_HALF_LIFE_S)

    def is_cut_off(self, peer: str, now_s: float) -> bool:
        """Whether nothing of the peer is looked at."""
        return self.penalty(peer, now_s) >= limits.CUT_OFF_PENALTY
