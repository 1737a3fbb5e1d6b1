"""The inbox on disk, from this side of the store: what waits, and the one loop that writes what became of it.

    incoming ──hold──> held, holdings ──> dispatcher ──end, fail, tried, shelve──> one job a turn ──> outcomes to tell

Everything that a turn of the loop settles is one job; while it is under way, the next gathers. A job that fails is
kept and written again until it holds: nothing is told to a sender before that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from covm.federation.dispatch import inbox_queries, tables
from covm.federation.dispatch.durable import Durable
from covm.federation.dispatch.inbox import QUARANTINE_MAX_BYTES, QUARANTINE_MAX_MESSAGES, Holdings, short_reason
from covm.federation.dispatch.settlement_jobs import HANDLED, End, Failed, Settlements, Told, Tried, settle
from covm.federation.errors import NotStarted, StoreError
from covm.federation.supervisor import Supervisor
from covm.federation.wire.frames import Outcome, OutcomeState

if TYPE_CHECKING:
    from covm.federation.dispatch.feed_jobs import Advance
    from covm.federation.dispatch.inbox_queries import Damaged, Waiting
    from covm.federation.ports import Publications
    from covm.federation.store.interface import Job, Store

logger = logging.getLogger("covm.federation.dispatch")

T = TypeVar("T")

FIRST_PAUSE_S = 0.2
"""Before something that the store did not take is tried again; doubled each time, to `LAST_PAUSE_S`."""

LAST_PAUSE_S = 5.0

CONFIRM_DELAY_S = 0.05
"""What senders confirm goes to disk with what is settled next, or by itself after this: nobody waits for it, and
commits of its own were a quarter of all when messages were handled as they came (measured)."""


DAMAGED: Final = "its disk damaged the message after it was stored"
"""As the sender reads it."""


class Teller(Protocol):
    """Who says a line's outcomes to its sender. (Incoming)"""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """These were committed."""

    def look(self) -> None:
        """There may be some in the store of which nobody told."""


