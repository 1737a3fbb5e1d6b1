"""Which peers can be asked for chunks now: those that are admitted, each with one fetcher."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from covm.federation.blobs.fetching import Fetcher
from covm.federation.surroundings import Surroundings


class Reach:
    """The admitted peers; who is away can be waited for."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._fetchers: dict[str, Fetcher] = {}
        self._awaited: dict[str, asyncio.Event] = {}
        self.streams: dict[int, Fetcher] = {}
        """Our streams by number."""

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._fetchers))

    def __contains__(self, peer: str) -> bool:
        return peer in self._fetchers

    def fetcher(self, peer: str) -> Fetcher | None:
        """The peer's fetcher, None when it is not admitted."""
        return self._fetchers.get(peer)

    async def reached(self, peer: str, within_s: float) -> Fetcher:
        """The peer's fetcher, as soon as it is admitted. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while (fetcher := self._fetchers.get(peer)) is None:
                await self._awaited.setdefault(peer, asyncio.Event()).wait()
        return fetcher

    def admit(self, peer: str) -> None:
        if peer not in self._fetchers:
            self._fetchers[peer] = Fetcher(peer, self._around, self.streams)
            if (awaited := self._awaited.pop(peer, None)) is not None:
                awaited.set()

    def lose(self, peer: str) -> None:
        if (fetcher := self._fetchers.pop(peer, None)) is not None:
            fetcher.stop()

    def close(self) -> None:
        """The node stops."""
        for fetcher in self._fetchers.values():
            fetcher.leave()
