"""Builds that break a promise to members: one part of ours replaced by one that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from tests.simulation.broken_builds import Broken

from covm.federation.membership.members import Members
from covm.federation.sync.intake import Intake
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.logs import Reach
from covm.federation.sync.manager import SyncManager


def ends_no_log_at_a_cut(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reach, "within", lambda self, cuts, log, record: True)


def cuts_by_arrival(patch: pytest.MonkeyPatch) -> None:
    honest = Intake.rejudge

    def lenient(self: Intake, records: Any) -> Any:
        # What counted when it came goes on counting.
        return honest(self, [each for each in records if not self._known[each.record.id].counts])

    patch.setattr(Intake, "rejudge", lenient)


def heeds_the_widest_of_several_cuts(patch: pytest.MonkeyPatch) -> None:
    honest = Reach.within

    def lenient(self: Reach, cuts: Any, log: Any, record: Any) -> bool:
        each_alone = [honest(self, [cut], log, record) for cut in cuts]
        return not each_alone or any(each_alone)

    patch.setattr(Reach, "within", lenient)


def ends_all_that_a_removed_one_wrote(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reach, "within", lambda self, cuts, log, record: not list(cuts))


def asks_only_about_reading_when_it_is_told(patch: pytest.MonkeyPatch) -> None:
    honest = SyncManager._heard_roots

    def hasty(self: SyncManager, peer: str, roots: Any, owed: Any) -> None:
        honest(self, peer, [(name, root) for name, root in roots if self._may_read(name)], owed)

    patch.setattr(SyncManager, "_heard_roots", hasty)


def lists_the_ends_of_logs_too_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Keeper, "_ends_of", lambda self, log: set())


def names_to_everyone_what_some_may_read(patch: pytest.MonkeyPatch) -> None:
    def roots(self: SyncManager, peer: str, types: Any = None, turn: int = 0) -> Any:
        return [(name, self.keeper.logs.frontier(name).root) for name in self.keeper.logs.types()]

    patch.setattr(SyncManager, "roots", roots)


def judges_nothing_anew(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Members, "on_change", lambda self, listener: None)


_OTHERWISE = "do not agree on what counts|beyond the cut|within the cuts"

BROKEN = (
    Broken(ends_no_log_at_a_cut, "counts on .* beyond the cut", (0, 3, 5)),
    Broken(cuts_by_arrival, _OTHERWISE, (0, 2, 3)),
    Broken(heeds_the_widest_of_several_cuts, "beyond the cut", (87, 117, 187)),
    Broken(ends_all_that_a_removed_one_wrote, "within the cuts", (0, 1, 2)),
    Broken(asks_only_about_reading_when_it_is_told, "do not come to rest|lacks", (355,)),
    Broken(lists_the_ends_of_logs_too_early, _OTHERWISE, (0, 1, 2)),
    Broken(names_to_everyone_what_some_may_read, "is told of what it may not read", (2, 4, 6)),
    Broken(judges_nothing_anew, _OTHERWISE, (0, 3, 5)),
)
"""Several seeds each: a change of ours that has nothing to do with it may change a story."""
