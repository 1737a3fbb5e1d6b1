"""Which handlers are at work, and since when: one that takes very long is reported, never interrupted."""

from __future__ import annotations

import asyncio
import logging

from covm.federation.clock import Clock
from covm.federation.dispatch.lanes import Lane
from covm.federation.dispatch.subscriptions import Subscription
from covm.federation.events import EventHub, HandlerSlow
from covm.federation.ports import Arrival

logger = logging.getLogger("covm.federation.dispatch")

SLOW_HANDLER_S = 30.0
"""A handler that is busy with one message for so long is reported; it may be right, but nobody should wonder."""

WATCH_PERIOD_S = 5.0
"""How often slow handlers are looked for."""


class _Busy:
    __slots__ = ("arrival", "name", "since_s", "told")

    def __init__(self, arrival: Arrival, name: str, since_s: float) -> None:
        self.arrival = arrival
        self.name = name
        self.since_s = since_s
        self.told = False


class HandlerWatch:
    """Knows what each lane is at."""

    def __init__(self, clock: Clock, hub: EventHub) -> None:
        self._clock = clock
        self._hub = hub
        self._busy: dict[Lane, _Busy] = {}

    def begin(self, lane: Lane, arrival: Arrival, subscription: Subscription) -> None:
        """The lane's message is in a handler's hands."""
        self._busy[lane] = _Busy(arrival, subscription.name, self._clock.monotonic_s())

    def end(self, lane: Lane) -> None:
        """No handler of the lane is at work."""
        self._busy.pop(lane, None)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(WATCH_PERIOD_S)
            now_s = self._clock.monotonic_s()
            for busy in self._busy.values():
                busy_s = now_s - busy.since_s
                if busy_s >= SLOW_HANDLER_S and not busy.told:
                    busy.told = True
                    self._tell(busy, busy_s)

    def _tell(self, busy: _Busy, busy_s: float) -> None:
        body, name = busy.arrival.body, busy.name
        logger.warning("handler %s has been busy with message %s for %.0f s", name, busy.arrival.message_id, busy_s)
        self._hub.emit(HandlerSlow(name, body.type, busy.arrival.message_id, body.author, busy_s))
