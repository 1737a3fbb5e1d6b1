"""The transaction that jobs get: statements on one connection of the engine, closed when the job ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Executable, Table

    from covm.federation.store.interface import Dialect, Rows

INSERT_SIZES = (256, 64, 16, 4, 1)
"""Rows of one INSERT statement: any number of rows is a few of these, so few statements are ever compiled."""

MAX_VARIABLES = 30_000
"""Parameters of one statement: SQLite takes 32,766 as it is usually built, PostgreSQL 65,535."""

_text = lru_cache(maxsize=512)(text)
"""SQL text is parsed for `:name` once; jobs have a limited number of statements."""


class JobEnded(RuntimeError):
    """A transaction was used after its job had ended."""

    def __init__(self) -> None:
        super().__init__("the transaction has ended with its job: use it only inside, and return values, not rows")


class SqlTransaction:
    """One job's view of a connection that is in a transaction. `failure` is the first error of a statement."""

    __slots__ = ("_connection", "_inserts", "_results", "dialect", "failure")

    def __init__(self, connection: Connection, dialect: Dialect, inserts: InsertTexts) -> None:
        self.dialect: Dialect = dialect
        self.failure: DBAPIError | None = None
        self._connection: Connection | None = connection
        self._inserts = inserts
        self._results: list[Rows] = []

    def execute(
        self,
        statement: Executable | str,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> Rows:
        if self._connection is None:
            raise JobEnded
        executable = _text(statement) if isinstance(statement, str) else statement
        try:
            result = self._connection.execute(executable, parameters)
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
        start, key = 0, tuple(columns)
        for size in INSERT_SIZES:
            if size * len(key) > MAX_VARIABLES:
                continue
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                statement = self._inserts.of(table, key, size, or_ignore)
                values = tuple(chain.from_iterable(chunk))
                try:
                    self._connection.exec_driver_sql(statement, values)
                except DBAPIError as error:
                    self._fail(error)
                    raise
                start += size

    def end(self) -> None:
        """Closes what the job left open: a statement that is not read to its end would hold back checkpoints."""
        for result in self._results:
            result.close()
        self._results.clear()
        self._connection = None

    def _fail(self, error: DBAPIError) -> None:
        self.failure = self.failure or error


class InsertTexts:
    """Multi-row INSERT statements of one connection's dialect, made once for each (table, columns, rows)."""

    def __init__(self, connection: Connection) -> None:
        self._preparer = connection.dialect.identifier_preparer
        self._mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        self._texts: dict[tuple[str, tuple[str, ...], int, bool], str] = {}

    def of(self, table: Table, columns: tuple[str, ...], size: int, or_ignore: bool) -> str:
        """The statement for `size` rows. As many are kept as there are tables, columns and sizes in the code."""
        key = (table.name, columns, size, or_ignore)
        if (found := self._texts.get(key)) is not None:
            return found
        quote = self._preparer.quote
        if unknown := [name for name in columns if name not in table.c]:
            raise KeyError(f"{table.name} has no column {', '.join(unknown)}")
        row = f"({', '.join([self._mark] * len(columns))})"
        made = (
            f"INSERT INTO {quote(table.name)} ({', '.join(quote(name) for name in columns)}) "  # noqa: S608 - own names
            f"VALUES {', '.join([row] * size)}{' ON CONFLICT DO NOTHING' if or_ignore else ''}"
        )
        self._texts[key] = made
        return made
