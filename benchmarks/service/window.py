"""So many at a time: as many workers as may be under way, each beginning the next when its own is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def under_way(window: int, count: int, one: Callable[[], Awaitable[None]]) -> None:
    """Calls `one` `count` times, at most `window` at once; what one raises ends all."""
    left = iter(range(count))

    async def work() -> None:
        for _ in left:
            await one()

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(window, count)):
            workers.create_task(work())
