"""An application's own store of shared data, in the node's database or elsewhere, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.store.places import Place
from tests.unit.records_world import TYPE, Author, Shelf

from covm.federation.clock import SeededRandom
from covm.federation.dispatch.transaction import Tx
from covm.federation.dispatch.transactional import Transactions
from covm.federation.events import EventHub
from covm.federation.sync import feed_rows
from covm.federation.sync.collection import Collection
from covm.federation.sync.feed import Feed, Retry
from covm.federation.sync.feed_rows import Feeding
from covm.federation.sync.resolvers import Resolvers
from covm.federation.sync.sync_store import SyncChange
from covm.federation.wire.record import SignedRecord
from covm.federation.wire.registry import TypeRegistry

ASH = Author("ash")
OF = Feeding("notes.all", TYPE)
RETRY = Retry(rounds=2, base_s=0.001, max_s=0.01)


class Transactor:
    """As the dispatcher runs an application's function."""

    def __init__(self, shelf: Shelf) -> None:
        self._transactions = Transactions(shelf.store, None, shelf.clock.now_ms)  # type: ignore[arg-type]

    async def transaction(self, work: Any, beside: Any = None) -> Any:
        return (await self._transactions.run(work, beside))[0]


class Table:
    transactional = True
    fails_on = "bad"

    def apply(self, change: SyncChange[Any], tx: Tx) -> None:
        tx.execute("INSERT INTO effects VALUES (:key, :value)", {"key": change.key, "value": str(change.value)})
        if change.key == self.fails_on:
            tx.execute("INSERT INTO no_such_table VALUES (1)")

    def get(self, key: str) -> None:
        return None


def feed_of(shelf: Shelf, target: Any) -> Feed:
    def nobody(_name: str) -> None:
        raise AssertionError("nobody writes here")

    source: Collection[Any] = Collection(
        TYPE,
        shelf.keeper,
        None,  # type: ignore[arg-type]
        Resolvers(),
        TypeRegistry([]),
        lambda _peer: None,
        nobody,
        None,  # type: ignore[arg-type]
    )
    feed = Feed(OF, source, target, shelf.store, Transactor(shelf), RETRY, shelf.clock, SeededRandom(1), EventHub())
    shelf.keeper.listeners.append(lambda _taken: feed.wake())
    return feed


async def effects(shelf: Shelf) -> list[str]:
    return await shelf.store.read(lambda tx: sorted(tx.execute("SELECT key FROM effects").scalars()))


async def test_what_a_store_takes_is_committed_with_the_cursor_and_what_it_does_not_waits(place: Place) -> None:
    shelf = await Shelf(store=place.store()).open()
    await shelf.store.write(lambda tx: tx.execute("CREATE TABLE effects (key TEXT, value TEXT)").all())
    records: list[SignedRecord] = []
    for key in ("ash", "bad", "birch"):
        records.append(ASH.write(key, key, after=records[-1] if records else None))
    await shelf.take(*records, bodies=[ASH.bodies[each.id] for each in records])
    target = Table()
    feed = feed_of(shelf, target)
    running = asyncio.create_task(feed.run())
    await asyncio.wait_for(feed.until_settled(), 30)
    assert await effects(shelf) == ["ash", "birch"]
    assert await shelf.store.read(lambda tx: feed_rows.marks(tx, OF)) == (3, 1)
    assert await shelf.store.read(lambda tx: feed_rows.failing(tx, OF, 10)) == ["bad"]
    assert await shelf.store.read(lambda tx: feed_rows.behind(tx, TYPE, 1)) == 2
    assert "no_such_table" in feed.error
    running.cancel()
    target.fails_on = ""
    again = feed_of(shelf, target)
    running = asyncio.create_task(again.run())
    await asyncio.wait_for(again.until_settled(), 30)
    assert await effects(shelf) == ["ash", "bad", "birch"]
    assert await shelf.store.read(lambda tx: feed_rows.marks(tx, OF)) == (3, 0)
    assert again.error == ""
    running.cancel()
    await asyncio.wait([running])
    await shelf.store.close()
