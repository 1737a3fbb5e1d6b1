"""The store in a home: `store.db`, opened by one process, checked and brought up to date before anything uses it.

store.lock            held while it is open
store.id              that there is a store, and which (sidecar.py)
store.db -wal -shm    SQLite's files
store.db.before-0002  what it was before a migration
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pysqlite3 import dbapi2
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from covm.federation.errors import StoreCorrupt, StoreError, StoreUnavailable
from covm.federation.store.files import sync_folder
from covm.federation.store.lock import FileLock
from covm.federation.store.migrations import REVISIONS, SCRIPTS, revision_of, upgrade
from covm.federation.store.sidecar import Sidecar
from covm.federation.store.sqlite_engine import SqliteEngine
from covm.federation.store.threaded import ThreadedStore

if TYPE_CHECKING:
    from covm.federation.clock import Clock

FILE_NAME: Final = "store.db"
LOCK_NAME: Final = "store.lock"

CHECK_S = 0.25
"""How long a start may look for damage. What it does not reach, `covm store check` does."""

CHECK_STEPS = 10_000
"""Steps of SQLite's machine between looks at the clock, well under a millisecond."""

BACKUP_PAGES = 1_024
"""Pages copied at once: 4 MiB."""


class SqliteStore(ThreadedStore):
    """The store of a home. `revisions` and `scripts` are the schema's steps; tests bring their own."""

    def __init__(
        self,
        home: Path,
        clock: Clock | None = None,
        *,
        revisions: tuple[str, ...] = REVISIONS,
        scripts: str = SCRIPTS,
    ) -> None:
        path = home / FILE_NAME
        super().__init__(SqliteWriter(path, revisions, scripts), SqliteEngine(path, is_writer=False), clock)


class SqliteWriter(SqliteEngine):
    """The connection that writes: it alone holds the lock, and sees to the file before it uses it."""

    def __init__(self, path: Path, revisions: tuple[str, ...] = REVISIONS, scripts: str = SCRIPTS) -> None:
        super().__init__(path, is_writer=True)
        self._lock = FileLock(path.parent, LOCK_NAME)
        self._sidecar = Sidecar(path.parent, str(path))
        self._revisions, self._scripts = revisions, scripts

    def open(self) -> None:
        self._make_home()
        self._lock.acquire()
        try:
            self._open_file()
        except BaseException as error:
            self.close()
            failure = self.classify(error)
            if failure is None and isinstance(error, dbapi2.Error | SQLAlchemyError):
                failure = StoreUnavailable(self._where, str(error).splitlines()[0])
            if failure is None or failure is error:
                raise
            raise failure from error

    def close(self) -> None:
        super().close()
        self._lock.release()

    def _make_home(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(str(self._path.parent), error.strerror or str(error)) from error

    def _open_file(self) -> None:
        if self._size() == 0:
            self._sidecar.require_none()
            if self._wal_size():
                raise StoreCorrupt(self._where, "it is gone or empty, but its write-ahead log is there")
            self._create()
        super().open()
        check_form(self._raw, self._where)
        self._bring_up_to_date()
        self.begin()
        store_id = self._sidecar.settle(self.transaction())
        self.commit()
        self._sidecar.write(store_id)

    def _create(self) -> None:
        """Makes the file, closed to others before anything is in it; SQLite's own files get the same mode."""
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            sync_folder(self._path.parent)
        except OSError as error:
            raise StoreUnavailable(self._where, error.strerror or str(error)) from error

    def _bring_up_to_date(self) -> None:
        revision = revision_of(self.connection, self._where, self._revisions)
        if revision == self._revisions[-1]:
            return
        if revision is not None:
            copy_database(self._raw, self._path.with_name(f"{FILE_NAME}.before-{self._revisions[-1]}"))
        self.begin()
        upgrade(self.connection, self._revisions[-1], self._scripts)
        self.commit()


def check_form(raw: Any, where: str) -> None:
    """Looks for damage, for `CHECK_S` at most. Raises `StoreCorrupt`, or the driver's error for what stops it."""
    until_s = time.monotonic() + CHECK_S
    tables = raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    for (name,) in tables:
        raw.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchall()  # noqa: S608 - its own tables' names
    raw.set_progress_handler(lambda: time.monotonic() > until_s, CHECK_STEPS)
    try:
        [found] = raw.execute("PRAGMA quick_check(1)").fetchone()
    except dbapi2.OperationalError as error:
        if error.sqlite_errorname != "SQLITE_INTERRUPT":
            raise
    else:
        if found != "ok":
            raise StoreCorrupt(where, found)
    finally:
        raw.set_progress_handler(None, 0)


def copy_database(raw: Any, target: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """A consistent copy in a file of its own, in steps; written beside, synced, renamed. Others may go on writing.

    `progress` is told the pages left and in all. Raises `StoreError`.
    """
    beside = target.with_name(target.name + ".new")
    beside.unlink(missing_ok=True)
    try:
        os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        copy = dbapi2.connect(str(beside), isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous=FULL").fetchall()
            raw.backup(
                copy, pages=BACKUP_PAGES, progress=lambda _status, left, total: progress and progress(left, total)
            )
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
        finally:
            copy.close()
        os.replace(beside, target)
        sync_folder(target.parent)
    except (OSError, dbapi2.Error, DBAPIError) as error:
        beside.unlink(missing_ok=True)
        raise failure_of(error, target) from error


def failure_of(error: BaseException, path: Path) -> StoreError:
    """The store's failure behind an error while a file was written."""
    found = SqliteEngine(path, is_writer=True).classify(error)
    return found or StoreUnavailable(str(path), getattr(error, "strerror", None) or str(error))
