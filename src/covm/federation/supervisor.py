"""The one place that catches what nobody expected: it logs, counts and goes on.

Everywhere else an exception that is not named is a fault and ends what it happened in. Here two things are kept alive
all the same: the loops of this node's components, which are started again, and the node itself when a user's handler
raises.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

logger = logging.getLogger("covm.federation")

RESTART_DELAY_S = 1.0
"""Pause before a loop that failed is started again, so that a fault that repeats does not take the processor."""


def attempt(call: Callable[[Any], object], argument: object) -> Exception | None:
    """Calls a user's synchronous handler; returns what it raised."""
    try:
        result = call(argument)
    except Exception as error:  # noqa: BLE001 - whatever a user's handler raises
        return error
    if result is not None and inspect.iscoroutine(result):
        result.close()
        return TypeError("the handler returned a coroutine that nobody awaits; define it with `async def`")
    return None


async def attempt_async(call: Callable[[Any], Awaitable[object]], argument: object) -> Exception | None:
    """Awaits a user's asynchronous handler; returns what it raised. Being cancelled passes through."""
    try:
        await call(argument)
    except Exception as error:  # noqa: BLE001 - whatever a user's handler raises
        return error
    return None


class Supervisor:
    """Owns every task of a node. `run` holds them in one task group; nothing outlives it."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self.failures = 0

    async def run(self, ready: asyncio.Future[None]) -> None:
        """Opens the task group, says so through `ready`, and stays until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            ready.set_result(None)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs a task that ends by itself; a fault in it is logged and counted."""
        if self._group is None:
            coroutine.close()
            raise asyncio.CancelledError("the node is stopping")
        task = self._group.create_task(self._contain(coroutine, name), name=name)
        # A task that is cancelled before its first step never gets to its coroutine.
        task.add_done_callback(lambda _: coroutine.close())
        return task

    def launch(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """As `spawn`, for a task that nobody else needs to cancel."""
        self.spawn(coroutine, name)  # type: ignore[unused-awaitable]

    def keep(self, loop: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Runs a loop that never ends by itself; after a fault it is started again."""
        self.launch(self._restart(loop, name), name)

    async def _restart(self, loop: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        while True:
            await self._contain(loop(), name)
            await asyncio.sleep(RESTART_DELAY_S)

    async def _contain(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await coroutine
        except Exception:
            self.failures += 1
            logger.exception("%s failed; the node goes on", name)
