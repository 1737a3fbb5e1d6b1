"""What a node has to tell its handler: one batch for each loop turn, and no more gossip than is bounded."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque

from covm.federation.network.interface import FramesReceived, GossipReceived, Handler, NetworkEvent
from covm.federation.network.simulated import limits
from covm.federation.network.simulated.links import Traffic


class Outbox:
    """Collects events and hands them over in the next loop turn, in order, in one call.

    Everything but gossip is bounded where it comes from (connections, stream credit). Of gossip the oldest gives way.
    """

    def __init__(self, handler: Handler, traffic: Traffic) -> None:
        self._loop = asyncio.get_running_loop()
        # What sets an event off is mostly another node's doing; what it causes here is this node's.
        self._context = contextvars.copy_context()
        self._handler = handler
        self._traffic = traffic
        self._events: dict[int, NetworkEvent] = {}
        self._next_key = 0
        self._gossip: deque[tuple[int, GossipReceived]] = deque()
        self._gossip_bytes = 0
        self._last_frames: FramesReceived | None = None
        self._turn: asyncio.Handle | None = None

    @property
    def depth(self) -> dict[str, int]:
        return {"events": len(self._events), "gossip": len(self._gossip), "gossip_bytes": self._gossip_bytes}

    def put(self, event: NetworkEvent) -> None:
        """Adds an event; what is readable on one stream at once becomes one event."""
        last = self._last_frames
        if isinstance(event, FramesReceived) and last is not None and last.stream == event.stream:
            last.frames.extend(event.frames)
            return
        self._last_frames = event if isinstance(event, FramesReceived) else None
        self._add(event)

    def put_gossip(self, event: GossipReceived) -> list[int]:
        """Adds a gossiped message; returns the handles of those that had to give way."""
        self._last_frames = None
        self._gossip.append((self._add(event), event))
        self._gossip_bytes += event.size_bytes
        dropped = []
        while len(self._gossip) > limits.GOSSIP_QUEUE_MESSAGES or self._gossip_bytes > limits.GOSSIP_QUEUE_BYTES:
            key, oldest = self._gossip.popleft()
            self._gossip_bytes -= oldest.size_bytes
            del self._events[key]
            dropped.append(oldest.handle)
        return dropped

    def flush(self) -> None:
        """Hands over what is there, now."""
        if self._turn is not None:
            self._turn.cancel()
            self._hand_over()

    def discard(self) -> None:
        """Forgets what is there: nothing is handed over any more."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
            self._traffic.ended()
        self._events.clear()

    def _add(self, event: NetworkEvent) -> int:
        key = self._next_key
        self._next_key += 1
        self._events[key] = event
        if self._turn is None:
            self._turn = self._loop.call_soon(self._hand_over, context=self._context)
            self._traffic.began()
        return key

    def _hand_over(self) -> None:
        self._turn = None
        batch, self._events = list(self._events.values()), {}
        self._gossip.clear()
        self._gossip_bytes = 0
        self._last_frames = None
        try:
            self._handler.on_network_events(batch)
        finally:
            self._traffic.ended()
