"""Where the stores of the tests are, and a table of an application's own in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysqlite3
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text
from sqlalchemy.schema import CreateTable

from covm.federation.store.inline import Faults, InlineStore
from covm.federation.store.interface import Store, Transaction
from covm.federation.store.postgresql import PostgresStore
from covm.federation.store.sqlite import SqliteStore

notes = Table(
    "note",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("body", LargeBinary),
)


def make_notes(tx: Transaction) -> None:
    tx.execute(CreateTable(notes, if_not_exists=True))


def note(number: int, text: str = "") -> Callable[[Transaction], int]:
    """A job that writes one note."""

    def job(tx: Transaction) -> int:
        tx.insert(notes, ("id", "text"), [(number, text)])
        return number

    return job


def numbers(tx: Transaction) -> list[int]:
    """A query: the ids of all notes, ascending."""
    return [row[0] for row in tx.execute("SELECT id FROM note ORDER BY id")]


class Place:
    """One place where a store can be opened again and again. `home` is the node's folder."""

    def __init__(self, kind: str, home: Path, url: str = "") -> None:
        self.kind, self.home, self.url = kind, home, url
        self.faults: Faults | None = None
        self._memory: Any = None

    def store(self) -> Store:
        if self.kind == "sqlite":
            return SqliteStore(self.home)
        if self.kind == "postgresql":
            return PostgresStore(self.url, self.home)
        if self._memory is None:
            self._memory = pysqlite3.connect(":memory:", isolation_level=None)
        return InlineStore(connect=lambda: self._memory, is_durable=True, faults=self.faults)

    def end(self) -> None:
        if self._memory is not None:
            self._memory.close()
