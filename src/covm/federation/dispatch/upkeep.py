"""What happens to the outbox by itself, with time: messages expire, are tried again, and are forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from covm.federation.dispatch import receipts, tables, upkeep_jobs
from covm.federation.dispatch.drafting import Record
from covm.federation.dispatch.journal import Journal
from covm.federation.dispatch.line import Line, Post
from covm.federation.dispatch.line_book import LineBook
from covm.federation.dispatch.outbox import Asking, Outgoing
from covm.federation.dispatch.outbox_jobs import Row
from covm.federation.errors import StoreError
from covm.federation.store.interface import Transaction

if TYPE_CHECKING:
    from covm.federation.store.interface import Job

logger = logging.getLogger("covm.federation.dispatch")

PERIOD_S: Final = 1.0
"""How often expiry is looked at: a message lives at most this much longer than it should."""

PRUNE_PERIOD_S: Final = 600.0
"""How often history is pruned by age and bytes."""

HELD_BACK: Final = 256
"""Handled messages whose envelopes are kept: what a receiver that was rolled back a little gets again."""

RELEASED_AT_ONCE: Final = 1_024
"""Messages that are handled before their envelopes are dropped together."""

HISTORY_MESSAGES: Final = 10_000
"""Settled messages of one line that can still be looked up."""

HISTORY: Final = timedelta(days=30)
"""How long they can be: as long as a message may live at most."""

UNSETTLED: Final = timedelta(days=1)
"""What was stored and never settled is forgotten so long after its expiry."""

RETRIED_BYTES: Final = 64 * 1024 * 1024
"""Contents of settled messages of one line that are kept, so that they can be tried again."""

UNSETTLED_BYTES: Final = 256 * 1024 * 1024
"""Contents of stored messages that are kept until they are settled: as much as an honest receiver lets wait."""

TRANSACTION_S: Final = 60.0
"""What a transaction reserved and never committed is free again after so long."""

ASK_SOON_S: Final = 5.0
"""After the first HELLO in this life a receiver is asked about stored messages without an outcome: what it said of them
may have been undone with this node's disk."""

ASK_FIRST_S: Final = 120.0
"""How long a stored message may be without an outcome before the receiver is asked: its own disk may have gone back.
Asked again after twice as long, while handlers there simply take long."""

ASK_AT_MOST_S: Final = 86_400.0

RETRY_AT_MOST_S: Final = 3600.0
"""The longest pause before a message is tried again that was refused for now, whatever `connection_retry` says."""


class Retry:
    """When the messages that a receiver refused for now are tried again."""

    __slots__ = ("attempt", "due_s", "types")

    def __init__(self) -> None:
        self.attempt = 0
        self.due_s: float | None = None
        self.types: bytes | None = None
        """Digest of the receiver's types when it said HELLO last."""


class End(NamedTuple):
    """A message whose end this node decides: `state` and `reason` are its receipt's."""

    due: upkeep_jobs.Due
    state: str
    reason: str


