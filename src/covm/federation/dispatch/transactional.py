"""Transactional handlers: run inside the store's transaction, with the settlement of the messages they deal with.

On the way to the store's thread and back go plain values: a job may run more than once, and what it did the times
before was undone.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sqlalchemy.exc import DBAPIError

from covm.federation.dispatch.feed_jobs import is_open
from covm.federation.dispatch.inbox_jobs import rows_by
from covm.federation.dispatch.inbox_journal import FIRST_PAUSE_S, LAST_PAUSE_S
from covm.federation.dispatch.settlement_jobs import Settlements, Told, settle
from covm.federation.dispatch.subscriptions import Subscription
from covm.federation.dispatch.transaction import Composer, Tx
from covm.federation.errors import StoreError
from covm.federation.supervisor import attempt
from covm.federation.wire.received import Message

if TYPE_CHECKING:
    from covm.federation.dispatch.durable import Fed
    from covm.federation.store.interface import Store, Transaction

T = TypeVar("T")


class Work(NamedTuple):
    """One handler and the message that it gets; `inbox_id` of one that is in the inbox."""

    subscription: Subscription
    message: Message[Any]
    inbox_id: int | None = None
    fed: tuple[int, Fed] | None = None
    """Of a record: the feed."""


@dataclass(slots=True)
class Report:
    """What a committed job came to."""

    staged: int = 0
    publications: list[tuple[str, Any]] = field(default_factory=list)
    records: int = 0
    """Publications that are to become records."""
    told: Told = field(default_factory=dict)
    is_repeated: bool = False
    """Whether it was tried before, and may have been committed then: there may be outcomes of which nobody told, and
    messages and records that wait for their turn and are counted nowhere."""


class HandlerRaised(Exception):
    """The work at `index` raised; nothing of the job was kept."""

    def __init__(self, index: int, error: BaseException) -> None:
        super().__init__(index, error)
        self.index = index
        self.error = error


class Transactions:
    """Runs work inside the store's transactions."""

    def __init__(self, store: Store, composer: Composer, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._composer = composer
        self._now_ms = now_ms

    async def handle(self, work: Sequence[Work], settlements: Settlements) -> Report:
        """Runs handlers, and writes what became of their messages, in one transaction.

        Raises `HandlerRaised`. A store that cannot be written is no fault of theirs: it is tried until it can.
        """
        pause_s, is_again, at = FIRST_PAUSE_S, False, 0
        now_ms = self._now_ms()
        published: dict[int, list[tuple[str, Any]]] = {}

        def job(tx: Transaction) -> Report:
            nonlocal at
            report = Report(is_repeated=is_again)
            open_work = _still_open(tx, work) if is_again else None
            for at, each in enumerate(work):
                if open_work is None or at in open_work:
                    before = len(report.publications)
                    self._run(tx, report, at, each, now_ms)
                    published[at] = report.publications[before:]
                else:
                    report.publications += published.get(at, [])  # committed before, and nobody knew
            # Not a handler's any more.
            at = len(work)
            report.told = settle(tx, settlements)
            return report

        while True:
            at = 0
            try:
                return await self._store.write(job)
            except StoreError:
                # It may have been committed all the same.
                is_again = True
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
            except DBAPIError as error:
                if at >= len(work):
                    raise
                # A statement of the handler failed.
                raise HandlerRaised(at, error) from error

    async def run(
        self, work: Callable[[Tx], T], beside: Callable[[Transaction], object] | None = None
    ) -> tuple[T, Report]:
        """Runs a program's own function; whatever it raises comes out, and nothing is kept.

        `beside` is the node's own part, in the same transaction.
        """

        now_ms = self._now_ms()

        def job(tx: Transaction) -> tuple[T, Report]:
            report = Report()
            handed = Tx(tx, self._composer, now_ms)
            try:
                result = work(handed)
            finally:
                handed.end()
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError(_COROUTINE)
            _take_over(handed, report)
            if beside is not None:
                beside(tx)
            return result, report

        return await self._store.write(job)

    def _run(self, tx: Transaction, report: Report, at: int, work: Work, now_ms: int) -> None:
        handed = Tx(tx, self._composer, now_ms)
        try:
            error = attempt(lambda handler: handler(work.message, handed), work.subscription.handler)
        except SystemExit as exits:
            # On the store's thread it would end no process, and its message would end the node at every start.
            error = exits
        finally:
            handed.end()
        # What the store says about a failed statement comes first: a full disk is not the handler's failure.
        if handed.failure is not None:
            raise handed.failure
        if error is not None:
            raise HandlerRaised(at, error) from error
        _take_over(handed, report)


def _still_open(tx: Transaction, work: Sequence[Work]) -> set[int]:
    """Which of the work was not committed yet, as the inbox and the feeds have it."""
    ids = sorted({each.inbox_id for each in work if each.inbox_id is not None})
    rows = rows_by(tx, "SELECT id, done FROM covm_inbox WHERE", "id", ids)
    done = {inbox_id: set(json.loads(through)) for inbox_id, through in rows}
    return {
        at
        for at, (subscription, _, inbox_id, fed) in enumerate(work)
        if (inbox_id is None or (inbox_id in done and subscription.name not in done[inbox_id]))
        and (fed is None or is_open(tx, fed[0], fed[1].publication.position, is_late=fed[1].is_late))
    }


_COROUTINE = "it returned a coroutine, which nothing awaits inside a transaction; define it with `def`"


def _take_over(handed: Tx, report: Report) -> None:
    report.staged += handed.staged
    report.publications += handed.publications
    report.records += handed.records
