"""Our own gossip sequence: no number is used twice within an incarnation, and an incarnation outlives restarts.

Numbers are reserved on disk in blocks before one of them is used. After a restart the rest of the block is left out:
other nodes' windows do not mind gaps.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sqlalchemy import delete

from covm.federation.gossip.tables import numbers
from covm.federation.store.interface import Store, Transaction
from covm.federation.wire.incarnation import Incarnation

BLOCK: Final = 10_000
"""Numbers reserved at once: a commit every two seconds at an author's full allowance."""

_COLUMNS: Final = ("topic", "number", "nonce", "reserved")


class OwnNumbers:
    """The sequence of one topic.

    Call `begin` before anything else; then `ready`, and without another await `take`.
    """

    def __init__(self, store: Store, topic: str) -> None:
        self._store = store
        self._topic = topic
        self._incarnation: Incarnation | None = None
        self._last = 0
        self._reserved = 0
        self._lock = asyncio.Lock()

    async def begin(self, incarnation: Incarnation) -> None:
        """Goes on behind what was reserved for this incarnation, or begins at 1 for a new one."""
        async with self._lock:
            reserved = 0
            if self._store.is_durable:
                reserved = await self._store.read(lambda tx: _reserved(tx, self._topic, incarnation))
            self._incarnation = incarnation
            self._last = self._reserved = reserved

    async def ready(self) -> None:
        """Returns once a number is reserved. Raises `StoreError`."""
        while self._last >= self._reserved:
            async with self._lock:
                if self._last >= self._reserved:
                    await self._reserve()

    @property
    def following(self) -> int:
        """The number that is taken next."""
        return self._last + 1

    def take(self) -> None:
        """The next number is used."""
        self._last += 1

    async def _reserve(self) -> None:
        upto, incarnation = self._last + BLOCK, self._incarnation
        if self._store.is_durable and incarnation is not None:
            row = (self._topic, incarnation.number, incarnation.nonce, upto)

            def job(tx: Transaction) -> None:
                tx.execute(delete(numbers).where(numbers.c.topic == row[0]))
                tx.insert(numbers, _COLUMNS, [row])

            await self._store.write(job)
        self._reserved = upto


def _reserved(tx: Transaction, topic: str, incarnation: Incarnation) -> int:
    row = tx.execute(
        "SELECT number, nonce, reserved FROM covm_gossip_numbers WHERE topic = :topic", {"topic": topic}
    ).first()
    if row is None or Incarnation(row[0], bytes(row[1])) != incarnation:
        return 0
    return int(row[2])