class InboxJournal:
    """Owns the numbers of inbox rows, what is held in memory of them, and the writing of what became of them."""

    def __init__(self, store: Store, supervisor: Supervisor) -> None:
        self.store = store
        self.suspects: set[int] = set()
        """Feeds whose handlers may have been given, before a crash, what comes next; each takes itself out."""
        self.holdings = Holdings()
        """What waits for handlers: while it is full, nothing more is read."""
        self.quarantine = Holdings(QUARANTINE_MAX_MESSAGES, QUARANTINE_MAX_BYTES)
        self.publications: Publications | None = None
        """Where what is quarantined of records is read; None without durable types."""
        self._supervisor = supervisor
        self._last_id = 0
        self._held: dict[int, Durable] = {}
        self._tellers: dict[int, Teller] = {}
        self._next = Settlements()
        self._taken = Settlements()
        self._has_failed = False
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._flushing: list[asyncio.Future[None]] = []

    async def open(self) -> list[Waiting]:
        """Looks what is there, and begins to write. Raises `StoreError`."""
        found = await self.store.write(inbox_queries.open_inbox)
        self._last_id = max(self._last_id, found.last_id)
        self.suspects = found.suspects
        for waiting in found.waiting:
            if waiting.state == tables.PENDING:
                self.holdings.add(waiting.lane[0], waiting.size_bytes, waiting.messages)
            elif waiting.state == tables.QUARANTINE:
                self.quarantine.add(waiting.lane[0], waiting.size_bytes, waiting.messages)
        self._supervisor.keep(self._write, "inbox journal")
        return found.waiting

    async def close(self) -> None:
        """Writes what is left; a node that was stopped in order says so. What the store does not take is tried anew."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            for settlements in (self._taken, self._next):
                if settlements:
                    await self.store.write(partial(settle, settlements=settlements))
            await self.store.write(partial(inbox_queries.mark_clean, suspects=self.suspects))
        except (StoreError, NotStarted) as error:
            logger.warning("what became of the last messages could not be written: %s", error)

    # --- what is held

    def next_id(self) -> int:
        """The number of the next message that arrives."""
        self._last_id += 1
        return self._last_id

    def hold(self, arrivals: Iterable[Durable]) -> list[Durable]:
        """Takes messages into memory; returns those that were not there yet. They were counted when they came."""
        fresh = [arrival for arrival in arrivals if arrival.inbox_id not in self._held]
        for arrival in fresh:
            self._held[arrival.inbox_id] = arrival
        return fresh

    def let_go(self, inbox_id: int) -> None:
        """Forgets a message in memory that stays on disk."""
        self._held.pop(inbox_id, None)

    async def room_for(self, is_full: Callable[[], bool]) -> None:
        """Returns once it is not full any more; looks again when something left, was confirmed, or a stream ended."""
        while is_full():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def wake_waiters(self) -> None:
        """Whoever waits for room looks again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def hear(self, line_id: int, teller: Teller) -> None:
        """Who tells the outcomes of a line from now on."""
        self._tellers[line_id] = teller

    def leave(self, line_id: int, teller: Teller) -> None:
        """Nobody tells them any more."""
        if self._tellers.get(line_id) is teller:
            del self._tellers[line_id]

    # --- what became of messages

    def end(self, arrival: Durable, end: End = HANDLED) -> None:
        """A message was handled or refused."""
        if not arrival.is_ended:
            arrival.is_ended = True
            self._plan().ended[arrival.inbox_id] = end._replace(reason=short_reason(end.reason)) if end.reason else end

    def end_unloaded(self, inbox_id: int, end: End) -> None:
        """As `end`, for a message that is on disk alone."""
        if inbox_id not in self._held:
            self._plan().ended[inbox_id] = end

    def fail(self, arrival: Durable, reason: str) -> bool:
        """A message goes into quarantine; refused instead, and False, when its sender's share of that is full."""
        sender, size_bytes = arrival.body.author, arrival.size_bytes
        if not self.quarantine.takes(sender, 1, size_bytes):
            self.tried(arrival)
            self.end(arrival, End(OutcomeState.REFUSED.value, f"{reason}, and the quarantine there is full"))
            return False
        if not arrival.is_ended:
            arrival.is_ended = True
            self.quarantine.add(sender, size_bytes)
            self._plan().failed[arrival.inbox_id] = Failed(arrival.attempts, arrival.done, short_reason(reason))
        return True

    def damaged(self, sender: str, found: Damaged) -> None:
        """A message on disk is not any more what was stored: into quarantine, where its place and its id are kept."""
        self.holdings.remove(sender, found.size_bytes)
        self.quarantine.add(sender, found.size_bytes)
        self._plan().failed[found.inbox_id] = Failed(found.attempts, found.done, DAMAGED)

    def advance(self, feed_id: int, by: Advance) -> None:
        """What a feed was given is dealt with."""
        before = self._plan().advanced.get(feed_id)
        self._next.advanced[feed_id] = by if before is None else before.and_(by)

    def tried(self, arrival: Durable) -> None:
        """A message was tried and stays."""
        self._plan().tried[arrival.inbox_id] = Tried(arrival.attempts, arrival.done)

    def shelve(self, arrival: Durable) -> None:
        """Nobody handles a message's type any more: it stays on disk alone."""
        if not arrival.is_ended:
            arrival.is_ended = True
            self._plan().shelved.append(arrival.inbox_id)

    def confirm(self, line_id: int, upto: int) -> None:
        """A sender has a line's outcomes up to a number on its disk."""
        confirmed = self._next.confirmed
        confirmed[line_id] = max(upto, confirmed.get(line_id, 0))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CONFIRM_DELAY_S, self._write_confirmed)

    def settled(self, settlements: Settlements, told: Told) -> None:
        """Settlements are on disk: what they named leaves memory, and the outcomes are told."""
        for ids in (settlements.ended, settlements.failed, settlements.shelved):
            for inbox_id in ids:
                if (arrival := self._held.pop(inbox_id, None)) is not None:
                    self.holdings.remove(arrival.body.author, arrival.size_bytes)
        for line_id, outcomes in told.items():
            if (teller := self._tellers.get(line_id)) is not None:
                teller.tell(outcomes)
        if self._waiters:
            self.wake_waiters()

    def look_again(self) -> None:
        """A write that failed may have been committed all the same, and outcomes with it."""
        for teller in list(self._tellers.values()):
            teller.look()

    async def insist(self, job: Job[T]) -> T:
        """Writes a job, again and again until the store takes it."""
        pause_s, has_failed = FIRST_PAUSE_S, False
        while True:
            try:
                result = await self.store.write(job)
            except StoreError:
                has_failed = True
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
            else:
                if has_failed:
                    self.look_again()
                return result

    async def flushed(self) -> None:
        """Returns once everything that was settled before is on disk."""
        before = (self._taken, self._next)
        while any(each and (each is self._taken or each is self._next) for each in before):
            self._wake.set()
            waiter = asyncio.get_running_loop().create_future()
            self._flushing.append(waiter)
            await waiter

    async def written(self, arrival: Durable) -> None:
        """Returns once it is on disk that a message failed: what is behind it in its lane must not be there before."""
        while arrival.inbox_id in self._taken.failed or arrival.inbox_id in self._next.failed:
            waiter = asyncio.get_running_loop().create_future()
            self._flushing.append(waiter)
            await waiter

    def _write_confirmed(self) -> None:
        self._timer = None
        self._wake.set()

    def _plan(self) -> Settlements:
        self._wake.set()
        return self._next

    async def _write(self) -> None:
        """What was taken and not written, because this loop was ended, comes first."""
        while True:
            if not self._taken:
                await self._wake.wait()
                self._wake.clear()
                self._taken, self._next = self._next, Settlements()
            if self._taken:
                told = await self.insist(partial(settle, settlements=self._taken))
                settlements, self._taken = self._taken, Settlements()
                self.settled(settlements, told)
            flushing, self._flushing = self._flushing, []
            for waiter in flushing:
                if not waiter.done():
                    waiter.set_result(None)
