"""The receiving half alone: an inbox on a store, its dispatcher, and streams of peers as a test plays them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from pysqlite3 import dbapi2
from tests.unit.service_world import LoopClock

from covm._native import Link
from covm.federation.clock import SeededRandom
from covm.federation.counters import Counters
from covm.federation.dispatch.composer import MessageComposer
from covm.federation.dispatch.dispatcher import MessageDispatcher
from covm.federation.dispatch.inbox import Judgement, Offered
from covm.federation.dispatch.inbox_queries import InboxEntry, list_entries
from covm.federation.dispatch.incoming import Incomings
from covm.federation.dispatch.incoming_stream import Greeting
from covm.federation.dispatch.lane_runner import RetryTerms
from covm.federation.dispatch.subscriptions import Subscription
from covm.federation.errors import StoreUnavailable
from covm.federation.events import EventHub
from covm.federation.membership.everyone import Everyone
from covm.federation.store.inline import InlineStore
from covm.federation.store.interface import Store
from covm.federation.supervisor import Supervisor
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.frames import Hello, Outcome, Position
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import MessageBody, encode_body
from covm.federation.wire.registry import TypeRegistry
from covm.federation.wire.skip import SKIP_TYPE, skip_payload

LIFE = Incarnation(1, b"nonce-01")
LATER = Incarnation(2, b"nonce-02")
NOTE = "private.note"
FEDERATION: Link = open_federation("test").cid
TYPES = bytes(32)


def mid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def offered(seq: int, number: int | None = None, *, sender: str = "ada", **changes: Any) -> Offered:
    """A message of a sender; its payload is its number."""
    number = seq if number is None else number
    fields: dict[str, Any] = {
        "federation": FEDERATION,
        "type": NOTE,
        "author": sender,
        "incarnation": LIFE,
        "seq": seq,
        "mid": mid(number),
        "to": "ben",
        "sent_at": 0,
        "expires_at": None,
        "payload": number,
    }
    body = MessageBody(**{**fields, **changes})
    data = encode_body(body)
    return Offered(body, data, b"envelope of " + data)


def skip(seq: int, upto: Any, **changes: Any) -> Offered:
    payload = skip_payload(upto)
    return offered(seq, **{"type": SKIP_TYPE, "payload": payload, "number": 900 + seq, **changes})


class PlayedStream:
    """A stream that a peer opened, and everything that it was told."""

    def __init__(self, world: InboxWorld, sender: str = "ada", life: Incarnation = LIFE) -> None:
        self.incoming = world.incomings.of(sender)
        self.sender = sender
        self.life = life
        self.world = world
        self.is_over = False
        self.greeting: Greeting | None = None
        self.stored: Position | None = None
        self.outcomes: list[Outcome] = []
        self.credit = 0
        self.violations: list[str] = []
        self.proofs: list[bytes | None] = []
        self.troubles: list[str] = []
        self.faults = 0

    async def greet(self, **changes: Any) -> Greeting:
        hello = Hello(v=(1, 0), incarnation=self.life, types=TYPES, next=1)
        self.incoming.greet(self, msgspec.structs.replace(hello, **changes))
        await self.world.until(lambda: self.greeting is not None or self.violations)
        assert self.greeting is not None, self.violations
        return self.greeting

    def send(self, *messages: Offered | int) -> None:
        made = [
            each if isinstance(each, Offered) else offered(each, sender=self.sender, incarnation=self.life)
            for each in messages
        ]
        self.incoming.offer(self, made, len(made))

    def end(self) -> None:
        self.is_over = True
        self.world.incomings.stream_ended()

    async def until_stored(self, seq: int) -> None:
        await self.world.until(lambda: self.stored is not None and self.stored.seq >= seq)

    async def until_told(self, count: int) -> list[tuple[int, int, str]]:
        """The outcomes as (first, last, state), once they are about so many messages."""
        await self.world.until(lambda: sum(each.last - each.first + 1 for each in self.outcomes) >= count)
        return [(each.first, each.last, each.state) for each in self.outcomes]

    # --- what the inbox says

    def greeted_with(self, greeting: Greeting) -> None:
        self.greeting = greeting
        self.stored = greeting.stored
        self.outcomes += greeting.outcomes

    def took(self, judgement: Judgement, size_bytes: int) -> None:
        self.credit += size_bytes
        if judgement.stored_mid is not None:
            self.stored = Position(judgement.stored_seq, judgement.stored_mid)
        if judgement.violation:
            self.violated(judgement.violation)

    def troubled(self, why: str) -> None:
        self.troubles.append(why)

    def proved(self, incarnation: Incarnation, envelope: bytes | None) -> None:
        self.proofs.append(envelope)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += [each for each in outcomes if each not in self.outcomes]

    def fetched(self, outcomes: Sequence[Outcome], *, is_all: bool) -> None:
        self.tell(outcomes)

    def look(self) -> None:
        self.incoming.catch_up(self, 0)

    def violated(self, reason: str) -> None:
        self.violations.append(reason)
        self.end()

    def failed(self) -> None:
        self.faults += 1
        self.end()


class AnyPresence:
    def may_write_to(self, peer: str) -> None:
        """Everybody may be written to."""


class Gossip:
    """Keeps what was published."""

    def __init__(self) -> None:
        self.published: list[tuple[str, object]] = []

    async def publish(self, type_name: str, payload: object, limit_bytes: int) -> object:
        self.published.append((type_name, payload))
        return None


class InboxWorld:
    """One life of a node's inbox, on a store that may outlive it."""

    def __init__(self, store: Store, attempts: int = 3, retention: timedelta = timedelta(days=1), **sizes: Any) -> None:
        self.store = store
        self.supervisor = Supervisor()
        self.hub = EventHub()
        self.events = self.hub.listen()
        self.counters = Counters()
        self.clock = LoopClock()
        self.gossip = Gossip()
        self.staged = 0
        random = SeededRandom(7)
        self.registry = TypeRegistry()
        composer = MessageComposer(
            self.registry, open_federation("test"), "ben", random, timedelta(days=7), 1024 * 1024, Everyone()
        )
        composer.meet(AnyPresence(), lambda: LIFE, lambda peer, size_bytes: None)  # type: ignore[arg-type]
        self.dispatcher = MessageDispatcher(
            registry=self.registry,
            store=store,
            composer=composer,
            retry=RetryTerms(attempts, 0.1, 10.0),
            retention_s=retention.total_seconds(),
            supervisor=self.supervisor,
            clock=self.clock,
            random=random,
            counters=self.counters,
            hub=self.hub,
        )
        self.dispatcher.meet(self.gossip, self._take_staged, lambda: False)
        self.incomings = Incomings(
            self.dispatcher,
            self.supervisor,
            self.clock,
            self.counters,
            self.hub,
            Everyone(),
            sizes.get("max_message_size", 2**20),
        )

    def _take_staged(self) -> None:
        self.staged += 1

    def subscribe(self, handler: Any, type_name: str = NOTE, **how: Any) -> Subscription:
        return self.dispatcher.subscribe(Subscription(type_name, handler, how.pop("name", None), **how))

    async def until(self, condition: Any) -> None:
        for _ in range(100_000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come true")

    async def entries(self, state: int | None = None) -> list[InboxEntry]:
        return await self.store.read(lambda tx: list_entries(tx, None, state, None, None, None, 1_000))

    def count(self, table: str) -> Any:
        return self.store.read(lambda tx: tx.execute(f"SELECT count(*) FROM {table}").scalar())

    async def settled(self) -> None:
        """Everything that became of messages is on disk."""
        await self.dispatcher.journal.flushed()


@asynccontextmanager
async def inbox_world(store: Store, *, crash: bool = False, **how: Any) -> AsyncIterator[InboxWorld]:
    """One life. `crash`: it ends without a word, as far as the store is concerned."""
    world = InboxWorld(store, **how)
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    main = asyncio.create_task(world.supervisor.run(ready))
    await ready
    await world.dispatcher.start()
    try:
        yield world
    finally:
        world.dispatcher.stop()
        main.cancel()
        await asyncio.wait([main])
        if not crash:
            await world.dispatcher.close()
        world.hub.close()


class Trouble:
    """A disk that fails as a test says: `before` and `after` count the commits that do."""

    def __init__(self) -> None:
        self.before = self.after = 0

    def latency_s(self) -> float:
        return 0.001

    def before_commit(self) -> None:
        if self.before:
            self.before -= 1
            raise StoreUnavailable("the test's", "it fails")

    def after_commit(self) -> None:
        if self.after:
            self.after -= 1
            raise StoreUnavailable("the test's", "it fails after the commit")


async def opened(path: Path | None = None, faults: Trouble | None = None) -> InlineStore:
    """A store in memory, or in a file that is there again when the next one is opened."""
    connect = None if path is None else lambda: dbapi2.connect(str(path), isolation_level=None)
    store = InlineStore(connect=connect, faults=faults)
    await store.open()
    return store


TABLE = "CREATE TABLE IF NOT EXISTS effects (number INTEGER, seq INTEGER)"


@asynccontextmanager
async def accounting(store: Store, **how: Any) -> AsyncIterator[tuple[InboxWorld, PlayedStream]]:
    """An inbox, a table for effects, and a greeted stream."""
    async with inbox_world(store, **how) as w:
        await w.dispatcher.transaction(lambda tx: tx.execute(TABLE))
        stream = PlayedStream(w)
        await stream.greet()
        yield w, stream
