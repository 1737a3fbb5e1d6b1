"""A store whose work is done by two threads: one writes, one reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from covm.federation.clock import Clock, SystemClock
from covm.federation.errors import NotStarted
from covm.federation.store.health import PROBE_INTERVAL_S, HealthWatch, clear_probe, probe
from covm.federation.store.interface import StoreHealth
from covm.federation.store.worker import Worker
from covm.federation.store.writer import Outcome, run_group

if TYPE_CHECKING:
    from covm.federation.store.engine import SqlEngine
    from covm.federation.store.interface import Job, T


class ThreadedStore:
    """A durable store: see `Store` for what it promises. It is opened once."""

    is_durable = True

    def __init__(self, writer: SqlEngine, reader: SqlEngine, clock: Clock | None = None) -> None:
        self.on_health: Callable[[StoreHealth], None] | None = None
        self._writing, self._reading = writer, reader
        self._watch = HealthWatch(clock or SystemClock())
        self._is_failing = False
        self._jobs = 0
        self._largest_group = 0
        self._writer: Worker | None = None
        self._reader: Worker | None = None

    async def open(self) -> None:
        writer = Worker(
            "covm store writer",
            begin=self._writing.open,
            run=self._run_group,
            end=self._writing.close,
            between=self._between,
            settled=self._judge,
        )
        self._writing.on_disk = writer.disk_works
        self._writing.on_trouble = lambda failure: writer.tell(
            self._judge, [Outcome(error=failure, is_store_failure=True)]
        )
        reader = Worker(
            "covm store reader",
            begin=self._reading.open,
            run=self._run_queries,
            end=self._reading.close,
            settled=self._judge_queries,
        )
        await writer.start()
        try:
            await reader.start()
        except BaseException:
            await writer.stop()
            raise
        self._writer, self._reader = writer, reader

    async def close(self) -> None:
        # The reader first: whoever closes the last connection to a SQLite file tidies up, and a reader may not write.
        if self._reader is not None:
            await self._reader.stop()
        if self._writer is not None:
            await self._writer.stop()

    async def write(self, job: Job[T]) -> T:
        if self._writer is None:
            raise NotStarted("the store")
        return await self._writer.intake.submit(job)

    async def read(self, query: Job[T]) -> T:
        if self._reader is None:
            raise NotStarted("the store")
        return await self._reader.intake.submit(query)

    def health(self) -> StoreHealth:
        return self._watch.health

    def stats(self) -> dict[str, Any]:
        engine = self._writing
        return {
            **engine.describe(),
            "transactions": engine.transactions,
            "jobs": self._jobs,
            "largest_group": self._largest_group,
            **engine.commit_times(),
        }

    # --- in the threads

    def _run_group(self, jobs: Sequence[Job[Any]]) -> list[Outcome]:
        outcomes = run_group(self._writing, jobs)
        self._jobs += len(jobs)
        self._largest_group = max(self._largest_group, len(jobs))
        self._note(outcomes)
        self._writing.after_group()
        return outcomes

    def _run_queries(self, queries: Sequence[Job[Any]]) -> list[Outcome]:
        return [run_query(self._reading, query) for query in queries]

    def _between(self, is_idle: bool) -> float | None:
        """Tries a failing store when nothing else does."""
        if self._is_failing and is_idle and self._writer is not None:
            outcomes = run_group(self._writing, [probe])
            self._note(outcomes)
            self._writer.tell(self._judge, outcomes)
            if outcomes[0].error is None:
                run_group(self._writing, [clear_probe])
        return PROBE_INTERVAL_S if self._is_failing else None

    def _note(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.is_store_failure or outcome.error is None:
                self._is_failing = outcome.is_store_failure

    # --- on the loop

    def _judge(self, outcomes: Sequence[Outcome]) -> None:
        self._watch.judge(outcomes, self.on_health)

    def _judge_queries(self, outcomes: Sequence[Outcome]) -> None:
        self._watch.judge_queries(outcomes, self.on_health)


def run_query(engine: SqlEngine, query: Job[Any]) -> Outcome:
    """Runs a query by itself, in a transaction that changes nothing, so that all its statements see one state."""
    [outcome] = run_group(_Querying(engine), [query])
    return outcome


class _Querying:
    """An engine whose transactions end without effect."""

    def __init__(self, engine: SqlEngine) -> None:
        self._engine = engine
        self.where = engine.where
        self.begin, self.transaction = engine.begin, engine.transaction
        self.commit = self.rollback = engine.rollback
        self.recovers, self.classify = engine.recovers, engine.classify
