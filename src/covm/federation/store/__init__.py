"""The store: what a node must not lose. One schema on SQLite (a file in the home) or PostgreSQL (by URL).

interface   what components see: `Store`, `Transaction`, jobs             schema    the metadata all tables are on
writer      group commit: the rule                                       intake    the loop's side of the queue
worker      the thread's side of it                                      threaded  a store of two such threads
sqlite · postgresql · inline   the engines; `make_store` picks one       tables    covm_meta, covm_bans
migrations/ the schema, step by step                                     sidecar   that there was a store
archive · backup · restore · check · salvage   what `covm store` does

Components see `interface` and `schema`, nothing else; wiring calls `make_store`, the command line the functions of
this package. Engines are imported when they are first used: a node on SQLite never loads PostgreSQL's driver.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from covm.federation.clock import Clock
    from covm.federation.store.backup import BackedUp
    from covm.federation.store.check import Report
    from covm.federation.store.interface import Store
    from covm.federation.store.restore import Restored
    from covm.federation.store.salvage import Salvaged


def make_store(home: Path | None, url: str = "", clock: Clock | None = None) -> Store:
    """The store that a configuration asks for: the URL's, else the home's, else one in memory. Not yet open."""
    if url:
        from covm.federation.store.postgresql import PostgresStore

        return PostgresStore(url, home, clock)
    if home is not None:
        from covm.federation.store.sqlite import SqliteStore

        return SqliteStore(home, clock)
    from covm.federation.store.inline import InlineStore

    return InlineStore(clock=clock)


def has_store(home: Path) -> bool:
    """Whether this home has, or had, a store: a file with something in it, or the note that there is one."""
    from covm.federation.store.sidecar import FILE_NAME as ID_NAME
    from covm.federation.store.sqlite import FILE_NAME

    files = (home / FILE_NAME, home / f"{FILE_NAME}-wal")
    return (home / ID_NAME).exists() or any(file.exists() and file.stat().st_size for file in files)


def back_up_home(
    home: Path, target: Path, *, url: str = "", passphrase: str | None = None, recipient: str | None = None
) -> BackedUp:
    """Writes a backup, encrypted with the passphrase or for the age recipient; also while the node runs.

    Blocks: a running node calls it in a thread of its own. Raises `StoreError`.
    """
    from covm.federation.store.archive import Secret
    from covm.federation.store.backup import back_up

    return back_up(home, target, Secret(passphrase=passphrase, recipient=recipient), url)


def restore_home(
    file: Path,
    home: Path,
    *,
    url: str = "",
    passphrase: str | None = None,
    identity: str | None = None,
    replace: bool = False,
) -> Restored:
    """Makes the home from a backup, opened with its passphrase or the recipient's age key. No node may run on it.

    Without a URL the store goes where the backup's own configuration has it, else into the home.
    What is there stands in the way unless `replace`, which moves it aside. Raises `StoreError`.
    """
    from covm.federation.store.archive import Secret
    from covm.federation.store.restore import restore

    return restore(file, home, Secret(passphrase=passphrase, identity=identity), url, replace=replace)


def check_home(home: Path, url: str = "") -> Report:
    """Reads everything in the store and says what is wrong; also while the node runs. Raises `StoreError`."""
    from covm.federation.store.check import check

    return check(home, url)


def glance_at_home(home: Path, url: str = "") -> tuple[str, str]:
    """Opens the store for reading: the revision of its schema, and that of this covm. Raises `StoreError` at once."""
    from covm.federation.store.migrations import REVISIONS
    from covm.federation.store.reading import reading, require_revision

    with reading(home, url, is_patient=False) as engine:
        return require_revision(engine, home), REVISIONS[-1]


def salvage_home(home: Path, target: Path) -> Salvaged:
    """Copies what can be read and verifies from a damaged SQLite store to a new file. Raises `StoreError`."""
    from covm.federation.store.salvage import salvage

    return salvage(home, target)
