"""Builds that break a promise: one part of ours replaced by one that is wrong."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest

from covm.federation.dispatch import inbox_jobs, resuming
from covm.federation.dispatch.batching import make_batch
from covm.federation.dispatch.inbox_journal import InboxJournal
from covm.federation.dispatch.incoming import Incoming
from covm.federation.dispatch.outbox import Flight
from covm.federation.store.interface import Transaction
from covm.federation.store.tables import NEW_INCARNATION, get_meta

HASTY: ContextVar[Any] = ContextVar("hasty", default=None)


def acknowledges_before_it_commits(patch: pytest.MonkeyPatch) -> None:
    honest = make_batch

    def hasty(dispatcher: Any, line: Any, author_id: Any, peer: str, judgement: Any, *others: Any) -> Any:
        stream = HASTY.get()
        if stream is not None:
            stream.took(judgement, 0)
        return honest(dispatcher, line, author_id, peer, judgement, *others)

    take = Incoming._take

    async def hasty_take(self: Incoming, step: Any) -> None:
        HASTY.set(step.stream)
        await take(self, step)

    patch.setattr("covm.federation.dispatch.incoming.make_batch", hasty)
    patch.setattr(Incoming, "_take", hasty_take)


def takes_duplicates(patch: pytest.MonkeyPatch) -> None:
    def none_seen(tx: Any, author_id: int, mids: Iterable[bytes]) -> dict[bytes, int]:
        for mid in mids:
            tx.execute(
                "DELETE FROM covm_seen WHERE author_id = :author AND mid = :mid", {"author": author_id, "mid": mid}
            )
        return {}

    patch.setattr(inbox_jobs, "_seen", none_seen)


def forgets_duplicates_with_a_new_incarnation(patch: pytest.MonkeyPatch) -> None:
    honest = inbox_jobs._new_line

    def forgetful(tx: Any, author_id: int, batch: Any) -> int:
        tx.execute("DELETE FROM covm_seen WHERE author_id = :author", {"author": author_id})
        return honest(tx, author_id, batch)

    patch.setattr(inbox_jobs, "_new_line", forgetful)


def hands_on_in_another_order(patch: pytest.MonkeyPatch) -> None:
    honest = InboxJournal.hold
    patch.setattr(InboxJournal, "hold", lambda self, arrivals: honest(self, arrivals)[::-1])


def does_not_send_again_what_a_lost_stream_took(patch: pytest.MonkeyPatch) -> None:
    honest = resuming.Resuming.stand

    async def careless(self: resuming.Resuming, hello: Any, ask: Any) -> Flight | None:
        flight = await honest(self, hello, ask)
        if flight is not None:
            flight.upto = max(flight.upto, self._outgoing.next_seq - 1)
        return flight

    patch.setattr(resuming.Resuming, "stand", careless)


def keeps_its_incarnation_over_a_restore(patch: pytest.MonkeyPatch) -> None:
    def forgetful(tx: Transaction, key: str) -> bytes | None:
        return None if key == NEW_INCARNATION else get_meta(tx, key)

    patch.setattr("covm.federation.life.get_meta", forgetful)


def leaves_out_skips(patch: pytest.MonkeyPatch) -> None:
    honest = resuming.laid_out
    patch.setattr(resuming, "laid_out", lambda *given: [place for place in honest(*given) if not place.is_skip])


@dataclass(frozen=True)
class Broken:
    """A broken build, what gives it away, and seeds whose stories do; the first that does is enough."""

    build: Callable[[pytest.MonkeyPatch], None]
    gives_away: str
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.build.__name__

    def require_caught(self, tell: Callable[[int], Sequence[str]], monkeypatch: pytest.MonkeyPatch) -> None:
        """Fails unless one of the stories gives the build away, and the honest build comes through that one.

        `tell` tells the story of a seed, and returns the promises that were broken in it.
        """
        for seed in self.seeds:
            with monkeypatch.context() as patch:
                self.build(patch)
                found = _told(tell, seed)
            if any(re.search(self.gives_away, each) for each in found):
                assert not _told(tell, seed), "the honest build does not come through this story either"
                return
        pytest.fail(f"none of the stories {self.seeds} gives away a build that {self.name.replace('_', ' ')}")


def _told(tell: Callable[[int], Sequence[str]], seed: int) -> Sequence[str]:
    try:
        return tell(seed)
    finally:
        gc.collect()


_LOST = "nobody ever said what became of it"
_TWICE = "its effect happened 2 times|its handler is called again, and told that it is the first time"

BROKEN = (
    Broken(acknowledges_before_it_commits, "it is stored, and it is not on the receiver's disk", (4, 3, 7)),
    Broken(takes_duplicates, _TWICE, (10, 33, 35)),
    Broken(forgets_duplicates_with_a_new_incarnation, _TWICE, (33, 51, 15)),
    Broken(hands_on_in_another_order, "it overtook|its handler was called after that of number", (2, 1, 3)),
    Broken(does_not_send_again_what_a_lost_stream_took, _LOST, (2, 1, 3)),
    Broken(
        keeps_its_incarnation_over_a_restore, "sent after a restore, under an incarnation from before", (42, 33, 51)
    ),
    Broken(leaves_out_skips, _LOST, (10, 1, 3)),
)
"""Several seeds each: a change of ours that has nothing to do with it may change a story."""
