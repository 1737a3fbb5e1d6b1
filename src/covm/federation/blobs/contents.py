"""Payloads of large publications: kept for an hour where others can fetch them, and fetched from whoever has them.

A node announces a publication as soon as it accepted it, so whoever hears of it may ask before the payload is here:
it is told so and asks again, or elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from covm import _native
from covm.federation.blobs.chunks import Place, Shape, WrongChunk, checked_leaf, checked_node, leaf_of, tree_of
from covm.federation.blobs.fetching import Fetcher, Fetchers, Interrupted, Unheld
from covm.federation.blobs.serving import NotHeld
from covm.federation.errors import StoreError
from covm.federation.ports import Unobtainable
from covm.federation.store.interface import Transaction
from covm.federation.surroundings import Surroundings
from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD
from covm.federation.wire.malformed import Malformed

KEPT_FOR: Final = timedelta(hours=1)
"""Everyone who hears of a publication asks within seconds; who was away asks for it in another way."""

MAX_KEPT_BYTES: Final = 256 * 1024 * 1024
"""On disk: an hour in which a large publication is made every fifteen seconds."""

MAX_KEPT_BYTES_IN_MEMORY: Final = 32 * 1024 * 1024
"""Where there is no disk."""

CACHED: Final = 4
"""Contents held in memory with their trees: those that neighbours ask for just now."""

FETCH_WITHIN_S: Final = 60.0
"""How long somebody who has it is looked for."""

FIRST_PAUSE_S: Final = 0.1
LAST_PAUSE_S: Final = 5.0
"""Pauses between rounds of asking: they double."""

FIRST_ANSWER_S: Final = 1.0
LAST_ANSWER_S: Final = 16.0
"""How long one peer is waited for before the next is asked: it doubles each round, so a slow link has its turn and
who never answers holds up nobody for long."""

SOURCES_A_ROUND: Final = 8
"""Peers asked before a pause: those that heard of it first have it first."""


class _Held(NamedTuple):
    data: bytes
    nodes: dict[Place, bytes]


class ContentCache:
    """The shell: `ports.Contents`, and a shelf of what is kept."""

    def __init__(self, around: Surroundings, fetcher: Fetchers, admitted: Iterable[str]) -> None:
        self._around = around
        self._fetcher = fetcher
        self._admitted = admitted
        self._cache: OrderedDict[bytes, _Held] = OrderedDict()

    async def keep(self, data: bytes) -> _native.Link:
        root, nodes = tree_of(data)
        await self._keep(root, _Held(data, nodes))
        return root

    async def read(self, root: bytes, place: Place) -> bytes:
        """A chunk of what is kept here. Raises `NotHeld`."""
        held = self._cache.get(root) or await self._load(root)
        shape = Shape(len(held.data))
        if not shape.has(place):
            raise NotHeld
        return held.nodes[place] if place.level else leaf_of(held.data, place.position)

    async def fetch(self, link: _native.Link, size_bytes: int, sources: Sequence[str]) -> tuple[bytes, str]:
        if not 0 <= size_bytes <= MAX_DIRECT_PAYLOAD:
            raise Unobtainable(f"{size_bytes:,} bytes are more than a message has")
        try:
            return (await self._own(link, size_bytes)), self._around.network.peer_id
        except NotHeld:
            pass
        try:
            async with asyncio.timeout(FETCH_WITHIN_S):
                data, source = await self._look_for(link, Shape(size_bytes), sources)
        except TimeoutError:
            raise Unobtainable(f"nobody had it within {FETCH_WITHIN_S:g} s") from None
        with contextlib.suppress(StoreError):  # others have it too; the store says itself that it cannot be written
            await self._keep(link, _Held(data, tree_of(data)[1]))
        return data, source

    async def _own(self, link: _native.Link, size_bytes: int) -> bytes:
        held = self._cache.get(link.bytes) or await self._load(link.bytes)
        if len(held.data) != size_bytes:
            raise NotHeld
        return held.data

    async def _look_for(self, link: _native.Link, shape: Shape, first: Sequence[str]) -> tuple[bytes, str]:
        pause_s, answer_s = FIRST_PAUSE_S, FIRST_ANSWER_S
        while True:
            for peer in list(dict.fromkeys([*first, *self._admitted]))[:SOURCES_A_ROUND]:
                fetcher = self._fetcher(peer)
                if fetcher is None:
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(answer_s):
                        data = await self._from(fetcher, link, shape)
                    if data is not None:
                        return data, peer
            await asyncio.sleep(self._around.random.uniform(pause_s / 2, pause_s))
            pause_s, answer_s = min(2 * pause_s, LAST_PAUSE_S), min(2 * answer_s, LAST_ANSWER_S)

    async def _from(self, fetcher: Fetcher, link: _native.Link, shape: Shape) -> bytes | None:
        """All of it from one peer; None when it does not have it."""
        answers: list[asyncio.Future[bytes]] = []
        try:
            links = [link]
            if shape.root.level:
                links = checked_node(await fetcher.ask(link, shape.root), shape, shape.root, link)
            answers += [fetcher.ask(link, Place(0, position)) for position in range(len(links))]
            leaves = [
                checked_leaf(await answer, shape, position, leaf)
                for position, (answer, leaf) in enumerate(zip(answers, links, strict=True))
            ]
        except (Interrupted, Unheld):
            return None
        except WrongChunk:
            self._around.violation(fetcher.peer, "wrong_chunk")
            return None
        except Malformed as malformed:
            # Its author announced another size than it has: nobody who hands it on is to blame.
            raise Unobtainable(str(malformed)) from None
        finally:
            for answer in answers:
                answer.cancel()
        return b"".join(leaves)

    async def _keep(self, root: _native.Link, held: _Held) -> None:
        around = self._around
        now_ms = around.clock.now_ms()
        until_ms = now_ms + int(KEPT_FOR.total_seconds() * 1000)
        most = MAX_KEPT_BYTES if around.store.is_durable else MAX_KEPT_BYTES_IN_MEMORY
        await around.store.write(lambda tx: _save(tx, root.bytes, held.data, now_ms, until_ms, most))
        self._remember(root.bytes, held)

    async def _load(self, root: bytes) -> _Held:
        now_ms = self._around.clock.now_ms()
        try:
            data = await self._around.store.read(lambda tx: _read(tx, root, now_ms))
        except StoreError:
            data = None
        if data is None:
            raise NotHeld
        held = _Held(data, tree_of(data)[1])
        self._remember(root, held)
        return held

    def _remember(self, root: bytes, held: _Held) -> None:
        self._cache[root] = held
        self._cache.move_to_end(root)
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)


def _read(tx: Transaction, root: bytes, now_ms: int) -> bytes | None:
    found = tx.execute(
        "SELECT body FROM covm_contents WHERE root = :root AND kept_until > :now", {"root": root, "now": now_ms}
    ).scalar()
    return None if found is None else bytes(found)


def _save(tx: Transaction, root: bytes, data: bytes, now_ms: int, until_ms: int, most_bytes: int) -> None:
    """Keeps the newest, within the bound; what is over or too much goes, the oldest first."""
    tx.execute("DELETE FROM covm_contents WHERE kept_until <= :now OR root = :root", {"now": now_ms, "root": root})
    rows = tx.execute("SELECT root, size FROM covm_contents ORDER BY kept_until").all()
    excess = sum(size for _, size in rows) + len(data) - most_bytes
    for old, size in rows:
        if excess <= 0:
            break
        tx.execute("DELETE FROM covm_contents WHERE root = :root", {"root": bytes(old)})
        excess -= size
    tx.execute(
        "INSERT INTO covm_contents (root, size, kept_until, body) VALUES (:root, :size, :until, :body)",
        {"root": root, "size": len(data), "until": until_ms, "body": data},
    )
