"""Copies out of a damaged SQLite store what can be read and verifies, into a store file of its own.

Each table is read from both ends towards the damage, so one damaged place costs no more than the rows in it. The copy
is marked as a restored one is: what is missing may have been said, so the node begins a new incarnation with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pysqlite3 import dbapi2

from covm.federation.errors import StoreError
from covm.federation.store.migrations import REVISIONS, VERSION_TABLE, upgrade
from covm.federation.store.reading import missing
from covm.federation.store.schema import PREFIX
from covm.federation.store.sqlite import FILE_NAME, failure_of
from covm.federation.store.sqlite_engine import SqliteEngine, reading_mode
from covm.federation.store.tables import NEW_INCARNATION, put_meta
from covm.federation.store.verify import wrong_rows

ROWS_AT_ONCE: Final = 64

_BACKUP: Final = "bring a backup back (`covm store restore FILE --replace`)"


@dataclass
class Salvaged:
    """What was copied, and what was not."""

    path: Path
    rows: dict[str, int] = field(default_factory=dict)
    """Rows copied, by table."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Rows that could be read and do not verify, by table."""
    damaged: list[str] = field(default_factory=list)
    """Tables of which a part, or all, could not be read."""


def salvage(home: Path, target: Path) -> Salvaged:
    """Makes the new store file, 0600; it must not exist. The damaged store stays as it is. Raises `StoreError`.

    No node may run on the home. An application's own tables are copied too, without their indexes.
    """
    if not (home / FILE_NAME).exists():
        raise missing(home, str(home / FILE_NAME), "there is none here")
    source = _open_damaged(home / FILE_NAME)
    try:
        tables = _tables_of(source)
        if not any(name.startswith(PREFIX) for name, _ in tables):
            raise StoreError(f"there is no store in {home / FILE_NAME} to copy out; {_BACKUP}")
        os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        engine = SqliteEngine(target, is_writer=True)
        engine.open()
        try:
            return _copy(source, tables, engine, Salvaged(target))
        except (dbapi2.Error, OSError) as error:
            raise failure_of(error, target) from error
        finally:
            engine.empty_wal()
            engine.close()
    except OSError as error:
        raise StoreError(f"{target} could not be made: {error.strerror}; choose another file") from error
    finally:
        source.close()


def _open_damaged(path: Path) -> Any:
    try:
        source = dbapi2.connect(f"{path.absolute().as_uri()}?mode={reading_mode(path)}", uri=True, isolation_level=None)
        # What SQLite refuses as a whole (a file that is too short) is still read page by page.
        source.execute("PRAGMA writable_schema=RESET")
        source.execute("PRAGMA writable_schema=ON")
        source.execute("PRAGMA query_only=ON")
    except dbapi2.Error as error:
        raise failure_of(error, path) from error
    return source


def _copy(source: Any, tables: list[tuple[str, str]], engine: SqliteEngine, report: Salvaged) -> Salvaged:
    raw = engine.connection.connection.driver_connection
    assert raw is not None  # noqa: S101
    engine.begin()
    upgrade(engine.connection, REVISIONS[-1])
    known = {row[0] for row in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for name, statement in tables:
        if name not in known:
            if name.startswith(PREFIX):
                continue
            raw.execute(statement)
        _copy_table(source, raw, name, report)
    transaction = engine.transaction()
    put_meta(transaction, NEW_INCARNATION, b"salvaged")
    transaction.end()
    engine.commit()
    return report


def _tables_of(source: Any) -> list[tuple[str, str]]:
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> ?"
    try:
        return [(name, statement) for name, statement in source.execute(query, (VERSION_TABLE,))]
    except dbapi2.DatabaseError as error:
        raise StoreError(f"nothing can be read of it: {error}; {_BACKUP}") from error


def _copy_table(source: Any, raw: Any, name: str, report: Salvaged) -> None:
    for order in ("ASC", "DESC"):
        try:
            for columns, rows in _rows(source, name, order):
                _insert(raw, name, columns, rows, report)
        except dbapi2.DatabaseError:
            if name not in report.damaged:
                report.damaged.append(name)
        else:
            break
    report.rows[name] = raw.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608


def _rows(source: Any, name: str, order: str) -> Iterator[tuple[list[str], list[tuple[Any, ...]]]]:
    """The table's rows by key in one direction, a few at a time; what was read before an error has been handed out."""
    keys = [row[1] for row in source.execute("SELECT * FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (name,))
            ] if _has_no_rowid(source, name) else ["rowid"]  # fmt: skip
    by = ", ".join(f'"{key}" {order}' if key != "rowid" else f"rowid {order}" for key in keys)
    cursor = source.execute(f'SELECT * FROM "{name}" NOT INDEXED ORDER BY {by}')  # noqa: S608
    columns = [each[0] for each in cursor.description]
    rows: list[tuple[Any, ...]] = []
    try:
        for row in cursor:
            rows.append(row)
            if len(rows) == ROWS_AT_ONCE:
                yield columns, rows
                rows = []
    except dbapi2.DatabaseError:
        if rows:
            yield columns, rows
        raise
    if rows:
        yield columns, rows


def _has_no_rowid(source: Any, name: str) -> bool:
    with suppress(dbapi2.OperationalError):
        source.execute(f'SELECT rowid FROM "{name}" LIMIT 0')  # noqa: S608
        return False
    return True


def _insert(raw: Any, name: str, columns: list[str], rows: list[tuple[Any, ...]], report: Salvaged) -> None:
    wrong = wrong_rows(name, columns, rows)
    if wrong:
        report.left_out[name] = report.left_out.get(name, 0) + len(wrong)
    names, marks = ", ".join(f'"{each}"' for each in columns), ", ".join("?" * len(columns))
    statement = f'INSERT OR IGNORE INTO "{name}" ({names}) VALUES ({marks})'  # noqa: S608
    raw.executemany(statement, [row for index, row in enumerate(rows) if index not in wrong])
