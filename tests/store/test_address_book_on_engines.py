"""The address book on every engine: what was known is known again, and costs nothing while nothing changes."""

from __future__ import annotations

import asyncio

from tests.store.places import Place

from covm.federation.clock import SystemClock
from covm.federation.peers.book import DAY_MS, AddressBook, Source
from covm.federation.peers.book_journal import BookJournal
from covm.federation.store.interface import Store

NOW_MS = 100 * DAY_MS


class Stopped(SystemClock):
    def now_ms(self) -> int:
        return NOW_MS


def pair(store: Store) -> tuple[AddressBook, BookJournal]:
    book = AddressBook(needed=lambda _: False)
    return book, BookJournal(store, book, Stopped())


async def rows(store: Store) -> int:
    return await store.read(lambda tx: int(tx.execute("SELECT count(*) FROM covm_peer_addresses").scalar_one()))


async def test_a_book_that_was_written_down_is_the_same_when_it_is_read(place: Place) -> None:
    store = place.store()
    await store.open()
    book, journal = pair(store)
    book.add("ada", ["/ip4/198.51.100.1/tcp/1", "/ip6/2001:db8::1/tcp/1"], Source.PEER_INFO, NOW_MS - 5)
    book.note_tried("ada", ["/ip4/198.51.100.1/tcp/1"], NOW_MS - 4)
    book.note_met("ada", ["/ip4/198.51.100.1/tcp/1"], NOW_MS - 3)
    book.note_failed("ada", {"/ip6/2001:db8::1/tcp/1": "no route to host"})
    book.add("ben", ["/ip4/198.51.100.2/tcp/1"], Source.EXCHANGE, NOW_MS - 2, giver="ada")
    await journal.save()
    await store.close()
    store = place.store()
    await store.open()
    again, journal = pair(store)
    await journal.load()
    for peer in ("ada", "ben"):
        assert again.known(peer) == book.known(peer)
        assert again.met_ms(peer) == book.met_ms(peer)
    assert again.take_changes() == {}
    await store.close()


async def test_what_is_gone_is_gone_and_what_the_configuration_says_is_kept_only_where_it_worked(place: Place) -> None:
    store = place.store()
    await store.open()
    book, journal = pair(store)
    for peer in ("ada", "ben", "cleo"):
        book.add(peer, ["/ip4/198.51.100.1/tcp/1"], Source.MDNS, NOW_MS)
    await journal.save()
    assert await rows(store) == 3
    book.remove("ada", "/ip4/198.51.100.1/tcp/1")
    for peer in ("ben", "cleo"):
        book.add(peer, ["/ip4/198.51.100.1/tcp/1"], Source.BOOTSTRAP, NOW_MS)
    book.note_met("cleo", ["/ip4/198.51.100.1/tcp/1"], NOW_MS)
    await journal.save()
    again, journal = pair(store)
    await journal.load()
    assert again.peers() == ["cleo"]
    assert again.known("cleo")["/ip4/198.51.100.1/tcp/1"].source is Source.CONNECTED
    await store.close()


async def test_a_store_that_cannot_be_written_loses_no_change(place: Place) -> None:
    store = place.store()
    await store.open()
    book, journal = pair(store)
    await store.close()
    book.add("ada", ["/ip4/198.51.100.1/tcp/1"], Source.MDNS, NOW_MS)
    await journal.save()
    assert set(book.take_changes()) == {"ada"}
    book.put_back(["ada"])
    saving = asyncio.create_task(journal.save())
    saving.cancel()
    await asyncio.wait([saving])
    assert set(book.take_changes()) == {"ada"}


async def test_a_full_book_is_written_and_read_within_a_moment(place: Place) -> None:
    store = place.store()
    await store.open()
    book, journal = pair(store)
    for source in (Source.MDNS, Source.KADEMLIA, Source.PEER_INFO, Source.OPERATOR):
        for number in range(2_000):
            ways = [f"/ip4/198.51.100.{number % 250 + 1}/tcp/{port}" for port in range(1, 9)]
            book.add(f"{source.name}-{number}", ways, source, NOW_MS)
    async with asyncio.timeout(30):
        await journal.save()
    again, journal = pair(store)
    async with asyncio.timeout(30):
        await journal.load()
    assert sorted(again.peers()) == sorted(book.peers())
    await store.close()
