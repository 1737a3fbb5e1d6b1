"""`Feed`: gives the records of a durable type to one handler, in the order in which they came to count.

    store ──page──> Feed ──> handler ──> position, what was passed over, quarantine: one job of the journal, or the
                                         handler's own transaction

Nothing but a page is in memory. What fails is tried again, and then quarantined, before what comes behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from covm.federation.clock import Clock, Random
from covm.federation.counters import Counters
from covm.federation.dispatch import feed_jobs
from covm.federation.dispatch.durable import Fed, quarantined_body
from covm.federation.dispatch.feed_jobs import Advance, Late, Opened, Quarantined
from covm.federation.dispatch.handling import FAILED, Attempt, Handling
from covm.federation.dispatch.inbox import retry_bound_s, short_reason
from covm.federation.dispatch.inbox_journal import FIRST_PAUSE_S, InboxJournal
from covm.federation.dispatch.lane_runner import INTERRUPTED, RetryTerms
from covm.federation.dispatch.lanes import SLOTS
from covm.federation.dispatch.settlement_jobs import Settlements
from covm.federation.dispatch.subscriptions import Subscription
from covm.federation.dispatch.transactional import HandlerRaised, Report, Transactions, Work
from covm.federation.dispatch.watch import HandlerWatch
from covm.federation.errors import StoreError
from covm.federation.events import EventHub, MessageQuarantined
from covm.federation.ports import HANDLED, PublicationPage, Publications
from covm.federation.supervisor import attempt, attempt_async, is_cancelled
from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD
from covm.federation.wire.message import encode_body
from covm.federation.wire.received import Message

if TYPE_CHECKING:
    from covm.federation.store.interface import Job

logger = logging.getLogger("covm.federation.dispatch")

T = TypeVar("T")

PAGE: Final = 64
"""Records that are handed over before it is on disk that they were: as many may come again after a crash."""

PAGE_BYTES: Final = 512 * 1024
"""Bytes of them, but for a record that is larger by itself."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every feed works with."""

    publications: Publications
    handling: Handling
    transactions: Transactions
    journal: InboxJournal
    watch: HandlerWatch
    retry: RetryTerms
    after_commit: Callable[[Report], None]
    clock: Clock
    random: Random
    counters: Counters
    hub: EventHub
    slots: asyncio.Semaphore
    """How many feeds are at work at once."""


def slots() -> asyncio.Semaphore:
    """As many as there are for lanes."""
    return asyncio.Semaphore(SLOTS)


class _Failing(NamedTuple):
    """How often a record failed in this life of the node."""

    position: int
    failures: int


