"""A bounded queue that its reader iterates until it is closed, with several readers if need be."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")


class Feed(Generic[Item]):
    """What one listener has still to read. The oldest makes room, and the end comes after what is queued.

    Several tasks may share it: each item goes to one of them, the end to all.
    """

    def __init__(self, limit: int) -> None:
        self._items: deque[Item] = deque()
        self._limit = limit
        self._dropped = 0
        self._closed = False
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while (item := self._take()) is None:
            if self._closed:
                raise StopAsyncIteration
            await self._changed()
        return item

    def push(self, item: Item) -> None:
        """Queues an item for this listener; the oldest makes room. (The side of whoever tells)"""
        if len(self._items) >= self._limit:
            self._items.popleft()
            self._dropped += 1
        self._items.append(item)
        self._wake()

    def close(self) -> None:
        """Ends the iteration once what is queued has been read."""
        self._closed = True
        self._wake()

    async def aclose(self) -> None:
        """As `close`, for `contextlib.aclosing`."""
        self.close()

    def _take(self) -> Item | None:
        return self._items.popleft() if self._items else None

    async def _changed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self._wake()  # what this reader was woken for is another's now
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                if not self._closed:
                    return
