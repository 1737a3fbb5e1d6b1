"""Backups of a node: its store, its keys and its configuration in one encrypted file, also while the node runs.

Key files are taken as they are: what is encrypted stays encrypted inside of the backup too.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from covm.federation.errors import IdentityError, StoreError, StoreUnavailable
from covm.federation.identity.key_folder import KeyFolder
from covm.federation.store.archive import MEMBER, Manifest, Secret, entry_of, write_archive
from covm.federation.store.dump import dump_to_file
from covm.federation.store.files import sync_folder
from covm.federation.store.reading import reading, require_revision
from covm.federation.store.sqlite import copy_database
from covm.federation.store.tables import PEER_ID, get_meta
from covm.federation.version import software_version

if TYPE_CHECKING:
    from covm.federation.store.engine import SqlEngine

KEY_NAME: Final = "identity.key"
CONFIG_NAME: Final = "config.toml"


@dataclass(frozen=True)
class BackedUp:
    """A backup that is on disk."""

    path: Path
    peer_id: str
    size_bytes: int


def back_up(home: Path, target: Path, secret: Secret, url: str = "") -> BackedUp:
    """Writes a consistent backup of the home, 0600; on return it is on disk.

    Needs room in the home for a copy of the store while it runs. Blocks: a running node calls it in a thread of its
    own. Raises `StoreError`.
    """
    try:
        with _copied_store(home, url) as (store, peer_id, engine, revision), _copied_keys(home) as keys:
            there = [path for path in (home / KEY_NAME, home / CONFIG_NAME) if path.exists()]
            paths = [*there, *keys, store]
            names = [path.name for path in there] + [f"{MEMBER}/{path.name}" for path in keys]
            names.append("store.db" if engine == "sqlite" else "store.dump")
            manifest = Manifest(
                covm=software_version(),
                peer_id=peer_id,
                made_at_ms=time.time_ns() // 1_000_000,
                engine=engine,
                revision=revision,
                files=[entry_of(name, path) for name, path in zip(names, paths, strict=True)],
            )
            return BackedUp(target, peer_id, _write(target, secret, manifest, paths))
    except OSError as error:
        raise StoreError(f"the backup {target} could not be written: {error.strerror or error}") from error


def _write(target: Path, secret: Secret, manifest: Manifest, paths: list[Path]) -> int:
    beside = target.with_name(f"{target.name}.{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            write_archive(file, secret, manifest, paths)
            file.flush()
            os.fsync(file.fileno())
            size_bytes = file.tell()
        os.replace(beside, target)
        sync_folder(target.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return size_bytes


@contextmanager
def _copied_store(home: Path, url: str) -> Iterator[tuple[Path, str, str, str]]:
    """A copy of the store in the home for as long as it is needed: path, whose it is, engine, revision."""
    if not os.access(home, os.W_OK):
        # Beside the backup the copy would lie in the open, on a disk that may be carried away.
        why = (
            "its disk may only be read, and a backup begins with a copy of the store in it: copy the home to a disk "
            "that can be written, and back that up"
        )
        raise StoreUnavailable(str(home), why)
    copy = home / f".backup-{secrets.token_hex(4)}"
    try:
        with reading(home, url) as engine:
            revision = require_revision(engine, home)
            peer_id = _owner(engine)
            if engine.dialect == "sqlite":
                copy_database(engine.connection.connection.driver_connection, copy)
            else:
                dump_to_file(engine.connection, copy)
        yield copy, peer_id, engine.dialect, revision
    finally:
        copy.unlink(missing_ok=True)


@contextmanager
def _copied_keys(home: Path) -> Iterator[list[Path]]:
    """The key files of a member that has them in the home, as they were at one moment, while they are needed."""
    if not (home / MEMBER).is_dir():
        yield []
        return
    copy = home / f".backup-{secrets.token_hex(4)}"
    copy.mkdir(mode=0o700)
    try:
        yield [copy / name for name in KeyFolder(home / MEMBER).copy_to(copy)]
    except IdentityError as error:
        raise StoreError(f"the member's keys are not backed up: {error}") from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _owner(engine: SqlEngine) -> str:
    transaction = engine.transaction()
    peer_id = get_meta(transaction, PEER_ID)
    transaction.end()
    if peer_id is None:
        raise StoreUnavailable(engine.where, "it belongs to no node yet: start the node once")
    return peer_id.decode()
