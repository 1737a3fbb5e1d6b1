"""Builds that break a promise of shared data: one part of ours replaced by one that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from tests.simulation.broken_builds import Broken

from covm.federation.sync import plan_rows
from covm.federation.sync.bodies import Bodies
from covm.federation.sync.fetching import Fetcher
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.leases import Leases
from covm.federation.sync.resolvers import Resolution, Resolvers


def leaves_what_was_replaced_among_the_heads(patch: pytest.MonkeyPatch) -> None:
    honest = plan_rows.write

    def forgetful(tx: Any, plan: Any, judged: int, now_ms: int) -> Any:
        plan.superseded.clear()
        return honest(tx, plan, judged, now_ms)

    patch.setattr(plan_rows, "write", forgetful)


def takes_over_before_it_commits(patch: pytest.MonkeyPatch) -> None:
    honest = Keeper.keep

    async def hasty(self: Keeper, plan: Any) -> Any:
        self.logs.commit([log for log in plan.logs.values() if log.number is not None])
        return await honest(self, plan)

    patch.setattr(Keeper, "keep", hasty)
    believes_that_what_failed_is_not_on_disk(patch)


def believes_that_what_failed_is_not_on_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Keeper, "_is_uncertain", property(lambda self: False, lambda self, value: None), raising=False)


def never_asks_again_after_an_interruption(patch: pytest.MonkeyPatch) -> None:
    honest = Fetcher.begin

    def careless(self: Fetcher, peer: str, name: str) -> Any:
        partner = self.partners.get(peer)
        standing = partner.types.get(name) if partner is not None else None
        return None if standing is not None and standing.error else honest(self, peer, name)

    patch.setattr(Fetcher, "begin", careless)


def shows_what_arrived_last(patch: pytest.MonkeyPatch) -> None:
    def by_arrival(self: Resolvers, rule: Any, siblings: Any) -> Resolution:
        *_, last = siblings
        return Resolution(
            value=last.value, is_deleted=last.op == "delete", winner=None, is_conflict=len(list(siblings)) > 1
        )

    patch.setattr(Resolvers, "resolve", by_arrival)
    patch.setattr("covm.federation.sync.reading.by_clock", lambda row: 0)


def takes_a_later_clock_for_a_later_version(patch: pytest.MonkeyPatch) -> None:
    honest = plan_rows.write

    def by_clock(tx: Any, plan: Any, judged: int, now_ms: int) -> Any:
        numbers = honest(tx, plan, judged, now_ms)
        for known in [row.known for row in plan.rows.values() if row.known.counts]:
            tx.execute(
                "UPDATE covm_records SET superseded = 1 WHERE key = :key AND time_ms < :time",
                {"key": known.key, "time": known.hlc.time_ms},
            )
        return numbers

    patch.setattr(plan_rows, "write", by_clock)


def keeps_a_lease_for_ever(patch: pytest.MonkeyPatch) -> None:
    def take(self: Leases, logs: Any, holder: object, now_s: float) -> list[Any]:
        return [log for log in logs if self._held.setdefault(log, (holder, now_s))[0] is holder]

    patch.setattr(Leases, "take", take)
    patch.setattr(Leases, "give_back", lambda self, logs, holder: None)


def fetches_the_same_from_several(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leases, "take", lambda self, logs, holder, now_s: list(logs))


def holds_what_is_early_for_ever(patch: pytest.MonkeyPatch) -> None:
    async def careless(self: Keeper) -> None:
        pass

    patch.setattr(Keeper, "again", careless)


def shows_what_was_erased_and_keeps_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan_rows, "_erase", lambda tx, record, eraser: 0)


def fetches_no_large_values(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Bodies, lacking: Any, *, is_asked: bool) -> str:
        return "no"

    patch.setattr(Bodies, "_fetch", nothing)


BROKEN = (
    Broken(leaves_what_was_replaced_among_the_heads, "has other heads of", (0, 1)),
    Broken(
        takes_over_before_it_commits,
        "believes|on disk is on none|lacks|other records|fails as|back in time",
        (26, 8, 13),
    ),
    Broken(
        believes_that_what_failed_is_not_on_disk, "forked its log, and never went back|back in time", (44, 157, 197)
    ),
    Broken(never_asks_again_after_an_interruption, "lacks|hold other records", (40, 58, 67)),
    Broken(shows_what_arrived_last, "show other values", (1, 21, 12)),
    Broken(takes_a_later_clock_for_a_later_version, "has other heads of", (5, 1)),
    Broken(keeps_a_lease_for_ever, "lacks|hold other records|sessions of", (0, 1)),
    Broken(fetches_the_same_from_several, "was sent", (36, 27, 18)),
    Broken(holds_what_is_early_for_ever, "held on", (5, 14)),
    Broken(fetches_no_large_values, "have no value", (7, 8, 12)),
    Broken(shows_what_was_erased_and_keeps_it, "erased other values|lacks|no value", (1, 2, 3)),
)
"""Several seeds each: a change of ours that has nothing to do with it may change a story."""
