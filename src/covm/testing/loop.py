"""An event loop whose time is made up: where nothing is ready, it leaps to the next timer.

The same program does the same in the same order, each time and in each process: no threads, no sockets, no executor,
timers of one moment in the order in which they were set, and sets of tasks or futures in the order of their making.
(What hashes strings into sets needs `PYTHONHASHSEED` too.) An hour takes as long as what happens in it.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEPS_AT_ONE_MOMENT = 1_000_000
"""Steps without time moving on: more is a program that goes round in circles, which virtual time would never end."""

TASKS_NAMED = 20
"""Waiting tasks that an error names."""

owner: ContextVar[object | None] = ContextVar("owner", default=None)
"""Whom a task belongs to: tasks take it over from whoever starts them. See `VirtualTimeLoop.tasks_of`."""


class Deadlock(RuntimeError):
    """Everybody waits, and no timer runs: nothing will ever happen again."""


class TimeStandsStill(RuntimeError):
    """The program takes step after step, and none of them lets time pass."""


class _Task(asyncio.Task[Any]):
    """A task whose hash is its number, so that sets of tasks have the same order in each process."""

    def __init__(self, number: int, coroutine: Any, **options: Any) -> None:
        self.number = number
        context: Context | None = options.get("context")
        self.owner = owner.get() if context is None else context.get(owner)
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future[Any]):
    """As `_Task`, for futures."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """An asyncio loop with virtual time. Hand it to `asyncio.Runner(loop_factory=...)`, or use `run_in_virtual_time`.

    `steps` counts the callbacks that were run: a task between two of its awaits is one step.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self._now_s = 0.0
        self._moved_at = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count(1)
        self._interruptions: list[tuple[int, int, Callable[[], object]]] = []

    def time(self) -> float:
        """Seconds since the loop was made, all of them virtual."""
        return self._now_s

    def interrupt_after(self, steps: int, call: Callable[[], object]) -> None:
        """Calls a function between two steps, when as many more have been taken: at any await of any task."""
        heapq.heappush(self._interruptions, (self.steps + steps, next(self._numbers), call))

    def tasks_of(self, whose: object) -> Sequence[asyncio.Task[Any]]:
        """The tasks that are not done and that `whose` started, or a task of its; the oldest first. See `owner`."""
        return [task for task in self._tasks() if task.owner is whose]

    def _tasks(self) -> list[_Task]:
        tasks = [task for task in asyncio.all_tasks(self) if isinstance(task, _Task)]
        return sorted(tasks, key=lambda task: task.number)

    # --- asyncio's side ---

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._check_closed()
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(next(self._numbers), self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        self._check_closed()
        return _Task(next(self._numbers), coro, loop=self, **options)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Only for what interrupts the whole program, such as a signal: there are no other threads."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:  # noqa: ARG002
        """Raises `RuntimeError`: what a thread does takes real time, in an order of its own."""
        raise RuntimeError(f"virtual time has no threads, so {func!r} cannot run in an executor; call it directly")

    def close(self) -> None:
        super().close()
        self._timers.clear()
        self._interruptions.clear()

    def _check_closed(self) -> None:
        if self.is_closed():
            raise RuntimeError("the event loop is closed")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays in the heap until its time: the loop does not leap to it."""

    def _run_once(self) -> None:
        """One turn: what is due becomes ready, and what is ready now is run."""
        if not self._ready and not self._stopping:
            self._leap()
        while self._timers and self._timers[0][0] <= self._now_s:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled():
                self._ready.append(timer)
        for _ in range(len(self._ready)):
            while self._interruptions and self._interruptions[0][0] <= self.steps:
                heapq.heappop(self._interruptions)[2]()
            handle = self._ready.popleft()
            if not handle.cancelled():
                self.steps += 1
                handle._run()  # noqa: SLF001 - what every loop does
        if self.steps - self._moved_at > STEPS_AT_ONE_MOMENT:
            raise TimeStandsStill(f"{STEPS_AT_ONE_MOMENT:,} steps were taken at {self._now_s:g} s; time does not move")

    def _leap(self) -> None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if not self._timers:
            raise Deadlock(f"nothing is ready and no timer runs, so nothing will ever happen again: {self._waiting()}")
        if self._timers[0][0] > self._now_s:
            self._now_s = self._timers[0][0]
            self._moved_at = self.steps

    def _waiting(self) -> str:
        tasks = self._tasks()
        said = [f"{task.get_name()} {_place(task)}" for task in tasks[:TASKS_NAMED]]
        more = f" and {len(tasks) - TASKS_NAMED} more" if len(tasks) > TASKS_NAMED else ""
        return "; ".join(said) + more if said else "no task waits either"


def run_in_virtual_time(story: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on a `VirtualTimeLoop` to its end and returns what it returns; as `asyncio.run` otherwise.

        def test_a_day_without_news_is_no_loss() -> None:
            run_in_virtual_time(a_day_without_news())

    Raises what the coroutine raises, `Deadlock` when nothing will ever happen again, and `TimeStandsStill`.
    """
    with _collected_by_hand(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(story)


def virtual_loop() -> VirtualTimeLoop:
    """The running loop. Raises `RuntimeError` when it is none with virtual time."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        raise RuntimeError(  # noqa: TRY004 - as without any loop
            "this needs a loop with virtual time: run it in run_in_virtual_time()"
        )
    return loop


async def let_all_end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Returns when all tasks are done, whatever their end was; steps alone pass, no time."""
    pending: list[Awaitable[Any]] = [task for task in tasks if not task.done()]
    if pending:
        await asyncio.gather(*pending, return_exceptions=True)


@contextmanager
def _collected_by_hand() -> Generator[None]:
    """Cycles die at a moment that depends on all that the process did before; weak references would tell."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _place(task: asyncio.Task[Any]) -> str:
    frames = task.get_stack(limit=1)
    if not frames:
        return "(not begun)"
    code = frames[-1].f_code
    return f"in {code.co_qualname if hasattr(code, 'co_qualname') else code.co_name}, line {frames[-1].f_lineno}"
