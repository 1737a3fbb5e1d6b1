"""A thread that does a database's work, group by group, and tells the event loop once for each group.

The thread and the loop share one interpreter lock. A driver gives it up around each call into its library, and gets
it back only when the loop lets go of it for long enough: beside a loop that is busy but polls its sockets every
millisecond, that is rarely (measured: 2 groups a second instead of 300). So the loop lends its time on purpose: while
a group's statements run it stands still, which costs no more than running them itself would, up to `LEND_S`; and
while the disk works it pauses for a moment every `LEND_INTERVAL_S`, so that the thread can go on when the disk is
done.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from covm.federation.store.intake import Intake, Waiting
from covm.federation.store.interface import MAX_GROUP

if TYPE_CHECKING:
    from covm.federation.store.interface import Job
    from covm.federation.store.writer import Outcome

LEND_S = 0.005
"""The longest that the loop stands still for one group: a slow query or handler must not hold up the network."""

LEND_INTERVAL_S = 0.001
"""How often the loop lends a moment while the disk works."""

MOMENT_S = 20e-6
"""A pause that lets a waiting thread have the interpreter; the system makes some 70 us of it."""


class Worker:
    """Runs `run` on groups of jobs in a thread of its own, between `begin` and `end`.

    `between` runs after each group and, when it asks for it by returning seconds, once that long has passed without
    work; `settled` is called on the loop with each group's outcomes, before whoever waits for them goes on.
    """

    def __init__(
        self,
        name: str,
        *,
        begin: Callable[[], None],
        run: Callable[[Sequence[Job[Any]]], list[Outcome]],
        end: Callable[[], None],
        between: Callable[[bool], float | None] = lambda _is_idle: None,
        settled: Callable[[Sequence[Outcome]], None] = lambda _outcomes: None,
    ) -> None:
        self._begin, self._run, self._end, self._between = begin, run, end, between
        self._settled = settled
        self._handed = 0
        self._done = 0
        self._lending: asyncio.TimerHandle | None = None
        self._gate = threading.Lock()
        self._is_lent = self._is_on_disk = False
        self._queue: SimpleQueue[list[Waiting] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._began: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self.intake = Intake(self._take_turn)

    async def start(self) -> None:
        """Starts the thread; raises what `begin` raised in it, and then the thread has ended."""
        self._thread.start()
        try:
            await asyncio.shield(self._began)
        except asyncio.CancelledError:
            self._queue.put(None)
            await asyncio.shield(self._ended)
            raise

    async def stop(self) -> None:
        """Finishes what was submitted, then ends the thread."""
        await self.intake.close()
        self._queue.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    def tell(self, call: Callable[..., object], *arguments: object) -> None:
        """From the thread: calls something on the loop. A loop that is closed waits for nothing."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    def disk_works(self, now: bool) -> None:
        """From the thread: whether it waits for the disk now, and so needs no interpreter."""
        self._is_on_disk = now
        if self._is_lent:
            with contextlib.suppress(RuntimeError):  # the loop no longer waits
                self._gate.release()

    def _main(self) -> None:
        try:
            self._begin()
        except BaseException as error:  # noqa: BLE001 - raised where the worker was started
            self.tell(_fail, self._began, error)
            self.tell(_resolve, self._ended)
            return
        self.tell(_resolve, self._began)
        try:
            self._serve()
        finally:
            self._end()
            self.tell(_resolve, self._ended)

    def _serve(self) -> None:
        wait_s: float | None = None
        pending: list[Waiting] = []
        while True:
            taken, is_last = self._take(wait_s if not pending else 0.0)
            pending += taken
            group, pending = pending[:MAX_GROUP], pending[MAX_GROUP:]
            if group:
                outcomes = self._run([waiting.job for waiting in group])
                self._done += len(group)
                self.disk_works(False)
                self.tell(self._settle, group, outcomes)
            wait_s = self._between(not group)
            if is_last and not pending:
                return

    def _take(self, wait_s: float | None) -> tuple[list[Waiting], bool]:
        """Everything that waits, after waiting for something to come; whether it was told to end."""
        taken: list[Waiting] = []
        try:
            turn = self._queue.get(timeout=wait_s) if wait_s != 0.0 else self._queue.get_nowait()
            while turn is not None:
                taken += turn
                turn = self._queue.get_nowait()
        except Empty:
            return taken, False
        return taken, True

    # --- on the loop

    def _take_turn(self, turn: list[Waiting]) -> None:
        self._handed += len(turn)
        self._queue.put(turn)
        if self._lending is None:
            self._lending = self._loop.call_later(LEND_INTERVAL_S, self._lend)

    def _lend(self) -> None:
        """Lets the thread have the interpreter; again and again as long as it has work."""
        self._lending = None
        if self._done == self._handed:
            return
        self._gate.acquire(blocking=False)
        self._is_lent = True
        if self._is_on_disk:
            time.sleep(MOMENT_S)
        else:
            self._gate.acquire(timeout=LEND_S)
        self._is_lent = False
        if self._done != self._handed:
            self._lending = self._loop.call_later(LEND_INTERVAL_S, self._lend)

    def _settle(self, group: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        self._settled(outcomes)
        self.intake.settle(group, outcomes)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
