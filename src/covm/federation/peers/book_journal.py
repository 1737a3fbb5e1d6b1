"""Writes the address book down now and then, and at the end, so that a node finds its peers again without help.

Nothing waits for it: what a crash takes with it are the hints of some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from sqlalchemy import delete

from covm.federation.clock import Clock
from covm.federation.errors import NotStarted, StoreError
from covm.federation.peers.book import (
    CONFIGURED,
    DISCOVERY,
    MAX_ADDRESSES,
    MAX_PEERS,
    AddressBook,
    Entry,
    Known,
    Source,
)
from covm.federation.peers.tables import addresses
from covm.federation.store.interface import Store, Transaction

SAVE_PERIOD_S: Final = 10.0
"""How often changes are written, in one transaction."""

_COLUMNS: Final = tuple(column.name for column in addresses.columns)
_IN_ONE_STATEMENT: Final = 256
_BY_NAME: Final = {source.name.lower(): source for source in Source}


class BookJournal:
    """The shell around what `AddressBook` says has changed."""

    def __init__(self, store: Store, book: AddressBook, clock: Clock) -> None:
        self._store = store
        self._book = book
        self._clock = clock

    async def load(self) -> None:
        """Brings back the peers of earlier starts, those met last first. Raises `StoreError`."""
        if self._store.is_durable:
            now_ms = self._clock.now_ms()
            for peer, entry in (await self._store.read(_load)).items():
                self._book.restore(peer, entry, now_ms)

    async def run(self) -> None:
        """Writes, for as long as the node runs. While the store is in trouble, changes wait in the book."""
        while True:
            await asyncio.sleep(SAVE_PERIOD_S)
            self._book.expire(self._clock.now_ms())
            await self.save()

    async def save(self) -> None:
        """Writes what has changed; what cannot be written stays a change."""
        changes = self._book.take_changes()
        if not changes or not self._store.is_durable:
            return
        # The entries go on changing while the store's thread is at work.
        rows = {peer: _rows(peer, entry) if entry is not None else [] for peer, entry in changes.items()}
        is_written = False
        try:
            await self._store.write(lambda tx: _save(tx, rows))
            is_written = True
        except (StoreError, NotStarted):
            pass  # the store says itself, once, that it cannot be written
        finally:
            if not is_written:
                self._book.put_back(rows)


def _rows(peer: str, entry: Entry) -> list[tuple[object, ...]]:
    """What of a peer is kept: what the configuration says of it comes with the configuration."""
    rows: list[tuple[object, ...]] = []
    for address, known in entry.known.items():
        if known.source not in CONFIGURED:
            source = known.source
        elif known.worked_ms is not None:
            source = Source.CONNECTED
        else:
            continue
        times = (known.first_ms, known.heard_ms, known.tried_ms, known.worked_ms)
        name = source.name.lower()
        rows.append((peer, address, name, entry.giver, *times, known.error, entry.met_ms))
    return rows


def _save(tx: Transaction, rows: Mapping[str, list[tuple[object, ...]]]) -> None:
    peers = list(rows)
    for begin in range(0, len(peers), _IN_ONE_STATEMENT):
        tx.execute(delete(addresses).where(addresses.c.peer.in_(peers[begin : begin + _IN_ONE_STATEMENT])))
    if new := [row for some in rows.values() for row in some]:
        tx.insert(addresses, _COLUMNS, new)


def _load(tx: Transaction) -> dict[str, Entry]:
    rows = tx.execute(
        "SELECT peer, address, source, giver, first_ms, heard_ms, tried_ms, worked_ms, error, met_ms "
        "FROM covm_peer_addresses ORDER BY coalesce(met_ms, 0) DESC, heard_ms DESC, peer, address LIMIT :most",
        {"most": MAX_PEERS * MAX_ADDRESSES},
    ).all()
    found: dict[str, Entry] = {}
    for peer, address, name, giver, first_ms, heard_ms, tried_ms, worked_ms, error, met_ms in rows:
        entry = found.setdefault(peer, Entry(met_ms=met_ms, giver=giver))
        source = _BY_NAME.get(name, Source.MDNS)  # a newer covm may have known others
        entry.known[address] = Known(source, first_ms, heard_ms, tried_ms, worked_ms, error, source in DISCOVERY)
    return found
