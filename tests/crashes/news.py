"""A node that publishes what is durable, as a process: `live_with_news(SETTINGS, SOCKET)`.

Its numbers are even or odd, so that no two nodes publish one. Every tenth is a plan, which is large, and replaces the
one before it. A plain handler notes in the folder what it is given, transactional ones in the node's store.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from tests.crashes.ledger import Sent
from tests.crashes.program import AFTER_TROUBLE_S, Program, live

from covm.federation import Message, message_type
from covm.federation.dispatch.transaction import Tx
from covm.federation.errors import StoreError

NEWS = "crash.news"
DRAWING = bytes(70_000)
PAUSE_S = 0.02
"""Between two publications: handlers, not signatures, are what is tested."""


@message_type(NEWS, durable=True, key="about")
class News(msgspec.Struct, frozen=True):
    number: int
    about: str
    drawing: bytes = b""


def is_plan(number: int) -> bool:
    return number // 2 % 10 == 0


class Newspaper(Program):
    """One life of a node."""

    types = (News,)

    def _subscribe(self) -> None:
        self._next = max(Sent.read(Path(self.settings.folder)).begun, default=int(self.settings.name == "farm")) + 2
        self.service.subscribe(News, self._read, name="reader")
        self.service.subscribe(News, partial(_keep, "ledger"), name="ledger", transactional=True)

    def _make_tables(self, tx: Tx) -> None:
        tx.execute("CREATE TABLE IF NOT EXISTS said (number BIGINT)")
        for table in ("ledger", "archive"):
            tx.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY, number BIGINT NOT NULL)")

    async def _say_one(self, _kinds: Iterator[Any]) -> None:
        """Publishes one, half of them in a transaction."""
        number, self._next = self._next, self._next + 2
        self._sent.add(f"B {number} {NEWS}")
        news = News(number, str(number))
        if is_plan(number):
            news = News(number, f"the plan of {self.settings.name}", DRAWING)
        try:
            if number // 2 % 2:
                await self.service.transaction(partial(_say, news=news))
            else:
                await self.service.publish(news)
        except StoreError:
            await asyncio.sleep(AFTER_TROUBLE_S)
            return
        self._sent.add(f"Q {number} -")
        await asyncio.sleep(PAUSE_S)

    def _read(self, message: Message[News]) -> None:
        self._plain.add(f"{message.payload.number} {message.attempt}")

    async def _answer_to(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "archive":
            self.service.subscribe(News, partial(_keep, "archive"), name="archive", transactional=True)
        elif asked["do"] == "given":
            return {**await self.service.transaction(_given), "held": await self._held()}
        return await super()._answer_to(asked)

    async def _held(self) -> list[int]:
        """The numbers of all records, also of plans that were replaced."""
        news = self.service.collection(News)
        values = [entry.value for entry in await news.list(limit=10_000) if not entry.key.startswith("the plan")]
        for name in ("mill", "farm"):
            values += [version.value for version in await news.history(f"the plan of {name}")]
        return sorted(-1 if value is None else value.number for value in values)


def _say(tx: Tx, news: News) -> None:
    tx.execute("INSERT INTO said (number) VALUES (:number)", {"number": news.number})
    tx.publish(NEWS, news)


def _keep(table: str, message: Message[News], tx: Tx) -> None:
    tx.execute(f"INSERT INTO {table} (number) VALUES (:number)", {"number": message.payload.number})


def _given(tx: Tx) -> dict[str, list[int]]:
    """What is in each table, in the order in which it came there."""
    order = {"said": "number", "ledger": "id", "archive": "id"}
    return {
        table: [number for (number,) in tx.execute(f"SELECT number FROM {table} ORDER BY {by}").all()]
        for table, by in order.items()
    }


def live_with_news(path: Path, connection: socket.socket) -> None:
    """A process's life."""
    live(path, connection, Newspaper)
