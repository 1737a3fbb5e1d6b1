"""Ctrl-C, SIGTERM and SIGHUP as one exception that comes only where it may."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The process was asked to end; what it made is being cleaned up on the way. Like `KeyboardInterrupt`."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by signal {number}")
        self.exit_code = 128 + number


class Interruptions:
    """Inside `with`, a signal is remembered; only inside `allowed()` does it raise `Interrupted`, once.

    So what makes and what cleans up is never cut in two: a process that was started and not yet written down, or a
    folder just made, would outlive us.
    """

    def __init__(self) -> None:
        self._armed = False
        self._pending: int | None = None

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Here an interruption may come, also one that came before."""
        self.check()
        self._armed = True
        try:
            yield
        finally:
            self._armed = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within `allowed()`, for what must not be cut in two: an interruption comes right behind it."""
        armed, self._armed = self._armed, False
        try:
            yield
        finally:
            self._armed = armed
        if armed:
            self.check()

    def check(self) -> None:
        """Raises the interruption that was remembered, if any."""
        if self._pending is not None:
            raise Interrupted(self._pending)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._pending = number
        if self._armed:
            self._armed = False
            raise Interrupted(number)
