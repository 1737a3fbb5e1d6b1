"""One type, from one peer: finds the logs of which it has more, and fetches that, batch by batch.

    descent     where do our frontiers differ?          (questions below digests that differ)
    lacking     which of its tips are not here?         what we have and it lacks, it fetches itself
    wants       what follows these records of the log?  asked again and again until nothing is lacking

A peer that may not read the type is told nothing of what is here: it is asked as if nothing were, and only records of
its own logs are named to it. So what it wrote while it might write arrives all the same.

While what one answer brought is judged and written, the next is on its way and verified; it is asked for no sooner, so
whatever interrupts a session loses two answers at most. It works on the frontier as it was at its beginning; what comes
meanwhile is for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from covm import _native
from covm.federation.clock import Clock
from covm.federation.errors import SyncInterrupted
from covm.federation.identity.branches import Branches
from covm.federation.sync import rows
from covm.federation.sync.asking import Asker
from covm.federation.sync.descent import Descent
from covm.federation.sync.frontier import Frontier, Tips
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.leases import Leases
from covm.federation.sync.logs import Log
from covm.federation.sync.verifying import Verifying
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import open_records
from covm.federation.wire.sync_frames import (
    MAX_HAVE,
    MAX_HAVES,
    MAX_WANTS,
    Carried,
    SyncRequest,
    SyncResponse,
    Wanted,
)

SMALL_QUESTIONS: Final = 16
SMALL_RECORDS: Final = 256
"""A difference is small as long as it took no more than this."""

MAX_DECLINED: Final = 4096
"""Logs of one peer that are remembered as not to be had from it, or not wanted."""

WHATEVER: Final[Tips] = ()
"""Of a log that is declined however far the peer has it."""

MAX_MET: Final = 32
"""Records of one log that were sent to us in vain, and are named the next time."""

MAX_IN_VAIN: Final = 256
"""Answers of one session in which nothing was new: a log that was forked far back begins with those."""

MAX_LACKING: Final = 1_000_000_000
"""Records that are believed to be lacking: a terabyte, and nobody means more than that."""

POLL_S: Final = 1.0
"""Before logs that another session fetches are looked at again."""


class _Asked(NamedTuple):
    """A question, and its answer when that has come."""

    wants: list[Wanted]
    answer: asyncio.Future[tuple[SyncResponse, Verifying]]

    def drop(self) -> None:
        """Nobody wants the answer any more."""
        self.answer.cancel()
        if self.answer.done() and not self.answer.cancelled() and self.answer.exception() is None:
            self.answer.result()[1].cancel()


class Means(NamedTuple):
    """With what a session works."""

    keeper: Keeper
    leases: Leases
    clock: Clock
    may_read: Callable[[], bool]
    """Whether the peer may read the type; asked before every question."""
    brought: Callable[[str, Iterable[_native.Link]], None]
    """Hears from whom records of which logs came."""


class _NotSmall(Exception):
    """What differs turned out to be no small difference."""


class Session:
    """One run. `declined` outlives it: logs, by what the peer had of them, that came to nothing here."""

    def __init__(self, type_name: str, asker: Asker, declined: dict[_native.Link, Tips], means: Means) -> None:
        self.type = type_name
        self.records = 0
        """Records that were new here."""
        self.size_bytes = 0
        """Bytes of all that came."""
        self._told: dict[_native.Link, int] = {}
        """Of logs that differ: how many records the peer has more, as their numbers tell."""
        self._asker = asker
        self._keeper = means.keeper
        self._leases = means.leases
        self._declined = declined
        self._clock = means.clock
        self._may_read = means.may_read
        self._is_reader = means.may_read()
        self._brought = means.brought
        self._deep: set[_native.Link] = set()
        self._met: dict[_native.Link, list[_native.Link]] = {}
        """Of logs that are asked for deeply, where answers ended that brought nothing new; the last first."""
        self._in_vain = 0
        self._refused: set[_native.Link] = set()
        """Logs of which nothing more is taken here, whatever the peer has of them."""
        self._ahead: _Asked | None = None
        """What was asked before the last answer was taken."""
        self._steps = 0
        """Questions, and waits for others that fetch the same."""
        self._only_small = False
        self._postponed: set[_native.Link] = set()
        """Logs of which records have no room here: not to be had now, and not declined."""

    async def run(self, *, only_small: bool = False) -> bool:
        """Fetches what there is; False if it stopped since that was more than a small difference, and it was not to.

        Raises `SyncInterrupted` and `StoreError`. What has come by then is kept.
        """
        self._only_small = only_small
        try:
            await self._run()
        except _NotSmall:
            return False
        return True

    async def _run(self) -> None:
        ours = self._keeper.logs.frontier(self.type) if self._is_reader else Frontier()
        descent, differs = Descent(ours), set[_native.Link]()
        while (probes := descent.question()) is not None:
            response = await self._ask(SyncRequest(number=0, type=self.type, probes=probes))
            try:
                told = descent.on_answer(response.found)
            except ValueError as error:
                raise self._breach("sync_contradicted", str(error)) from None
            differs.update(each.log for each in told)
            differing = {each.log: each.tips for each in told if not self._is_declined(each.log, each.tips)}
            self._told.update((log, self._more(log, tips)) for log, tips in differing.items())
            logs = list(differing)
            for start in range(0, len(logs), MAX_WANTS):
                await self._fetch({log: differing[log] for log in logs[start : start + MAX_WANTS]})
        for log in self._declined.keys() - differs:
            del self._declined[log]  # it has come from somebody else since
        if self._postponed:
            raise SyncInterrupted(self.type, self._asker.peer, "too many records wait to be judged here")

    async def _ask(self, request: SyncRequest) -> SyncResponse:
        self._take_step()
        if self._may_read() is not self._is_reader:
            raise SyncInterrupted(self.type, self._asker.peer, "whether it may read the type has changed")
        return await self._asker.ask(request)

    def _take_step(self) -> None:
        self._steps += 1
        if self._only_small and (self._steps > SMALL_QUESTIONS or self.records > SMALL_RECORDS):
            raise _NotSmall

    def _may_name(self, log: _native.Link) -> bool:
        """Whether the peer may be told what is here of a log."""
        if self._is_reader:
            return True
        here = self._keeper.logs.get(log)
        return here is not None and here.author == self._asker.peer

    @property
    def lacking(self) -> int | None:
        """About how many records are lacking, as far as it is known: not every log is from the beginning.

        None where the peer says that it has more than there can be.
        """
        told = sum(self._told.values())
        return max(0, told - self.records) if told <= MAX_LACKING else None

    def _more(self, log: _native.Link, theirs: Tips) -> int:
        here = self._keeper.logs.get(log)
        last = here.last() if here is not None else None
        return max(0, max((tip.seq for tip in theirs), default=0) - (last[0].seq if last is not None else 0))

    async def _fetch(self, theirs: dict[_native.Link, Tips]) -> None:
        try:
            while theirs := await self._lacking(theirs):
                mine = self._leases.take(theirs, self, self._clock.monotonic_s())
                if not mine:
                    self._take_step()
                    await asyncio.sleep(POLL_S)
                    continue
                # What was asked for ahead may have come from somebody else since.
                for log in [each for each in await self._fetch_some(mine) if each in theirs]:
                    self._decline(log, theirs.pop(log))
                    self._leases.give_back([log], self)
                for log in self._refused & theirs.keys():
                    self._decline(log, WHATEVER)
                for log in (self._postponed | self._refused) & theirs.keys():
                    del theirs[log]
                    self._leases.give_back([log], self)
        finally:
            self._drop_ahead()
            self._leases.give_back(theirs, self)

    async def _fetch_some(self, logs: Sequence[_native.Link]) -> list[_native.Link]:
        """Asks once for what follows in these logs, or in the first of them; those that nothing came of."""
        if self._ahead is None:
            # A log of which nothing may be named is asked for by itself, once, whatever of it is here.
            open_ones = [log for log in logs if self._may_name(log)]
            self._ahead = self._begin(await self._wants(open_ones or logs[:1]))
        now, self._ahead = self._ahead, None
        asked = [each.log for each in now.wants]
        unnamed = [log for log in asked if not self._may_name(log)]
        before = self._keeper.logs.frontier(self.type)
        try:
            response, verifying = await now.answer
        finally:
            now.answer.cancel()
        if not unnamed and (wants := _behind(now.wants, response)):
            self._ahead = self._begin(wants)
        strange = (set(response.strange) & set(asked)) - self._deep
        self._deep |= strange
        is_further = await self._take(response, verifying, set(asked)) or bool(strange)
        if unnamed := [log for log in unnamed if not self._may_name(log)]:
            return unnamed
        if is_further:
            return []
        self._drop_ahead()
        # Another session may have brought meanwhile what was asked for.
        after = self._keeper.logs.frontier(self.type)
        return _reached(asked, response) if all(after.get(log) == before.get(log) for log in asked) else []

    def _begin(self, wants: list[Wanted]) -> _Asked:
        async def answer() -> tuple[SyncResponse, Verifying]:
            response = await self._ask(SyncRequest(number=0, type=self.type, wants=wants))
            envelopes = [each.envelope for each in response.records]
            return response, self._keeper.verifying(envelopes, [each.body for each in response.records])

        asked = asyncio.ensure_future(answer())
        # Should nobody come to hear why there is no answer, nothing is lost.
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        return _Asked(wants, asked)

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.drop()
            self._ahead = None

    async def _take(self, response: SyncResponse, verifying: Verifying, logs: set[_native.Link]) -> bool:
        if not response.records:
            return False
        taken = await self._keeper.take_verified(
            verifying, lambda header: header.type == self.type and header.log in logs, self._asker.peer
        )
        if taken.placed:
            self._brought(self._asker.peer, logs)
        self.records += taken.placed
        self.size_bytes += sum(len(each.envelope) + len(each.body or b"") for each in response.records)
        if taken.malformed:
            raise self._breach("sync_garbage", "it sent what is no record, or was not asked for")
        self._refused |= taken.declined
        if taken.postponed or taken.declined:
            self._postponed |= taken.postponed
            self._drop_ahead()
        return taken.placed > 0 or bool(taken.postponed or taken.declined) or await self._meets(response.records[-1])

    async def _meets(self, last: Carried) -> bool:
        """Whether an answer that brought nothing new brings this further: the next begins where it ended."""
        [record] = open_records([last.envelope])
        self._in_vain += 1
        if isinstance(record, Malformed) or record.body.log not in self._deep or self._in_vain > MAX_IN_VAIN:
            return False
        met = self._met.setdefault(record.body.log, [])
        lacking = await self._keeper.store.read(lambda tx: rows.lacking(tx, [record.id]))
        if lacking or record.id in met:
            return False
        met.insert(0, record.id)
        del met[MAX_MET:]
        return True

    async def _lacking(self, theirs: dict[_native.Link, Tips]) -> dict[_native.Link, Tips]:
        ids = [tip.id for log, tips in theirs.items() if self._may_name(log) for tip in tips]
        lacking = await self._keeper.store.read(lambda tx: rows.lacking(tx, ids))
        left = {
            log: tips
            for log, tips in theirs.items()
            if not self._may_name(log) or any(tip.id in lacking for tip in tips)
        }
        self._leases.give_back(theirs.keys() - left.keys(), self)
        return left

    async def _wants(self, logs: Iterable[_native.Link]) -> list[Wanted]:
        wants: list[Wanted] = []
        left = MAX_HAVES
        for link in logs:
            log = self._keeper.logs.get(link) if self._may_name(link) else None
            tips = [] if log is None else [tip.id for tip in log.tips()]
            is_deep = link in self._deep and log is not None
            have = await self._far_back(log) if is_deep and log is not None else tips
            if wants and len(have) > left:
                break
            left -= len(have)
            wants.append(Wanted(link, have, deep=is_deep))
        return wants

    async def _far_back(self, log: Log) -> list[_native.Link]:
        """Records behind the tips, so that the peer knows one of them."""
        if log.number is None:
            return []
        number, places = log.number, list(_growing(log.branches))
        found = await self._keeper.store.read(lambda tx: rows.ids_at(tx, number, places))
        return [*self._met.get(log.link, ()), *found][:MAX_HAVE]

    def _is_declined(self, log: _native.Link, tips: Tips) -> bool:
        if self._keeper.quotas.is_closed(log):
            self._decline(log, WHATEVER)
        return self._declined.get(log) in (tips, WHATEVER)

    def _decline(self, log: _native.Link, tips: Tips) -> None:
        if len(self._declined) >= MAX_DECLINED:
            self._declined.clear()
        self._declined[log] = tips

    def _breach(self, reason: str, why: str) -> SyncInterrupted:
        self._asker.violation(reason)
        return SyncInterrupted(self.type, self._asker.peer, why)


def _behind(wants: Sequence[Wanted], response: SyncResponse) -> list[Wanted]:
    """What is to be asked next, before anybody has looked at the answer: what follows its last record."""
    if not response.more or not response.records:
        return []
    [record] = open_records([response.records[-1].envelope])
    if isinstance(record, Malformed):
        return []
    place = next((place for place, each in enumerate(wants) if each.log == record.body.log), None)
    if place is None or wants[place].deep:
        return []
    # What was named before is behind that record, unless there are branches.
    have = [record.id, *(wants[place].have if len(wants[place].have) > 1 else ())]
    return [Wanted(record.body.log, have[:MAX_HAVE], deep=False), *wants[place + 1 :]]


def _reached(asked: list[_native.Link], response: SyncResponse) -> list[_native.Link]:
    """The logs that an answer got to, of those in a question: where it has no room for more, the last it speaks of."""
    if not response.more or not response.records:
        return asked
    [record] = open_records([response.records[-1].envelope])
    last = None if isinstance(record, Malformed) else record.body.log
    return asked[: asked.index(last) + 1] if last in asked else asked


def _growing(branches: Branches) -> Iterator[tuple[int, int]]:
    """Places behind each tip, `(branch, seq)`, at distances that double, down to the first of each branch."""
    for index in range(len(branches)):
        branch, distance = branches[index], 1
        seq = branch.tip_seq
        yield index, seq
        while seq > branch.begins:
            seq = max(branch.begins, seq - distance)
            distance *= 2
            yield index, seq
