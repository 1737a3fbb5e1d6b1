"""The rows of our tables in one form for both engines: PostgreSQL's backups, and the way from one engine to the other.

A file of frames, each a length (4 bytes, big-endian) and a MessagePack value:

    ["covm-dump", 1, revision]      first
    [table, columns, rows]          at most `ROWS_AT_ONCE` rows of one table
    ["end", tables, rows]           last: without it the file is not whole

An application's own tables are not in it; on PostgreSQL `pg_dump` of the whole database has both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import MetaData, inspect, select, text

from covm.federation.errors import StoreError
from covm.federation.store.driver import Driver
from covm.federation.store.migrations import REVISIONS, VERSION_TABLE, revision_of, upgrade
from covm.federation.store.schema import PREFIX
from covm.federation.store.transaction import SqlTransaction

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from covm.federation.store.interface import Dialect

ROWS_AT_ONCE: Final = 64
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
"""Rows hold envelopes of a little over 1 MiB; a longer frame is not ours."""


def our_tables(connection: Connection) -> list[Table]:
    """The tables that hold our rows, as they are in the database."""
    names = {name for name in inspect(connection).get_table_names() if name.startswith(PREFIX)} - {VERSION_TABLE}
    found = MetaData()
    found.reflect(connection, only=sorted(names))
    return sorted(found.tables.values(), key=lambda table: table.name)


def dump_to_file(connection: Connection, path: Path) -> None:
    """Writes every row that the connection's transaction sees; 0600, synced. Raises `StoreError`, `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        for frame in _frames(connection):
            data = msgspec.msgpack.encode(frame)
            file.write(len(data).to_bytes(4, "big"))
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load_from_file(connection: Connection, dialect: Dialect, path: Path, scripts: str) -> None:
    """Makes the schema that the file was written with and its rows, in the transaction of the caller.

    Raises `StoreError` for a file that is not whole, and for a revision that this covm does not know.
    """
    with path.open("rb") as file:
        frames = _read_frames(file)
        head = next(frames, None)
        if not isinstance(head, list) or head[:2] != ["covm-dump", 1] or head[2] not in REVISIONS:
            raise StoreError(f"{path.name} is no dump that this covm reads; it begins with {head!r:.80}")
        upgrade(connection, head[2], scripts)
        tables = {table.name: table for table in our_tables(connection)}
        transaction = SqlTransaction(connection, dialect, Driver(connection))
        rows_loaded = 0
        for frame in frames:
            if frame[0] == "end":
                if frame[2] != rows_loaded:
                    break
                _go_on_counting(connection, dialect, list(tables.values()))
                return
            name, columns, rows = frame
            if name not in tables:
                raise StoreError(f"{path.name} has rows of {name!r:.80}, which the schema {head[2]} does not")
            transaction.insert(tables[name], columns, rows)
            rows_loaded += len(rows)
    raise StoreError(f"{path.name} is not whole; take another backup")


def _frames(connection: Connection) -> Iterator[list[Any]]:
    revision = revision_of(connection, "to be dumped")
    yield ["covm-dump", 1, revision]
    tables, count = our_tables(connection), 0
    for table in tables:
        columns = [str(column.name) for column in table.columns]
        with connection.execute(select(table), execution_options={"yield_per": ROWS_AT_ONCE}) as result:
            for rows in result.partitions():
                yield [str(table.name), columns, [list(row) for row in rows]]
                count += len(rows)
    yield ["end", len(tables), count]


def _read_frames(file: IO[bytes]) -> Iterator[Any]:
    while head := file.read(4):
        size = int.from_bytes(head, "big")
        data = file.read(size) if size <= MAX_FRAME_BYTES else b""
        if len(data) != size:
            raise StoreError("the dump ends in the middle; take another backup")
        try:
            yield msgspec.msgpack.decode(data)
        except msgspec.DecodeError as error:
            raise StoreError(f"the dump cannot be read: {error}; take another backup") from None


def _go_on_counting(connection: Connection, dialect: Dialect, tables: list[Table]) -> None:
    """PostgreSQL's counters know nothing of rows that came with their ids."""
    if dialect != "postgresql":
        return
    for table in tables:
        if (
            "id" in table.c
            and connection.execute(text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": table.name}).scalar()
        ):
            connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence(:name, 'id'), coalesce(max(id), 0) + 1, false) "  # noqa: S608
                    f"FROM {table.name}"
                ),
                {"name": table.name},
            )
