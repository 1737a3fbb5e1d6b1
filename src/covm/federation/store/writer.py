"""Group commit, as a rule over an engine: jobs that wait together share a transaction and its fsync.

A job that fails must not touch the others. Instead of a savepoint for each job, which would cost two statements
more, the transaction is rolled back, and what came before the failed job, that job by itself, and what comes after it
are run again:

    a b c D e f      D fails     ->     a b c | D | e f

A job so runs twice at most for each of its neighbours that fails, and the order stays. When the commit itself fails
for want of room, each job is tried by itself: a small one may still fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from covm.federation.errors import StoreError, StoreFull

if TYPE_CHECKING:
    from covm.federation.store.interface import Job
    from covm.federation.store.transaction import SqlTransaction


class Engine(Protocol):
    """A database connection, used by one thread."""

    @property
    def where(self) -> str:
        """Where the data is, for messages; no password in it."""

    def begin(self) -> None:
        """Begins a transaction. Raises `StoreError` or the driver's error."""

    def transaction(self) -> SqlTransaction:
        """The view of the transaction for one job."""

    def commit(self) -> None:
        """Commits; on return it is on disk. Raises `StoreError` or the driver's error."""

    def rollback(self) -> None:
        """Ends a transaction without effect, whatever state it is in. Raises nothing."""

    def recovers(self, error: BaseException) -> bool:
        """Whether the error was a lost connection that is there again: what was under way had no effect."""

    def classify(self, error: BaseException) -> StoreError | None:
        """The failure of the store behind an error; None when the statement or the job is to blame."""


MAX_REPEATS = 3
"""Times that a transaction is run again over a new connection: a job that kills every connection must end."""


class Outcome(NamedTuple):
    """What became of one job: its result, committed, or what it raised, undone."""

    result: Any = None
    error: BaseException | None = None
    is_store_failure: bool = False
    """Whether the store failed, not the job."""


class _Failed(NamedTuple):
    """Where and how a transaction failed: at the job of this index, or at its end (`None`)."""

    at: int | None
    outcome: Outcome


def run_group(engine: Engine, jobs: Sequence[Job[Any]]) -> list[Outcome]:
    """Runs the jobs in order, in as few transactions as can be; one outcome for each."""
    outcomes: list[Outcome] = []
    rest = list(jobs)
    while rest:
        tried = _try_transaction(engine, rest)
        if not isinstance(tried, _Failed):
            return outcomes + tried
        index, outcome = tried
        if len(rest) == 1:
            return [*outcomes, outcome]
        if index is None and not isinstance(outcome.error, StoreFull):
            return outcomes + [outcome] * len(rest)
        if index is None:
            return outcomes + [each for job in rest for each in run_group(engine, [job])]
        if index:
            outcomes += run_group(engine, rest[:index])
        outcomes += run_group(engine, [rest[index]])
        rest = rest[index + 1 :]
    return outcomes


def _try_transaction(engine: Engine, jobs: Sequence[Job[Any]]) -> list[Outcome] | _Failed:
    """The outcomes once committed; else where it failed, with nothing done."""
    outcomes: list[Outcome] = []
    for repeat in range(MAX_REPEATS + 1):
        index: int | None = None
        outcomes = []
        try:
            engine.begin()
            for index, job in enumerate(jobs):  # noqa: B007 - which job failed
                outcomes.append(Outcome(_run(engine, job)))
            index = None
            engine.commit()
        except BaseException as error:  # noqa: BLE001 - whatever a job raises is its caller's, not this thread's
            engine.rollback()
            if repeat == MAX_REPEATS or not engine.recovers(error):
                return _failed(engine, index, error)
        else:
            break
    return outcomes


def _run(engine: Engine, job: Job[Any]) -> Any:
    transaction = engine.transaction()
    try:
        result = job(transaction)
    finally:
        transaction.end()
    if transaction.failure is not None:
        raise transaction.failure
    return result


def _failed(engine: Engine, index: int | None, error: BaseException) -> _Failed:
    if (failure := engine.classify(error)) is not None:
        # Room may be there for the others; every other failure of the store is everybody's.
        at = index if isinstance(failure, StoreFull) else None
        return _Failed(at, Outcome(error=failure, is_store_failure=True))
    return _Failed(index, Outcome(error=error))
