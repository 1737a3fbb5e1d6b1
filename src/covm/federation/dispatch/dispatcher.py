"""The message dispatcher: takes accepted messages to this node's handlers.

A message takes the lane of its sender and type. Where every handler returns at once and the lane is empty it is
handled in the batch in which it came; otherwise one task for each lane that has something to do, at most 64 at once.
What handlers raise ends nothing but the handling of that message.

Gossiped messages are in memory alone, bounded, and handled once. Those of the inbox stay on disk until they are dealt
with (`journal`): what finds no room in memory is fetched when its turn comes, and what fails is tried again, holding
its lane, until it is quarantined.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from covm.federation.clock import Clock, Random
from covm.federation.counters import Counters
from covm.federation.dispatch import inbox_queries, tables
from covm.federation.dispatch.durable import Durable
from covm.federation.dispatch.feed import Surroundings as FeedSurroundings
from covm.federation.dispatch.feed import slots
from covm.federation.dispatch.feeds import Feeds
from covm.federation.dispatch.handling import Handling
from covm.federation.dispatch.inbox_desk import InboxDesk
from covm.federation.dispatch.inbox_journal import InboxJournal
from covm.federation.dispatch.lane_runner import LaneRunner, RetryTerms
from covm.federation.dispatch.lanes import Lane
from covm.federation.dispatch.shelf import Shelf
from covm.federation.dispatch.subscriptions import Handler, Subscription, Subscriptions
from covm.federation.dispatch.sweeping import Sweeper
from covm.federation.dispatch.transaction import Composer, Tx
from covm.federation.dispatch.transactional import Report, Transactions
from covm.federation.dispatch.watch import HandlerWatch
from covm.federation.errors import NotStarted, StoreError
from covm.federation.events import EventHub
from covm.federation.ports import Arrival, Publications, Publisher
from covm.federation.store.interface import Store, Transaction
from covm.federation.supervisor import Supervisor
from covm.federation.wire.registry import TypeRegistry

logger = logging.getLogger("covm.federation.dispatch")

T = TypeVar("T")


def nobody(_author: str) -> None:
    """Whose an author is where nobody is a member."""


def _nothing() -> None:
    """Until `meet`, nobody sends."""


def _certain() -> bool:
    return False


class MessageDispatcher:
    """The shell around `Shelf` and `Subscriptions`; its lanes are run by a `LaneRunner`."""

    def __init__(
        self,
        *,
        registry: TypeRegistry,
        store: Store,
        composer: Composer,
        retry: RetryTerms,
        retention_s: float,
        supervisor: Supervisor,
        clock: Clock,
        random: Random,
        counters: Counters,
        hub: EventHub,
        member_of: Callable[[str], str | None] = nobody,
    ) -> None:
        self.subscriptions = Subscriptions()
        self.journal = InboxJournal(store, supervisor)
        self.shelf = Shelf()
        self._registry = registry
        self._transactions = Transactions(store, composer, clock.now_ms)
        self._watch = HandlerWatch(clock, hub)
        self._handling = Handling(
            registry,
            self.subscriptions,
            self._transactions,
            self.journal,
            self._watch,
            clock,
            counters,
            hub,
            member_of,
        )
        self._runner = LaneRunner(
            subscriptions=self.subscriptions,
            handling=self._handling,
            journal=self.journal,
            shelf=self.shelf,
            watch=self._watch,
            retry=retry,
            after_commit=self._after_commit,
            supervisor=supervisor,
            random=random,
            counters=counters,
            hub=hub,
        )
        self.desk = InboxDesk(self.journal, self.resume, clock)
        """What people do with what is stored."""
        self._retention_s = retention_s
        self._supervisor = supervisor
        self._retry = retry
        self._clock = clock
        self._random = random
        self._counters = counters
        self._hub = hub
        self._feeds: Feeds | None = None
        self._publisher: Publisher | None = None
        self._take_staged: Callable[[], None] = _nothing
        self._take_records: Callable[[], None] = _nothing
        self._clock_is_doubtful: Callable[[], bool] = _certain
        self._reviving: dict[str, int] = {}
        self._has_started = False

    # --- its life

    def meet(
        self,
        publisher: Publisher,
        take_staged: Callable[[], None],
        clock_is_doubtful: Callable[[], bool],
        take_records: Callable[[], None] = _nothing,
    ) -> None:
        """Who publishes and sends what transactions leave behind, and who doubts this node's clock."""
        self._take_records = take_records
        self._publisher = publisher
        self._take_staged = take_staged
        self._clock_is_doubtful = clock_is_doubtful

    def feed_from(self, publications: Publications, is_durable: Callable[[str], bool]) -> None:
        """Where the handlers of durable types are given records from. Before `start`."""
        self.journal.publications = publications
        around = FeedSurroundings(
            publications=publications,
            handling=self._handling,
            transactions=self._transactions,
            journal=self.journal,
            watch=self._watch,
            retry=self._retry,
            after_commit=self._after_commit,
            clock=self._clock,
            random=self._random,
            counters=self._counters,
            hub=self._hub,
            slots=slots(),
        )
        self._feeds = Feeds(self.subscriptions, around, is_durable, self._supervisor)

    async def start(self) -> None:
        """Looks what is left from before, and begins to handle it. Raises `StoreError`."""
        waiting = await self.journal.open()
        self._runner.is_running = self._has_started = True
        for lane, state, messages, size_bytes, last_id in waiting:
            if state == tables.UNHANDLED:
                self.shelf.put(lane, last_id, size_bytes, messages)
            elif state == tables.PENDING:
                self.shelf.park(lane, last_id)
        for type_name in {each.lane[1] for each in waiting if self.subscriptions.get(each.lane[1]) is not None}:
            self.revive(type_name)
        if self._feeds is not None:
            await self._feeds.start()
        self._supervisor.keep(self._watch.run, "watch over handlers")
        sweeper = Sweeper(
            self.journal,
            self.shelf,
            self._clock,
            self._counters,
            self._retention_s,
            self._clock_is_doubtful,
            self.revive,
        )
        self._supervisor.keep(sweeper.run, "sweeping of the inbox")

    def stop(self) -> None:
        """No handler is begun any more; what was in a handler's hands counts as tried."""
        self._runner.is_running = False
        if self._feeds is not None:
            self._feeds.stop()

    async def close(self) -> None:
        """Writes what became of the last messages. Every task has ended by now."""
        if self._has_started:
            self._has_started = False
            await self.journal.close()

    # --- who handles what

    def subscribe(self, subscription: Subscription) -> Subscription:
        """Adds a handler; what waited for one of its type is handled, the oldest first."""
        self.subscriptions.add(subscription)
        if self._runner.is_running:
            self.revive(subscription.type)
            if self._feeds is not None:
                self._feeds.look_at(subscription.type)
        return subscription

    def unsubscribe(self, what: Subscription | Handler) -> int:
        """Ends a subscription, or every one of a handler; returns how many ended."""
        ended = self.subscriptions.remove(what)
        if self._feeds is not None:
            self._feeds.handlers_gone()
        return ended

    def durable_types_changed(self) -> None:
        """Other types than before may be durable."""
        if self._feeds is not None:
            self._feeds.look()

    def revive(self, type_name: str) -> None:
        """Takes what lies on the shelf for a type into its lanes."""
        lanes, runner = self.shelf.take(type_name), self._runner
        for lane, shelved in lanes.items():
            runner.backlogs.add(lane, 1, shelved.last_id)
            self.journal.holdings.add(lane[0], shelved.size_bytes, shelved.messages)
        if type_name in self._reviving:
            self._reviving[type_name] += len(lanes)
        elif any(shelved.messages for shelved in lanes.values()):
            self._reviving[type_name] = 0
            runner.hold_back(type_name)
            with contextlib.suppress(NotStarted):
                self._supervisor.launch(self._revive(type_name), f"taking {type_name} from the shelf")
        else:
            for lane in lanes:
                runner.open(lane)

    async def _revive(self, type_name: str) -> None:
        """Until this is through, the type's lanes fetch nothing, so what comes now does not overtake."""
        try:
            while True:
                self._reviving[type_name] = 0
                # What was put on the shelf a moment ago is marked there first.
                await self.journal.flushed()
                await self.journal.insist(partial(inbox_queries.revive_type, type_name=type_name))
                if not self._reviving[type_name]:
                    break
        finally:
            del self._reviving[type_name]
            self._runner.release(type_name)

    # --- what comes

    def deliver(self, arrivals: Sequence[Arrival]) -> None:
        """Hands messages to their handlers, in order within each lane. Does not block and raises nothing."""
        routes, runner = self.subscriptions, self._runner
        for arrival in arrivals:
            if not runner.is_running:
                return
            body = arrival.body
            lane = (body.author, body.type)
            route = routes.get(body.type)
            if route is None:
                runner.no_handler(lane, arrival)
            elif route.is_immediate and runner.is_free(lane):
                self._supervisor.guard(partial(runner.handle_now, route), arrival, "handing over a message")
            elif isinstance(arrival, Durable):
                runner.queue(lane, arrival)
            else:
                runner.enqueue(lane, arrival)

    def shelved(self, lane: Lane, inbox_id: int, size_bytes: int) -> None:
        """A message was stored as one that nobody handles."""
        self.shelf.put(lane, inbox_id, size_bytes)
        if self.subscriptions.get(lane[1]) is not None and self._runner.is_running:
            # Somebody came to handle it while it was being written.
            self.revive(lane[1])

    def resume(self, lane: Lane, inbox_id: int) -> None:
        """A message is back at the end of its lane, in the store."""
        if self.subscriptions.get(lane[1]) is None:
            self.shelf.park(lane, inbox_id)
        else:
            self._runner.backlogs.add(lane, inbox_id, inbox_id)
            self._runner.open(lane)

    async def transaction(self, work: Callable[[Tx], T], beside: Callable[[Transaction], object] | None = None) -> T:
        """Runs a function in a write transaction of the store, and in the same `beside`, which is the node's own."""
        try:
            result, report = await self._transactions.run(work, beside)
        except StoreError:
            self._after_commit(Report(is_repeated=True))  # it may have been committed all the same
            raise
        self._after_commit(report)
        return result

    def _after_commit(self, report: Report) -> None:
        """Sends and publishes what a committed transaction left behind."""
        if report.staged or report.is_repeated:
            self._take_staged()
        if report.records or report.is_repeated:
            self._take_records()
        if report.publications:
            with contextlib.suppress(NotStarted):
                self._supervisor.launch(self._publish(report.publications), "publishing what was committed")

    async def _publish(self, publications: Sequence[tuple[str, object]]) -> None:
        if self._publisher is not None:
            for type_name, payload in publications:
                await self._publisher.publish(type_name, payload, self._registry.size_limit(type_name))

    @property
    def running(self) -> int:
        """Lanes that run, of `SLOTS`."""
        return self._runner.lanes.running

    def queued(self) -> dict[str, int]:
        return {
            "messages": self._runner.lanes.queued,
            "gossip_bytes": self._runner.room.size_bytes,
            "lanes_running": self._runner.lanes.running,
            "lanes_behind": len(self._runner.backlogs),
        }

    def inbox(self) -> dict[str, int]:
        """What is stored and not dealt with: counts and bytes."""
        return {
            "pending": self.journal.holdings.messages,
            "pending_bytes": self.journal.holdings.size_bytes,
            "unhandled": self.shelf.messages,
            "unhandled_bytes": self.shelf.size_bytes,
            "quarantined": self.journal.quarantine.messages,
        }
