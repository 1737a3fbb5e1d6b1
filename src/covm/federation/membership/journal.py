"""Writes what a node learns of its federation's members, behind what it does about it: others can tell it again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Final

from covm.federation.errors import StoreError
from covm.federation.membership import tables
from covm.federation.membership.aside import Item, item_id
from covm.federation.membership.ledger import Taken
from covm.federation.store.interface import Job, Store, Transaction

logger = logging.getLogger("covm.federation.membership")

SAVE_PAUSE_S: Final = 1.0
"""Before what the store did not take is written again."""


class Journal:
    """What is new goes to the store together, while more of it comes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unsaved: dict[bytes, Item | None] = {}
        """What is to be written: an item, or that the one with this id is let go. No more than is held, and was."""
        self._wake = asyncio.Event()

    def add(self, taken: Taken) -> None:
        """Takes what is new in the ledger, and what it let go."""
        self._unsaved |= dict.fromkeys(taken.dropped)
        self._unsaved |= {item_id(item): item for item in taken.new}
        self._wake.set()

    async def write_on(self) -> None:
        """Writes for as long as the node runs. What is written is kept here until it is on disk."""
        while True:
            if not self._unsaved:
                self._wake.clear()
                await self._wake.wait()
            written = dict(self._unsaved)
            await self.insist(partial(_save, items=written))
            other = object()
            self._unsaved = {key: item for key, item in self._unsaved.items() if written.get(key, other) is not item}

    async def insist(self, job: Job[None]) -> None:
        """Writes a job, again and again until the store takes it."""
        while True:
            try:
                await self._store.write(job)
            except StoreError:
                await asyncio.sleep(SAVE_PAUSE_S)
            else:
                return

    async def close(self) -> None:
        """Writes what is left, once every task has ended. What the store does not take others tell after the start."""
        if self._unsaved:
            try:
                await self._store.write(partial(_save, items=self._unsaved))
            except StoreError as error:
                logger.warning("what was learned of members last could not be written: %s", error)


def _save(tx: Transaction, items: Mapping[bytes, Item | None]) -> None:
    gone = [key for key, item in items.items() if item is None]
    tables.save_items(tx, [item for item in items.values() if item is not None], gone)
