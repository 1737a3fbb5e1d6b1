"""`Tx`: what a transactional handler works with.

Everything that it does through it commits together with the message being dealt with, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from covm import _native
from covm.federation.dispatch import tables
from covm.federation.wire.limits import clamped_ms

if TYPE_CHECKING:
    from sqlalchemy import CursorResult, Executable, TextClause
    from sqlalchemy.exc import DBAPIError

    from covm.federation.store.interface import Transaction

MAX_STAGED: Final = 1_000
"""Messages that one transaction may send: a handler that answers one message with more floods its peers."""

_NOISE: Final = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$", re.DOTALL
)
"""Comments, and what is quoted."""
_COMMENTS_AND_TEXT: Final = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_WRITES: Final = re.compile(
    r"\b(INSERT|UPDATE|DELETE|REPLACE\s+INTO|MERGE|TRUNCATE|CREATE|ALTER|DROP|REINDEX)\b", re.IGNORECASE
)
_OURS: Final = re.compile(r"\bcovm_\w", re.IGNORECASE)
"""The node's own tables and indexes, quoted or not."""
_TRIGGER: Final = re.compile(r"CREATE\s+(TEMP\w*\s+)?TRIGGER\b", re.IGNORECASE)
"""SQLite writes a trigger's statements between BEGIN and END."""
_FORBIDDEN: Final = frozenset(
    {
        "ABORT",
        "ATTACH",
        "BEGIN",
        "COMMIT",
        "DETACH",
        "END",
        "PRAGMA",
        "PREPARE",
        "RELEASE",
        "ROLLBACK",
        "SAVEPOINT",
        "SET",
        "START",
        "VACUUM",
    }
)


class Staged:
    """A message that was sent inside a transaction, encoded without a place."""

    __slots__ = ("body", "expires_at_ms", "mid", "peer", "type")

    def __init__(self, peer: str, mid: bytes, type_name: str, body: bytes, expires_at_ms: int) -> None:
        self.peer = peer
        self.mid = mid
        self.type = type_name
        self.body = body
        self.expires_at_ms = expires_at_ms


class Composer(Protocol):
    """Makes messages without the loop's help: transactional handlers run on the store's thread."""

    def compose(self, peer: str, type: Any, value: Any, time_to_live: timedelta | None, now_ms: int) -> Staged:
        """Checks and encodes a direct message. Raises as `FederationService.send_direct` does."""

    def check_publication(self, type: Any, value: Any) -> tuple[str, Any, str | None]:
        """The type's name, the payload, and the key of the record that it becomes; None where it becomes none.

        Raises as `FederationService.publish` does.
        """

    def require_room(self, type_name: str, records: int, size_bytes: int) -> None:
        """Raises `QuotaExceeded` where so many more records of a type, of so many bytes, are too much."""


