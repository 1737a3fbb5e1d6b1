"""What the engines share: one connection, its transactions in the driver's own words, and how long commits take.

SQLAlchemy compiles and runs statements; begin, commit and rollback are said to the driver directly, so that it is
known what was said when it fails.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from covm.federation.errors import StoreError, StoreUnavailable
from covm.federation.store.driver import Driver
from covm.federation.store.transaction import SqlTransaction

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from covm.federation.store.interface import Dialect

COMMITS_TIMED = 256
"""Commits whose duration is kept: the last few seconds of a busy node."""


class SqlEngine(ABC):
    """A connection and its present transaction; used by one thread. Subclasses know their driver."""

    dialect: Dialect

    def __init__(self, where: str) -> None:
        self._where = where
        self._connection: Connection | None = None
        self._raw: Any = None
        self._driver: Driver | None = None
        self._commit_ms: deque[float] = deque(maxlen=COMMITS_TIMED)
        self.transactions = 0
        self.on_trouble: Callable[[StoreError], None] = lambda _failure: None
        self.on_disk: Callable[[bool], None] = lambda _now: None

    @property
    def where(self) -> str:
        return self._where

    @property
    def connection(self) -> Connection:
        """The open connection. Raises `StoreUnavailable` when there is none."""
        if self._connection is None:
            raise StoreUnavailable(self._where, "it is not open")
        return self._connection

    @abstractmethod
    def open(self) -> None:
        """Connects. Raises `StoreError`, and leaves nothing open then."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection, if there is one. Raises nothing."""

    @abstractmethod
    def begin(self) -> None:
        """Begins a transaction."""

    @abstractmethod
    def rollback(self) -> None:
        """Ends a transaction without effect, whatever state it is in. Raises nothing."""

    @abstractmethod
    def classify(self, error: BaseException) -> StoreError | None:
        """The failure of the store behind an error; None when the statement or the job is to blame."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Engine, version and size, for `Store.stats`; read by other threads."""

    @abstractmethod
    def _commit(self) -> None:
        """Says COMMIT."""

    def recovers(self, error: BaseException) -> bool:  # noqa: ARG002 - a file's connection is not lost
        """Whether the error was a lost connection that is there again."""
        return False

    def transaction(self) -> SqlTransaction:
        """The view of the transaction for one job."""
        if self._driver is None:
            raise StoreUnavailable(self._where, "it is not open")
        return SqlTransaction(self.connection, self.dialect, self._driver)

    def commit(self) -> None:
        """Commits; on return it is on disk."""
        began_s = time.perf_counter()
        self.on_disk(True)
        try:
            self._commit()
        finally:
            self.on_disk(False)
        self._commit_ms.append((time.perf_counter() - began_s) * 1000)
        self.transactions += 1

    def after_group(self) -> None:  # noqa: B027 - most have nothing to do
        """Called between groups, for what an engine has to tidy up."""

    def commit_times(self) -> dict[str, float]:
        """How long the last commits took, in milliseconds."""
        times = list(self._commit_ms)
        return {"commit_p50_ms": median(times) if times else 0.0, "commit_max_ms": max(times, default=0.0)}

    def _adopt(self, connection: Connection) -> None:
        self._connection = connection
        self._raw = connection.connection.driver_connection
        self._driver = Driver(connection)

    def _drop(self) -> None:
        """Lets go of the connection; what of it has to be said to the database fails without harm."""
        connection, self._connection = self._connection, None
        self._raw = self._driver = None
        if connection is not None:
            with contextlib.suppress(DBAPIError):
                connection.close()
