"""A node of these tests, as a process: `live(SETTINGS, SOCKET)`. `news` has another that publishes what is durable.

It answers each line on the socket (a JSON object with `do`) with another. What it sends and sees it notes in its folder
(see ledger.py); the effects of its transactional handlers go through `tx` into the node's store.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from tests.crashes.ledger import EVENTS, PLAIN, SENT, Notes, Sent

from covm.federation import ConnectionRetry, FederationConfig, FederationService, Identity, Message, message_type
from covm.federation.dispatch.transaction import Tx
from covm.federation.errors import FederationError, StoreError
from covm.federation.network.interface import Network

NETWORK = "crashes"
FOREVER = timedelta(days=1)
AFTER_TROUBLE_S = 0.05
"""Before a send that the store refused is followed by the next: the store would refuse that too."""


class Settings(msgspec.Struct, kw_only=True):
    """How a program is started; the file stays the same over its lives, but for what a test changes."""

    folder: str
    home: str
    name: str
    port: int
    peer: str
    peer_address: str
    """Empty: it waits to be dialled."""
    store_url: str = ""
    window: int = 32
    filling_bytes: int = 100


@message_type("crash.plain")
class Plain(msgspec.Struct, frozen=True):
    number: int
    filling: bytes


@message_type("crash.exact")
class Exact(msgspec.Struct, frozen=True):
    number: int
    filling: bytes


@message_type("crash.answer")
class Answer(msgspec.Struct, frozen=True):
    number: int


KINDS: tuple[type[Plain | Exact], ...] = (Plain, Exact)
TYPE_NAMES = {Plain: "crash.plain", Exact: "crash.exact"}


class Program:
    """One life of a node."""

    types: tuple[type[msgspec.Struct], ...] = (Plain, Exact, Answer)
    changes: Mapping[str, Any] = {}
    """Settings that differ."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        folder = Path(settings.folder)
        self._sent, self._plain, self._events = (Notes(folder / name) for name in (SENT, PLAIN, EVENTS))
        self._next = max(Sent.read(folder).begun, default=0) + 1
        self._tasks: set[asyncio.Task[object]] = set()
        self._may_send = asyncio.Event()
        self._under_way = asyncio.Semaphore(settings.window)
        config = FederationConfig.preset(
            "local",
            membership="open",
            home=settings.home,
            name=settings.name,
            network=NETWORK,
            store_url=settings.store_url,
            listen_addresses=[f"/ip4/127.0.0.1/tcp/{settings.port}"],
            bootstrap_peers=[settings.peer_address] if settings.peer_address else [],
            enable_kademlia=False,
            connection_retry=ConnectionRetry(
                base_delay=timedelta(milliseconds=20), max_delay=timedelta(milliseconds=200)
            ),
            **self.changes,
        )
        identity = Identity.load_or_create(Path(settings.home, "identity.key"))
        self.service = FederationService(identity, config, types=self.types, network=self._network(identity, config))
        self._subscribe()

    def _network(self, _identity: Identity, _config: FederationConfig) -> Network | None:
        """None: the one that every node has."""
        return None

    def _subscribe(self) -> None:
        self.service.subscribe(Plain, self._on_plain)
        self.service.subscribe(Exact, self._on_exact, name="exact", transactional=True)
        self.service.subscribe(Answer, self._on_answer, name="answer", transactional=True)

    async def run(self, connection: socket.socket) -> None:
        """From start to the end of what the test says."""
        events = self.service.events()
        async with self.service, asyncio.TaskGroup() as group:
            await self.service.transaction(self._make_tables)
            self._begin(group, self._note(events))
            self._begin(group, self._load(group))
            reader, writer = await asyncio.open_connection(sock=connection, limit=1024 * 1024)
            writer.write(as_line({"ready": self.service.peer_id}))
            while line := await reader.readline():
                writer.write(as_line(await self._answer_to(json.loads(line))))
                await writer.drain()
            for task in self._tasks:
                task.cancel()

    def _begin(
        self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, object], done: Callable[[], None] | None = None
    ) -> None:
        """A task that ends with the program; `done` is called when it ended."""
        task = group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if done is not None:
            task.add_done_callback(lambda _: done())

    # --- what is sent

    async def _load(self, group: asyncio.TaskGroup) -> None:
        """Sends without end, `window` messages under way, in the order of their numbers."""
        kinds = itertools.cycle(KINDS)
        while True:
            await self._may_send.wait()
            await self._under_way.acquire()
            self._begin(group, self._say_one(kinds), self._under_way.release)

    async def _say_one(self, kinds: Iterator[type[Plain | Exact]]) -> object:
        return await self._send(kinds)

    async def _send(self, kinds: Iterator[type[Plain | Exact]], until: str = "stored") -> int:
        number, self._next, kind = self._next, self._next + 1, next(kinds)
        self._sent.add(f"B {number} {TYPE_NAMES[kind]}")
        filling = os.urandom(self.settings.filling_bytes)
        try:
            receipt = await self.service.send_direct(self.settings.peer, kind(number, filling), time_to_live=FOREVER)
        except StoreError:
            await asyncio.sleep(AFTER_TROUBLE_S)
            return number
        self._sent.add(f"Q {number} {receipt.id}")
        await receipt.stored(FOREVER)
        self._sent.add(f"S {number}")
        if until == "handled":
            await receipt.handled(FOREVER)
            self._sent.add(f"H {number}")
        return number

    # --- what is received

    def _on_plain(self, message: Message[Plain]) -> None:
        self._plain.add(f"{message.payload.number} {message.attempt}")

    def _on_exact(self, message: Message[Exact], tx: Tx) -> None:
        values = {"number": message.payload.number, "attempt": message.attempt, "filling": message.payload.filling}
        tx.execute("INSERT INTO effects (number, attempt, filling) VALUES (:number, :attempt, :filling)", values)
        tx.send_direct(message.author, Answer, Answer(message.payload.number))

    def _on_answer(self, message: Message[Answer], tx: Tx) -> None:
        tx.execute("INSERT INTO answers (number) VALUES (:number)", {"number": message.payload.number})

    def _make_tables(self, tx: Tx) -> None:
        is_sqlite = not self.settings.store_url
        key = "id INTEGER PRIMARY KEY" if is_sqlite else "id BIGSERIAL PRIMARY KEY"
        binary = "BLOB" if is_sqlite else "BYTEA"
        tx.execute(
            f"CREATE TABLE IF NOT EXISTS effects ({key}, number BIGINT NOT NULL, attempt INTEGER NOT NULL, "
            f"filling {binary} NOT NULL)"
        )
        tx.execute(f"CREATE TABLE IF NOT EXISTS answers ({key}, number BIGINT NOT NULL)")

    async def _note(self, events: Any) -> None:
        async for event in events:
            self._events.event(event)

    # --- what the test asks

    async def _answer_to(self, asked: dict[str, Any]) -> dict[str, Any]:
        do = asked["do"]
        if do == "load":
            self._may_send.set()
        elif do == "pause":
            self._may_send.clear()
        elif do == "sentinels":
            numbers = await asyncio.gather(*(self._send(iter([kind]), "handled") for kind in KINDS))
            return {"numbers": numbers}
        elif do == "effects":
            return await self.service.transaction(effects)
        elif do == "receipt":
            try:
                return {"state": (await self.service.receipt(asked["id"])).state}
            except FederationError as error:
                return {"state": type(error).__name__}
        elif do == "status":
            return {"status": self.service.status()}
        return {"done": do}


def effects(tx: Tx) -> dict[str, Any]:
    """What the transactional handlers did, in order."""
    done = tx.execute("SELECT number, attempt FROM effects ORDER BY id").all()
    answers = tx.execute("SELECT number FROM answers ORDER BY id").all()
    return {"exact": [list(row) for row in done], "answers": [number for (number,) in answers]}


def as_line(what: dict[str, Any]) -> bytes:
    return json.dumps(what, default=str).encode() + b"\n"


def live(path: Path, connection: socket.socket, program: type[Program] = Program) -> None:
    """A process's life; what it writes goes to the folder's `log`."""
    settings = msgspec.json.decode(path.read_bytes(), type=Settings)
    with Path(settings.folder, "log").open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())
    logging.basicConfig()
    asyncio.run(program(settings).run(connection))
