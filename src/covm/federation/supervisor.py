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

from covm.federation.errors import NodeFailed, NotStarted

logger = logging.getLogger("covm.federation")

RESTART_DELAY_S = 1.0
"""Pause before a loop that failed is started again, so that a fault that repeats does not take the processor."""


def attempt(call: Callable[[Any], object], argument: object) -> BaseException | None:
    """Calls a user's synchronous handler; returns what it raised, unless that is meant to end the process."""
    try:
        result = call(argument)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a user's handler raises
        return error
    if result is not None and inspect.iscoroutine(result):
        result.close()
        return TypeError("the handler returned a coroutine that nobody awaits; define it with `async def`")
    return None


async def attempt_async(call: Callable[[Any], Awaitable[object]], argument: object) -> BaseException | None:
    """As `attempt`, for an asynchronous handler. That this task is cancelled passes through.

    A `CancelledError` of something else, such as a cancelled task that the handler awaits, is the handler's own.
    """
    task = asyncio.current_task()
    try:
        await call(argument)
    except BaseException as error:  # whatever a user's handler raises
        if _ends(task, error):
            raise
        return error
    return None


def is_cancelled() -> bool:
    """Whether somebody cancelled the task that runs."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _ends(task: asyncio.Task[Any] | None, error: BaseException) -> bool:
    """Whether an exception in a task is meant to end it, rather than a fault of what it runs."""
    match error:
        case SystemExit() | KeyboardInterrupt():
            return True
        case asyncio.CancelledError():
            return task is not None and task.cancelling() > 0
        case GeneratorExit():
            # The coroutine of a task that runs is not closed; that of an abandoned one is, from elsewhere.
            return _current_task() is not task
    return False


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs
        return None


def described(error: BaseException) -> str:
    """An exception in one line; its text is a user's code, which may raise as well."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - whatever a user's exception raises when it is shown
        return type(error).__name__


class Supervisor:
    """Owns every task of a node. `run` holds them in one task group; nothing outlives it."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self.failures = 0

    async def run(self, ready: asyncio.Future[None]) -> None:
        """Opens the task group, says so through `ready`, and stays until it is cancelled.

        Raises `RuntimeError` when a task ended the process (`sys.exit()`), and every other task of the node with it.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                ready.set_result(None)
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    self._group = None
        except (SystemExit, KeyboardInterrupt) as error:
            # The task that raised it has ended the loop already; raised again it would end the loop's cleaning up.
            raise RuntimeError(f"{type(error).__name__} was raised in one of its tasks") from error

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs a task that ends by itself; a fault in it is logged and counted. Raises `NotStarted`."""
        task = self._create(self._contain(coroutine, name), name)
        if task is None:
            coroutine.close()
            raise NotStarted
        # A task that is cancelled before its first step never gets to its coroutine.
        task.add_done_callback(lambda _: coroutine.close())
        return task

    def launch(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """As `spawn`, for a task that nobody else needs to cancel."""
        self.spawn(coroutine, name)  # type: ignore[unused-awaitable]

    def keep(self, loop: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Runs a loop that never ends by itself; after a fault it is started again."""
        self.launch(self._restart(loop, name), name)

    def guard(self, call: Callable[[Any], object], argument: object, what: str) -> None:
        """Takes one step among others that must not suffer from it: a fault in it is logged and counted.

        `NotStarted` and `NodeFailed` say that the node ends, and pass through.
        """
        try:
            call(argument)
        except (NotStarted, NodeFailed):
            raise
        except Exception as error:  # noqa: BLE001 - whatever nobody expected
            self._count(what, error)

    def report(self, what: str, error: BaseException) -> None:
        """A fault that was caught elsewhere, by `attempt` or `attempt_async`, is logged and counted."""
        self._count(what, error)

    def _create(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        if self._group is not None:
            try:
                return self._group.create_task(coroutine, name=name)
            except RuntimeError:
                pass  # another task has ended the group, whose owner does not know it yet
        coroutine.close()
        return None

    async def _restart(self, loop: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        while True:
            await self._contain(loop(), name)
            await asyncio.sleep(RESTART_DELAY_S)

    async def _contain(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.current_task()
        try:
            await coroutine
        except BaseException as error:
            if _ends(task, error):
                raise
            # A node that stops has tasks that notice before they are cancelled.
            if not isinstance(error, NotStarted) or self._group is not None:
                self._count(name, error)

    def _count(self, what: str, error: BaseException) -> None:
        self.failures += 1
        logger.error("%s failed; the node goes on", what, exc_info=error)
