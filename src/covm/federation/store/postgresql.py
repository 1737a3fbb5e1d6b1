"""The store on PostgreSQL: one node for each schema, held by an advisory lock of the connection that writes.

The lock and the writes share one connection, so whoever writes has the lock. It ends with the connection: a session
pooler in front of the server would break that, a direct connection is needed.

Each transaction leaves a random token in `covm_meta`. When the connection is lost while COMMIT is under way, nobody
knows whether it took effect; over the next connection the token says so, and until then nobody is answered: "failed"
would be a guess. The token also shows whether another node wrote in the meantime; then this one knows too little to
go on.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import SQLAlchemyError

from covm.federation.errors import HomeInUse, StoreError, StoreUnavailable
from covm.federation.store.migrations import REVISIONS, SCRIPTS, revision_of, upgrade
from covm.federation.store.postgresql_engine import PATIENCE_S, RETRY_INTERVAL_S, Address, PostgresEngine
from covm.federation.store.sidecar import Sidecar
from covm.federation.store.tables import COMMIT_TOKEN
from covm.federation.store.threaded import ThreadedStore

if TYPE_CHECKING:
    from covm.federation.clock import Clock

logger = logging.getLogger("covm.federation")

TOKEN_BYTES = 16

ENDING_WAIT_S = 2.0
"""How long the server may take to end a connection of ours that it still believes in."""

PARTING_WAIT_S = 2.0
"""How long the server may take to let go of the lock when the store is closed: as long as a busy one needs, and not so
long that one that is gone keeps a node from ending."""

OLDEST_SERVER = 120_000
"""PostgreSQL 12; older ones have had no corrections since 2023."""

GROUPS_BETWEEN_SIZES = 256
"""The size is asked for once in so many groups."""


class PostgresStore(ThreadedStore):
    """The store behind a URL. With a `home` the file `store.id` there notes which store it is."""

    def __init__(
        self,
        url: str,
        home: Path | None = None,
        clock: Clock | None = None,
        *,
        revisions: tuple[str, ...] = REVISIONS,
        scripts: str = SCRIPTS,
    ) -> None:
        address = Address(url)
        self._ends = (PostgresWriter(address, home, revisions, scripts), PostgresEngine(address))
        super().__init__(*self._ends, clock)

    async def close(self) -> None:
        # A database that is away is not waited for any longer.
        for engine in self._ends:
            engine.ending.set()
        await super().close()


class NotCommitted(Exception):
    """The connection was lost at COMMIT and is there again; the transaction had no effect."""


class PostgresWriter(PostgresEngine):
    """The connection that holds the lock and writes."""

    def __init__(
        self,
        address: Address,
        home: Path | None = None,
        revisions: tuple[str, ...] = REVISIONS,
        scripts: str = SCRIPTS,
    ) -> None:
        super().__init__(address)
        self._home = home
        self._sidecar = Sidecar(home, address.shown)
        self._revisions, self._scripts = revisions, scripts
        self._token: bytes | None = None
        self._doubted: bytes | None = None
        self._backend: tuple[Any, ...] | None = None
        self._groups = 0
        self._size_bytes = 0

    def open(self) -> None:
        super().open()
        try:
            self._prepare()
        except BaseException as error:
            self.rollback()
            self.close()
            failure = self.classify(error)
            if failure is None and isinstance(error, psycopg.Error | SQLAlchemyError):
                failure = StoreUnavailable(self._where, str(error).splitlines()[0])
            if failure is None or failure is error:
                raise
            raise failure from error

    def open_empty(self) -> None:
        """Connects and takes the lock, and looks at nothing: for a restore."""
        super().open()

    def close(self) -> None:
        # Before the connection ends: that alone a server may notice only after the next node has asked for the lock.
        with contextlib.suppress(psycopg.Error):
            self._give_lock_back()
        super().close()

    def move_schema_aside(self, stamp: str, *, replace: bool) -> str:
        """In the transaction of a restore: makes the schema anew; the name of the one that was there, if any was.

        Raises `StoreError` when there is one with tables of ours and `replace` is False.
        """
        name, moved = self._address.schema, ""
        if self._say("SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename LIKE 'covm%%'", (name,)):
            if not replace:
                raise StoreError(f"{self._where} holds a store already; name another schema, or say --replace")
            moved = f"{name}_before_{stamp.lower()}"
            self._require_open().execute(
                sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(moved))
            )
        self._require_open().execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
        return moved

    def recovers(self, error: BaseException) -> bool:
        return isinstance(error, NotCommitted) or super().recovers(error)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "size_bytes": self._size_bytes}

    def after_group(self) -> None:
        if self._groups % GROUPS_BETWEEN_SIZES == 0:
            with contextlib.suppress(psycopg.Error, StoreError):
                self._measure()
        self._groups += 1

    def _prepare(self) -> None:
        self._make_schema()
        revision = revision_of(self.connection, self._where, self._revisions)
        self._require_open().rollback()
        if revision is None:
            self._sidecar.require_none()
        if revision != self._revisions[-1]:
            if revision is not None:
                self._keep_copy()
            upgrade(self.connection, self._revisions[-1], self._scripts)
            self._require_open().commit()
        store_id = self._sidecar.settle(self.transaction())
        self.commit()
        self._sidecar.write(store_id)
        self._measure()

    def _make_schema(self) -> None:
        name = self._address.schema
        if self._say("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)) is None:
            self._require_open().execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        self._require_open().commit()

    def _keep_copy(self) -> None:
        """A copy of the tables before they are changed, in the home; without a home the server's own backups count."""
        if self._home is not None:
            from covm.federation.store.dump import dump_to_file

            dump_to_file(self.connection, self._home / f"store.before-{self._revisions[-1]}.dump")
            self._require_open().rollback()

    def _measure(self) -> None:
        row = self._say(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r'",
            (self._address.schema,),
        )
        self._size_bytes = row[0]
        self._require_open().rollback()

    # --- connecting

    def _connect(self) -> None:
        before = self._backend
        super()._connect()
        raw = self._require_open()
        if raw.info.server_version < OLDEST_SERVER:
            raise StoreUnavailable(self._where, f"PostgreSQL {self._version} is too old; 12 or newer is needed")
        self._say("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
        self._require_lasting_commits()
        raw.commit()
        self._lock(before)
        self._backend = self._say("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
        raw.commit()
        self._require_own_token()

    def _require_lasting_commits(self) -> None:
        """A server may promise more than `on` (to replicas too), never less."""
        if self._say("SELECT current_setting('synchronous_commit')") in {("off",), ("local",)}:
            self._say("SET synchronous_commit TO on")
        if self._say("SELECT current_setting('fsync')") != ("on",):
            logger.warning("the store %s runs with fsync off: a power cut may lose what was acknowledged", self._where)

    def _lock(self, before: tuple[Any, ...] | None) -> None:
        """Takes the schema's lock. A connection of ours that the server still believes in is ended first."""
        digest = hashlib.sha256(b"covm store " + self._address.schema.encode()).digest()
        key = int.from_bytes(digest[:8], "big", signed=True)
        until_s = time.monotonic()
        if before is not None:
            self._say(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s", before
            )
            until_s += ENDING_WAIT_S
        while self._say("SELECT pg_try_advisory_lock(%s)", (key,)) != (True,):
            self._require_open().commit()
            if time.monotonic() >= until_s or self.ending.wait(RETRY_INTERVAL_S):
                raise HomeInUse(self._where)
        self._require_open().commit()

    def _give_lock_back(self) -> None:
        """Waits for the server's word, for a while."""
        if self._raw is None or self._raw.closed:
            return
        raw = self._require_open()
        undo = b"" if raw.info.transaction_status == TransactionStatus.IDLE else b"ROLLBACK; "
        pgconn, answers = raw.pgconn, select.poll()
        answers.register(pgconn.socket, select.POLLIN)
        pgconn.send_query(undo + b"SELECT pg_advisory_unlock_all()")
        pgconn.flush()
        until_s = time.monotonic() + PARTING_WAIT_S
        while True:
            while pgconn.is_busy():
                if not answers.poll(max(0.0, until_s - time.monotonic()) * 1000):
                    return
                pgconn.consume_input()
            if pgconn.get_result() is None:
                return

    # --- commits

    def _commit(self) -> None:
        raw, token = self._require_open(), secrets.token_bytes(TOKEN_BYTES)
        self._say(
            "INSERT INTO covm_meta (key, value) VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (COMMIT_TOKEN, token),
        )
        try:
            raw.commit()
        except psycopg.OperationalError as error:
            if not self._is_lost(error):
                raise
            self._settle(token, error)
        self._token = token

    def _settle(self, token: bytes, error: psycopg.Error) -> None:
        """Returns if the transaction with this token was committed; raises `NotCommitted` if not."""
        self._doubted = token
        while True:
            try:
                self._reconnect(PATIENCE_S)
            except StoreUnavailable as failure:
                if self.ending.is_set():
                    why = "the connection was lost at COMMIT, and whether it took effect is not known"
                    raise StoreUnavailable(self._where, why) from error
                self.on_trouble(failure)
                self.ending.wait(RETRY_INTERVAL_S)
            else:
                break
        held = self._stored_token()
        self._doubted = None
        if held != token:
            raise NotCommitted from error

    def _stored_token(self) -> bytes | None:
        row = self._say("SELECT value FROM covm_meta WHERE key = %s", (COMMIT_TOKEN,))
        self._require_open().rollback()
        return None if row is None else bytes(row[0])

    def _require_own_token(self) -> None:
        """Over a new connection: raises `HomeInUse` when somebody else wrote since the last one."""
        if self._token is not None and self._stored_token() not in {self._token, self._doubted}:
            raise HomeInUse(self._where)
