"""How the store is, from what became of its jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from covm.federation.errors import StoreCorrupt, StoreFull
from covm.federation.store.interface import StoreHealth
from covm.federation.store.tables import PROBE, delete_meta, put_meta

if TYPE_CHECKING:
    from covm.federation.clock import Clock
    from covm.federation.store.interface import Transaction
    from covm.federation.store.writer import Outcome

PROBE_INTERVAL_S = 1.0
"""How often a failing store is tried: often enough that nobody waits for it, rarely enough to cost nothing."""

PROBE_BYTES = 64 * 1024
"""What must fit before a full disk counts as mended: about a group of messages, so that it does not flicker."""


class HealthWatch:
    """Judges outcomes on the event loop and tells of changes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.health = StoreHealth()
        self._damage: StoreCorrupt | None = None

    def judge(self, outcomes: Sequence[Outcome], tell: Callable[[StoreHealth], None] | None) -> None:
        """The last outcome that says anything of the store decides; a job's own failure says nothing."""
        for outcome in reversed(outcomes):
            if outcome.is_store_failure or outcome.error is None:
                self._become(outcome.error if outcome.is_store_failure else None, tell)
                return

    def judge_queries(self, outcomes: Sequence[Outcome], tell: Callable[[StoreHealth], None] | None) -> None:
        """Of queries, damage alone counts: whatever else is wrong with the store, a write finds out."""
        self.judge([outcome for outcome in outcomes if isinstance(outcome.error, StoreCorrupt)], tell)

    def _become(self, failure: BaseException | None, tell: Callable[[StoreHealth], None] | None) -> None:
        before = self.health
        if isinstance(failure, StoreCorrupt):
            # It does not heal because another page can still be written.
            self._damage = failure
        failure = failure or self._damage
        if failure is None:
            self.health = StoreHealth()
        else:
            state: Literal["full", "failing"] = "full" if isinstance(failure, StoreFull) else "failing"
            since_ms = before.since_ms if before.state == state else self._clock.now_ms()
            why = failure if failure is self._damage else getattr(failure, "why", failure)
            self.health = StoreHealth(state, str(why), since_ms)
        if self.health != before and tell is not None:
            tell(self.health)


def probe(tx: Transaction) -> None:
    """A job that needs room and a commit."""
    put_meta(tx, PROBE, bytes(PROBE_BYTES))


def clear_probe(tx: Transaction) -> None:
    """Gives the probe's room back."""
    delete_meta(tx, PROBE)
