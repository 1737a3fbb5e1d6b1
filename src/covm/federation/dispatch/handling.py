"""One attempt at a message: its handlers, one after the other, and what came of it.

Plain handlers run on the loop; transactional ones after them, inside the store's transaction, together with what is
written of the message. Handlers that are through with it are not called again.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.dispatch.durable import Durable, Fed
from covm.federation.dispatch.inbox_journal import InboxJournal
from covm.federation.dispatch.lanes import Lane
from covm.federation.dispatch.settlement_jobs import HANDLED as ENDED_HANDLED
from covm.federation.dispatch.settlement_jobs import Settlements, Tried
from covm.federation.dispatch.subscriptions import Route, Subscription, Subscriptions
from covm.federation.dispatch.transactional import HandlerRaised, Report, Transactions, Work
from covm.federation.dispatch.watch import HandlerWatch
from covm.federation.errors import InvalidMessage
from covm.federation.events import EventHub, HandlerFailed, PayloadMismatched
from covm.federation.ports import HANDLED, REFUSED, Arrival, Refusal
from covm.federation.supervisor import attempt, attempt_async, described
from covm.federation.wire.display import shown
from covm.federation.wire.received import Message, received
from covm.federation.wire.registry import TypeRegistry

logger = logging.getLogger("covm.federation.dispatch")

FAILED = "failed"
UNHANDLED = "unhandled"

MISMATCH_PERIOD_S = 0.1
"""Payloads that do not fit are told at most ten times a second; all of them are counted."""


class Attempt(NamedTuple):
    """What an attempt came to: `handled`, `refused`, `failed`, or `unhandled` when there is no handler."""

    state: str
    reason: str = ""
    rule: bytes | None = None
    handler: str = ""
    """Who failed."""
    report: Report | None = None
    """What was committed with it; its settlements are written already."""


_HANDLED = Attempt(HANDLED)


class Handling:
    """Calls handlers. It knows no lanes and no order."""

    def __init__(
        self,
        registry: TypeRegistry,
        subscriptions: Subscriptions,
        transactions: Transactions,
        journal: InboxJournal,
        watch: HandlerWatch,
        clock: Clock,
        counters: Counters,
        hub: EventHub,
        member_of: Callable[[str], str | None],
    ) -> None:
        self._member_of = member_of
        self._registry = registry
        self._subscriptions = subscriptions
        self._transactions = transactions
        self._journal = journal
        self._watch = watch
        self._clock = clock
        self._counters = counters
        self._hub = hub
        self._next_mismatch_s = 0.0

    def now(self, arrival: Arrival, route: Route) -> Attempt:
        """Handles a message whose handlers all return at once."""
        message = self.message(arrival)
        if isinstance(message, Attempt):
            return message
        through: list[str] = []
        worst = _HANDLED
        for subscription in _left(route, arrival):
            error = attempt(subscription.handler, message)
            if error is None:
                through.append(subscription.name)
            else:
                worst = self.worse(worst, subscription, arrival, error)
        return _noted(arrival, through, worst)

    async def in_lane(self, lane: Lane, arrival: Arrival) -> Attempt:
        """Handles a message, waiting for what has to be waited for."""
        route = self._subscriptions.get(arrival.body.type)
        if route is None:
            return Attempt(UNHANDLED)
        message = self.message(arrival)
        if isinstance(message, Attempt):
            return message
        through: list[str] = []
        worst = _HANDLED
        left = _left(route, arrival)
        if not left and isinstance(arrival, Durable) and arrival.only:
            return Attempt(FAILED, f"there is no handler named {arrival.only} now")
        for subscription in left:
            if subscription.transactional:
                continue
            if subscription.is_async:
                if not subscription.hands_over:
                    self._watch.begin(lane, arrival, subscription)
                error = await attempt_async(subscription.handler, message)
            else:
                error = attempt(subscription.handler, message)
            if error is None:
                through.append(subscription.name)
            else:
                worst = self.worse(worst, subscription, arrival, error)
        worst = _noted(arrival, through, worst)
        transactional = [each for each in left if each.transactional]
        if not transactional or worst.state == REFUSED:
            return worst
        return await self._transact(lane, arrival, message, transactional, worst)

    async def in_one_transaction(self, lane: Lane, arrivals: Sequence[Durable]) -> tuple[int, Report]:
        """Handles as many of a lane's messages as one transaction can, all handlers being transactional.

        Returns how many are thereby dealt with, and what was committed. What fails is not among them, nor is what
        comes behind it: it is for `in_lane`.
        """
        batch = self._batch(arrivals)
        while batch:
            work = [Work(each, message, arrival.inbox_id) for arrival, message, left in batch for each in left]
            settlements = Settlements(ended={arrival.inbox_id: ENDED_HANDLED for arrival, _, _ in batch})
            if work:
                self._watch.begin(lane, batch[0][0], work[0].subscription)
            try:
                report = await self._transactions.handle(work, settlements)
            except HandlerRaised as raised:
                ends = itertools.accumulate(len(left) for _, _, left in batch)
                batch = batch[: next(index for index, end in enumerate(ends) if raised.index < end)]
                continue
            for arrival, _, _ in batch:
                arrival.is_ended = True
            self._settled(settlements, report)
            return len(batch), report
        return 0, Report()

    def _batch(self, arrivals: Sequence[Durable]) -> list[tuple[Durable, Message[Any], Sequence[Subscription]]]:
        """The first messages of a lane that transactional handlers take, with those that are to get each."""
        batch: list[tuple[Durable, Message[Any], Sequence[Subscription]]] = []
        for arrival in arrivals:
            route = self._subscriptions.get(arrival.body.type)
            if route is None or not route.is_transactional:
                break
            message = self.message(arrival, quietly=True)
            if not isinstance(message, Message):
                break
            batch.append((arrival, message, _left(route, arrival)))
        return batch

    async def _transact(
        self,
        lane: Lane,
        arrival: Arrival,
        message: Message[Any],
        subscriptions: Sequence[Subscription],
        worst: Attempt,
    ) -> Attempt:
        """Each handler in a transaction of its own, so that one that fails undoes nothing of another's."""
        report = Report()
        for at, subscription in enumerate(subscriptions):
            settlements = Settlements()
            is_last = at == len(subscriptions) - 1 and worst.state == HANDLED
            done: tuple[str, ...] = ()
            inbox_id = None
            if isinstance(arrival, Durable):
                inbox_id = arrival.inbox_id
                done = (*arrival.done, subscription.name)
                if is_last:
                    settlements.ended[arrival.inbox_id] = ENDED_HANDLED
                else:
                    settlements.tried[arrival.inbox_id] = Tried(arrival.attempts, done)
            self._watch.begin(lane, arrival, subscription)
            try:
                committed = await self._transactions.handle([Work(subscription, message, inbox_id)], settlements)
            except HandlerRaised as raised:
                worst = self.worse(worst, subscription, arrival, raised.error)
                continue
            report.staged += committed.staged
            report.publications += committed.publications
            report.records += committed.records
            report.is_repeated |= committed.is_repeated
            if isinstance(arrival, Durable):
                arrival.done = done
                if is_last:
                    arrival.is_ended = True
                self._settled(settlements, committed)
        return worst._replace(report=report)

    def _settled(self, settlements: Settlements, report: Report) -> None:
        self._journal.settled(settlements, report.told)
        if report.is_repeated:
            self._journal.look_again()

    def message(self, arrival: Arrival, *, quietly: bool = False) -> Message[Any] | Attempt:
        """The typed message; a refusal, with everybody told, when its payload does not fit the type here."""
        body = arrival.body
        try:
            payload = self._registry.from_payload(body.type, body.payload)
        except InvalidMessage as error:
            if not quietly:
                self._counters.drop("payload_mismatch")
                self._tell_mismatch(arrival, error)
            reason = f"it does not fit {body.type} there: {error.path}: {error.why}"
            return Attempt(REFUSED, reason, self._registry.rule_digest(body.type))
        member, record = self._member_of(body.author), ""
        if isinstance(arrival, Durable):
            attempt, late, record = arrival.attempts + 1, arrival.out_of_order, arrival.record
        elif isinstance(arrival, Fed):
            attempt, late, record = arrival.attempts + 1, arrival.is_late, arrival.publication.record
        else:
            return received(body, payload, arrival.via, member=member)
        return received(body, payload, arrival.via, member=member, attempt=attempt, out_of_order=late, record=record)

    def _tell_mismatch(self, arrival: Arrival, error: InvalidMessage) -> None:
        """Anyone can send what does not fit: the log and the listeners hear of it once in a while."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_mismatch_s:
            return
        self._next_mismatch_s = now_s + MISMATCH_PERIOD_S
        body = arrival.body
        logger.warning("message %s from %s: %s", arrival.message_id, body.author, shown(str(error)))
        self._hub.emit(PayloadMismatched(body.type, arrival.message_id, body.author, error.path, error.why))

    def worse(self, before: Attempt, subscription: Subscription, arrival: Arrival, error: BaseException) -> Attempt:
        """What an attempt has come to, now that a handler raised. A refusal is for good, whatever else failed."""
        if isinstance(error, SystemExit | KeyboardInterrupt) and not subscription.transactional:
            raise error
        if isinstance(error, Refusal):
            return Attempt(REFUSED, str(error) or "its handler refused it", None, subscription.name)
        body = arrival.body
        logger.error(
            "handler %s failed on message %s (%s from %s)",
            subscription.name,
            arrival.message_id,
            body.type,
            body.author,
            exc_info=error,
        )
        self._hub.emit(HandlerFailed(subscription.name, body.type, arrival.message_id, body.author, described(error)))
        if before.state == REFUSED:
            return before
        # The sender learns the kind of failure; the text may hold what is this node's own business.
        return Attempt(FAILED, f"its handler raised {type(error).__name__}", None, subscription.name)


def _left(route: Route, arrival: Arrival) -> Sequence[Subscription]:
    """The handlers that are not through with the message."""
    if not isinstance(arrival, Durable) or not (arrival.done or arrival.only):
        return route.subscriptions
    left = [each for each in route.subscriptions if each.name not in arrival.done]
    return [each for each in left if each.name == arrival.only] if arrival.only else left


def _noted(arrival: Arrival, through: Sequence[str], worst: Attempt) -> Attempt:
    if through and isinstance(arrival, Durable):
        arrival.done = (*arrival.done, *through)
    return worst