class Feed:
    """One handler's. `run` it as a task."""

    def __init__(self, subscription: Subscription, around: Surroundings) -> None:
        self.subscription = subscription
        self.is_over = False
        """Nothing more is handed over."""
        self._around = around
        self._opened: Opened | None = None
        self._position = 0
        self._attempts = 0
        self._suspects = 0
        """How many of the records that come next the handler may have been given before the node crashed."""
        self._suspected: set[int] = set()
        """Their positions, at most `PAGE`: also of those that do not count now."""
        self._suspects_late = False
        """Whether it may also have been given what was passed over once, and counts already."""
        self._has_late = False
        self._failing = _Failing(0, 0)
        self._news = asyncio.Event()

    def hear(self, *, may_count_again: bool) -> None:
        """There is more; or what was passed over may count now."""
        self._has_late = self._has_late or may_count_again
        self._news.set()

    def end(self) -> None:
        """The handler's subscription is over; what runs is not interrupted."""
        self.is_over = True
        self._news.set()

    async def run(self) -> None:
        """Until it is over."""
        if self._opened is None:
            await self._open()
        while not self.is_over and not is_cancelled():
            self._news.clear()
            async with self._around.slots:
                is_all = await self._turn()
            if is_all:
                await self._news.wait()

    async def _open(self) -> None:
        journal = self._around.journal
        await journal.flushed()  # what became of what a feed of the same name was given
        job = partial(feed_jobs.open_feed, type_name=self.subscription.type, name=self.subscription.name)
        opened = self._opened = await journal.insist(job)
        self._position, self._attempts, self._has_late = opened.position, opened.attempts, opened.has_passed
        if opened.id in journal.suspects:
            self._suspects, self._suspects_late = PAGE, True

    async def _turn(self) -> bool:
        """Hands over a page; whether there is nothing behind it for now."""
        if self._has_late:
            self._has_late = False
            late = await self._read(self._late_page())
            if late.publications:
                self._has_late = True
                again = int(late.may_come_again)
                await self._give([Fed(each, attempts=again, is_late=True) for each in late.publications[:PAGE]])
                return False
            self._suspects_late = False
        page = await self._read(self._next_page())
        self._suspect(page)
        is_given = await self._give(_with_what_was_passed(page))
        if is_given and page.upto > self._position:
            void = [each for each in page.void if each > self._position]
            self._note(Advance(page.upto, passed=self._passed(void)))
        await self._around.journal.flushed()
        if is_given and (page.is_all or not self._suspects):
            self._suspects = 0
            self._around.journal.suspects.discard(self._id)
        return page.is_all

    def _next_page(self) -> Job[PublicationPage]:
        publications, name, position = self._around.publications, self.subscription.type, self._position
        return lambda tx: publications.behind(tx, name, position, PAGE, PAGE_BYTES)

    def _late_page(self) -> Job[Late]:
        publications, name, feed_id = self._around.publications, self.subscription.type, self._id
        return lambda tx: feed_jobs.late_page(tx, publications, name, feed_id, PAGE_BYTES)

    async def _read(self, job: Job[T]) -> T:
        while True:
            try:
                return await self._around.journal.store.read(job)
            except StoreError:
                await asyncio.sleep(FIRST_PAUSE_S)

    @property
    def _id(self) -> int:
        assert self._opened is not None  # noqa: S101 - `run` opens it first
        return self._opened.id

    # --- a page

    async def _give(self, page: Sequence[Fed]) -> bool:
        """Hands records over; whether all are dealt with."""
        at = 0
        for fed in page:
            self._expect(fed)
        while at < len(page):
            if self.is_over or is_cancelled():
                return False
            count = 0
            if self.subscription.transactional and (count := await self._in_one_transaction(page[at:])):
                pass
            elif await self._one(page[at]):
                count = 1
            else:
                return False
            at += count
        await self._around.journal.flushed()
        return True

    def _suspect(self, page: PublicationPage) -> None:
        positions = sorted([*page.void, *(each.position for each in page.publications)])[: self._suspects]
        self._suspected.update(positions)
        self._suspects -= len(positions)

    def _expect(self, fed: Fed) -> None:
        """How often the handler may have been given a record before."""
        if not fed.is_late:
            fed.attempts, self._attempts = self._attempts, 0
        if fed.is_late:
            fed.attempts = max(fed.attempts, int(self._suspects_late))
        elif fed.publication.position in self._suspected:
            fed.attempts += 1

    def _done_with(self, fed: Fed) -> Advance:
        position = fed.publication.position
        if fed.is_late:
            return Advance(self._position, self._attempts, late=[position])
        return Advance(position, passed=self._passed(fed.passed))

    def _passed(self, positions: Sequence[int]) -> list[int]:
        """As `Advance` has them."""
        return [-each if each in self._suspected else each for each in positions]

    def _note(self, by: Advance) -> None:
        """To be written soon."""
        self._position, self._attempts = by.position, by.attempts
        self._around.journal.advance(self._id, by)

    async def _in_one_transaction(self, page: Sequence[Fed]) -> int:
        """Handles as many records as one transaction can; returns how many. What fails, and does not fit, is not
        among them, nor is what comes behind it: it is for `_one`."""
        batch: list[tuple[Fed, Message[object]]] = []
        for fed in page:
            message = self._around.handling.message(fed, quietly=True)
            if not isinstance(message, Message) or self._failures(fed):
                break
            batch.append((fed, message))
        while batch:
            try:
                report = await self._transact(batch)
            except HandlerRaised as raised:
                batch = batch[: raised.index]
                continue
            self._around.counters.handlers["handled"] += len(batch)
            self._around.after_commit(report)
            return len(batch)
        return 0

    async def _transact(self, batch: Sequence[tuple[Fed, Message[object]]]) -> Report:
        """Runs the handler, and writes that it did, in one transaction. Raises `HandlerRaised`."""
        around, subscription = self._around, self.subscription
        done = self._done_with(batch[0][0])
        for fed, _ in batch[1:]:
            done = done.and_(self._done_with(fed))
        settlements = Settlements(advanced={self._id: done})
        work = [Work(subscription, message, fed=(self._id, fed)) for fed, message in batch]
        self._busy(batch[0][0])
        try:
            report = await around.transactions.handle(work, settlements)
        finally:
            self._idle()
        self._position, self._attempts = done.position, done.attempts
        around.journal.settled(settlements, report.told)
        return report

    # --- one record

    async def _one(self, fed: Fed) -> bool:
        """Hands a record over until it is dealt with; whether it is."""
        around = self._around
        while not self.is_over and not is_cancelled():
            if failures := self._failures(fed):
                await asyncio.sleep(around.random.uniform(0, self._pause_s(failures)))
            tried: Attempt | None = None
            try:
                tried = await self._attempt(fed)
            finally:
                if tried is None:
                    around.counters.handlers["interrupted"] += 1
                    self._failed(fed, INTERRUPTED)
            if tried.state == FAILED:
                if self._failed(fed, tried.reason):
                    await around.journal.flushed()
                    return True
                continue
            if tried.report is not None:
                around.after_commit(tried.report)
            else:
                self._note(self._done_with(fed))
                if self.subscription.transactional:
                    # The next one is written by itself, and must not be there before.
                    await around.journal.flushed()
            if tried.state == HANDLED:
                around.counters.handlers["handled"] += 1
            return True
        return False

    def _failures(self, fed: Fed) -> int:
        return self._failing.failures if self._failing.position == fed.publication.position else 0

    def _pause_s(self, failures: int) -> float:
        return retry_bound_s(failures, self._around.retry.base_s, self._around.retry.most_s)

    async def _attempt(self, fed: Fed) -> Attempt:
        around, subscription = self._around, self.subscription
        message = around.handling.message(fed)
        if isinstance(message, Attempt):
            return message
        if subscription.transactional:
            try:
                return Attempt(HANDLED, report=await self._transact([(fed, message)]))
            except HandlerRaised as raised:
                error: BaseException | None = raised.error
        elif subscription.is_async:
            self._busy(fed)
            try:
                error = await attempt_async(subscription.handler, message)
            finally:
                self._idle()
        else:
            error = attempt(subscription.handler, message)
        if error is None:
            return Attempt(HANDLED)
        return around.handling.worse(Attempt(HANDLED), subscription, fed, error)

    def _failed(self, fed: Fed, reason: str) -> bool:
        """The handler failed on a record; whether it is dealt with thereby."""
        fed.attempts += 1
        if not self.is_over:
            self._failing = _Failing(fed.publication.position, self._failures(fed) + 1)
            if self._failing.failures >= self._around.retry.attempts:
                self._quarantine(fed, reason)
                return True
            self._around.counters.handlers["retried"] += 1
        if fed.is_late:
            self._note(Advance(self._position, self._attempts, failed=[fed.publication.position]))
        else:
            self._note(Advance(self._position, fed.attempts))
        return False

    def _quarantine(self, fed: Fed, reason: str) -> None:
        around, publication = self._around, fed.publication
        done = self._done_with(fed)
        body = quarantined_body(publication, self.subscription.name)
        data = encode_body(body, MAX_DIRECT_PAYLOAD)
        around.counters.handlers["failed"] += 1
        size_bytes = publication.size_bytes + len(data)
        if around.journal.quarantine.takes(body.author, 1, size_bytes):
            around.journal.quarantine.add(body.author, size_bytes)
            now_ms, inbox_id = around.clock.now_ms(), around.journal.next_id()
            why = short_reason(reason)
            done.quarantined.append(
                Quarantined(inbox_id, publication.position, body, data, size_bytes, fed.attempts, why, now_ms)
            )
            event = MessageQuarantined(
                self.subscription.name, body.type, body.mid.hex(), body.author, reason, fed.attempts
            )
            around.hub.emit(event)
        else:
            around.counters.drop("quarantine_full")
            logger.error(
                "handler %s failed on record %s, and is not given it again: too much of its author lies in quarantine",
                self.subscription.name,
                publication.record,
            )
        self._note(done)

    def _busy(self, fed: Fed) -> None:
        self._around.watch.begin(self._lane, fed, self.subscription)

    def _idle(self) -> None:
        self._around.watch.end(self._lane)

    @property
    def _lane(self) -> tuple[str, str]:
        """What the watch knows it by: no sender is called like this."""
        return f"handler {self.subscription.name}", self.subscription.type


def _with_what_was_passed(page: PublicationPage) -> list[Fed]:
    """The publications of a page, each with the positions before it that are passed over."""
    feds: list[Fed] = []
    void = iter(page.void)
    following = next(void, None)
    for publication in page.publications:
        fed = Fed(publication)
        while following is not None and following < publication.position:
            fed.passed.append(following)
            following = next(void, None)
        feds.append(fed)
    return feds
