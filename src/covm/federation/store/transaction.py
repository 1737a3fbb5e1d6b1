"""The transaction that jobs get: statements on one connection of the engine, closed when the job ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy import Connection, CursorResult, Executable, Table

    from covm.federation.store.driver import Driver, Rows
    from covm.federation.store.interface import Dialect

_NO_PARAMETERS: Mapping[str, Any] = {}


class JobEnded(RuntimeError):
    """A transaction was used after its job had ended."""

    def __init__(self) -> None:
        super().__init__("the transaction has ended with its job: use it only inside, and return values, not rows")


class SqlTransaction:
    """One job's view of a connection that is in a transaction. `failure` is the first error of a statement."""

    __slots__ = ("_connection", "_driver", "_results", "dialect", "failure")

    def __init__(self, connection: Connection, dialect: Dialect, driver: Driver) -> None:
        self.dialect: Dialect = dialect
        self.failure: DBAPIError | None = None
        self._connection: Connection | None = connection
        self._driver = driver
        self._results: list[CursorResult[*tuple[Any, ...]]] = []

    @overload
    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Rows: ...

    @overload
    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[*tuple[Any, ...]]: ...

    def execute(
        self,
        statement: Executable | str,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> Rows | CursorResult[*tuple[Any, ...]]:
        if self._connection is None:
            raise JobEnded
        try:
            if isinstance(statement, str):
                return self._driver.execute(statement, parameters or _NO_PARAMETERS)  # type: ignore[arg-type]
            result = self._connection.execute(statement, parameters)
        except DBAPIError as error:
            self._fail(error)
            raise
        if result.returns_rows:
            self._results.append(result)
        return result

    def insert(
        self, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, or_ignore: bool = False
    ) -> None:
        if self._connection is None:
            raise JobEnded
        try:
            self._driver.insert(table, columns, rows, or_ignore=or_ignore)
        except DBAPIError as error:
            self._fail(error)
            raise

    def end(self) -> None:
        """Closes what the job left open: a statement that is not read to its end would hold back checkpoints."""
        for result in self._results:
            result.close()
        self._results.clear()
        self._connection = None

    def _fail(self, error: DBAPIError) -> None:
        self.failure = self.failure or error
