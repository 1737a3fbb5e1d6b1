"""The latest messages that the node took, kept for reading: `covm federation messages`.

The daemon has no application of its own, so this is what handles messages in it: a transactional handler that keeps
them in a table of its own beside the federation's. A message that lies here is handled, once, and is still here after
a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from covm.control.schema import MessageLine, Messages, Received
from covm.daemon.payloads import plain
from covm.federation import Message

COUNT_LIMIT = 1000
"""Messages kept: what one answer may carry."""

SIZE_LIMIT_BYTES = 16 * 1024 * 1024
"""Bytes of them kept, as JSON: a dozen messages of the largest size. The newest is always kept."""

BATCH = 100
"""Messages that one follower reads at a time."""

_TABLE = """
CREATE TABLE IF NOT EXISTS daemon_messages (
    number BIGINT PRIMARY KEY, start_bytes BIGINT NOT NULL, end_bytes BIGINT NOT NULL, type TEXT NOT NULL,
    author TEXT NOT NULL, content TEXT NOT NULL
)
"""
"""`number` counts all that were ever kept; `start_bytes` and `end_bytes` count their bytes, so that the size of any run
of them is a difference. `content` is the `Received` as JSON, in ASCII."""

_INDEX = "CREATE INDEX IF NOT EXISTS daemon_messages_start ON daemon_messages (start_bytes)"

_LAST = "SELECT number, end_bytes FROM daemon_messages ORDER BY number DESC LIMIT 1"

_KEEP = "INSERT INTO daemon_messages VALUES (:number, :start_bytes, :end_bytes, :type, :author, :content)"

_TRIM = (
    "DELETE FROM daemon_messages WHERE number <= :oldest",
    "DELETE FROM daemon_messages WHERE start_bytes < :start_bytes AND number < :number",
)

_NEWEST = "SELECT number, author, content FROM daemon_messages ORDER BY number DESC LIMIT :most"

_NEWEST_OF_TYPE = (
    "SELECT number, author, content FROM daemon_messages WHERE type = :type ORDER BY number DESC LIMIT :most"
)

_AFTER = (
    "SELECT number, author, content, type FROM daemon_messages WHERE number > :position ORDER BY number LIMIT :most"
)

_ENDS = "SELECT min(number), max(number) FROM daemon_messages"


class Kept(Received, kw_only=True, frozen=True):
    """A message as it is kept: its payload is JSON already."""

    payload: msgspec.Raw


class Tables(Protocol):
    """What a transaction offers a handler."""

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Runs SQL text with `:name` parameters."""


class _Row(NamedTuple):
    number: int
    author: str
    content: str
    type: str = ""


class ReceivedMessages:
    """A bounded table; the oldest go first.

    `transaction` runs a function on a `Tables` and returns what it returns, once that is on disk. `name_of` gives the
    name that a peer goes by, "" if it has none here; it is asked on the store's thread too.
    """

    def __init__(
        self, transaction: Callable[[Callable[[Any], Any]], Awaitable[Any]], name_of: Callable[[str], str]
    ) -> None:
        self._transaction = transaction
        self._name_of = name_of
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Makes the table, if it is not there; before the first message."""
        self._loop = asyncio.get_running_loop()

        def make(tx: Tables) -> None:
            tx.execute(_TABLE)
            tx.execute(_INDEX)

        await self._transaction(make)

    def take(self, message: Message[Any], tx: Tables) -> None:
        """Handles a message by keeping it."""
        received = Received(
            id=message.id,
            type=message.type,
            author=message.author,
            author_name=self._name_of(message.author),
            sent_at=message.sent_at_ms,
            received_at=time.time_ns() // 1_000_000,
            to=message.to,
            via=message.via,
            payload=plain(message.payload),
        )
        content = msgspec.json.encode(received).decode()
        last = tx.execute(_LAST).first()
        number, start_bytes = (1, 0) if last is None else (last[0] + 1, last[1])
        end_bytes = start_bytes + len(content.encode())
        values = {
            "number": number,
            "start_bytes": start_bytes,
            "end_bytes": end_bytes,
            "type": message.type,
            "author": message.author,
            "content": content,
        }
        tx.execute(_KEEP, values)
        tx.execute(_TRIM[0], {"oldest": number - COUNT_LIMIT})
        tx.execute(_TRIM[1], {"start_bytes": end_bytes - SIZE_LIMIT_BYTES, "number": number})
        if self._loop is not None:
            # The commit is still to come: who is woken reads in a transaction of its own, behind it.
            self._loop.call_soon_threadsafe(self._wake)

    async def newest(self, type_name: str | None, limit: int) -> Messages:
        """The newest messages of a type (None: of all), the oldest of them first."""
        (first, _), rows = await self._latest(type_name, limit)
        return Messages(messages=[self._message(row) for row in rows], forgotten=max(first - 1, 0))

    async def follow(self, type_name: str | None, limit: int) -> AsyncIterator[MessageLine]:
        """The newest messages, then each as it comes. A reader too slow for the table is told how many it missed."""
        (_, position), rows = await self._latest(type_name, limit)
        for row in rows:
            yield MessageLine(message=self._message(row))
        skipped = 0
        while True:
            arrived = self._arrived
            rows = await self._after(position)
            for row in rows:
                skipped += row.number - position - 1
                position = row.number
                if type_name is None or row.type == type_name:
                    yield MessageLine(message=self._message(row), skipped=skipped)
                    skipped = 0
            if not rows:
                await arrived.wait()

    async def _latest(self, type_name: str | None, limit: int) -> tuple[tuple[int, int], list[_Row]]:
        """The numbers of the first and the last that is kept (0 when none is), and the newest."""

        def read(tx: Tables) -> tuple[tuple[int, int], list[_Row]]:
            first, last = tx.execute(_ENDS).first()
            values = {"most": limit}
            if type_name is None:
                rows = tx.execute(_NEWEST, values)
            else:
                rows = tx.execute(_NEWEST_OF_TYPE, {**values, "type": type_name})
            return (first or 0, last or 0), [_Row(*row) for row in rows][::-1]

        found: tuple[tuple[int, int], list[_Row]] = await self._transaction(read)
        return found

    async def _after(self, position: int) -> list[_Row]:
        def read(tx: Tables) -> list[_Row]:
            return [_Row(*row) for row in tx.execute(_AFTER, {"position": position, "most": BATCH})]

        rows: list[_Row] = await self._transaction(read)
        return rows

    def _message(self, row: _Row) -> Received:
        kept = msgspec.json.decode(row.content, type=Kept)
        if name := self._name_of(row.author):
            return msgspec.structs.replace(kept, author_name=name)
        return kept

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()
