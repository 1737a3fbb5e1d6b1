"""What happened, told to whoever listens: `async for event in federation.events()`.

Events are plain frozen values in the past tense. Each listener has a bounded queue of its own; one that does not keep
up loses its oldest events and is told how many (`EventsDropped`), so a forgotten listener costs nothing but memory
with a limit.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter, deque
from dataclasses import dataclass

EVENT_QUEUE = 1_000
"""Events that wait for one listener: some seconds of a busy node, well under a megabyte."""

TALLIES_AT_ONCE = 256
"""Pairs (peer and reason, type and author) that one second's summed-up events tell apart; the rest is `many`."""

TALLY_PERIOD_S = 1.0
"""How long is summed up: an attack of any rate makes one event a second for each pair."""


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """The peer is admitted, its direct stream stands and it listens to the federation's topic."""

    peer: str
    address: str
    outbound: bool


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """A peer that was connected is so no more."""

    peer: str
    reason: str


@dataclass(frozen=True, slots=True)
class PeerSuspected:
    """A connected peer has been silent for two heartbeats."""

    peer: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class PeerRecovered:
    """A suspected peer was heard again."""

    peer: str


@dataclass(frozen=True, slots=True)
class PeerLost:
    """A peer was silent for four heartbeats; its connections were closed."""

    peer: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """One side refused the other. `by` is the peer id of the side that refused."""

    peer: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class PeerWasBanned:
    """The peer is banned at this node until `until_ms` (None: until it is lifted)."""

    peer: str
    reason: str
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class PeerWasUnbanned:
    """A ban ended: lifted, or its time was over."""

    peer: str
    why: str


@dataclass(frozen=True, slots=True)
class AddressesUpdated:
    """The addresses at which this node listens changed."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HandlerFailed:
    """A handler of this node raised. The message counts as quarantined; the node goes on."""

    handler: str
    type: str
    message_id: str
    author: str
    error: str


@dataclass(frozen=True, slots=True)
class HandlerSlow:
    """A handler has been busy with one message for a long time; its lane waits for it."""

    handler: str
    type: str
    message_id: str
    author: str
    busy_s: float


@dataclass(frozen=True, slots=True)
class PayloadMismatched:
    """A message of a registered type arrived whose payload does not fit that type here; no handler saw it."""

    type: str
    message_id: str
    author: str
    path: str
    why: str


@dataclass(frozen=True, slots=True)
class MessageRejected:
    """Messages from a peer were turned away. Said at most once a second for each peer and reason, with the count."""

    peer: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class MessagesDropped:
    """Gossip was dropped because this node's handlers for the type do not keep up. Said as `MessageRejected` is."""

    type: str
    author: str
    count: int


@dataclass(frozen=True, slots=True)
class MessageQuarantined:
    """A handler of this node failed on a message for good. It is kept: `covm federation quarantine`.

    `handler` is empty where it never came to one, because the disk damaged the message.
    """

    handler: str
    type: str
    message_id: str
    author: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class RolledBack:
    """This node's store went back in time, as a peer proved; a new incarnation has begun and sends what is pending."""

    peer: str
    incarnation: str
    proven_seq: int


@dataclass(frozen=True, slots=True)
class PeerRolledBack:
    """A peer holds less than it had acknowledged; what is still held here is sent again."""

    peer: str
    acknowledged: int
    stored: int


@dataclass(frozen=True, slots=True)
class ReceivedLess:
    """A peer says that this node acknowledged more than it holds: its store may have gone back in time."""

    peer: str
    acknowledged: int
    stored: int


@dataclass(frozen=True, slots=True)
class StoreTroubled:
    """The store cannot be written (`state`: full or failing); nothing is acknowledged meanwhile."""

    state: str
    why: str


@dataclass(frozen=True, slots=True)
class StoreRecovered:
    """The store can be written again."""

    after_s: float


@dataclass(frozen=True, slots=True)
class FileProgressed:
    """Part of a file came (`direction`: in) or went (out). Said at most a few times a second for each file."""

    transfer_id: str
    peer: str
    name: str
    direction: str
    done_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileReceived:
    """A whole file has arrived and verified; `path` is where it lies."""

    transfer_id: str
    peer: str
    name: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A file will not arrive."""

    transfer_id: str
    peer: str
    name: str
    direction: str
    reason: str


@dataclass(frozen=True, slots=True)
class EventsDropped:
    """This listener did not keep up; its oldest `count` events are gone."""

    count: int


@dataclass(frozen=True, slots=True)
class NodeFailed:
    """The network core ended by itself; the process lives, this node does not."""

    reason: str


Event = (
    PeerConnected
    | PeerDisconnected
    | PeerSuspected
    | PeerRecovered
    | PeerLost
    | PeerRefused
    | PeerWasBanned
    | PeerWasUnbanned
    | AddressesUpdated
    | HandlerFailed
    | HandlerSlow
    | PayloadMismatched
    | MessageRejected
    | MessagesDropped
    | MessageQuarantined
    | RolledBack
    | PeerRolledBack
    | ReceivedLess
    | StoreTroubled
    | StoreRecovered
    | FileProgressed
    | FileReceived
    | FileFailed
    | EventsDropped
    | NodeFailed
)


class EventStream:
    """One listener's view of the events, from the moment it was made. Iterate it; it ends when the node stops.

    Several tasks may share it: each event goes to one of them, the end to all.
    """

    def __init__(self, limit: int = EVENT_QUEUE) -> None:
        self._events: deque[Event] = deque()
        self._limit = limit
        self._dropped = 0
        self._closed = False
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._events and not self._dropped:
            if self._closed:
                raise StopAsyncIteration
            await self._changed()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return EventsDropped(dropped)
        return self._events.popleft()

    def push(self, event: Event) -> None:
        """Queues an event for this listener; the oldest makes room. (The hub's side)"""
        if len(self._events) >= self._limit:
            self._events.popleft()
            self._dropped += 1
        self._events.append(event)
        self._wake()

    def close(self) -> None:
        """Ends the iteration once what is queued has been read."""
        self._closed = True
        self._wake()

    async def aclose(self) -> None:
        """As `close`, for `contextlib.aclosing`."""
        self.close()

    async def _changed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self._wake()  # what this reader was woken for is another's now
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                if not self._closed:
                    return


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
