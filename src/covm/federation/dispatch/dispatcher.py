"""The message dispatcher: takes accepted messages to this node's handlers.

A message takes the lane of its sender and type. Where every handler is synchronous and the lane is empty it is
handled at once, in the batch in which it came; otherwise one task for each lane that has something to do, at most 64
at once. What handlers raise ends nothing but the handling of that message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.dispatch.lanes import TURN, Lane, Lanes
from covm.federation.dispatch.subscriptions import Subscription, Subscriptions
from covm.federation.errors import InvalidMessage, NotStarted
from covm.federation.events import EventHub, HandlerFailed, HandlerSlow, PayloadMismatched
from covm.federation.ports import HANDLED, QUARANTINED, REFUSED, Arrival
from covm.federation.supervisor import Supervisor, attempt, attempt_async, described, is_cancelled
from covm.federation.wire.display import shown
from covm.federation.wire.received import Message, received
from covm.federation.wire.registry import TypeRegistry

logger = logging.getLogger("covm.federation.dispatch")

SLOW_HANDLER_S = 30.0
"""A handler that is busy with one message for so long is reported; it may be right, but nobody should wonder."""

WATCH_PERIOD_S = 5.0
"""How often slow handlers are looked for."""

MAX_LANE = 10_000
"""Gossiped messages that wait in one lane: two seconds of an author's allowance. Direct ones are bounded by credit."""

MAX_QUEUED_BYTES = 64 * 1024 * 1024
"""Bytes of gossiped messages that wait in all lanes together."""

AUTHORS_SHARE = 8
"""One author's messages may take this part of `MAX_QUEUED_BYTES`, so that nobody fills the places of the others."""

MISMATCH_PERIOD_S = 0.1
"""Payloads that do not fit are told at most ten times a second; all of them are counted."""

NO_HANDLER = "nobody there handles this type"
INTERRUPTED = "its handler was interrupted"


class _Busy:
    """What a lane's task is at."""

    __slots__ = ("arrival", "since_s", "subscription", "told")

    def __init__(self, arrival: Arrival, subscription: Subscription, since_s: float) -> None:
        self.arrival = arrival
        self.subscription = subscription
        self.since_s = since_s
        self.told = False


