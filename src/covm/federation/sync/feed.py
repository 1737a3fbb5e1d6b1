"""`Feed`: hands what has become of a type's records to an application's own store.

    judged behind the cursor ──> entries, as the resolver says ──> apply ──> cursor

The cursor moves with what was applied: in one transaction with it where the store is transactional, else behind it. A
key that the store does not take is set aside once it takes another behind it, or after some rounds in which it took
none, and handed over again later; so nothing is lost, and one entry that a store cannot read holds up no other.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy.exc import DBAPIError

from covm.federation.clock import Clock, Random
from covm.federation.errors import StoreError, SyncStoreBusy
from covm.federation.events import EventHub, SyncStoreSlow
from covm.federation.ports import Transactor
from covm.federation.store.interface import Store
from covm.federation.supervisor import attempt, attempt_async, described
from covm.federation.sync import feed_rows, reading
from covm.federation.sync.collection import Collection
from covm.federation.sync.feed_rows import Failure, Feeding
from covm.federation.sync.sync_store import SyncChange, change_of

logger = logging.getLogger("covm.federation.sync")

BATCH: Final = 64
"""Judgements that are looked at, and changes that are committed, at once."""


IN_VAIN: Final = 8
"""Changes in a row that a store does not take before it is left in peace for a while: it may be down."""


SLOW_S: Final = 30.0
"""After which a store that is busy with one key is told of, as a handler is. It may be right: nobody should wonder."""


class Retry(NamedTuple):
    """How what a store did not take is handed over again."""

    rounds: int
    """In which it takes nothing at all, before what it did not take is set aside."""
    base_s: float
    max_s: float

    def pause_s(self, failures: int, random: Random) -> float:
        """A pause after so many failures in a row: full jitter."""
        return random.uniform(0.0, min(self.max_s, self.base_s * 2.0 ** min(failures - 1, 32)))


class Step(NamedTuple):
    """A change, and where the cursor is once it is applied."""

    change: SyncChange[Any]
    cursor: int


class Outcome(NamedTuple):
    """What became of some steps."""

    applied: int
    failed: list[Failure]
    """Those right behind the last that was applied."""


def is_transactional(target: Any) -> bool:
    """Whether an application's store wants each change in a transaction of the node's."""
    return bool(getattr(target, "transactional", False))


class _Raised(Exception):
    """The application's store raised."""


