"""Who listens: a bounded queue for each, and what is summed up so that an attack is one event a second."""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter

from covm.federation.events.feed import Feed
from covm.federation.events.happened import Event, EventsDropped, MessageRejected, MessagesDropped

EVENT_QUEUE = 1_000
"""Events that wait for one listener: some seconds of a busy node, well under a megabyte."""

TALLIES_AT_ONCE = 256
"""Pairs (peer and reason, type and author) that one second's summed-up events tell apart; the rest is `many`."""

TALLY_PERIOD_S = 1.0
"""How long is summed up: an attack of any rate makes one event a second for each pair."""


class EventStream(Feed[Event]):
    """One listener's view of the events, from the moment it was made. Iterate it; it ends when the node stops.

    Several tasks may share it: each event goes to one of them, the end to all.
    """

    def __init__(self, limit: int = EVENT_QUEUE) -> None:
        super().__init__(limit)

    def _take(self) -> Event | None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return EventsDropped(dropped)
        return super()._take()


class EventHub:
    """Hands each event to every listener. A listener that nobody holds any more disappears by itself."""

    def __init__(self) -> None:
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._tally: Counter[tuple[type[MessageRejected | MessagesDropped], str, str]] = Counter()
        self._flush: asyncio.TimerHandle | None = None
        self._closed = False

    def emit(self, event: Event) -> None:
        """Hands an event to every listener, now."""
        for stream in tuple(self._streams):
            stream.push(event)

    def listen(self) -> EventStream:
        """A new listener; one that ends at once when the node has stopped."""
        stream = EventStream()
        if self._closed:
            stream.close()
        else:
            self._streams.add(stream)
        return stream

    def reject(self, peer: str, reason: str, count: int = 1) -> None:
        """Counts messages that were turned away; the event follows within a second, summed up."""
        self._sum_up(MessageRejected, peer, reason, count)

    def drop(self, type_name: str, author: str) -> None:
        """Counts a message that handlers were too slow for; the event follows within a second, summed up."""
        self._sum_up(MessagesDropped, type_name, author, 1)

    def _sum_up(self, kind: type[MessageRejected | MessagesDropped], first: str, second: str, count: int) -> None:
        key = (kind, first, second)
        if key not in self._tally and len(self._tally) >= TALLIES_AT_ONCE:
            key = (kind, "", "many")
        self._tally[key] += count
        if self._flush is None and not self._closed:
            self._flush = asyncio.get_running_loop().call_later(TALLY_PERIOD_S, self._flush_tally)

    def close(self) -> None:
        """Says what is still to be said and ends every listener's iteration."""
        self._flush_tally()
        self._closed = True
        for stream in tuple(self._streams):
            stream.close()

    def _flush_tally(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        tally, self._tally = self._tally, Counter()
        for (kind, first, second), count in tally.items():
            self.emit(kind(first, second, count))
