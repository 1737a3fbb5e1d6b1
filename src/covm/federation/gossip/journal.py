"""Writes the replay windows down, so that yesterday's message has no second effect after a restart.

The verdict is given at once and a message is forwarded; handlers get it when the window that knows it is on disk. What
arrives during a commit shares the next one, so a busy node writes each author once for many messages. While the store
cannot be written, messages wait here, bounded; gossip goes on being forwarded.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.errors import StoreError
from covm.federation.events import EventHub
from covm.federation.gossip.replay import MAX_AUTHORS, WINDOW, Changes, ReplayWindows, Window
from covm.federation.gossip.tables import windows
from covm.federation.ports import Arrival, Inbound
from covm.federation.store.interface import Store, Transaction
from covm.federation.supervisor import Supervisor
from covm.federation.wire.incarnation import Incarnation

MAX_WAITING: Final = 20_000
"""Messages that wait for the store: four seconds of one author's allowance."""

MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
"""The same in bytes: half of what may wait for handlers."""

AUTHORS_SHARE: Final = 8
"""One author's messages may take this part of either, so that nobody fills the places of the others."""

FIRST_PAUSE_S: Final = 0.2
LAST_PAUSE_S: Final = 5.0
"""Pauses between attempts to write: they double, and a store that is mended is noticed within the last."""

_COLUMNS: Final = ("topic", "author", "number", "nonce", "highest", "bits", "heard_at")


class WindowJournal:
    """The shell around `ReplayWindows`: loads them, writes them, and hands messages on behind each commit."""

    def __init__(
        self,
        *,
        store: Store,
        topic: str,
        windows: ReplayWindows,
        inbound: Inbound,
        supervisor: Supervisor,
        counters: Counters,
        hub: EventHub,
        clock: Clock,
    ) -> None:
        self._store = store
        self._topic = topic
        self._windows = windows
        self._inbound = inbound
        self._supervisor = supervisor
        self._counters = counters
        self._hub = hub
        self._clock = clock
        self._waiting: deque[Arrival] = deque()
        self._waiting_bytes = 0
        self._waiting_of: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Loads the windows; nothing may be judged before. Raises `StoreError`."""
        if not self._store.is_durable:
            return
        for window in await self._store.read(lambda tx: _load(tx, self._topic)):
            self._windows.restore(window)
        self._supervisor.keep(self._write_on, "gossip windows")

    @property
    def waiting(self) -> int:
        """Messages that wait for the store."""
        return len(self._waiting)

    def add(self, arrivals: Sequence[Arrival]) -> None:
        """Takes what was just accepted; it is delivered once the windows are on disk, at once without a disk."""
        if not self._store.is_durable:
            self._inbound.deliver(arrivals)
            return
        for arrival in arrivals:
            body = arrival.body
            if self._is_full(body.author, arrival.size_bytes):
                self._counters.drop("store_too_slow")
                self._hub.drop(body.type, body.author)
                continue
            self._waiting.append(arrival)
            self._count(arrival, 1)
        self._wake.set()

    def _is_full(self, author: str, size_bytes: int) -> bool:
        return (
            len(self._waiting) >= MAX_WAITING
            or self._waiting_bytes + size_bytes > MAX_WAITING_BYTES
            or self._waiting_of[author] >= MAX_WAITING // AUTHORS_SHARE
            or self._bytes_of[author] + size_bytes > MAX_WAITING_BYTES // AUTHORS_SHARE
        )

    def _count(self, arrival: Arrival, sign: int) -> None:
        author, size_bytes = arrival.body.author, sign * arrival.size_bytes
        self._waiting_bytes += size_bytes
        self._waiting_of[author] += sign
        self._bytes_of[author] += size_bytes
        if not self._waiting_of[author]:
            del self._waiting_of[author], self._bytes_of[author]

    async def _write_on(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                count = len(self._waiting)
                if not await self._write():
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, LAST_PAUSE_S)
                    continue
                pause_s = FIRST_PAUSE_S
                self._hand_on(count)

    async def _write(self) -> bool:
        """Writes what changed; False when the store cannot."""
        changes, now_ms = self._windows.take_changes(), self._clock.now_ms()
        written = False
        try:
            await self._store.write(lambda tx: _save(tx, self._topic, changes, now_ms))
            written = True
        except StoreError:
            pass  # the store says itself, once, that it cannot be written
        finally:
            if not written:
                self._windows.put_back(changes)
        return written

    def _hand_on(self, count: int) -> None:
        arrivals = [self._waiting.popleft() for _ in range(count)]
        for arrival in arrivals:
            self._count(arrival, -1)
        self._inbound.deliver(arrivals)


def _load(tx: Transaction, topic: str) -> list[Window]:
    """The windows of those heard last, the longest silent first."""
    rows = tx.execute(
        "SELECT author, number, nonce, highest, bits FROM covm_gossip_windows WHERE topic = :topic "
        "ORDER BY heard_at DESC, author LIMIT :most",
        {"topic": topic, "most": MAX_AUTHORS},
    ).all()
    return [
        Window(author, Incarnation(number, bytes(nonce)), highest, unpacked(bytes(bits)))
        for author, number, nonce, highest, bits in reversed(rows)
    ]


def _save(tx: Transaction, topic: str, changes: Changes, now_ms: int) -> None:
    """Two statements, however many authors: what was there goes, what is now comes."""
    authors = [*changes.forgotten, *(window.author for window in changes.windows)]
    if authors:
        tx.execute(delete(windows).where(windows.c.topic == topic, windows.c.author.in_(authors)))
    rows = [
        (topic, author, incarnation.number, incarnation.nonce, highest, packed(bits), now_ms)
        for author, incarnation, highest, bits in changes.windows
    ]
    if rows:
        tx.insert(windows, _COLUMNS, rows)


def packed(bits: int) -> bytes:
    """A window's bits, compressed: two KiB where nearly everything came take some twenty bytes."""
    return zlib.compress(bits.to_bytes((bits.bit_length() + 7) // 8, "little"), 1)


def unpacked(data: bytes) -> int:
    """The bits in `packed` bytes, never more than a window has."""
    return int.from_bytes(zlib.decompressobj().decompress(data, WINDOW // 8), "little")
