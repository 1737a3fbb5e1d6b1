"""Publications above 64 KiB are announced by id: here their payload is fetched before handlers get the whole message.

The announcement itself was judged, forwarded and noted like any message. Fetching takes as long as it takes; other
messages, also of the same author and type, go on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from covm import _native
from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.events import EventHub
from covm.federation.gossip.log import GossipLog, GossipLogEntry
from covm.federation.ports import GOSSIP, Arrival, Contents, Inbound, Unobtainable
from covm.federation.supervisor import Supervisor
from covm.federation.wire.message import Content, MessageBody

MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Payloads that are fetched or wait to be, added up: 64 of the largest."""

AUTHORS_SHARE: Final = 8
"""One author's may take this part of it, so that nobody fills the places of the others."""

MAX_AT_ONCE: Final = 32
"""Payloads fetched at the same time: a few for each neighbour keep its stream busy."""

MAX_AT_ONCE_OF_ONE: Final = 4
"""Of them of one author, who may announce what nobody has."""


class Announcement(Arrival):
    """A message whose payload is still to be fetched; `carrier` handed it over and should have it soon."""

    __slots__ = ("carrier", "content")

    def __init__(self, body: MessageBody, content: Content, size_bytes: int, carrier: str) -> None:
        super().__init__(body, GOSSIP, size_bytes)
        self.content = content
        self.carrier = carrier


class Announced:
    """An `Inbound` in front of the dispatcher that completes what was announced."""

    def __init__(
        self,
        *,
        contents: Contents,
        inbound: Inbound,
        supervisor: Supervisor,
        counters: Counters,
        hub: EventHub,
        clock: Clock,
        log: GossipLog,
        max_message_bytes: int,
    ) -> None:
        self._contents = contents
        self._inbound = inbound
        self._supervisor = supervisor
        self._counters = counters
        self._hub = hub
        self._clock = clock
        self._log = log
        self._max_message_bytes = max_message_bytes
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._waiting_bytes = 0
        self._waiting_of: Counter[str] = Counter()
        self._places_of: dict[str, asyncio.Semaphore] = {}

    def deliver(self, arrivals: Sequence[Arrival]) -> None:
        whole = []
        for arrival in arrivals:
            if isinstance(arrival, Announcement):
                self._begin(arrival)
            else:
                whole.append(arrival)
        if whole:
            self._inbound.deliver(whole)

    def _begin(self, announcement: Announcement) -> None:
        body, size_bytes = announcement.body, announcement.content.size
        if size_bytes > self._max_message_bytes:
            self._give_up(announcement, "above_max_message_size")
            return
        share = self._waiting_of[body.author] + size_bytes
        if self._waiting_bytes + size_bytes > MAX_WAITING_BYTES or share > MAX_WAITING_BYTES // AUTHORS_SHARE:
            self._hub.drop(body.type, body.author)
            self._give_up(announcement, "too_many_contents")
            return
        self._waiting_bytes += size_bytes
        self._waiting_of[body.author] = share
        self._supervisor.launch(self._complete(announcement), f"content of {body.message_id}")

    async def _complete(self, announcement: Announcement) -> None:
        body, content = announcement.body, announcement.content
        try:
            async with self._places_of.setdefault(body.author, asyncio.Semaphore(MAX_AT_ONCE_OF_ONE)), self._places:
                data, source = await self._contents.fetch(
                    content.link, content.size, [announcement.carrier, body.author]
                )
            payload = _native.decode(data)
        except Unobtainable:
            self._give_up(announcement, "content_unobtainable")
        except _native.DecodeError:
            # Its author signed an id of something that is no payload; whoever carried it could not know.
            self._hub.reject(body.author, "malformed_content")
            self._give_up(announcement, "malformed_content")
        else:
            self._note(announcement, source, content.size, "accept", "fetched")
            whole = msgspec.structs.replace(body, payload=payload, content=None)
            self._inbound.deliver([Arrival(whole, GOSSIP, announcement.size_bytes + content.size)])
        finally:
            self._waiting_bytes -= content.size
            self._waiting_of[body.author] -= content.size
            if not self._waiting_of[body.author]:
                del self._waiting_of[body.author], self._places_of[body.author]

    def _give_up(self, announcement: Announcement, reason: str) -> None:
        self._counters.drop(reason)
        self._note(announcement, announcement.carrier, announcement.content.size, "ignore", reason)

    def _note(self, announcement: Announcement, carrier: str, size_bytes: int, verdict: str, reason: str) -> None:
        body = announcement.body
        self._log.add(
            GossipLogEntry(
                self._clock.now_ms(),
                "in",
                body.type,
                body.message_id,
                body.author,
                carrier,
                size_bytes,
                verdict,
                reason,
            )
        )