class MessageDispatcher:
    """The shell around `Lanes` and `Subscriptions`."""

    def __init__(
        self, registry: TypeRegistry, supervisor: Supervisor, clock: Clock, counters: Counters, hub: EventHub
    ) -> None:
        self.subscriptions = Subscriptions()
        self._registry = registry
        self._supervisor = supervisor
        self._clock = clock
        self._counters = counters
        self._hub = hub
        self._lanes: Lanes[Arrival] = Lanes()
        self._busy: dict[Lane, _Busy] = {}
        self._queued_bytes = 0
        self._queued_bytes_of: Counter[str] = Counter()
        self._next_mismatch_s = 0.0

    def start(self) -> None:
        self._supervisor.keep(self._watch, "watch over handlers")

    @property
    def running(self) -> int:
        """Lanes that run, of `SLOTS`."""
        return self._lanes.running

    def queued(self) -> dict[str, int]:
        return {
            "messages": self._lanes.queued,
            "gossip_bytes": self._queued_bytes,
            "lanes_running": self._lanes.running,
        }

    def deliver(self, arrivals: Sequence[Arrival]) -> None:
        """Hands messages to their handlers, in order within each lane. Does not block and raises nothing."""
        routes, lanes = self.subscriptions, self._lanes
        for arrival in arrivals:
            body = arrival.body
            route = routes.get(body.type)
            if route is None:
                self._no_handler(arrival)
            elif not route.is_async and (body.author, body.type) not in lanes:
                self._supervisor.guard(self._handle_now, arrival, "handing over a message")
            else:
                self._enqueue((body.author, body.type), arrival)

    def _enqueue(self, lane: Lane, arrival: Arrival) -> None:
        if arrival.origin is None:
            if self._is_full(lane, arrival.size_bytes):
                self._counters.drop("handlers_too_slow")
                self._hub.drop(arrival.body.type, arrival.body.author)
                return
            self._queued_bytes += arrival.size_bytes
            self._queued_bytes_of[arrival.body.author] += arrival.size_bytes
        if self._lanes.push(lane, arrival):
            self._run_lane(lane)

    def _is_full(self, lane: Lane, size_bytes: int) -> bool:
        """Whether a gossiped message finds no room: in its lane, in its author's share, or in all."""
        share = self._queued_bytes_of[lane[0]] + size_bytes
        return (
            self._lanes.depth(lane) >= MAX_LANE
            or share > MAX_QUEUED_BYTES // AUTHORS_SHARE
            or self._queued_bytes + size_bytes > MAX_QUEUED_BYTES
        )

    def _left_lane(self, arrival: Arrival) -> None:
        author = arrival.body.author
        self._queued_bytes -= arrival.size_bytes
        self._queued_bytes_of[author] -= arrival.size_bytes
        if not self._queued_bytes_of[author]:
            del self._queued_bytes_of[author]

    def _run_lane(self, lane: Lane) -> None:
        # What waits in the lanes of a node that stops goes with it.
        with contextlib.suppress(NotStarted):
            self._supervisor.launch(self._lane(lane), f"lane of {lane[1]} from {lane[0]}")

    async def _lane(self, lane: Lane) -> None:
        """Handles one turn of a lane's messages and passes the slot on."""
        lanes = self._lanes
        try:
            handled = 0
            while not (handled >= TURN and lanes.is_full) and (arrival := lanes.pop(lane)) is not None:
                handled += 1
                if arrival.origin is None:
                    self._left_lane(arrival)
                await self._handle(lane, arrival)
                if is_cancelled():
                    # The handler caught that; nothing is handled any more all the same.
                    break
                if not handled % TURN:
                    await asyncio.sleep(0)
        finally:
            self._busy.pop(lane, None)
            following = lanes.finish(lane)
            if following is not None:
                self._run_lane(following)

    def _handle_now(self, arrival: Arrival) -> None:
        failure: str | None = INTERRUPTED
        try:
            failure = self._call(arrival)
        finally:
            self._settle(arrival, failure)

    async def _handle(self, lane: Lane, arrival: Arrival) -> None:
        failure: str | None = INTERRUPTED
        try:
            failure = await self._call_async(lane, arrival)
        finally:
            self._settle(arrival, failure)

    def _call(self, arrival: Arrival) -> str | None:
        """Why handling failed; empty when it did not; None when there was none, which has been told."""
        route, message = self._open(arrival)
        if message is None:
            return None
        failure = ""
        for subscription in route:
            error = attempt(subscription.handler, message)
            if error is not None:
                failure = self._failed(subscription, arrival, error)
        return failure

    async def _call_async(self, lane: Lane, arrival: Arrival) -> str | None:
        route, message = self._open(arrival)
        if message is None:
            return None
        failure = ""
        for subscription in route:
            if subscription.is_async:
                self._busy[lane] = _Busy(arrival, subscription, self._clock.monotonic_s())
                error = await attempt_async(subscription.handler, message)
            else:
                error = attempt(subscription.handler, message)
            if error is not None:
                failure = self._failed(subscription, arrival, error)
        return failure

    def _open(self, arrival: Arrival) -> tuple[Sequence[Subscription], Message[Any] | None]:
        route = self.subscriptions.get(arrival.body.type)
        if route is None:
            self._no_handler(arrival)
            return (), None
        return route.subscriptions, self._message(arrival)

    def _message(self, arrival: Arrival) -> Message[Any] | None:
        """The typed message; None, with everybody told, when its payload does not fit the type here."""
        body = arrival.body
        try:
            payload = self._registry.from_payload(body.type, body.payload)
        except InvalidMessage as error:
            self._counters.drop("payload_mismatch")
            self._tell_mismatch(arrival, error)
            if arrival.origin is not None:
                arrival.origin.settled(
                    arrival, REFUSED, f"it does not fit {body.type} there: {error.path}: {error.why}"
                )
            return None
        return received(body, payload, arrival.via)

    def _tell_mismatch(self, arrival: Arrival, error: InvalidMessage) -> None:
        """Anyone can send what does not fit: the log and the listeners hear of it once in a while."""
        now_s = self._clock.monotonic_s()
        if now_s < self._next_mismatch_s:
            return
        self._next_mismatch_s = now_s + MISMATCH_PERIOD_S
        body = arrival.body
        logger.warning("message %s from %s: %s", body.mid.hex(), body.author, shown(str(error)))
        self._hub.emit(PayloadMismatched(body.type, body.mid.hex(), body.author, error.path, error.why))

    def _no_handler(self, arrival: Arrival) -> None:
        self._counters.handlers["without_handler"] += 1
        if arrival.origin is not None:
            arrival.origin.settled(arrival, REFUSED, NO_HANDLER)

    def _settle(self, arrival: Arrival, failure: str | None) -> None:
        if failure is None:
            return
        outcome = "interrupted" if failure is INTERRUPTED else "failed" if failure else "handled"
        self._counters.handlers[outcome] += 1
        if arrival.origin is not None:
            arrival.origin.settled(arrival, QUARANTINED if failure else HANDLED, failure)

    def _failed(self, subscription: Subscription, arrival: Arrival, error: BaseException) -> str:
        body = arrival.body
        logger.error(
            "handler %s failed on message %s (%s from %s)",
            subscription.name,
            body.mid.hex(),
            body.type,
            body.author,
            exc_info=error,
        )
        self._hub.emit(HandlerFailed(subscription.name, body.type, body.mid.hex(), body.author, described(error)))
        # The sender learns the kind of failure; the text may hold what is this node's own business.
        return f"its handler raised {type(error).__name__}"

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_PERIOD_S)
            now_s = self._clock.monotonic_s()
            for busy in self._busy.values():
                busy_s = now_s - busy.since_s
                if busy_s >= SLOW_HANDLER_S and not busy.told:
                    busy.told = True
                    self._tell_slow(busy, busy_s)

    def _tell_slow(self, busy: _Busy, busy_s: float) -> None:
        body, name = busy.arrival.body, busy.subscription.name
        logger.warning("handler %s has been busy with message %s for %.0f s", name, body.mid.hex(), busy_s)
        self._hub.emit(HandlerSlow(name, body.type, body.mid.hex(), body.author, busy_s))
