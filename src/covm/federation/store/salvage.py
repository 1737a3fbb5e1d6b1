"""Copies out of a damaged SQLite store what can be read and verifies, into a store file of its own.

Each table is read from both ends towards the damage, so one damaged place costs no more than the rows in it. The copy
is marked as a restored one is: what is missing may have been said, so the node begins a new incarnation with it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

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

MAGIC: Final = b"SQLite format 3\0"
"""What every SQLite file begins with (sqlite.org/fileformat.html)."""

_RECOUNT: Final = (
    "UPDATE covm_record_logs SET records = (SELECT count(*) FROM covm_records r WHERE r.log_id = covm_record_logs.id), "
    "size_bytes = (SELECT coalesce(sum(length(r.envelope) + coalesce(length(r.body), 0)), 0) FROM covm_records r "
    "WHERE r.log_id = covm_record_logs.id)"
)
"""What members have is counted as records come and go, and some of them may be missing now."""

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
    not_made: list[str] = field(default_factory=list)
    """Indexes, views and triggers of the application's that could not be made again: `index name`."""


class _Made(NamedTuple):
    """What a statement made in the store: a table, index, view or trigger."""

    kind: str
    name: str
    statement: str


def salvage(home: Path, target: Path) -> Salvaged:
    """Makes the new store file, 0600; it must not exist. The damaged store stays as it is. Raises `StoreError`.

    No node may run on the home. An application's own tables are copied too, and their indexes, views and triggers made
    again.
    """
    path = home / FILE_NAME
    if not path.exists():
        raise missing(home, str(path), "there is none here")
    try:
        with _with_its_magic(path, target) as readable, closing(_open_damaged(readable)) as source:
            made = _schema_of(source)
            if not any(each.kind == "table" and each.name.startswith(PREFIX) for each in made):
                raise StoreError(f"there is no store in {path} to copy out; {_BACKUP}")
            os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            return _fill(target, source, made)
    except OSError as error:
        raise StoreError(f"{target} could not be made: {error.strerror}; choose another file") from error


@contextmanager
def _with_its_magic(path: Path, target: Path) -> Iterator[Path]:
    """The store's file; where a flipped bit is in what every such file begins with, a copy that begins so.

    The copy lies beside the target for as long as it is needed: what is copied out of it lies there too.
    """
    try:
        with path.open("rb") as file:
            begins = file.read(len(MAGIC))
    except OSError as error:
        raise failure_of(error, path) from error
    if begins == MAGIC or len(begins) < len(MAGIC):
        yield path
        return
    copy = target.with_name(f"{target.name}.{secrets.token_hex(4)}.new")
    try:
        for suffix in ("", "-wal"):
            if (part := path.with_name(path.name + suffix)).exists():
                its_copy = copy.with_name(copy.name + suffix)
                os.close(os.open(its_copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
                shutil.copyfile(part, its_copy)
        with copy.open("r+b") as file:
            file.write(MAGIC)
        yield copy
    finally:
        for suffix in ("", "-wal", "-shm"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)


def _fill(target: Path, source: Any, made: list[_Made]) -> Salvaged:
    engine = SqliteEngine(target, is_writer=True)
    engine.open()
    try:
        return _copy(source, made, engine, Salvaged(target))
    except (dbapi2.Error, OSError) as error:
        raise failure_of(error, target) from error
    finally:
        engine.empty_wal()
        engine.close()


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


def _copy(source: Any, made: list[_Made], engine: SqliteEngine, report: Salvaged) -> Salvaged:
    raw = engine.connection.connection.driver_connection
    assert raw is not None  # noqa: S101
    engine.begin()
    upgrade(engine.connection, REVISIONS[-1])
    theirs = _theirs(raw, made)
    for each in theirs:
        if each.kind == "table":
            raw.execute(each.statement)
    known = {row[0] for row in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for each in made:
        if each.name in known:
            _copy_table(source, raw, each.name, report)
    # After the rows: a trigger would fire at them.
    for each in theirs:
        if each.kind != "table":
            try:
                raw.execute(each.statement)
            except dbapi2.DatabaseError:
                report.not_made.append(f"{each.kind} {each.name}")
    raw.execute(_RECOUNT)
    transaction = engine.transaction()
    put_meta(transaction, NEW_INCARNATION, b"salvaged")
    transaction.end()
    engine.commit()
    return report


def _theirs(raw: Any, made: list[_Made]) -> list[_Made]:
    """What the application made: not ours, neither of this revision nor of another."""
    ours = {row[0] for row in raw.execute("SELECT name FROM sqlite_schema")}
    return [each for each in made if each.name not in ours and not each.name.startswith(PREFIX)]


def _schema_of(source: Any) -> list[_Made]:
    query = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' AND name <> ?"
    try:
        return [_Made(*row) for row in source.execute(query, (VERSION_TABLE,))]
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
