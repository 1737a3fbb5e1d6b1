"""The gossip log: what passed, when, from whom, and what became of it. A ring in memory, and followers with a limit."""

from __future__ import annotations

import weakref
from collections import deque
from itertools import islice
from typing import NamedTuple

from covm.federation.events.feed import Feed

FOLLOWER_QUEUE = 1_000
"""Entries that wait for one follower; the oldest make room, as they do in the log itself."""


class GossipLogEntry(NamedTuple):
    """One message that was published or received."""

    time_ms: int
    """When this node judged it, in milliseconds since 1970-01-01 UTC."""
    direction: str
    """`in` or `out`."""
    type: str
    """Empty when the body could not be read."""
    id: str
    """The message's id, 32 hexadecimal digits; empty when the body could not be read."""
    author: str
    """The author's peer id; empty when the envelope could not be read."""
    carrier: str
    """The peer that handed it over; this node itself for what it published."""
    size_bytes: int
    """Of the whole envelope."""
    verdict: str
    """`accept`, `ignore` or `reject`."""
    reason: str
    """Why it was not accepted, as `dropped` in `stats()` counts it; empty when it was.

    A payload above 64 KiB has an entry of its own, of its own size: `fetched` when it came, from `carrier`.
    """


class GossipLogStream(Feed[GossipLogEntry]):
    """Follows the log from the moment it was made; ends when the node stops.

    Several tasks may share it: each entry goes to one of them, the end to all.
    """

    def __init__(self, type_name: str | None) -> None:
        super().__init__(FOLLOWER_QUEUE)
        self._type = type_name

    def push(self, entry: GossipLogEntry) -> None:
        """Queues an entry of the followed type; the oldest makes room. (The log's side)"""
        if self._type is None or entry.type == self._type:
            super().push(entry)


class GossipLog:
    """The latest entries. A follower that nobody holds any more disappears by itself."""

    def __init__(self, size: int) -> None:
        self._entries: deque[GossipLogEntry] = deque(maxlen=size)
        self._followers: weakref.WeakSet[GossipLogStream] = weakref.WeakSet()
        self._closed = False

    def add(self, entry: GossipLogEntry) -> None:
        self._entries.append(entry)
        if self._followers:
            for follower in tuple(self._followers):
                follower.push(entry)

    def latest(self, limit: int, type_name: str | None = None) -> list[GossipLogEntry]:
        """At most `limit` entries, of one type if given, the oldest first."""
        fitting = (entry for entry in reversed(self._entries) if type_name is None or entry.type == type_name)
        return list(islice(fitting, max(0, limit)))[::-1]

    def follow(self, type_name: str | None = None) -> GossipLogStream:
        follower = GossipLogStream(type_name)
        if self._closed:
            follower.close()
        else:
            self._followers.add(follower)
        return follower

    def close(self) -> None:
        self._closed = True
        for follower in tuple(self._followers):
            follower.close()
