"""The driver of a connection, without SQLAlchemy around it: what a node does for every message is said this way.

SQLAlchemy makes a statement of SQLite eight times as dear as it is (measured: 6 us become 45), and a message costs
some thirteen of them at both ends together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

INSERT_SIZES: Final = (256, 64, 16, 4, 1)
"""Rows of one INSERT statement: any number of rows is a few of these, so few statements are ever compiled."""

MAX_VARIABLES: Final = 30_000
"""Parameters of one statement: SQLite takes 32,766 as it is usually built, PostgreSQL 65,535."""

_NAME: Final = re.compile(r"(?<![:\w]):([a-zA-Z_]\w*)")


class Rows:
    """What a statement came to, read to its end: a statement that is left open would hold back checkpoints."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: list[tuple[Any, ...]], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount
        """Rows that an UPDATE, a DELETE or an INSERT touched."""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def all(self) -> list[tuple[Any, ...]]:
        """Every row."""
        return self._rows

    def first(self) -> tuple[Any, ...] | None:
        """The first row, or None."""
        return self._rows[0] if self._rows else None

    def one(self) -> tuple[Any, ...]:
        """The only row. Raises `ValueError` when there is another number of them."""
        [row] = self._rows
        return row

    def scalar(self) -> Any:
        """The first value of the first row, or None."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """The first value of the only row. Raises as `one`."""
        return self.one()[0]

    def scalars(self) -> list[Any]:
        """The first value of every row."""
        return [row[0] for row in self._rows]


class Driver:
    """The driver's connection under one of SQLAlchemy's, in whose transaction it speaks."""

    def __init__(self, connection: Connection) -> None:
        dialect = connection.dialect
        self._error: type[Exception] = dialect.loaded_dbapi.Error
        self._raw: Any = connection.connection.driver_connection
        self._preparer = dialect.identifier_preparer
        self._takes_names = dialect.paramstyle == "qmark"
        self._inserts: dict[tuple[str, tuple[str, ...], int, bool], str] = {}

    def execute(self, statement: str, parameters: Mapping[str, Any]) -> Rows:
        """Runs SQL text with `:name` parameters. Raises SQLAlchemy's `DBAPIError`, as its own statements do."""
        try:
            cursor = self._raw.execute(statement if self._takes_names else _percent_style(statement), parameters)
            return Rows(cursor.fetchall() if cursor.description else [], cursor.rowcount)
        except self._error as error:
            raise self._told(statement, error) from error

    def insert(self, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, or_ignore: bool) -> None:
        """Inserts rows in few statements. Raises `DBAPIError`."""
        start, key = 0, tuple(columns)
        for size in INSERT_SIZES:
            if size * len(key) > MAX_VARIABLES:
                continue
            while len(rows) - start >= size:
                values = tuple(chain.from_iterable(rows[start : start + size]))
                statement = self._insert_of(table, key, size, or_ignore)
                try:
                    self._raw.execute(statement, values)
                except self._error as error:
                    raise self._told(statement, error) from error
                start += size

    def _told(self, statement: str, error: Exception) -> BaseException:
        """The error in SQLAlchemy's words, without the values: they may be somebody's letters."""
        return DBAPIError.instance(statement, None, error, self._error, hide_parameters=True)

    def _insert_of(self, table: Table, columns: tuple[str, ...], size: int, or_ignore: bool) -> str:
        """The statement for `size` rows. As many are kept as there are tables, columns and sizes in the code."""
        key = (table.name, columns, size, or_ignore)
        if (found := self._inserts.get(key)) is not None:
            return found
        quote = self._preparer.quote
        if unknown := [name for name in columns if name not in table.c]:
            raise KeyError(f"{table.name} has no column {', '.join(unknown)}")
        row = f"({', '.join(['?' if self._takes_names else '%s'] * len(columns))})"
        made = (
            f"INSERT INTO {quote(table.name)} ({', '.join(quote(name) for name in columns)}) "  # noqa: S608 - own names
            f"VALUES {', '.join([row] * size)}{' ON CONFLICT DO NOTHING' if or_ignore else ''}"
        )
        self._inserts[key] = made
        return made


@lru_cache(maxsize=512)
def _percent_style(statement: str) -> str:
    """`:name` as psycopg writes it. The statements are the code's own: no text in quotes holds a colon."""
    return _NAME.sub(r"%(\1)s", statement.replace("%", "%%"))
