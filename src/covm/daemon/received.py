"""The latest messages that the node took, held for reading: `covm federation messages`.

The daemon has no application of its own, so this is what handles messages in it: a message that lies here is handled.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice
from typing import Any

import msgspec

from covm.control.schema import MessageLine, Messages, Received
from covm.daemon.answers import plain
from covm.federation import Message

COUNT_LIMIT = 1000
"""Messages held: what one answer may carry."""

SIZE_LIMIT_BYTES = 16 * 1024 * 1024
"""Bytes of payload held, as JSON: a dozen messages of the largest size. The newest is always held."""


class ReceivedMessages:
    """A bounded list; the oldest go first. `name_of` gives the name that a peer goes by, "" if it has none."""

    def __init__(self, name_of: Callable[[str], str]) -> None:
        self._name_of = name_of
        self._held: deque[tuple[int, Received]] = deque()
        self._size_bytes = 0
        self._taken = 0
        self._arrived = asyncio.Event()

    def take(self, message: Message[Any]) -> None:
        """Handles a message by holding it."""
        payload = msgspec.Raw(msgspec.json.encode(plain(message.payload)))
        received = Received(
            id=message.id,
            type=message.type,
            author=message.author,
            author_name=self._name_of(message.author),
            sent_at=message.sent_at_ms,
            received_at=time.time_ns() // 1_000_000,
            to=message.to,
            via=message.via,
            payload=payload,
        )
        self._held.append((self._taken, received))
        self._taken += 1
        self._size_bytes += len(payload)
        while len(self._held) > COUNT_LIMIT or (self._size_bytes > SIZE_LIMIT_BYTES and len(self._held) > 1):
            self._size_bytes -= len(self._held.popleft()[1].payload)
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    def newest(self, type_name: str | None, limit: int) -> Messages:
        """The newest messages of a type (None: of all), the oldest of them first."""
        entries = [message for _, message in self._latest(type_name, limit)]
        return Messages(messages=entries, forgotten=self._taken - len(self._held))

    async def follow(self, type_name: str | None, limit: int) -> AsyncIterator[MessageLine]:
        """The newest messages, then each as it comes. A reader too slow for the list is told how many it missed."""
        position, skipped = self._taken, 0
        for _, message in self._latest(type_name, limit):
            yield MessageLine(message=message)
        while True:
            arrived = self._arrived
            while position < self._taken:
                first = self._held[0][0]
                skipped += max(first - position, 0)
                position = max(position, first)
                message = self._held[position - first][1]
                position += 1
                if type_name is None or message.type == type_name:
                    yield MessageLine(message=message, skipped=skipped)
                    skipped = 0
            await arrived.wait()

    def _latest(self, type_name: str | None, limit: int) -> Iterable[tuple[int, Received]]:
        matching = (entry for entry in reversed(self._held) if type_name is None or entry[1].type == type_name)
        return reversed(list(islice(matching, limit)))
