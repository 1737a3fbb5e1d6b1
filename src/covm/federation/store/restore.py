"""A home made from a backup. Whatever was there is moved aside, never deleted.

What the node said after the backup is unknown to it then, so the restored store is marked: the node begins a new
incarnation with its next start.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pysqlite3 import dbapi2
from sqlalchemy.exc import SQLAlchemyError

from covm.federation.errors import StoreError, StoreUnavailable
from covm.federation.store.archive import MANIFEST, MEMBER, Manifest, Secret, read_archive
from covm.federation.store.backup import CONFIG_NAME, KEY_NAME
from covm.federation.store.dump import dump_to_file, load_from_file
from covm.federation.store.files import replace_file, sync_folder
from covm.federation.store.lock import FileLock
from covm.federation.store.migrations import REVISIONS, SCRIPTS, revision_of
from covm.federation.store.reading import reading
from covm.federation.store.sidecar import FILE_NAME as ID_NAME
from covm.federation.store.sqlite import FILE_NAME, LOCK_NAME
from covm.federation.store.sqlite_engine import SqliteEngine
from covm.federation.store.tables import COMMIT_TOKEN, NEW_INCARNATION, STORE_ID, delete_meta, get_meta, put_meta

if TYPE_CHECKING:
    from covm.federation.store.engine import SqlEngine

WORKSHOP: Final = ".restore"
DUMP_NAME: Final = "store.dump"
MOVED: Final = (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", ID_NAME, KEY_NAME, CONFIG_NAME)


@dataclass(frozen=True)
class Restored:
    """A home that was made from a backup."""

    home: Path
    peer_id: str
    made_at_ms: int
    moved_aside: str
    """Where what was there before lies now: a folder, empty when there was nothing."""
    moved_schema: str
    """The PostgreSQL schema under which the tables that were there lie now, the application's too; or empty."""


def restore(file: Path, home: Path, secret: Secret, url: str = "", *, replace: bool = False) -> Restored:
    """Makes the home, and with a URL the schema behind it, what the backup holds.

    Raises `StoreError`: when there is something already and `replace` is False, when a node runs on the home
    (`HomeInUse`), and when the backup is not whole or does not open. What was there is then as it was.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _held(home), _workshop(home) as workshop:
            if not replace and (there := [name for name in (*MOVED, MEMBER) if (home / name).exists()]):
                raise StoreError(f"{home} has {', '.join(there)} already; choose another --home, or say --replace")
            with file.open("rb") as source:
                manifest = read_archive(source, secret, workshop)
            url = url or _configured_url(workshop / CONFIG_NAME)
            store_id, moved_schema = _prepare_store(workshop, manifest, url, replace=replace)
            moved = _put_in_place(home, workshop, store_id)
    except OSError as error:
        raise StoreError(f"{file} could not be restored into {home}: {error.strerror or error}") from error
    return Restored(home, manifest.peer_id, manifest.made_at_ms, moved, moved_schema)


def _configured_url(config: Path) -> str:
    """Where the restored node will look for its store: there it has to be, also in a home that is new."""
    try:
        return str(tomllib.loads(config.read_text()).get("store_url", ""))
    except (FileNotFoundError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return ""


@contextmanager
def _held(home: Path) -> Iterator[None]:
    locks = [FileLock(home, "lock"), FileLock(home, LOCK_NAME)]
    try:
        for lock in locks:
            lock.acquire()
        yield
    finally:
        for lock in locks:
            lock.release()


@contextmanager
def _workshop(home: Path) -> Iterator[Path]:
    """A folder inside the home, so that the key is never in the open anywhere else."""
    folder = home / WORKSHOP
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare_store(workshop: Path, manifest: Manifest, url: str, *, replace: bool) -> tuple[bytes, str]:
    """The store in the workshop, or behind the URL, ready for a first start; its id, and the schema moved aside."""
    database, dump = workshop / FILE_NAME, workshop / DUMP_NAME
    if manifest.revision not in REVISIONS:
        raise StoreError(f"the backup has schema {manifest.revision}, newer than this covm knows: install a newer one")
    if url:
        if not dump.exists():
            with reading(workshop) as engine:
                dump_to_file(engine.connection, dump)
        prepared = _load_into_schema(dump, url, replace=replace)
        for path in workshop.glob(f"{FILE_NAME}*"):
            path.unlink()
        return prepared
    if not database.exists():
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    engine = SqliteEngine(database, is_writer=True)
    engine.open()
    try:
        store_id = _mark(engine, dump if dump.exists() else None)
        engine.empty_wal()
    finally:
        engine.close()
    return store_id, ""


def _mark(engine: SqlEngine, dump: Path | None) -> bytes:
    """Loads the dump, if there is one, and marks the store in the same transaction; returns its id."""
    try:
        engine.begin()
        if dump is not None:
            load_from_file(engine.connection, engine.dialect, dump, SCRIPTS)
        store_id = _marked(engine)
        engine.commit()
    except (SQLAlchemyError, dbapi2.Error) as error:
        engine.rollback()
        raise engine.classify(error) or StoreUnavailable(engine.where, str(error).splitlines()[0]) from error
    except BaseException:
        engine.rollback()
        raise
    return store_id


def _marked(engine: SqlEngine) -> bytes:
    transaction = engine.transaction()
    put_meta(transaction, NEW_INCARNATION, b"restored")
    delete_meta(transaction, COMMIT_TOKEN)
    store_id = get_meta(transaction, STORE_ID)
    transaction.end()
    if store_id is None or revision_of(engine.connection, engine.where) is None:
        raise StoreError("the backup's store has no id; it was not made by covm")
    return store_id


def _load_into_schema(dump: Path, url: str, *, replace: bool) -> tuple[bytes, str]:
    from covm.federation.store.postgresql import PostgresWriter
    from covm.federation.store.postgresql_engine import Address

    engine = PostgresWriter(Address(url))
    engine.open_empty()
    try:
        moved = engine.move_schema_aside(_stamp(), replace=replace)
        return _mark(engine, dump), moved
    finally:
        engine.close()


def _put_in_place(home: Path, workshop: Path, store_id: bytes) -> str:
    """Moves what is there aside and the restored files in; the note that there is a store comes last."""
    # A member's keys that the backup does not have stay where they are: they may be newer than it.
    moved = (*MOVED, MEMBER) if (workshop / MEMBER).exists() else MOVED
    there = [name for name in moved if (home / name).exists()]
    aside = home / f"before-restore-{_stamp()}"
    if there:
        aside.mkdir(mode=0o700)
        for name in there:
            os.replace(home / name, aside / name)
        sync_folder(aside)
    if (workshop / MEMBER).exists():
        sync_folder(workshop / MEMBER)
    for path in workshop.iterdir():
        if path.name not in {MANIFEST, DUMP_NAME}:
            os.replace(path, home / path.name)
    sync_folder(home)
    replace_file(home / ID_NAME, store_id.hex().encode() + b"\n")
    return str(aside) if there else ""


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3]
