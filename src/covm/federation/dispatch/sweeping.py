"""What time does to the inbox: messages that nobody came to handle are refused, old message ids forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.dispatch import inbox_queries
from covm.federation.dispatch.inbox import NO_HANDLER
from covm.federation.dispatch.inbox_journal import InboxJournal
from covm.federation.dispatch.settlement_jobs import End
from covm.federation.dispatch.shelf import Shelf
from covm.federation.errors import StoreError
from covm.federation.wire.frames import OutcomeState

logger = logging.getLogger("covm.federation.dispatch")

SWEEP_PERIOD_S = 60.0
"""How often it is looked at. The first time is a minute after the start, so that programs have subscribed by then."""

AT_ONCE = 1_000
"""Rows of one job: nobody waits long behind it."""


class Sweeper:
    """Runs as long as the node does."""

    def __init__(
        self,
        journal: InboxJournal,
        shelf: Shelf,
        clock: Clock,
        counters: Counters,
        retention_s: float,
        clock_is_doubtful: Callable[[], bool],
        revive: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._shelf = shelf
        self._clock = clock
        self._counters = counters
        self._retention_ms = int(retention_s * 1000)
        self._clock_is_doubtful = clock_is_doubtful
        self._revive = revive
        self._began = (clock.now_ms(), clock.monotonic_s())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_PERIOD_S)
            try:
                await self._mark_parked()
                # A clock that may be wrong ends nothing.
                if not self._clock_is_doubtful():
                    await self._refuse_overdue()
                    await self._forget_seen()
            except StoreError as error:
                logger.warning("old messages stay where they are for now: %s", error)

    def _now_ms(self) -> int:
        """The time by which messages end: a wall clock that is set forward ends nothing before its time."""
        began_ms, began_s = self._began
        return min(self._clock.now_ms(), began_ms + int((self._clock.monotonic_s() - began_s) * 1000))

    async def _mark_parked(self) -> None:
        for lane, shelved in self._shelf.lanes().items():
            if not shelved.is_pending or self._shelf.lanes().get(lane) is not shelved:
                continue
            messages, size_bytes = await self._journal.insist(partial(inbox_queries.shelve_lane, lane=lane))
            messages, size_bytes = messages - shelved.messages, size_bytes - shelved.size_bytes
            self._journal.holdings.remove(lane[0], size_bytes, messages)
            if self._shelf.lanes().get(lane) is shelved:
                self._shelf.marked(lane, messages, size_bytes)
            else:
                # Somebody came to handle the type while they were marked.
                self._shelf.put(lane, shelved.last_id, size_bytes, messages)
                self._revive(lane[1])

    async def _refuse_overdue(self) -> None:
        before_ms = self._now_ms() - self._retention_ms
        for lane, shelved in self._shelf.lanes().items():
            query = partial(inbox_queries.overdue, lane=lane, before_ms=before_ms, limit=AT_ONCE)
            while overdue := await self._journal.store.read(query):
                if self._shelf.lanes().get(lane) is not shelved:
                    break  # somebody handles the type now
                for inbox_id, size_bytes in overdue:
                    self._journal.end_unloaded(inbox_id, End(OutcomeState.REFUSED.value, NO_HANDLER))
                    self._shelf.refused(lane, size_bytes)
                self._counters.handlers["without_handler"] += len(overdue)
                await self._journal.flushed()

    async def _forget_seen(self) -> None:
        job = partial(inbox_queries.forget_seen, now_ms=self._now_ms(), limit=AT_ONCE)
        while await self._journal.store.write(job) >= AT_ONCE:
            pass