class Tx:
    """The store's transaction, while a handler runs in it. Afterwards every call raises `RuntimeError`.

    Tables that you make are yours; those whose names begin with `covm_` are the node's, and may be read. A statement
    that fails, fails the transaction, also when you catch the error: nothing of it is kept.
    """

    __slots__ = ("_composer", "_is_over", "_now_ms", "_tx", "_waiting", "failure", "publications", "records", "staged")

    def __init__(self, tx: Transaction, composer: Composer, now_ms: int) -> None:
        self._tx = tx
        self._composer = composer
        self._now_ms = now_ms
        self._is_over = False
        self.failure: DBAPIError | None = None
        """The first statement that failed; the transaction is undone for it."""
        self.staged = 0
        """Messages sent so far."""
        self.publications: list[tuple[str, Any]] = []
        """What is published once the transaction is committed."""
        self.records = 0
        """What was published of durable types."""
        self._waiting: dict[str, tuple[int, int]] = {}
        """By type, how much is to become records, and its bytes: of this transaction, and of those before it."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`, for the few statements that differ."""
        return self._tx.dialect

    def execute(
        self,
        statement: Executable | str,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> CursorResult[*tuple[Any, ...]]:
        """Runs a SQLAlchemy Core statement, or SQL text with `:name` parameters, and returns SQLAlchemy's result.

        One statement a call. Raises `ValueError` for what begins or ends transactions or changes the connection
        (`COMMIT`, `ROLLBACK`, `SAVEPOINT`, `PRAGMA`, `ATTACH` ...), SQLAlchemy's errors for the rest.
        """
        from sqlalchemy.exc import DBAPIError

        self._require_open()
        check_statement(statement if isinstance(statement, str) else _text_of(statement))
        try:
            return self._tx.execute(_text(statement) if isinstance(statement, str) else statement, parameters)
        except DBAPIError as error:
            self.failure = self.failure or error
            raise

    def send_direct(self, peer: str, type: Any, value: Any, *, time_to_live: timedelta | None = None) -> str:
        """Queues a message for one peer, as part of the transaction; returns its id for `federation.receipt(id)`.

        Raises as `FederationService.send_direct` does, and `ValueError` beyond `MAX_STAGED` messages.
        """
        self._require_open()
        if self.staged >= MAX_STAGED:
            raise ValueError(f"a transaction sends at most {MAX_STAGED:,} messages")
        staged = self._composer.compose(peer, type, value, time_to_live, self._now_ms)
        self._tx.insert(
            tables.staged,
            ("peer", "mid", "type", "body", "queued_at", "expires_at"),
            [(peer, staged.mid, staged.type, staged.body, clamped_ms(self._now_ms), staged.expires_at_ms)],
        )
        self.staged += 1
        return staged.mid.hex()

    def publish(self, type: Any, value: Any) -> None:
        """Publishes to every member once the transaction is committed.

        What is of a durable type is part of the transaction, and arrives. The rest is not: should the node die right
        after the commit, nobody hears of it. Raises as `FederationService.publish` does.
        """
        self._require_open()
        if len(self.publications) + self.records >= MAX_STAGED:
            raise ValueError(f"a transaction publishes at most {MAX_STAGED:,} messages")
        name, payload, key = self._composer.check_publication(type, value)
        if key is None:
            self.publications.append((name, payload))
            return
        encoded = _native.encode(payload)
        records, size_bytes = self._waits(name)
        self._composer.require_room(name, records + 1, size_bytes + len(encoded))
        self._waiting[name] = records + 1, size_bytes + len(encoded)
        self._tx.insert(tables.staged_records, ("type", "key", "payload"), [(name, key, encoded)])
        self.records += 1

    def end(self) -> None:
        """The handler ended. (The dispatcher's side)"""
        self._is_over = True

    def _waits(self, type_name: str) -> tuple[int, int]:
        """Looked up once in a transaction: what waits becomes records at once, and is never much."""
        if type_name not in self._waiting:
            query = "SELECT count(*), sum(length(payload)) FROM covm_staged_records WHERE type = :type"
            [(records, size_bytes)] = self._tx.execute(query, {"type": type_name}).all()
            self._waiting[type_name] = records, int(size_bytes or 0)
        return self._waiting[type_name]

    def _require_open(self) -> None:
        if self._is_over:
            raise RuntimeError(
                "this transaction is over: its handler has returned; use tx only inside, or open another with "
                "`federation.transaction(work)`"
            )


@lru_cache(maxsize=512)
def _text(statement: str) -> TextClause:
    """SQL text is parsed for `:name` once; handlers have a limited number of statements."""
    from sqlalchemy import text

    return text(statement)


def check_statement(text: str) -> None:
    """Raises `ValueError` for SQL that a handler may not run. Empty text is a statement that is no text."""
    if not text:
        return
    _require_own_tables(_COMMENTS_AND_TEXT.sub(" ", text))
    bare = _NOISE.sub(" ", text).strip()
    if _TRIGGER.match(bare):
        return
    statements = [part.split() for part in bare.split(";") if part.strip()]
    if len(statements) > 1:
        raise ValueError("one statement a call: there is a `;` between two; call execute for each")
    for words in statements:
        if words[0].upper() in _FORBIDDEN:
            raise ValueError(
                f"{words[0].upper()} is not for handlers: the transaction is begun before the handler is called, "
                "committed after it returned, and undone when it raises"
            )


def _text_of(statement: Executable) -> str:
    """What there is to check of a statement that is no text: a `text()` clause's, or which table it changes."""
    table = getattr(statement, "table", None)
    if table is None:
        table = getattr(statement, "element", None)
    name = getattr(table, "name", None)
    if name is not None:
        return f"UPDATE {name}"
    return str(getattr(statement, "text", ""))


def _require_own_tables(text: str) -> None:
    """A mistake there costs messages: what is pending, and what was done before."""
    if _OURS.search(text) and _WRITES.search(text):
        raise ValueError(
            "tables whose names begin with covm_ are the node's: handlers may read them, in statements that "
            "write nothing; give your own tables other names"
        )
