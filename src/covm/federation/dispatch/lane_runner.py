"""Runs lanes: each message when those before it are dealt with, at most 64 lanes at once.

What is in memory comes first, then what lies in the store alone. A message of the inbox that fails is tried again,
holding its lane, until it is quarantined; a gossiped one is handled once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeGuard

from covm.federation.clock import Random
from covm.federation.counters import Counters
from covm.federation.dispatch import inbox_queries
from covm.federation.dispatch.durable import Durable
from covm.federation.dispatch.gossip_room import GossipRoom
from covm.federation.dispatch.handling import FAILED, UNHANDLED, Attempt, Handling
from covm.federation.dispatch.inbox import retry_bound_s
from covm.federation.dispatch.inbox_journal import DAMAGED, FIRST_PAUSE_S, InboxJournal
from covm.federation.dispatch.inbox_queries import Damaged
from covm.federation.dispatch.lanes import LANE_BYTES, TURN, Backlogs, Lane, Lanes
from covm.federation.dispatch.settlement_jobs import HANDLED as ENDED_HANDLED
from covm.federation.dispatch.settlement_jobs import End
from covm.federation.dispatch.shelf import Shelf
from covm.federation.dispatch.subscriptions import Route, Subscriptions
from covm.federation.dispatch.transactional import Report
from covm.federation.dispatch.watch import HandlerWatch
from covm.federation.errors import NotStarted, StoreError
from covm.federation.events import EventHub, MessageQuarantined
from covm.federation.ports import HANDLED, REFUSED, Arrival
from covm.federation.supervisor import Supervisor, is_cancelled
from covm.federation.wire.frames import OutcomeState

logger = logging.getLogger("covm.federation.dispatch")

FETCH = 256
"""Stored messages fetched at once: as many as a transaction's fixed cost is spread over elsewhere."""

INTERRUPTED = "its handler was interrupted"


@dataclass(frozen=True, slots=True)
class RetryTerms:
    """How often a failing handler gets a message, and the pauses in between, in seconds."""

    attempts: int
    base_s: float
    most_s: float


