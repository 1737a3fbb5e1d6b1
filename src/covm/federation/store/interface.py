"""What components see of the store: jobs that run in a transaction, and how the store is.

A component hands in a *job*, a synchronous function that gets a `Transaction`. Jobs that arrive while a commit is
under way share the next one, so the fixed cost of a commit (an fsync) is paid once for all of them.

    async def save() -> int:
        def job(tx: Transaction) -> int:
            tx.insert(notes, ("author", "text"), rows)
            return tx.execute(select(func.count()).select_from(notes)).scalar_one()
        return await store.write(job)            # on disk when this returns

A job may run more than once (its transaction failed because of another job, or the connection was lost), so it
changes nothing but what its transaction can undo, and returns what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from sqlalchemy import CursorResult, Executable, Table

    from covm.federation.store.driver import Rows

T = TypeVar("T")

MAX_JOBS_WAITING = 4_096
"""Jobs that wait for their transaction: sixteen full groups. Whoever writes faster than the disk waits for a place."""

MAX_GROUP = 256
"""Jobs in one transaction: beyond it the shared fsync is a small part of the cost, and a reader waits for the whole."""

Dialect: TypeAlias = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class StoreHealth:
    """How the store is. It changes back by itself: a store that fails is tried every second."""

    state: Literal["ok", "full", "failing"] = "ok"
    """`full`: no room on the disk. `failing`: anything else that keeps it from committing."""
    why: str = ""
    """What the last failure said; empty when it is ok."""
    since_ms: int | None = None
    """When it began, in milliseconds since 1970-01-01 UTC; None when it is ok."""


class Transaction(Protocol):
    """What a job works with; valid only while the job runs.

    A statement that fails, fails the job, even when the job catches the error: PostgreSQL would commit nothing of
    it, and both engines do the same.
    """

    @property
    def dialect(self) -> Dialect:
        """The engine, for the few statements that differ."""

    @overload
    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Runs SQL text with `:name` parameters by the driver alone: the quick way, for what every message needs."""

    @overload
    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Runs a SQLAlchemy Core statement; the result closes with the job."""

    def insert(
        self, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, or_ignore: bool = False
    ) -> None:
        """Inserts many rows in few statements; values are plain (int, str, bytes, None), in the order of `columns`.

        With `or_ignore`, rows that are there already (by primary key or a unique index) are left as they are.
        The quick way: `executemany` gives up the GIL for each row, which beside a busy event loop is half as fast.
        """


Job: TypeAlias = Callable[[Transaction], T]


class Store(Protocol):
    """Where a node keeps what must outlive it."""

    on_health: Callable[[StoreHealth], None] | None
    """Called on the event loop whenever the health changes."""

    @property
    def is_durable(self) -> bool:
        """Whether what was written outlives the process."""

    async def open(self) -> None:
        """Takes the lock, checks versions and form, brings the schema up to date.

        Raises `HomeInUse`, `StoreCorrupt`, `StoreFull`, `StoreUnavailable`, and `StoreError` for a schema that is
        newer than this covm. A store that failed to open holds nothing.
        """

    async def close(self) -> None:
        """Finishes what was submitted and gives the lock back. Twice is once."""

    async def write(self, job: Job[T]) -> T:
        """Runs the job in a transaction and returns its result once that is committed.

        Jobs run in the order of the calls. What a job raises comes out here and its effects are undone; the jobs that
        shared its transaction are not touched. Raises `StoreFull`, `StoreCorrupt`, `StoreUnavailable` (I/O error,
        read-only, database not reached for 10 s), and `NotStarted` when the store is not open. Cancelling the wait
        does not stop the job. With `MAX_JOBS_WAITING` jobs before it, a call waits for its turn.
        """

    async def read(self, query: Job[T]) -> T:
        """Runs a query that changes nothing; it sees every write that returned before, and blocks no writer."""

    def health(self) -> StoreHealth:
        """How the store is now."""

    def stats(self) -> dict[str, Any]:
        """What it did: engine, version, transactions, jobs, largest_group, size_bytes, commit times in ms."""