class Upkeep:
    """The shell around time. One for all lines."""

    def __init__(self, post: Post, book: LineBook, journal: Journal) -> None:
        self._post = post
        self._book = book
        self._journal = journal
        self._in_doubt: dict[int, End] = {}
        """Ends, by row, whose commit failed, perhaps only in word."""
        self._retries: dict[str, Retry] = {}
        self._started = (0, 0.0)
        self._next_prune_s = 0.0
        self._shed: dict[int, int] = {}
        self._knows_given_back = False

    def start(self) -> None:
        clock = self._post.clock
        self._started = (clock.now_ms(), clock.monotonic_s())
        self._next_prune_s = clock.monotonic_s() + PRUNE_PERIOD_S

    def next_try_s(self, peer: str) -> float | None:
        """When what the peer refused for now is tried again, on the monotonic clock."""
        retry = self._retries.get(peer)
        return None if retry is None else retry.due_s

    def was_given_back(self, outgoing: Outgoing, count: int) -> None:
        """The receiver refused messages for a reason that may pass."""
        outgoing.given_back += count
        retry = self._retries.setdefault(outgoing.peer, Retry())
        if retry.due_s is None:
            terms, random = self._post.terms, self._post.random
            highest_s = min(terms.retry_max_s, RETRY_AT_MOST_S, terms.retry_base_s * 2.0**retry.attempt)
            # Not at once even with luck: the receiver has just said no.
            delay_s = random.uniform(min(terms.retry_base_s, highest_s), highest_s)
            retry.due_s = self._post.clock.monotonic_s() + delay_s
            retry.attempt = min(retry.attempt + 1, 30)

    def on_hello(self, line: Line, types: bytes) -> None:
        """What a receiver whose types changed refused for now is tried again at once."""
        outgoing = line.outgoing
        if outgoing.asking is None:
            due_s = self._post.clock.monotonic_s() + ASK_SOON_S
            outgoing.asking = Asking(due_s, ASK_FIRST_S, outgoing.acked_seq)
        retry = self._retries.setdefault(line.peer, Retry())
        if retry.types != types:
            retry.types, retry.attempt = types, 0
            if retry.due_s is not None:
                retry.due_s = 0.0

    async def keep(self) -> None:
        """The loop; to be kept running."""
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self._once()
            except StoreError as error:
                logger.debug("the upkeep of the outbox waits for the store: %s", error)

    async def _once(self) -> None:
        now_s = self._post.clock.monotonic_s()
        if not self._knows_given_back:
            await self._find_given_back()
        self._try_again(now_s)
        if self._journal.admissions.is_empty:
            self._book.staging.forget(now_s - TRANSACTION_S)
        now_ms = self._now_ms()
        if self._in_doubt:
            await self._journal.run(self._settle_doubts)
        if now_ms >= self._book.soonest_ms and not self._post.presence.clock_is_doubtful():
            await self._journal.run(partial(self._expire, now_ms))
        for line in self._book:
            await self._release(line.outgoing)
            await self._ask(line, now_s)
            if not line.outgoing.is_counted:
                await self._journal.run(partial(self._count_over, line.outgoing))
        if now_s >= self._next_prune_s:
            self._next_prune_s = now_s + PRUNE_PERIOD_S
            await self._prune(now_ms)

    def _now_ms(self) -> int:
        """The time by which messages end: a wall clock that is set forward ends nothing before its time."""
        began_ms, began_s = self._started
        clock = self._post.clock
        return min(clock.now_ms(), began_ms + int((clock.monotonic_s() - began_s) * 1000))

    async def _find_given_back(self) -> None:
        found = dict(await self._post.store.read(upkeep_jobs.given_back))
        self._knows_given_back = True
        for line in self._book:
            count = found.get(line.outgoing.id or 0, 0)
            if count:
                line.outgoing.given_back = 0
                self.was_given_back(line.outgoing, count)

    def _try_again(self, now_s: float) -> None:
        for peer, retry in list(self._retries.items()):
            line = self._book.get(peer)
            if line is None or not (line.admitted or retry.due_s is not None):
                del self._retries[peer]
            elif retry.due_s is not None and now_s >= retry.due_s and line.admitted:
                retry.due_s = None
                self._journal.admissions.retry(line.outgoing)
                self._journal.wake()

    async def _expire(self, now_ms: int) -> None:
        """Between two commits of the journal, so that the places on disk are those in memory."""
        by_id = {line.outgoing.id: line for line in self._book}
        while True:
            found = await self._post.store.read(partial(upkeep_jobs.due, now_ms=now_ms))
            over: list[upkeep_jobs.Due] = []
            refused: list[upkeep_jobs.Due] = []
            for each in found:
                line = by_id.get(each.line_id)
                stored = line is not None and each.seq <= line.outgoing.acked_seq
                if not stored or each.reason:
                    (refused if stored else over).append(each)
            if not over and not refused:
                break
            ends = [End(each, receipts.EXPIRED, "") for each in over]
            ends += [End(each, receipts.REFUSED, each.reason) for each in refused]
            job = partial(_end, over=over, refused=refused, now_ms=self._post.clock.now_ms())
            await self.write_ends(ends, job)
            self._post.counters.drop("expired", len(over))
        soonest = await self._post.store.read(partial(upkeep_jobs.soonest_expiry, after_ms=now_ms))
        self._book.soonest_ms = 2**63 if soonest is None else soonest

    async def write_ends(self, ends: Sequence[End], job: Job[None]) -> None:
        """Writes ends of messages, between two commits of the journal, and tells them. Raises `StoreError`.

        A commit that failed may have been one all the same: then the disk is asked later, and memory follows.
        """
        self._in_doubt.update({end.due.id: end for end in ends})
        for outgoing, seq in self._places_of(ends):
            outgoing.ending.add(seq)
        await self._post.store.write(job)
        for end in ends:
            self._in_doubt.pop(end.due.id, None)
        self._tell(ends)

    async def refuse(self, outgoing: Outgoing, rows: Sequence[Row], reason: str) -> None:
        """Ends messages that wait: their receiver may not have them. Raises `StoreError`."""
        await self._journal.run(partial(self._refuse, outgoing, rows, reason))

    async def _refuse(self, outgoing: Outgoing, rows: Sequence[Row], reason: str) -> None:
        line_id, now_ms = outgoing.id, self._post.clock.now_ms()
        if line_id is None:
            return
        due = [upkeep_jobs.Due(row.id, line_id, row.seq, row.mid, row.size, reason) for row in rows]
        ids = [row.id for row in rows]
        job = partial(upkeep_jobs.settle_rows, ids=ids, state=tables.REFUSED, now_ms=now_ms, reason=reason)
        await self.write_ends([End(each, receipts.REFUSED, reason) for each in due], job)
        self._post.counters.drop("not_for_its_recipient", len(rows))

    async def _settle_doubts(self) -> None:
        ids = list(self._in_doubt)
        over = await self._post.store.read(partial(upkeep_jobs.over_of, ids=ids))
        doubts = {each: self._in_doubt.pop(each) for each in ids}
        self._tell([end for each, end in doubts.items() if each in over])
        for outgoing, seq in self._places_of(doubts.values()):
            outgoing.ending.discard(seq)

    def _tell(self, ends: Sequence[End]) -> None:
        by_id = {line.outgoing.id: line for line in self._book}
        for due, state, reason in ends:
            self.ended(by_id.get(due.line_id), due.seq, due.mid, due.size_bytes, state, reason)
        for outgoing, seq in self._places_of(ends):
            outgoing.ending.discard(seq)

    def _places_of(self, ends: Iterable[End]) -> list[tuple[Outgoing, int]]:
        """The places on lines of this incarnation."""
        by_id = {line.outgoing.id: line.outgoing for line in self._book}
        return [(by_id[end.due.line_id], end.due.seq) for end in ends if end.due.line_id in by_id]

    def ended(self, line: Line | None, seq: int, mid: bytes, size_bytes: int, state: str, reason: str) -> None:
        """A message on this line (None: one of an earlier incarnation) has its end on disk: memory follows."""
        if line is None:
            receipt = self._book.floating.get(mid)
            if receipt is not None:
                receipt.advance(state, reason)
            return
        outgoing = line.outgoing
        if state != receipts.REFUSED and seq <= outgoing.acked_seq and seq in outgoing.ending:
            # The message's acknowledgement came while this was written, and not that of a skip.
            record = Record()
            record.restored.append(seq)
            self._journal.record(outgoing, record)
            return
        if seq > outgoing.acked_seq:
            outgoing.gave_up(size_bytes)
        outgoing.window.clear()
        if line.sender is not None:
            line.sender.on_skipped(seq)
        receipt = outgoing.live.get(seq)
        if receipt is not None:
            receipt.end(state, reason)

    async def _count_over(self, outgoing: Outgoing) -> None:
        """What of a line came to its end in an earlier life, or was passed over unseen. Between two commits."""
        outgoing.is_counted = True
        acked_seq, left = outgoing.acked_seq, outgoing.next_seq - 1 - outgoing.acked_seq
        if outgoing.id is None or not left:
            return
        job = partial(upkeep_jobs.still_waiting, line_id=outgoing.id, acked_seq=acked_seq)
        messages, size_bytes = await self._post.store.read(job)
        if outgoing.acked_seq == acked_seq:
            outgoing.set_over(left - messages, outgoing.total_bytes - outgoing.acked_bytes - size_bytes)
        else:
            outgoing.is_counted = False

    async def _ask(self, line: Line, now_s: float) -> None:
        outgoing, asking = line.outgoing, line.outgoing.asking
        if not line.admitted or outgoing.id is None or asking is None or now_s < asking.due_s:
            return
        upto = await self._post.store.read(
            partial(upkeep_jobs.unsettled, line_id=outgoing.id, acked_seq=asking.upto_seq)
        )
        asking.pause_s = min(2 * asking.pause_s, ASK_AT_MOST_S) if upto else ASK_FIRST_S
        asking.due_s, asking.upto_seq = now_s + asking.pause_s, outgoing.acked_seq
        if upto:
            self._journal.admissions.ask(outgoing, upto)
            self._journal.wake()

    async def _release(self, outgoing: Outgoing) -> None:
        line_id, upto = outgoing.id, outgoing.acked_seq - HELD_BACK
        if line_id is None or upto - outgoing.released_seq < RELEASED_AT_ONCE:
            return
        await self._post.store.write(
            partial(upkeep_jobs.release, line_id=line_id, after_seq=outgoing.released_seq, upto_seq=upto)
        )
        outgoing.released_seq = upto
        await self._prune_by_count(outgoing, line_id)

    async def _prune_by_count(self, outgoing: Outgoing, line_id: int) -> None:
        last = outgoing.acked_seq - HISTORY_MESSAGES
        if last <= outgoing.pruned_seq:
            return
        if outgoing.pruned_seq == 0:
            first = await self._post.store.read(partial(upkeep_jobs.first_seq, line_id=line_id))
            outgoing.pruned_seq = max(0, (first or 1) - 1)
        while outgoing.pruned_seq < last:
            upto = min(last, outgoing.pruned_seq + 4 * upkeep_jobs.AT_ONCE)
            await self._post.store.write(
                partial(upkeep_jobs.prune_line, line_id=line_id, after_seq=outgoing.pruned_seq, upto_seq=upto)
            )
            outgoing.pruned_seq = upto

    async def _prune(self, now_ms: int) -> None:
        store = self._post.store
        for line in self._book:
            await self._shed_bytes(line.outgoing)
            await self._prune_over(line.outgoing)
        settled_before = now_ms - int(HISTORY.total_seconds() * 1000)
        expired_before = now_ms - int(UNSETTLED.total_seconds() * 1000)
        while await store.write(
            partial(upkeep_jobs.prune_by_age, settled_before_ms=settled_before, expired_before_ms=expired_before)
        ):
            pass
        if not self._book.old:
            own = self._post.own_incarnation
            await store.write(partial(upkeep_jobs.prune_lines, number=own.number, nonce=own.nonce))

    async def _prune_over(self, outgoing: Outgoing) -> None:
        """A peer that never comes back leaves no more behind than one that does."""
        while (
            outgoing.id is not None
            and outgoing.over_messages
            and await self._post.store.write(
                partial(
                    upkeep_jobs.prune_over,
                    line_id=outgoing.id,
                    acked_seq=outgoing.acked_seq,
                    kept=HISTORY_MESSAGES,
                    kept_bytes=RETRIED_BYTES,
                )
            )
        ):
            pass

    async def _shed_bytes(self, outgoing: Outgoing) -> None:
        line_id, acked_bytes = outgoing.id, outgoing.acked_bytes
        if line_id is None or acked_bytes - self._shed.get(line_id, 0) < RETRIED_BYTES:
            return
        await self._post.store.write(
            partial(
                upkeep_jobs.shed,
                line_id=line_id,
                upto_seq=outgoing.acked_seq - HELD_BACK,
                settled_before=acked_bytes - RETRIED_BYTES,
                all_before=acked_bytes - UNSETTLED_BYTES,
            )
        )
        self._shed[line_id] = acked_bytes


def _end(tx: Transaction, over: list[upkeep_jobs.Due], refused: list[upkeep_jobs.Due], now_ms: int) -> None:
    upkeep_jobs.settle_rows(tx, [each.id for each in over], tables.EXPIRED, now_ms)
    upkeep_jobs.settle_rows(tx, [each.id for each in refused], tables.REFUSED, now_ms)
