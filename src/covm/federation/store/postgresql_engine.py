"""One connection to PostgreSQL that is made again when it is lost."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from covm.federation.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from covm.federation.store.engine import SqlEngine

if TYPE_CHECKING:
    from sqlalchemy import URL

    from covm.federation.store.interface import Dialect

logger = logging.getLogger("covm.federation")

DEFAULT_SCHEMA: Final = "covm"

PATIENCE_S = 10.0
"""How long a lost database is waited for before those who wait are told: a restart of the server fits."""

CONNECT_TIMEOUT_S = 5
PING_TIMEOUT_S = 2
"""As short as libpq allows."""

RETRY_INTERVAL_S = 0.2
LOST_CONNECTION_MS = 10_000
"""Without an answer of the server's machine for this long, the connection is taken for lost."""

_PLACE: Final = ("host", "hostaddr", "port", "service", "user", "dbname")
"""What of an address says whom to ask whether they are up."""

_UNAVAILABLE: Final = ("08", "53", "57P", "58", "25006")
"""SQLSTATE classes that speak of the server: connection, resources, shutdown, system; and a read-only standby."""
_LOST: Final = ("08", "57P")
_CORRUPT: Final = ("XX001", "XX002")
_FULL: Final = "53100"


class Address:
    """A store's URL taken apart: what SQLAlchemy connects to, the schema, and how it is shown, without its password."""

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise StoreError(_not_a_url()) from None
        if parsed.get_backend_name() != "postgresql":
            raise StoreError(_not_a_url())
        schema = parsed.query.get("schema", DEFAULT_SCHEMA)
        self.schema = schema if isinstance(schema, str) else schema[-1]
        self.url: URL = parsed.set(drivername="postgresql+psycopg").difference_update_query(["schema"])
        self.shown = parsed.render_as_string(hide_password=True)


def _not_a_url() -> str:
    return "a store's URL looks like postgresql://user:password@host:5432/database?schema=covm; check store_url"


class PostgresEngine(SqlEngine):
    """A connection; the reader's sees one state for the whole of a query and changes nothing."""

    dialect: Dialect = "postgresql"

    def __init__(self, address: Address, *, is_patient: bool = True) -> None:
        super().__init__(address.shown)
        self._address = address
        self._is_patient = is_patient
        self._lost_since_s: float | None = None
        self._version = ""
        self.ending = threading.Event()
        self._engine = create_engine(
            address.url,
            poolclass=NullPool,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "covm",
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": LOST_CONNECTION_MS,
            },
        )

    def open(self) -> None:
        """Connects. A server that is not up yet is waited for: after a reboot the node may be started before it.

        Who only looks in passing does not wait.
        """
        try:
            self._reconnect(PATIENCE_S if self._is_patient else 0.0, is_start=self._is_patient)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._drop_lost()
        self._engine.dispose()

    def begin(self) -> None:
        if self._raw is None or self._raw.closed:
            self._reconnect(PATIENCE_S)

    def rollback(self) -> None:
        if self._raw is not None:
            with contextlib.suppress(psycopg.Error):
                self._raw.rollback()

    def recovers(self, error: BaseException) -> bool:
        if not self._is_lost(error):
            return False
        self._drop_lost()
        try:
            self.begin()
        except StoreError:
            return False
        return True

    def classify(self, error: BaseException) -> StoreError | None:
        if isinstance(error, StoreError):
            return error
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, psycopg.Error):
            return None
        state, text = cause.sqlstate or "", _first_line(cause)
        if state == _FULL:
            return StoreFull(self._where, text)
        if state in _CORRUPT:
            return StoreCorrupt(self._where, text)
        if state.startswith(_UNAVAILABLE) or (not state and isinstance(cause, psycopg.OperationalError)):
            return StoreUnavailable(self._where, text)
        return None

    def describe(self) -> dict[str, Any]:
        return {"engine": "postgresql", "version": self._version, "size_bytes": 0}

    def _commit(self) -> None:
        self._require_open().commit()

    def _connect(self) -> None:
        """Connects and says how: our schema, and commits that are on disk. What a subclass needs comes after."""
        self._adopt(self._engine.connect())
        raw = self._require_open()
        raw.rollback()
        self._version = ".".join(map(str, divmod(raw.info.server_version, 10_000)))
        quoted = self._address.schema.replace('"', '""')
        self._say("SELECT set_config('search_path', %s, false)", (f'"{quoted}"',))
        self._say("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        raw.commit()

    def _reconnect(self, patience_s: float, *, is_start: bool = False) -> None:
        """Connects, trying for so long since the connection was lost; at a start, only while nobody is there.

        Raises `StoreError`.
        """
        self._lost_since_s = self._lost_since_s or time.monotonic()
        was_up = is_told = False
        while True:
            self._drop_lost()
            try:
                self._connect()
            except (psycopg.Error, SQLAlchemyError) as error:
                failure = self.classify(error) or StoreUnavailable(self._where, _first_line(error))
                # A server that is up is tried once more: it may have come up since.
                is_hopeless = was_up
                was_up = is_start and not self._is_waited_for(error)
                if is_start and not was_up and not is_told:
                    is_told = True
                    logger.warning("%s is not up yet and is waited for, up to %g s", self._where, patience_s)
            else:
                self._lost_since_s = None
                return
            is_over = is_hopeless or time.monotonic() - self._lost_since_s > patience_s
            if is_over or self.ending.wait(RETRY_INTERVAL_S):
                self._drop_lost()
                raise failure

    def _is_waited_for(self, error: BaseException) -> bool:
        """Whether nobody listens, or it is still starting up. A failure to connect has no SQLSTATE that says so.

        The question keeps the interpreter to itself, so whoever did not answer in time is not asked again.
        """
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, psycopg.errors.ConnectionTimeout):
            return False
        _, words = self._engine.dialect.create_connect_args(self._address.url)
        place = {word: words[word] for word in _PLACE if word in words}
        asked = make_conninfo(**place, connect_timeout=PING_TIMEOUT_S)
        return PGconn.ping(asked.encode()) in (Ping.REJECT, Ping.NO_RESPONSE)

    def _drop_lost(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError, psycopg.Error):
                self._connection.invalidate()
        self._drop()

    def _is_lost(self, error: BaseException) -> bool:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if not isinstance(cause, psycopg.OperationalError):
            return False
        return self._raw is None or bool(self._raw.closed) or (cause.sqlstate or "").startswith(_LOST)

    def _require_open(self) -> psycopg.Connection[Any]:
        if self._raw is None:
            raise StoreUnavailable(self._where, "it is not connected")
        raw: psycopg.Connection[Any] = self._raw
        return raw

    def _say(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        """Runs a statement by the driver alone; the first row, if it has rows."""
        cursor = self._require_open().execute(statement, values)
        return cursor.fetchone() if cursor.description else None


def _first_line(error: BaseException) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
