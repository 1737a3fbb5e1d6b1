"""Bodies of records, in chunks: asked for by the record's id, and named by the header that the asker holds.

A body of one leaf is that leaf, whose hash the header's link has. A larger one is of several, under a node; the header
does not know that node, so it is taken from the peer that gives the leaves: they are verified by it, and the whole by
the header. What is wrong is that peer's lie, and costs no more than one body.
"""

from __future__ import annotations

import asyncio
from typing import Final

from covm import _native
from covm.federation.blobs.chunks import LEAF_BYTES, Place, Shape, checked_leaf, links_in, tree_of
from covm.federation.blobs.fetching import Fetcher, Fetchers, Interrupted, Unheld
from covm.federation.blobs.serving import NotHeld
from covm.federation.errors import StoreError
from covm.federation.ports import BodyShelf, Unobtainable, Withheld
from covm.federation.surroundings import Surroundings
from covm.federation.wire.limits import MAX_DIRECT_PAYLOAD
from covm.federation.wire.malformed import Malformed

WITHIN_S: Final = 30.0
"""How long one peer may take for one body: 35 KB a second for the largest."""


class RecordBodies:
    """The shell: `ports.BodySource`, and a shelf in front of `ports.BodyShelf`."""

    def __init__(self, around: Surroundings, fetcher: Fetchers) -> None:
        self._around = around
        self._fetcher = fetcher
        self._shelf: BodyShelf | None = None

    def meet(self, shelf: BodyShelf) -> None:
        """Who has the records."""
        self._shelf = shelf

    async def read(self, peer: str, record: bytes, place: Place) -> bytes:
        """A chunk of a record's body for a peer. Raises `NotHeld`."""
        if place == Shape(MAX_DIRECT_PAYLOAD).root:
            body = await self._piece(peer, record, 0, MAX_DIRECT_PAYLOAD)
            if Shape(len(body)).root == place:
                # Some milliseconds of hashing, which anybody may ask for again and again.
                _, nodes = await self._around.offload.run(lambda: tree_of(body))
                return nodes[place]
        elif place.level == 0 and 0 <= place.position < MAX_DIRECT_PAYLOAD // LEAF_BYTES:
            return await self._piece(peer, record, place.position * LEAF_BYTES, LEAF_BYTES)
        raise NotHeld

    async def _piece(self, peer: str, record: bytes, begin: int, count: int) -> bytes:
        try:
            data = await self._shelf.body_for(peer, record, begin, count) if self._shelf is not None else None
        except StoreError:
            data = None
        if not data:
            raise NotHeld
        return data

    async def fetch_body(self, peer: str, record: _native.Link, body: _native.Link, size_bytes: int) -> bytes:
        fetcher = self._fetcher(peer)
        if fetcher is None:
            raise Unobtainable("the peer is not connected")
        try:
            async with asyncio.timeout(WITHIN_S):
                data = await _from(fetcher, record, Shape(size_bytes))
        except TimeoutError:
            raise Withheld(f"the peer did not give it within {WITHIN_S:g} s") from None
        except Interrupted as interrupted:
            raise Withheld(str(interrupted)) from None
        except Unheld as unheld:
            raise Unobtainable(unheld.reason or "the peer does not have it") from None
        except Malformed as malformed:
            raise self._lie(peer, str(malformed)) from None
        if len(data) != size_bytes or _native.cid(data) != body:
            raise self._lie(peer, "the body is not the one that was asked for")
        return data

    def _lie(self, peer: str, why: str) -> Withheld:
        self._around.violation(peer, "wrong_chunk")
        return Withheld(why)


async def _from(fetcher: Fetcher, record: _native.Link, shape: Shape) -> bytes:
    """All of it from one peer, its leaves as its own node names them. Raises what `Fetcher.ask` does, `Malformed`."""
    if not shape.root.level:
        return await fetcher.ask(record, shape.root)
    links = links_in(await fetcher.ask(record, shape.root), shape, shape.root)
    answers = [fetcher.ask(record, Place(0, position)) for position in range(len(links))]
    try:
        return b"".join(
            [
                checked_leaf(await answer, shape, position, link)
                for position, (answer, link) in enumerate(zip(answers, links, strict=True))
            ]
        )
    finally:
        for answer in answers:
            answer.cancel()
