"""`Keeper`: takes records in batches, one batch at a time, and keeps what they come to.

    envelopes ──verified──> look up ──> Intake (rules) ──> one commit ──> taken over, told

Nothing is taken over before it is on disk. What has no place yet waits in a bounded room, what has one and cannot be
judged is held, and looked at again when that may have changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from covm import _native
from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.offload import Offload
from covm.federation.store.interface import Store
from covm.federation.sync import body_rows, plan_rows, rows, usage_rows
from covm.federation.sync.held import Held, Waiting
from covm.federation.sync.intake import Intake
from covm.federation.sync.judging import Authority
from covm.federation.sync.logs import End, Log, Logs, Reach
from covm.federation.sync.lookups import MAX_NAMED, in_parts, lookup_for
from covm.federation.sync.plan import Arrived, Plan
from covm.federation.sync.quotas import Batch, Quotas, Usage
from covm.federation.sync.room import Room
from covm.federation.sync.taken import Taken, taken_of
from covm.federation.sync.verifying import MAX_BATCH, Verifying, sound_ones
from covm.federation.wire.record import RecordHeader

if TYPE_CHECKING:
    from covm.federation.store.interface import Job, Transaction

T = TypeVar("T")

DOUBTFUL: Final = b""
"""The basis of a log whose records are to be judged anew."""


class Keeper:
    """The records of a node."""

    def __init__(
        self,
        federation: _native.Link,
        store: Store,
        authority: Authority,
        offload: Offload,
        clock: Clock,
        counters: Counters,
        quota: Usage,
    ) -> None:
        self.logs = Logs()
        self.federation = federation
        self.store = store
        self.authority = authority
        self.quotas = Quotas(quota, lambda first: self.authority.payer(first))  # noqa: PLW0108
        self.turn = asyncio.Lock()
        """Whoever plans holds it until what was planned is written."""
        self._offload = offload
        self._clock = clock
        self._counters = counters
        self._held = Held()
        self._room = Room()
        self._ends: dict[_native.Link, End] = {}
        self._listed: frozenset[_native.Link] = frozenset()
        self._judged = 0
        self._is_uncertain = False
        """Whether a write was begun, and its end not seen: it failed, or who waited for it was cancelled."""
        self.listeners: list[Callable[[Taken], None]] = []
        """Called with what was taken, once that is on disk."""
        self.on_doubt: Callable[[], None] = lambda: None
        """Called when a write failed that may be on disk all the same: `reconsider` is to look."""
        self.is_doubtful = False
        """Whether `reconsider` has something to do."""

    async def settle(self) -> None:
        """With the turn, before anything is planned: what was written last may be on disk, whatever was said of it.

        Whoever went on from before it would say two things at one place of its log. Raises `StoreError`.
        """
        if self._is_uncertain:
            # Behind the writes before it, also one that is under way still.
            self._know(*await self.store.write(_load))
            self._room = Room()
            names = self.logs.types()
            self.tell(Taken(keys=frozenset((name, "") for name in names), recounted=frozenset(names)))

    async def load(self) -> None:
        """Knows again what is on disk. Raises `StoreError`."""
        self._know(*await self.store.read(_load))

    def _know(self, loaded: rows.Loaded, usage: usage_rows.Changes) -> None:
        self.logs = Logs(loaded.logs, loaded.void)
        self.quotas.know(usage, self.logs)
        self._judged = loaded.judged
        self._held = Held(loaded.held)
        self._is_uncertain = False

    @property
    def judged(self) -> int:
        """The number of the last judgement that is on disk."""
        return self._judged

    @property
    def held(self) -> int:
        """Records that wait to be judged."""
        return len(self._held)

    async def take(
        self,
        envelopes: Sequence[bytes],
        bodies: Sequence[bytes | None],
        accepts: Callable[[RecordHeader], bool] = lambda _header: True,
        source: str = "",
    ) -> Taken:
        """Verifies records of anybody, and keeps what has its place. Raises `StoreError`; some may be kept by then.

        `accepts` says whether a record is one of those that were asked for, `source` who brings them.
        """
        return await self.take_verified(self.verifying(envelopes, bodies), accepts, source)

    def verifying(self, envelopes: Sequence[bytes], bodies: Sequence[bytes | None]) -> Verifying:
        """Begins to verify what is to be taken soon."""
        return Verifying(envelopes, bodies, self.federation, self._offload)

    async def take_verified(
        self, verifying: Verifying, accepts: Callable[[RecordHeader], bool], source: str = ""
    ) -> Taken:
        """As `take`, of what is being verified already."""
        total, sound = Taken(), 0
        try:
            async for batch in verifying.batches():
                arrived = [each for each in batch if accepts(each.record.body)]
                sound += len(arrived)
                for some in in_parts(arrived):
                    total = total.and_(await self._take_all(some, source))
        finally:
            verifying.cancel()
        if malformed := verifying.count - sound:
            self._counters.drop("malformed_record", malformed)
        return total._replace(malformed=malformed)

    async def again(self) -> None:
        """Judges what is held and may be judged by now: time has passed. Raises `StoreError`."""
        async with self.turn:
            await self.settle()
        await self._look_again(self._held.due(self._clock.now_ms()))

    async def _look_again(self, records: Iterable[_native.Link]) -> Taken:
        """Judges held records once more, and those whose last awaited one has come; others take turns with it."""
        total, pending = Taken(), dict.fromkeys(records)
        while pending or self._held.ready:
            async with self.turn:
                await self.settle()
                first = list(islice(chain(self._held.ready, pending), MAX_BATCH))
                some = self._held.some(first, MAX_NAMED)
                for each in some or first:
                    pending.pop(each, None)
                    self._held.ready.pop(each, None)
                waiting = await self.store.read(lambda tx: rows.headers(tx, some))  # noqa: B023
                intake = self.intake(await self._look_up(waiting), waiting)
                intake.again(some)
                total = total.and_(await self.keep(intake.told()))
        return total

    async def _take_all(self, arrived: Sequence[Arrived], source: str) -> Taken:
        """Takes some, and what has waited for them, some at a time; others take turns with it."""
        async with self.turn:
            total = await self._take(arrived, source)
        while self._room.ready:
            ready = self._room.next(MAX_BATCH)
            envelopes, bodies = [each.envelope for each in ready], [each.body for each in ready]
            for some in in_parts(await self._offload.run(partial(sound_ones, envelopes, bodies, self.federation))):
                async with self.turn:
                    total = total.and_(await self._take(some, source))
        return total.and_(await self._look_again(()))

    async def _take(self, arrived: Sequence[Arrived], source: str) -> Taken:
        await self.settle()
        behind = self._held.behind((each.record.id for each in arrived), MAX_NAMED)
        waiting = await self.store.read(lambda tx: rows.headers(tx, behind)) if behind else []
        coming = [*arrived, *waiting]
        known = await self._look_up(coming)
        # Behind the look-up: who may what may have changed meanwhile, and a new log is not judged again for that.
        for each in coming:
            if each.record.body.prev is None:
                self._listed |= {place.id for place in self.authority.ends(each.record.body)}
        intake = self.intake(known, waiting)
        self._room.put(intake.take(arrived).unplaced, source, self._clock.monotonic_s())
        return await self.keep(intake.told())

    async def reconsider(self) -> None:
        """Judges anew all logs that were judged on another basis than what is known now. Raises `StoreError`."""
        async with self.turn:
            await self.settle()
        self.is_doubtful = False
        self.quotas.assign(self.logs)
        self._list_ends()
        await self._find_ends()
        for log in list(self.logs):
            if self._basis(log) != log.basis:
                await self._rejudge(log)
        await self._look_again(self._held.idle())

    async def _rejudge(self, log: Log) -> None:
        """Page by page, in the order of the log. Should it be interrupted, the basis says that it is not done."""
        link, after = log.link, (0, -1)
        # What cuts end it at belongs to the basis: it may be of a moment ago that somebody was removed.
        basis = self._basis(log)
        self._listed |= self._ends_of(log)
        await self._find_ends()
        while True:
            async with self.turn:
                await self.settle()
                current = self.logs.get(link)
                if current is None or current.number is None:
                    return
                number, place = current.number, after
                arrived = await self.store.read(lambda tx: rows.page(tx, number, place, MAX_BATCH))  # noqa: B023
                intake = self.intake(await self._look_up(arrived))
                plan = intake.rejudge(arrived)
                if basis != self._basis(current):
                    # Who may what changed on the way, and may change back: pages were judged on different bases.
                    basis, self.is_doubtful = DOUBTFUL, True
                is_last = len(arrived) < MAX_BATCH
                if is_last:
                    plan.logs.setdefault(link, current.copy()).basis = basis
                    plan.rebased.add(link)
                await self.keep(plan)
                if plan.recount:
                    self._is_uncertain = True
                    of_keys = self._held.of_keys(plan.recount)
                    reached = await self.store.read(lambda tx: rows.superseded(tx, of_keys))  # noqa: B023
                    self._held.supersede(of_keys, superseded=False)
                    self._held.supersede(reached)
                    self._is_uncertain = False
            if is_last:
                return
            last = arrived[-1].record
            after = (last.body.seq, intake.spot_of(last.id).branch)

    def _basis(self, log: Log) -> bytes:
        return b"".join(self.authority.basis(log.type, first) for first in log.beginnings())

    def _list_ends(self) -> None:
        self._listed = frozenset[_native.Link]().union(*map(self._ends_of, self.logs))
        self._ends = {link: end for link, end in self._ends.items() if link in self._listed}

    def _ends_of(self, log: Log) -> set[_native.Link]:
        return {place.id for first in log.beginnings() for place in self.authority.ends(first)}

    async def _find_ends(self) -> None:
        for known in (await self.look_up(self._listed - self._ends.keys())).known:
            self._ends[known.id] = End(known.log, known.spot)

    # --- with the turn

    def intake(self, found: rows.Found, waiting: Iterable[Arrived] = ()) -> Intake:
        """A plan to begin, with what was looked up; with held records that may be judged by it."""
        reach, quota, now_ms = (
            Reach(self._listed, self._ends.items()),
            Batch(self.quotas, self.logs),
            self._clock.now_ms(),
        )
        return Intake(self.logs, self._held, found.known, found.heads, reach, self.authority, quota, now_ms, waiting)

    async def look_up(
        self,
        ids: Iterable[_native.Link],
        keys: Iterable[tuple[str, str]] = (),
        logs: Iterable[_native.Link] = (),
        targets: Mapping[_native.Link, tuple[str, str] | None] = MappingProxyType({}),
    ) -> rows.Found:
        """What there is to know of records, of keys in these logs, and of erases of the targets."""
        return await self.store.read(lambda tx: rows.look_up(tx, ids, keys, logs, targets))

    async def _look_up(self, coming: Iterable[Arrived]) -> rows.Found:
        """What there is to know before these are judged."""
        it = lookup_for(coming, self.logs)
        return await self.store.read(lambda tx: rows.look_up(tx, it.ids, it.keys, it.logs, it.targets, it.forks))

    async def keep(self, plan: Plan) -> Taken:
        """Writes a plan and takes it over. Raises `StoreError`, with nothing taken over."""
        for _, _reason in plan.refused:
            self._counters.drop("record_refused")
        if plan.postponed:
            self._counters.drop("record_postponed", len(plan.postponed))
        full = self.quotas.decline(plan.declined, plan.unfit.values())
        if not plan.logs:
            taken = taken_of(plan, full)
            if full:
                self.tell(taken)
            return taken
        for log in plan.logs.values():
            if log.number is None:
                log.basis = self._basis(log)
        for link, row in plan.rows.items():
            if row.is_new and link in self._listed:
                # What stands before a cut's end did not count without it.
                plan.logs[row.known.log].basis = DOUBTFUL
                plan.rebased.add(row.known.log)
                self.is_doubtful = True
        kept = await self._write(partial(plan_rows.write, plan=plan, judged=self._judged, now_ms=self._clock.now_ms()))
        self._judged += len(plan.judged)
        for link, log in plan.logs.items():
            log.number = kept.logs[link]
        self.logs.commit(plan.logs.values(), plan.void)
        self.count(kept.usage)
        self._take_over(plan)
        if kept.unseen:
            self._counters.drop("record_value_erased", kept.unseen)
        taken = taken_of(plan, full, kept.conflicts)
        self.tell(taken)
        return taken

    def why_no_body(self, header: RecordHeader) -> str:
        """Why the body of a record that is here is declined; empty where it is not."""
        full = self.quotas.full_for_body(header)
        if full is not None and (news := self.quotas.tell(full)):
            self.tell(Taken(full=tuple(news)))
        return full.why if full is not None else ""

    async def embody(self, arrived: Sequence[Arrived], *, is_given: bool = False) -> int:
        """Keeps bodies of records that are here without them, as far as there is room; how many. Raises `StoreError`.

        See `body_rows.put_bodies`. Handlers that passed these over are given them now.
        """
        async with self.turn:
            await self.settle()
            fitting = self.quotas.with_room(arrived)
            put = partial(body_rows.put_bodies, arrived=fitting, now_ms=self._clock.now_ms(), is_given=is_given)
            kept = await self._write(partial(put, judged=self._judged))
            self._judged += len(kept)
            self.count(usage_rows.of_bodies(kept))
            if kept:
                keys = frozenset((each.record.body.type, each.record.body.key) for each in kept)
                self.tell(Taken(keys=keys, recounted=frozenset(name for name, _ in keys)))
        return len(kept)

    async def amend(self, job: Job[T], judged: int) -> T:
        """With the turn: writes what changes no log. The numbers of judgements are used up to this one by then."""
        done = await self._write(job)
        self._judged = judged
        return done

    async def drop(self, job: Job[usage_rows.Changes]) -> None:
        """Drops bodies, and counts what their logs have less by that. Raises `StoreError`."""
        async with self.turn:
            await self.settle()
            self.count(await self._write(job))

    async def _write(self, job: Job[T]) -> T:
        """What it changes is known anew where its end was not seen. Raises `StoreError`."""
        self._is_uncertain = True
        try:
            done = await self.store.write(job)
        except BaseException:
            self.on_doubt()
            raise
        self._is_uncertain = False
        return done

    def count(self, changes: usage_rows.Changes) -> None:
        """Logs have more, or less."""
        for link, change in changes.items():
            if (log := self.logs.get(link)) is not None:
                self.quotas.add(log, change)

    def tell(self, taken: Taken) -> None:
        for listener in list(self.listeners):
            listener(taken)

    def _take_over(self, plan: Plan) -> None:
        for link, row in plan.rows.items():
            self._room.ready.pop(link, None)
            if row.is_new:
                self._room.came(link)
            if link in self._listed:
                self._ends[link] = End(row.known.log, row.known.spot)
            if row.is_new or row.known.identity_seq is not None:
                self._held.news(link)
        for link, row in plan.rows.items():
            if row.is_held:
                known = row.known
                waiting = Waiting(known.type, known.key, row.awaited, len(known.parents), row.from_ms, known.superseded)
                self._held.put(link, waiting)
            else:
                self._held.remove(link)
        self._held.supersede(plan.superseded)


def _load(tx: Transaction) -> tuple[rows.Loaded, usage_rows.Changes]:
    return rows.load(tx), usage_rows.load(tx)
