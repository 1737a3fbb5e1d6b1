"""SQLite: a file in the home, in WAL mode, one thread that writes and one that reads.

Not the system's library: SQLite 3.7.0 to 3.51.2 can lose commits in WAL mode with two connections (the WAL-reset
bug), so `pysqlite3`, which brings its own, is passed to SQLAlchemy as the module. Commits are synced
(`synchronous=FULL`, on macOS `fullfsync`). Only the writer checkpoints.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pysqlite3 import dbapi2
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from covm.federation.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from covm.federation.store.engine import SqlEngine

if TYPE_CHECKING:
    from covm.federation.store.interface import Dialect

OLDEST_SQLITE: Final = (3, 51, 3)
"""The first version without the WAL-reset bug."""

CHECKPOINT_PAGES = 4_000
"""Pages (4 KiB) in the WAL after which a commit copies them into the file: 16 MiB, so that it is rarely done."""

MAX_WAL_BYTES = 64 * 1024 * 1024
"""A WAL above this is made empty even if the writer has to wait for a query to end."""

WAL_WAIT_MS = 5_000
"""How long it then waits."""

GROUPS_BETWEEN_LOOKS = 64
"""The WAL's size is looked at once in so many groups."""

ALMOST_FULL_BYTES = 1024 * 1024
"""An I/O error on a disk with less room than this is a full disk: not every write past the end says so."""

_IO_ERROR, _CORRUPT, _FULL, _NOT_A_DATABASE = 10, 11, 13, 26
_REASONS: Final = {
    5: "another program has it locked",
    6: "another connection has it locked",
    7: "there is no memory left",
    8: "it is read-only",
    _IO_ERROR: "an I/O error",
    14: "it cannot be opened",
    23: "access was denied",
}
"""SQLite's result codes (sqlite.org/rescode.html) that speak of the store, not of the statement."""


class SqliteEngine(SqlEngine):
    """One connection to a database file; the writer's checkpoints, a reader's cannot write."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path, *, is_writer: bool) -> None:
        super().__init__(str(path))
        self._path = path
        self._is_writer = is_writer
        self._groups = 0

    def open(self) -> None:
        require_sqlite()
        mode = "rw" if self._is_writer else reading_mode(self._path)
        try:
            raw = dbapi2.connect(
                f"file:{quote(str(self._path))}?mode={mode}",
                uri=True,
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
            )
        except dbapi2.Error as error:
            raise self.classify(error) or StoreUnavailable(self._where, str(error)) from error
        try:
            for pragma in _WRITER_PRAGMAS if self._is_writer else _READER_PRAGMAS:
                raw.execute(f"PRAGMA {pragma}").fetchall()
        except dbapi2.Error as error:
            raw.close()
            raise self.classify(error) or StoreUnavailable(self._where, str(error)) from error
        self._adopt(connect(raw))

    def close(self) -> None:
        raw = self._raw
        self._drop()
        if raw is not None:
            with contextlib.suppress(dbapi2.Error):
                raw.close()

    def begin(self) -> None:
        self._require_open().execute("BEGIN IMMEDIATE" if self._is_writer else "BEGIN")

    def rollback(self) -> None:
        with contextlib.suppress(dbapi2.Error, StoreUnavailable):
            if self._require_open().in_transaction:
                self._raw.execute("ROLLBACK")

    def classify(self, error: BaseException) -> StoreError | None:
        cause = getattr(error, "orig", None) or error
        if isinstance(cause, StoreError):
            return cause
        code = getattr(cause, "sqlite_errorcode", None)
        return None if code is None else self._failure(code & 0xFF, code, str(cause))

    def describe(self) -> dict[str, Any]:
        return {"engine": "sqlite", "version": dbapi2.sqlite_version, "size_bytes": self._size() + self._wal_size()}

    def after_group(self) -> None:
        self._groups += 1
        if self._groups % GROUPS_BETWEEN_LOOKS == 0 and self._wal_size() > MAX_WAL_BYTES:
            self.empty_wal()

    def empty_wal(self) -> None:
        """Copies the WAL into the file and makes it empty, waiting for queries; what fails is tried again later."""
        with contextlib.suppress(dbapi2.Error):
            self._raw.execute(f"PRAGMA busy_timeout={WAL_WAIT_MS}")
            self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._raw.execute("PRAGMA busy_timeout=0")

    def _commit(self) -> None:
        # Fails where an error has already ended the transaction, instead of passing over that.
        self._require_open().execute("COMMIT")

    def _require_open(self) -> Any:
        if self._raw is None:
            raise StoreUnavailable(self._where, "it is not open")
        return self._raw

    def _failure(self, primary: int, code: int, text: str) -> StoreError | None:
        if primary == _FULL:
            return StoreFull(self._where)
        if primary in {_CORRUPT, _NOT_A_DATABASE}:
            return StoreCorrupt(self._where, text)
        if primary not in _REASONS:
            return None
        if primary == _IO_ERROR and self._room() < ALMOST_FULL_BYTES:
            return StoreFull(self._where)
        return StoreUnavailable(self._where, f"{_REASONS[primary]} ({text}, code {code})")

    def _room(self) -> int:
        try:
            status = os.statvfs(self._path.parent)
        except OSError:
            return ALMOST_FULL_BYTES
        return status.f_bavail * status.f_frsize

    def _size(self) -> int:
        return _size_of(self._path)

    def _wal_size(self) -> int:
        return _size_of(self._path.with_name(self._path.name + "-wal"))


_COMMON_PRAGMAS: Final = ("trusted_schema=OFF", "cell_size_check=ON", "foreign_keys=ON", "busy_timeout=0")
_WRITER_PRAGMAS: Final = (
    *_COMMON_PRAGMAS,
    "journal_mode=WAL",
    "synchronous=FULL",
    "fullfsync=ON",
    "checkpoint_fullfsync=ON",
    f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    f"journal_size_limit={MAX_WAL_BYTES}",
    "cache_size=-16384",
    # What is deleted, or erased on purpose, is overwritten with zeros: an invite that was redeemed lets its bearer
    # in. FAST would leave pages as they are that become free, and so large values.
    "secure_delete=ON",
)
_READER_PRAGMAS: Final = (*_COMMON_PRAGMAS, "query_only=ON", "wal_autocheckpoint=0", "cache_size=-8192")


def reading_mode(path: Path) -> str:
    """How a file is opened to be read: also on a disk that may only be read, where SQLite makes no file beside it.

    Raises `StoreUnavailable` where that is not enough.
    """
    if os.access(path.parent, os.W_OK):
        return "ro"
    if _size_of(path.with_name(path.name + "-wal")):
        why = (
            f"its disk may only be read, and what was written last lies in {path.name}-wal: copy the home to a disk "
            "that can be written, and run the command there"
        )
        raise StoreUnavailable(str(path), why)
    return "ro&immutable=1"


def require_sqlite() -> None:
    """Raises `StoreUnavailable` when the SQLite that was loaded can lose commits."""
    if dbapi2.sqlite_version_info < OLDEST_SQLITE:
        raise StoreUnavailable(
            "in SQLite",
            f"SQLite {dbapi2.sqlite_version} can lose commits in WAL mode; install pysqlite3 with "
            f"{'.'.join(map(str, OLDEST_SQLITE))} or newer",
        )


def connect(raw: Any) -> Any:
    """A SQLAlchemy connection over a driver's connection in autocommit mode; it begins and commits nothing itself."""
    engine = create_engine("sqlite://", module=dbapi2, creator=lambda: raw, poolclass=StaticPool)
    return engine.connect()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