class LaneRunner:
    """The shell around `Lanes` and `Backlogs`."""

    def __init__(
        self,
        *,
        subscriptions: Subscriptions,
        handling: Handling,
        journal: InboxJournal,
        shelf: Shelf,
        watch: HandlerWatch,
        retry: RetryTerms,
        after_commit: Callable[[Report], None],
        supervisor: Supervisor,
        random: Random,
        counters: Counters,
        hub: EventHub,
    ) -> None:
        self.lanes: Lanes[Arrival] = Lanes()
        self.backlogs = Backlogs()
        self.room = GossipRoom()
        self.is_running = False
        self._subscriptions = subscriptions
        self._handling = handling
        self._journal = journal
        self._shelf = shelf
        self._watch = watch
        self._retry = retry
        self._after_commit = after_commit
        self._supervisor = supervisor
        self._random = random
        self._counters = counters
        self._hub = hub
        self._held_back: set[str] = set()
        self._releases = 0

    def is_free(self, lane: Lane) -> bool:
        """Whether nothing of the lane waits or is under way."""
        return lane not in self.lanes and lane not in self.backlogs

    def hold_back(self, type_name: str) -> None:
        """The type's lanes fetch nothing until `release`: what is there is not yet all that is to be handled."""
        self._held_back.add(type_name)

    def release(self, type_name: str) -> None:
        """The type's lanes fetch again."""
        self._held_back.discard(type_name)
        self._releases += 1
        for lane in self.backlogs.of_type(type_name):
            self.open(lane)

    def queue(self, lane: Lane, arrival: Durable) -> None:
        """Puts a stored message at the end of its lane."""
        if self.backlogs.takes(lane, arrival.size_bytes):
            if self.lanes.push(lane, arrival):
                self._run_lane(lane)
            return
        self._journal.let_go(arrival.inbox_id)
        self.backlogs.add(lane, arrival.inbox_id, arrival.inbox_id)
        self.open(lane)

    def open(self, lane: Lane) -> None:
        """The lane has something to fetch."""
        if lane[1] not in self._held_back and self.lanes.open(lane):
            self._run_lane(lane)

    def enqueue(self, lane: Lane, arrival: Arrival) -> None:
        """Puts a gossiped message at the end of its lane, or drops it and says so."""
        if not self.room.takes(lane[0], self.lanes.depth(lane), arrival.size_bytes):
            self._counters.drop("handlers_too_slow")
            self._hub.drop(arrival.body.type, arrival.body.author)
        elif self.lanes.push(lane, arrival):
            self._run_lane(lane)

    def _left_lane(self, lane: Lane, arrival: Arrival) -> None:
        if isinstance(arrival, Durable):
            self.backlogs.left(lane, arrival.size_bytes)
        else:
            self.room.left(lane[0], arrival.size_bytes)

    def _run_lane(self, lane: Lane) -> None:
        # What waits in the lanes of a node that stops goes with it.
        with contextlib.suppress(NotStarted):
            self._supervisor.launch(self._lane(lane), f"lane of {lane[1]} from {lane[0]}")

    async def _lane(self, lane: Lane) -> None:
        """Handles one turn of a lane's messages and passes the slot on."""
        lanes, handled = self.lanes, 0
        try:
            while self.is_running and not (handled >= TURN and lanes.is_full):
                if lanes.peek(lane) is None and not await self._fetch(lane):
                    break
                handled += await self._step(lane)
                if is_cancelled():
                    # The handler caught that; nothing is handled any more all the same.
                    break
                if handled % TURN < 1:
                    await asyncio.sleep(0)
        finally:
            self._watch.end(lane)
            following = lanes.finish(lane, more=self._is_behind(lane))
            if following is not None:
                self._run_lane(following)

    def _is_behind(self, lane: Lane) -> bool:
        return lane in self.backlogs and lane[1] not in self._held_back and self.is_running

    async def _fetch(self, lane: Lane) -> bool:
        """Takes more of a lane that is behind into memory; False when there is nothing to take now."""
        while self._is_behind(lane):
            if self._subscriptions.get(lane[1]) is None:
                span = self.backlogs.drop(lane)
                if span is not None:
                    self._shelf.park(lane, span[1])
                return False
            span, releases = self.backlogs.span(lane), self._releases
            load = partial(
                inbox_queries.load_lane,
                publications=self._journal.publications,
                lane=lane,
                after=span[0],
                limit=FETCH,
                limit_bytes=LANE_BYTES,
            )
            try:
                loaded = await self._journal.store.read(load)
            except StoreError:
                await asyncio.sleep(FIRST_PAUSE_S)
                continue
            if lane[1] in self._held_back or self._releases != releases:
                continue  # what was read is not all that is to be handled
            self.backlogs.fetched(lane, span, loaded.last_id, is_all=loaded.is_all)
            for damaged in loaded.damaged:
                self._found_damaged(lane, damaged)
            for arrival, why in loaded.gone:
                self._found_gone(arrival, why)
            fresh = self._journal.hold(loaded.arrivals)
            for arrival in fresh:
                self.backlogs.count(lane, arrival.size_bytes)
            self.lanes.extend(lane, fresh)
            if fresh:
                return True
        return self.lanes.peek(lane) is not None

    def _found_damaged(self, lane: Lane, found: Damaged) -> None:
        logger.error("message %s from %s, of type %s: %s", found.mid.hex(), *lane, DAMAGED)
        self._journal.damaged(lane[0], found)
        self._counters.handlers["failed"] += 1
        self._hub.emit(MessageQuarantined("", lane[1], found.mid.hex(), lane[0], DAMAGED, found.attempts))

    def _found_gone(self, arrival: Durable, why: str) -> None:
        """What a record said was erased while it waited for its handler: nothing is left to be handed over."""
        if self._journal.hold([arrival]):
            self._counters.handlers["failed"] += 1
            self._quarantine(arrival, why, arrival.only)

    async def _step(self, lane: Lane) -> int:
        """Handles the next message of a lane, or several in one transaction; returns how many it was."""
        first = self.lanes.peek(lane)
        route = self._subscriptions.get(lane[1])
        if first is not None and _is_untried(first) and route is not None and route.is_transactional:
            batch = self.lanes.ahead(lane, TURN, _is_untried)
            count, report = await self._handling.in_one_transaction(lane, batch)
            for handled in batch[:count]:
                self.lanes.pop(lane)
                self._left_lane(lane, handled)
                self._counters.handlers["handled"] += 1
            self._after_commit(report)
            if count:
                return count
        arrival = self.lanes.pop(lane)
        if arrival is not None:
            self._left_lane(lane, arrival)
            if route is not None and route.hands_over:
                self._supervisor.launch(self._handle(lane, arrival), f"{lane[1]} from {lane[0]}")
            else:
                await self._handle(lane, arrival)
        return 1

    # --- one message

    def handle_now(self, route: Route, arrival: Arrival) -> None:
        """Handles a message of a free lane whose handlers all return at once."""
        lane = (arrival.body.author, arrival.body.type)
        tried: Attempt | None = None
        try:
            tried = self._handling.now(arrival, route)
        finally:
            if tried is None:
                self._interrupted(lane, arrival)
        if not self._conclude(lane, arrival, tried) and isinstance(arrival, Durable):
            # The lane is empty, so it is the first in it.
            self.backlogs.count(lane, arrival.size_bytes)
            if self.lanes.put_back(lane, arrival):
                self._run_lane(lane)

    async def _handle(self, lane: Lane, arrival: Arrival) -> None:
        """Handles a message until it is dealt with; the lane waits."""
        tried: Attempt | None = None
        try:
            while True:
                if isinstance(arrival, Durable) and arrival.failures:
                    bound_s = retry_bound_s(arrival.failures, self._retry.base_s, self._retry.most_s)
                    await asyncio.sleep(self._random.uniform(0, bound_s))
                tried = None
                tried = await self._handling.in_lane(lane, arrival)
                self._watch.end(lane)
                if self._conclude(lane, arrival, tried):
                    if isinstance(arrival, Durable):
                        await self._journal.written(arrival)
                    return
        finally:
            if tried is None:
                self._interrupted(lane, arrival)

    def _conclude(self, lane: Lane, arrival: Arrival, tried: Attempt) -> bool:
        """Says what came of an attempt; False when there is to be another."""
        if tried.report is not None:
            self._after_commit(tried.report)
        if tried.state == UNHANDLED:
            self.no_handler(lane, arrival)
        elif tried.state == HANDLED:
            self._counters.handlers["handled"] += 1
            if isinstance(arrival, Durable):
                self._journal.end(arrival, ENDED_HANDLED)
        elif tried.state == REFUSED:
            if isinstance(arrival, Durable):
                self._journal.tried(arrival)
                self._journal.end(arrival, End(OutcomeState.REFUSED.value, tried.reason, tried.rule))
        elif tried.state == FAILED:
            return self._failed(arrival, tried)
        return True

    def _failed(self, arrival: Arrival, tried: Attempt) -> bool:
        if isinstance(arrival, Durable):
            arrival.failures += 1
            arrival.attempts += 1
            if arrival.failures < self._retry.attempts:
                self._counters.handlers["retried"] += 1
                self._journal.tried(arrival)
                return False
            self._quarantine(arrival, tried.reason, tried.handler)
        self._counters.handlers["failed"] += 1
        return True

    def _quarantine(self, arrival: Durable, reason: str, handler: str) -> None:
        if self._journal.fail(arrival, reason):
            body = arrival.body
            self._hub.emit(
                MessageQuarantined(handler, body.type, body.mid.hex(), body.author, reason, arrival.attempts)
            )

    def _interrupted(self, lane: Lane, arrival: Arrival) -> None:
        """A handler's task was ended: by the node that stops, which leaves the message, or by the handler itself."""
        self._counters.handlers["interrupted"] += 1
        if not isinstance(arrival, Durable) or arrival.is_ended:
            return
        if not self.is_running:
            arrival.attempts += 1
            self._journal.tried(arrival)
        elif not self._failed(arrival, Attempt(FAILED, INTERRUPTED)):
            self.backlogs.count(lane, arrival.size_bytes)
            if self.lanes.put_back(lane, arrival):
                self._run_lane(lane)

    def no_handler(self, lane: Lane, arrival: Arrival) -> None:
        """Nobody handles a message's type: a stored one waits for somebody who does."""
        if isinstance(arrival, Durable):
            self._shelf.put(lane, arrival.inbox_id, arrival.size_bytes)
            self._journal.shelve(arrival)
        else:
            self._counters.handlers["without_handler"] += 1


def _is_untried(arrival: Arrival) -> TypeGuard[Durable]:
    return isinstance(arrival, Durable) and arrival.failures == 0 and not arrival.only
