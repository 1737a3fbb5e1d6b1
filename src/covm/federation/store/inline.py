"""A store without threads: the same rule, on the event loop.

For nodes without a home, in memory; and for simulations, which hand in a connection to a disk of theirs and decide
when a commit fails, how long it takes, and when the machine stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pysqlite3 import dbapi2

from covm.federation.clock import Clock, SystemClock
from covm.federation.errors import NotStarted
from covm.federation.store.health import PROBE_INTERVAL_S, HealthWatch, clear_probe, probe
from covm.federation.store.intake import Intake, Waiting
from covm.federation.store.interface import MAX_GROUP, StoreHealth
from covm.federation.store.schema import metadata
from covm.federation.store.sqlite_engine import SqliteEngine, connect, require_sqlite
from covm.federation.store.threaded import run_query
from covm.federation.store.writer import Outcome, run_group

if TYPE_CHECKING:
    from covm.federation.store.interface import Job, T


class Faults(Protocol):
    """What a simulated disk does to commits."""

    def latency_s(self) -> float:
        """How long the next group, or query, waits before it runs; 0 for not at all."""

    def before_commit(self) -> None:
        """May raise a `StoreError`: nothing is committed. May sever the store: it stops here."""

    def after_commit(self) -> None:
        """May raise a `StoreError`: it is committed, and nobody is told so. May sever the store."""


class InlineStore:
    """A store on the event loop: see `Store`. Jobs of one turn of the loop share a transaction.

    `connect` hands in a connection to a database that outlives this store (`isolation_level=None`); it is not closed
    here. Without it everything is in memory and gone with the store. It is opened once.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], dbapi2.Connection] | None = None,
        is_durable: bool = False,
        faults: Faults | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.on_health: Callable[[StoreHealth], None] | None = None
        self.is_durable = is_durable
        self._faults = faults
        self._engine = _InlineEngine(connect, faults)
        self._watch = HealthWatch(clock or SystemClock())
        self._writes, self._reads = Intake(self._take_jobs), Intake(self._take_queries)
        self._jobs: list[Waiting] = []
        self._timer: asyncio.Handle | None = None
        self._probe: asyncio.TimerHandle | None = None
        self._count = 0
        self._largest_group = 0
        self._is_open = False

    async def open(self) -> None:
        self._engine.open()
        self._is_open = True

    async def close(self) -> None:
        was_open, self._is_open = self._is_open, False
        if was_open and not self._engine.is_severed:
            await self._reads.close()
            await self._writes.close()
            self._stop_probing()
            self._engine.close()

    def sever(self) -> None:
        """The machine stops: what is not committed is lost, and no call is ever answered again."""
        self._engine.is_severed = True
        self._stop_probing()
        if self._timer is not None:
            self._timer.cancel()

    async def write(self, job: Job[T]) -> T:
        if not self._is_open:
            raise NotStarted("the store")
        return await self._writes.submit(job)

    async def read(self, query: Job[T]) -> T:
        if not self._is_open:
            raise NotStarted("the store")
        return await self._reads.submit(query)

    def health(self) -> StoreHealth:
        return self._watch.health

    def stats(self) -> dict[str, Any]:
        return {
            **self._engine.describe(),
            "transactions": self._engine.transactions,
            "jobs": self._count,
            "largest_group": self._largest_group,
            **self._engine.commit_times(),
        }

    def _take_jobs(self, turn: list[Waiting]) -> None:
        self._jobs += turn
        if self._timer is None:
            self._schedule()

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._latency_s(), self._run_group)

    def _run_group(self) -> None:
        self._timer = None
        group, self._jobs = self._jobs[:MAX_GROUP], self._jobs[MAX_GROUP:]
        self._count += len(group)
        self._largest_group = max(self._largest_group, len(group))
        outcomes = run_group(self._engine, [waiting.job for waiting in group])
        if self._engine.is_severed:
            return
        self._judge(outcomes)
        self._writes.settle(group, outcomes)
        if self._jobs:
            self._schedule()

    def _take_queries(self, turn: list[Waiting]) -> None:
        asyncio.get_running_loop().call_later(self._latency_s(), self._run_queries, turn)

    def _run_queries(self, turn: list[Waiting]) -> None:
        if not self._engine.is_severed:
            self._reads.settle(turn, [run_query(self._engine, waiting.job) for waiting in turn])

    def _latency_s(self) -> float:
        return 0.0 if self._faults is None else self._faults.latency_s()

    def _judge(self, outcomes: list[Outcome]) -> None:
        self._watch.judge(outcomes, self.on_health)
        if self._watch.health.state == "ok":
            self._stop_probing()
        elif self._probe is None:
            self._probe = asyncio.get_running_loop().call_later(PROBE_INTERVAL_S, self._try_again)

    def _try_again(self) -> None:
        self._probe = None
        outcomes = run_group(self._engine, [probe])
        if not self._engine.is_severed:
            self._judge(outcomes)
            if self._watch.health.state == "ok":
                run_group(self._engine, [clear_probe])

    def _stop_probing(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None


class _Severed(BaseException):
    """The machine has stopped: nothing after this happens."""


class _InlineEngine(SqliteEngine):
    """A connection in memory, or one handed in."""

    def __init__(self, connect: Callable[[], dbapi2.Connection] | None, faults: Faults | None) -> None:
        super().__init__(Path(":memory:"), is_writer=True)
        self._connect, self._faults = connect, faults
        self.is_severed = False

    def open(self) -> None:
        require_sqlite()
        raw = dbapi2.connect(":memory:", isolation_level=None) if self._connect is None else self._connect()
        self._adopt(connect(raw))
        raw.execute("BEGIN IMMEDIATE")
        metadata.create_all(self.connection)
        raw.execute("COMMIT")

    def close(self) -> None:
        if self._connect is None:
            super().close()
        self._drop()

    def begin(self) -> None:
        if self.is_severed:
            raise _Severed
        super().begin()

    def describe(self) -> dict[str, Any]:
        return {"engine": "memory", "version": dbapi2.sqlite_version, "size_bytes": 0}

    def after_group(self) -> None:
        """There is no file to tidy up."""

    def _commit(self) -> None:
        if self._faults is not None:
            self._faults.before_commit()
        if self.is_severed:
            raise _Severed
        super()._commit()
        if self._faults is not None:
            self._faults.after_commit()
