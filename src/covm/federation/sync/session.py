"""One type, from one peer: finds the logs of which it has more, and fetches that, batch by batch.

    descent     where do our frontiers differ?          (questions below digests that differ)
    lacking     which of its tips are not here?         what we have and it lacks, it fetches itself
    wants       what follows these records of the log?  asked again and again until nothing is lacking

Each batch is on disk before the next is asked for, so whatever interrupts it loses a batch at most. It works on the
frontier as it was at its beginning; what comes meanwhile is for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from covm import _native
from covm.federation.clock import Clock
from covm.federation.errors import SyncInterrupted
from covm.federation.identity.branches import Branches
from covm.federation.sync import rows
from covm.federation.sync.asking import Asker
from covm.federation.sync.descent import Descent
from covm.federation.sync.frontier import Tips
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.leases import Leases
from covm.federation.sync.logs import Log
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

MAX_DECLINED: Final = 4096
"""Logs of one peer that are remembered as not to be had from it."""

MAX_MET: Final = 32
"""Records of one log that were sent to us in vain, and are named the next time."""

MAX_IN_VAIN: Final = 256
"""Answers of one session in which nothing was new: a log that was forked far back begins with those."""

POLL_S: Final = 1.0
"""Before logs that another session fetches are looked at again."""


class Session:
    """One run. `declined` outlives it: logs, by what the peer had of them, that came to nothing here."""

    def __init__(
        self,
        type_name: str,
        asker: Asker,
        keeper: Keeper,
        leases: Leases,
        declined: dict[_native.Link, Tips],
        clock: Clock,
        brought: Callable[[str, Iterable[_native.Link]], None] = lambda _peer, _logs: None,
    ) -> None:
        """`brought` hears from whom records of which logs came."""
        self.type = type_name
        self.records = 0
        """Records that were new here."""
        self.size_bytes = 0
        """Bytes of all that came."""
        self._told: dict[_native.Link, int] = {}
        """Of logs that differ: how many records the peer has more, as their numbers tell."""
        self._asker = asker
        self._keeper = keeper
        self._leases = leases
        self._declined = declined
        self._clock = clock
        self._brought = brought
        self._deep: set[_native.Link] = set()
        self._met: dict[_native.Link, list[tuple[int, _native.Link]]] = {}
        """Of logs that are asked for deeply, where answers ended that brought nothing new; the last first."""
        self._in_vain = 0
        self._postponed: set[_native.Link] = set()
        """Logs of which records have no room here: not to be had now, and not declined."""

    async def run(self) -> None:
        """Fetches what there is. Raises `SyncInterrupted` and `StoreError`; what had come by then is kept."""
        descent, differs = Descent(self._keeper.logs.frontier(self.type)), set[_native.Link]()
        while (probes := descent.question()) is not None:
            response = await self._asker.ask(SyncRequest(number=0, type=self.type, probes=probes))
            try:
                told = descent.on_answer(response.found)
            except ValueError as error:
                raise self._breach("sync_contradicted", str(error)) from None
            differs.update(each.log for each in told)
            differing = {each.log: each.tips for each in told if self._declined.get(each.log) != each.tips}
            self._told.update((log, self._more(log, tips)) for log, tips in differing.items())
            logs = list(differing)
            for start in range(0, len(logs), MAX_WANTS):
                await self._fetch({log: differing[log] for log in logs[start : start + MAX_WANTS]})
        for log in self._declined.keys() - differs:
            del self._declined[log]  # it has come from somebody else since
        if self._postponed:
            raise SyncInterrupted(self.type, self._asker.peer, "too many records wait to be judged here")

    @property
    def lacking(self) -> int:
        """About how many records are lacking, as far as it is known: not every log is from the beginning."""
        return max(0, sum(self._told.values()) - self.records)

    def _more(self, log: _native.Link, theirs: Tips) -> int:
        here = self._keeper.logs.get(log)
        last = here.last() if here is not None else None
        return max(0, max((tip.seq for tip in theirs), default=0) - (last[0].seq if last is not None else 0))

    async def _fetch(self, theirs: dict[_native.Link, Tips]) -> None:
        try:
            while theirs := await self._lacking(theirs):
                mine = self._leases.take(theirs, self, self._clock.monotonic_s())
                if not mine:
                    await asyncio.sleep(POLL_S)
                    continue
                for log in await self._fetch_some(mine):
                    self._decline(log, theirs[log])
                    del theirs[log]
                    self._leases.give_back([log], self)
                for log in self._postponed & theirs.keys():
                    del theirs[log]
                    self._leases.give_back([log], self)
        finally:
            self._leases.give_back(theirs, self)

    async def _fetch_some(self, logs: Sequence[_native.Link]) -> list[_native.Link]:
        """Asks once for what follows in these logs, or in the first of them; those that nothing came of."""
        wants = await self._wants(logs)
        asked = [each.log for each in wants]
        before = self._keeper.logs.frontier(self.type)
        response = await self._asker.ask(SyncRequest(number=0, type=self.type, wants=wants))
        strange = (set(response.strange) & set(asked)) - self._deep
        self._deep |= strange
        if await self._take(response, set(asked)) or strange:
            return []
        # Another session may have brought meanwhile what was asked for.
        now = self._keeper.logs.frontier(self.type)
        return asked if all(now.get(log) == before.get(log) for log in asked) else []

    async def _take(self, response: SyncResponse, logs: set[_native.Link]) -> bool:
        if not response.records:
            return False
        taken = await self._keeper.take(
            [each.envelope for each in response.records],
            [each.body for each in response.records],
            lambda header: header.type == self.type and header.log in logs,
            self._asker.peer,
        )
        if taken.placed:
            self._brought(self._asker.peer, logs)
        self.records += taken.placed
        self.size_bytes += sum(len(each.envelope) + len(each.body or b"") for each in response.records)
        if taken.malformed:
            raise self._breach("sync_garbage", "it sent what is no record, or was not asked for")
        self._postponed |= taken.postponed
        return taken.placed > 0 or bool(taken.postponed) or await self._meets(response.records[-1])

    async def _meets(self, last: Carried) -> bool:
        """Whether an answer that brought nothing new brings this further: the next begins where it ended."""
        [record] = open_records([last.envelope])
        self._in_vain += 1
        if isinstance(record, Malformed) or record.body.log not in self._deep or self._in_vain > MAX_IN_VAIN:
            return False
        met = self._met.setdefault(record.body.log, [])
        place = (record.body.seq, record.id)
        lacking = await self._keeper.store.read(lambda tx: rows.lacking(tx, [record.id]))
        if lacking or place in met:
            return False
        met.insert(0, place)
        del met[MAX_MET:]
        return True

    async def _lacking(self, theirs: dict[_native.Link, Tips]) -> dict[_native.Link, Tips]:
        ids = [tip.id for tips in theirs.values() for tip in tips]
        lacking = await self._keeper.store.read(lambda tx: rows.lacking(tx, ids))
        left = {log: tips for log, tips in theirs.items() if any(tip.id in lacking for tip in tips)}
        self._leases.give_back(theirs.keys() - left.keys(), self)
        return left

    async def _wants(self, logs: Iterable[_native.Link]) -> list[Wanted]:
        wants: list[Wanted] = []
        left = MAX_HAVES
        for link in logs:
            log = self._keeper.logs.get(link)
            tips = [] if log is None else [(tip.seq, tip.id) for tip in log.tips()]
            is_deep = link in self._deep and log is not None
            have = await self._far_back(log) if is_deep and log is not None else tips
            if wants and len(have) > left:
                break
            left -= len(have)
            wants.append(Wanted(link, have, deep=is_deep))
        return wants

    async def _far_back(self, log: Log) -> list[tuple[int, _native.Link]]:
        """Records behind the tips, so that the peer knows one of them."""
        if log.number is None:
            return []
        number, places = log.number, list(_growing(log.branches))
        found = await self._keeper.store.read(lambda tx: rows.ids_at(tx, number, places))
        return [*self._met.get(log.link, ()), *found][:MAX_HAVE]

    def _decline(self, log: _native.Link, tips: Tips) -> None:
        if len(self._declined) >= MAX_DECLINED:
            self._declined.clear()
        self._declined[log] = tips

    def _breach(self, reason: str, why: str) -> SyncInterrupted:
        self._asker.violation(reason)
        return SyncInterrupted(self.type, self._asker.peer, why)


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
