"""Work that would hold up the event loop: reading, hashing and syncing files. Handed in, like time and chance.

On threads in a real node; on the loop itself in a simulation, where a thread would finish at a moment of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

T = TypeVar("T")

THREADS: Final = 2
"""One reads from the disk while the other hashes; more only compete with the loop for two cores."""


class Offload(Protocol):
    """Where blocking calls are made."""

    async def run(self, call: Callable[[], T]) -> T:
        """Makes the call and returns its result, or raises what it raises. Who is cancelled does not stop the call."""

    def close(self) -> None:
        """No more calls; what runs ends by itself."""


class ThreadOffload:
    """Calls on a few threads, started when they are first needed."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, call: Callable[[], T]) -> T:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="covm-files")
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


class InlineOffload:
    """Calls on the event loop itself, after a turn of it."""

    async def run(self, call: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        return call()

    def close(self) -> None:
        pass
