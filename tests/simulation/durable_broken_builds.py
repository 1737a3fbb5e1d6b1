"""Builds that break a promise of durable types: one part of ours replaced by one that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from tests.simulation.broken_builds import Broken

from covm.federation import recording
from covm.federation.dispatch import feed_jobs, settlement_jobs, transactional
from covm.federation.dispatch.feed import Feed
from covm.federation.dispatch.feed_jobs import Advance
from covm.federation.dispatch.settlement_jobs import Settlements
from covm.federation.sync import plan_rows
from covm.federation.sync.bodies import Bodies
from covm.federation.sync.scribe import Write


def moves_on_after_the_handlers_commit(patch: pytest.MonkeyPatch) -> None:
    honest = Feed._transact

    async def late(self: Feed, batch: Sequence[Any]) -> Any:
        given = self._around.transactions.handle

        async def handle(work: Any, settlements: Settlements) -> Any:
            report = await given(work, Settlements())
            for feed_id, by in settlements.advanced.items():
                self._around.journal.advance(feed_id, by)
            return report

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(self._around.transactions, "handle", handle)
            return await honest(self, batch)

    patch.setattr(Feed, "_transact", late)


def does_what_was_committed_in_doubt_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transactional, "is_open", lambda *_args, **_kwargs: True)


def gives_a_record_another_place_when_it_is_judged_anew(patch: pytest.MonkeyPatch) -> None:
    honest = plan_rows._update

    def renumbering(tx: Any, row: Any, judged: int | None) -> None:
        honest(tx, row, judged)
        fields = {"judged": judged, "id": row.known.id.bytes}
        tx.execute("UPDATE covm_records SET told = :judged WHERE id = :id AND state = 1 AND op = 0", fields)

    patch.setattr(plan_rows, "_update", renumbering)


def forgets_what_did_not_count(patch: pytest.MonkeyPatch) -> None:
    honest = feed_jobs.advance

    def forgetful(tx: Any, feed_id: int, by: Advance) -> None:
        by.passed.clear()
        honest(tx, feed_id, by)

    patch.setattr(settlement_jobs, "advance", forgetful)


def forgets_what_a_transaction_published_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    honest = recording._load

    def hasty(tx: Any) -> Any:
        staged = honest(tx)
        tx.execute("DELETE FROM covm_staged_records")
        return staged

    patch.setattr(recording, "_load", hasty)


def publishes_what_a_transaction_left_before_it_forgets_it(patch: pytest.MonkeyPatch) -> None:
    async def in_two_commits(self: Any, staged: Sequence[Any]) -> None:
        for each in staged:
            await self._scribe.write(Write(each.type, each.key, "put", each.payload, None))
        for each in staged:
            await self._store.write(partial(recording._remove, staged_id=each.id))

    patch.setattr(recording.Recorder, "_record", in_two_commits)


def does_not_tell_what_may_come_again(patch: pytest.MonkeyPatch) -> None:
    honest = Feed._expect

    def quiet(self: Feed, fed: Any) -> None:
        honest(self, fed)
        fed.attempts = 0

    patch.setattr(Feed, "_expect", quiet)


def fetches_nothing_that_was_replaced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Bodies, "hand_out", lambda self, types: None)


_SEEDS = (0, 1, 2)

BROKEN = (
    Broken(moves_on_after_the_handlers_commit, "the ledger of .* has .* 2 times", _SEEDS),
    Broken(does_what_was_committed_in_doubt_again, "the ledger of .* has .* 2 times", _SEEDS),
    Broken(gives_a_record_another_place_when_it_is_judged_anew, "the ledger of .* has .* times", _SEEDS),
    Broken(forgets_what_did_not_count, "the latest handler of .* lacks", _SEEDS),
    Broken(forgets_what_a_transaction_published_before_it_is_written, "nobody has it", _SEEDS),
    Broken(publishes_what_a_transaction_left_before_it_forgets_it, "was published 2 times", (3, 4, 5, 6, 7, 8)),
    Broken(fetches_nothing_that_was_replaced, "do not hold the same", _SEEDS),
    Broken(does_not_tell_what_may_come_again, "not told so", _SEEDS),
)
