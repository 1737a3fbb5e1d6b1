"""A connection that only reads, beside a running node or without one, in one transaction: it sees one state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from covm.federation.errors import StoreUnavailable

if TYPE_CHECKING:
    from covm.federation.store.engine import SqlEngine


@contextmanager
def reading(home: Path, url: str = "") -> Iterator[SqlEngine]:
    """The store of a home, or behind a URL, for as long as the block runs. Raises `StoreError`."""
    engine = _engine(home, url)
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


def _engine(home: Path, url: str) -> SqlEngine:
    if url:
        from covm.federation.store.postgresql_engine import Address, PostgresEngine

        return PostgresEngine(Address(url))
    from covm.federation.store.sqlite import FILE_NAME
    from covm.federation.store.sqlite_engine import SqliteEngine

    path = home / FILE_NAME
    if not path.exists():
        raise StoreUnavailable(str(path), "there is none here; choose another --home, or start the node once")
    return SqliteEngine(path, is_writer=False)
