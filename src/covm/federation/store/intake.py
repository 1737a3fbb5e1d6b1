"""The loop's side of a queue of jobs: bounded, in order, one hand-over for each turn of the loop.

Jobs that one turn of the loop asks for are handed over together at its end: they share a transaction, and the thread
is woken once. Results come back the same way: one call for a whole group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from covm.federation.errors import NotStarted
from covm.federation.store.interface import MAX_JOBS_WAITING

if TYPE_CHECKING:
    from covm.federation.store.interface import Job, T
    from covm.federation.store.writer import Outcome


class Waiting(NamedTuple):
    """A job and who waits for it."""

    job: Job[Any]
    answer: asyncio.Future[Any]


class Intake:
    """Takes jobs on the event loop and hands them over; `settle` answers them."""

    def __init__(self, hand_over: Callable[[list[Waiting]], None]) -> None:
        self._hand_over = hand_over
        self._places = asyncio.Semaphore(MAX_JOBS_WAITING)
        self._turn: list[Waiting] = []
        self._calls = 0
        self._is_open = True
        self._idle: asyncio.Future[None] | None = None

    async def submit(self, job: Job[T]) -> T:
        """Runs the job in its turn. Raises what the job raised, and `NotStarted` once `close` was called."""
        if not self._is_open:
            raise NotStarted("the store")
        self._calls += 1
        try:
            await self._places.acquire()
        except BaseException:
            self._ended(1)
            raise
        loop = asyncio.get_running_loop()
        if not self._turn:
            loop.call_soon(self._end_turn)
        answer: asyncio.Future[T] = loop.create_future()
        self._turn.append(Waiting(job, answer))
        return await answer

    def settle(self, group: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        """Answers a group of jobs, in order."""
        for waiting, outcome in zip(group, outcomes, strict=True):
            if waiting.answer.done():
                continue  # whoever waited was cancelled; the job was done all the same
            if outcome.error is None:
                waiting.answer.set_result(outcome.result)
            else:
                waiting.answer.set_exception(_fit_for_future(outcome.error))
        for _ in group:
            self._places.release()
        self._ended(len(group))

    async def close(self) -> None:
        """Takes no more jobs, and returns once those that were submitted are answered."""
        self._is_open = False
        if self._calls:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, []
        self._hand_over(turn)

    def _ended(self, count: int) -> None:
        self._calls -= count
        if not self._calls and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)


def _fit_for_future(error: BaseException) -> BaseException:
    """The error itself, but for StopIteration, which a future cannot carry."""
    if not isinstance(error, StopIteration):
        return error
    wrapped = RuntimeError("the job raised StopIteration")
    wrapped.__cause__ = error
    return wrapped
