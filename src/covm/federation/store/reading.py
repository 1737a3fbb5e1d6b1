"""A connection that only reads, beside a running node or without one, in one transaction: it sees one state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from covm.federation.errors import StoreUnavailable
from covm.federation.store.migrations import revision_of
from covm.federation.store.sidecar import Sidecar

if TYPE_CHECKING:
    from covm.federation.store.engine import SqlEngine


@contextmanager
def reading(home: Path, url: str = "", *, is_patient: bool = True) -> Iterator[SqlEngine]:
    """The store of a home, or behind a URL, for as long as the block runs.

    Raises `StoreError`: at once where it cannot be had, unless it is to be waited for.
    """
    engine = _engine(home, url, is_patient=is_patient)
    engine.open()
    try:
        engine.begin()
        yield engine
    except SQLAlchemyError as error:
        failure = engine.classify(error) or StoreUnavailable(engine.where, str(error).splitlines()[0])
        raise failure from error
    finally:
        engine.rollback()
        engine.close()


def require_revision(engine: SqlEngine, home: Path) -> str:
    """The revision of the store's schema. Raises `StoreUnavailable` where there is nothing of ours in it."""
    revision = revision_of(engine.connection, engine.where)
    if revision is None:
        raise missing(home, engine.where, "there is nothing in it")
    return revision


def _engine(home: Path, url: str, *, is_patient: bool) -> SqlEngine:
    if url:
        from covm.federation.store.postgresql_engine import Address, PostgresEngine

        return PostgresEngine(Address(url), is_patient=is_patient)
    from covm.federation.store.sqlite import FILE_NAME
    from covm.federation.store.sqlite_engine import SqliteEngine

    path = home / FILE_NAME
    if not path.exists():
        raise missing(home, str(path), "there is none here")
    return SqliteEngine(path, is_writer=False)


def missing(home: Path, where: str, what: str) -> StoreUnavailable:
    """What to say where no store is: a home that had one does not start without it."""
    known = Sidecar(home, where).read()
    if known is None:
        return StoreUnavailable(where, f"{what}; choose another --home, or start the node once")
    why = (
        f"{what}, but this home had a store ({known[:8]}) and does not start without it; bring it back, or a backup "
        "(`covm store restore FILE --replace`)"
    )
    return StoreUnavailable(where, why)