class Feed:
    """One type, one store. `run` is kept running."""

    def __init__(
        self,
        of: Feeding,
        source: Collection[Any],
        target: Any,
        store: Store,
        transactor: Transactor,
        retry: Retry,
        clock: Clock,
        random: Random,
        hub: EventHub,
    ) -> None:
        self.of = of
        self.error = ""
        """What the application's store, or ours, raised last; empty since it took everything."""
        self.applied_ms: int | None = None
        """When it took something last."""
        self.cursor = 0
        self.failures = 0
        """Keys that are set aside."""
        self._settled = False
        self._source = source
        self._target = target
        self._store = store
        self._transactor = transactor
        self._retry = retry
        self._clock = clock
        self._random = random
        self._hub = hub
        self._slow: str | None = None
        """The key with which the store has been busy for too long."""
        self._looked = asyncio.Event()
        """Whether it is settled, or too slow."""
        self._wake = asyncio.Event()
        self._is_known = False
        """Whether `cursor` and `failures` are as on disk: they may not be once a commit has failed."""
        self._pauses = 0
        self._rounds = 0
        self._tries = 0
        self._due_s = 0.0

    def wake(self) -> None:
        """Something of the type has been judged."""
        self._settled = False
        if self._slow is None:
            self._looked.clear()
        self._wake.set()

    async def until_settled(self) -> None:
        """Returns once the store has had all that there was, taken or not. Raises `SyncStoreBusy`."""
        while not self._settled:
            if (busy := self._busy()) is not None:
                raise busy
            await self._looked.wait()

    @property
    def trouble(self) -> str:
        """What is wrong, if something is: the store takes too long, or what it or ours raised last."""
        return str(self._busy() or self.error)

    def _busy(self) -> SyncStoreBusy | None:
        return None if self._slow is None else SyncStoreBusy(self.of.name, self.of.type, self._slow, SLOW_S)

    async def run(self) -> None:
        """Hands over, for ever."""
        while True:
            try:
                is_done = await self._step()
            except StoreError as error:
                self._is_known = False
                await self._pause(str(error))
                continue
            if is_done and not self._wake.is_set():
                self._settle()
                await self._woken()

    async def _step(self) -> bool:
        """Hands over one batch; whether there is no other now."""
        if not self._is_known:
            # Behind the writes before it, whatever was said of them.
            self.cursor, self.failures = await self._store.write(partial(feed_rows.marks, of=self.of))
            self._is_known = True
        self._wake.clear()
        if self.failures and self._clock.monotonic_s() >= self._due_s:
            await self._again()
        steps = await self._next()
        if not steps:
            return True
        outcome = await self._apply(steps)
        if outcome.applied:
            self._pauses = self._rounds = 0
        if not outcome.failed and not self.failures:
            self.error = ""
        elif outcome.failed and not outcome.applied:
            self._rounds += 1
            if self._rounds >= self._retry.rounds:
                cursors = {step.change.key: step.cursor for step in steps}
                await self._note([], outcome.failed, cursors[outcome.failed[-1].key])
                self._rounds = 0
            await self._pause(outcome.failed[0].error)
        return False

    async def _again(self) -> None:
        """Hands over once more what was set aside."""
        limit = IN_VAIN if self._tries > 1 else BATCH
        keys = await self._store.read(partial(feed_rows.failing, of=self.of, limit=limit))
        outcome = await self._apply([Step(change, self.cursor) for change in await self._changes(keys)])
        if outcome.failed:
            await self._note([], outcome.failed, self.cursor)
            self.error = outcome.failed[0].error
        self._tries = 1 if outcome.applied else self._tries + 1
        self._due_s = self._clock.monotonic_s() + self._retry.pause_s(self._tries, self._random)
        if not self.failures:
            self._tries, self.error = 0, ""

    async def _next(self) -> list[Step]:
        """The entries of what was judged behind the cursor: of each key the last time."""
        after = self.cursor
        found = await self._store.read(lambda tx: feed_rows.judged(tx, self.of.type, after, BATCH))
        last: dict[str, int] = {}
        for number, key in found.keys:
            last.pop(key, None)
            last[key] = number
        if not last:
            self.cursor = max(self.cursor, found.highest)
        return [Step(change, last[change.key]) for change in await self._changes(list(last))]

    async def _changes(self, keys: Sequence[str]) -> list[SyncChange[Any]]:
        """The entries of the first of these keys, as many as may be in memory at once."""
        keys = await self._store.read(partial(reading.fitting, type_name=self.of.type, keys=keys))
        entries = {entry.key: entry for entry in await self._source.entries(keys)}
        return [change_of(self.of.type, key, entries.get(key)) for key in keys]

    # --- the application's store

    async def _apply(self, steps: Sequence[Step]) -> Outcome:
        """Hands over in order. What is not taken is set aside with the next that is."""
        if is_transactional(self._target):
            if len(steps) > 1 and not await self._committed(steps, []):
                return Outcome(len(steps), [])
            return await self._apply_singly(steps)
        applied: list[Step] = []
        aside: list[Failure] = []
        failed: list[Failure] = []
        for step in steps:
            if error := await self._tried(step):
                failed.append(Failure(step.change.key, error))
                if len(failed) >= IN_VAIN:
                    break
            else:
                applied.append(step)
                aside, failed = [*aside, *failed], []
        if applied:
            await self._note([step.change.key for step in applied], aside, applied[-1].cursor)
        return Outcome(len(applied), failed)

    async def _apply_singly(self, steps: Sequence[Step]) -> Outcome:
        applied, failed = 0, list[Failure]()
        for step in steps:
            if error := await self._committed([step], failed):
                failed.append(Failure(step.change.key, error))
                if len(failed) >= IN_VAIN:
                    break
            else:
                applied, failed = applied + 1, []
        return Outcome(applied, failed)

    async def _tried(self, step: Step) -> str:
        """Hands over one; what was raised, or nothing."""

        async def call(change: SyncChange[Any]) -> None:
            with self._timed(change.key):
                result = self._target.apply(change)
                if inspect.isawaitable(result):
                    await result

        error = await attempt_async(call, step.change)
        return "" if error is None else described(error)

    async def _committed(self, steps: Sequence[Step], aside: Sequence[Failure]) -> str:
        """Hands over all in one transaction, or none; what was raised, or nothing."""

        def work(tx: Any) -> None:
            for step in steps:
                try:
                    error = attempt(lambda change: self._target.apply(change, tx), step.change)
                except SystemExit as exits:  # on the store's thread it would end no process
                    error = exits
                if isinstance(error, DBAPIError):
                    raise error  # a full disk is not the application's failure: the store tells them apart
                if error is not None:
                    raise _Raised(described(error)) from error

        keys = [step.change.key for step in steps]
        try:
            with self._timed(steps[0].change.key):
                await self._transactor.transaction(work, self._noting(keys, aside, steps[-1].cursor))
        except _Raised as raised:
            return str(raised)
        except DBAPIError as error:
            return described(error)
        await self._noted(steps[-1].cursor, has_taken=True, is_news=bool(aside))
        return ""

    # --- how far it is

    def _noting(self, taken: Sequence[str], failed: Sequence[Failure], cursor: int) -> Any:
        if failed:
            self.error = failed[-1].error
        some = taken if self.failures else []
        now_ms = self._clock.now_ms()
        return partial(feed_rows.note, of=self.of, cursor=cursor, taken=some, failed=list(failed), now_ms=now_ms)

    async def _note(self, taken: Sequence[str], failed: Sequence[Failure], cursor: int) -> None:
        await self._store.write(self._noting(taken, failed, cursor))
        await self._noted(cursor, has_taken=bool(taken), is_news=bool(failed))

    async def _noted(self, cursor: int, *, has_taken: bool, is_news: bool) -> None:
        self.cursor = cursor
        if has_taken:
            self.applied_ms = self._clock.now_ms()
        if self.failures or is_news:
            self.failures = await self._store.read(partial(feed_rows.failures, of=self.of))

    # --- waiting

    def _settle(self) -> None:
        self._settled = True
        self._looked.set()

    @contextmanager
    def _timed(self, key: str) -> Iterator[None]:
        """The store is busy with a key: told of once that takes too long, and never interrupted."""
        timer = asyncio.get_running_loop().call_later(SLOW_S, self._tell_slow, key)
        try:
            yield
        finally:
            timer.cancel()
            if self._slow is not None:
                self._slow = None
                if not self._settled:
                    self._looked.clear()

    def _tell_slow(self, key: str) -> None:
        self._slow = key
        self._looked.set()
        logger.warning("%s", self._busy())
        self._hub.emit(SyncStoreSlow(self.of.name, self.of.type, key, SLOW_S))

    async def _pause(self, error: str) -> None:
        self.error = error
        self._pauses += 1
        self._settle()
        await asyncio.sleep(self._retry.pause_s(self._pauses, self._random))

    async def _woken(self) -> None:
        """Waits for news, or until what was set aside is due."""
        left_s = max(0.0, self._due_s - self._clock.monotonic_s()) if self.failures else None
        try:
            async with asyncio.timeout(left_s):
                await self._wake.wait()
        except TimeoutError:
            pass
