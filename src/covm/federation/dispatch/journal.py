"""The outbox's way to disk: one commit under way, everything else waits for the next.

What is handed in while a commit is under way shares the following one: messages that are sent, messages that move to
another place, acknowledgements and outcomes. So busy, an fsync is paid for hundreds of messages at once; idle, a
message waits for nothing. Whatever else changes the outbox's tables (`run`) takes its turn here too: between two
commits the loop's picture of the outbox is that on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from covm.federation.dispatch.admissions import Admissions
from covm.federation.dispatch.drafting import Assembly, Draft, Record
from covm.federation.dispatch.line import Post
from covm.federation.dispatch.line_book import LineBook, adopt
from covm.federation.dispatch.outbox import Outgoing
from covm.federation.dispatch.outbox_jobs import Batch, Settled, load_line, places_from, write_batch
from covm.federation.dispatch.receipts import Receipt
from covm.federation.dispatch.standing import Settlement
from covm.federation.errors import FederationError, NetworkError, NotStarted, StoreError
from covm.federation.wire.kinds import Kind

logger = logging.getLogger("covm.federation.dispatch")
T = TypeVar("T")

BATCH_MESSAGES = 128
"""Messages of one commit. While it is on its way to disk and to the receiver, the next is put together and written:
with 256 both ends take turns instead of working side by side (measured with 256 under way, on two cores: a tenth fewer
messages a second, for a tenth to a sixth less CPU), and with 64 the fixed cost of more commits takes the gain back."""

BATCH_BYTES = 4 * 1024 * 1024
"""Their bytes, unless one message alone is larger."""

SEALED_ASIDE = 16
"""Bodies of a batch from which on they are signed on the core's threads, while the loop takes what comes next; fewer
are signed inside the job, which saves two changes of thread."""

RECORD_DELAY_S = 0.05
"""What receivers say goes to disk with the next messages, or by itself after this: who loses it hears it again."""

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
"""Pauses between attempts to write what nobody waits for, while the store fails."""


class Journal:
    """Writes batches, one after the other. `told` hears what became of outcomes, on the loop, after their commit."""

    def __init__(self, post: Post, book: LineBook, told: Callable[[Outgoing, Settlement, Settled, int], None]) -> None:
        self.admissions = Admissions(post, book)
        self._post = post
        self._book = book
        self._told = told
        self._drafts: deque[Draft] = deque()
        self._commands: deque[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = deque()
        self._records: dict[Outgoing, Record] = {}
        self._suspects: dict[Outgoing, None] = {}
        self._wake = asyncio.Event()
        self._records_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._pause_s = 0.0
        self._is_stopped = False
        self._guests: dict[asyncio.Future[Any], None] = {}
        """Who waits here and is no task of the node."""

    def add(self, draft: Draft) -> asyncio.Future[Receipt]:
        """Queues a message that was given a place; the future tells when it is on disk, or why it is not."""
        done: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        draft.done = done
        self._drafts.append(draft)
        self._wake.set()
        return done

    async def admit(self, draft: Draft) -> Receipt:
        """Gives a message that is on disk already another place, once its turn has come."""
        if self._is_stopped:
            raise NotStarted
        draft.done = asyncio.get_running_loop().create_future()
        self._welcome(draft.done)
        self.admissions.add(draft)
        self._wake.set()
        return await draft.done

    def record(self, outgoing: Outgoing, record: Record | None = None) -> None:
        """What a receiver said goes to disk soon; that the line's numbers changed needs no record."""
        known = self._records.get(outgoing)
        if known is None:
            known = self._records[outgoing] = Record()
        if record is not None:
            known.merge(record)
        if self._timer is None and not self._is_stopped:
            self._timer = asyncio.get_running_loop().call_later(RECORD_DELAY_S, self._flush)

    async def forget(self, outgoing: Outgoing) -> None:
        """Drops outcomes that are not on disk: the receiver says them again, unless it was rolled back behind them.

        Then the last outcome that is on disk is the last that counts.
        """

        async def forget() -> None:
            record = self._records.get(outgoing)
            if record is not None:
                record.settlements = []
                # What they came with is dealt with; most of it was on a stream that has ended.
                given, record.credits = record.credits, []
                for give_back, size_bytes in given:
                    give_back(size_bytes)
            outgoing.outcomes_seen = outgoing.outcomes_upto

        await self.run(forget)

    def wake(self) -> None:
        """There may be something to be given a place."""
        self._wake.set()

    async def run(self, command: Callable[[], Awaitable[T]], *, for_guest: bool = False) -> T:
        """Runs something between two commits, and alone. Raises what it raises.

        The node's own tasks are cancelled when it stops; guests get `NotStarted` then.
        """
        if self._is_stopped and for_guest:
            raise NotStarted
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if for_guest:
            self._welcome(done)
        self._commands.append((command, done))
        self._wake.set()
        return await done

    def _welcome(self, done: asyncio.Future[Any]) -> None:
        self._guests[done] = None
        done.add_done_callback(lambda _: self._guests.pop(done, None))

    def begin(self) -> None:
        """A new incarnation: what is handed in and not on disk takes its places there."""
        for draft in self._drafts:
            draft.line.outgoing.assign(draft.size_bytes)

    def stop(self) -> None:
        """Nothing is written any more by itself; who waits learns it."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        drafts, self._drafts = self._drafts, deque()
        self._commands.clear()
        for done in [*(draft.done for draft in drafts), *self._guests]:
            if done is not None and not done.done():
                done.set_exception(NotStarted())

    async def write_on(self) -> None:
        """The loop that writes; to be kept running."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._has_work():
                await self._write()
                if self._pause_s and not self._drafts:
                    await self._rest()

    def _has_work(self) -> bool:
        return bool(self._drafts or self._commands or self._records_due or not self.admissions.is_empty)

    async def _rest(self) -> None:
        """While the store fails: what nobody waits for is tried again in a while, what somebody sends at once."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause_s):
                await self._wake.wait()

    def _flush(self) -> None:
        self._timer = None
        self._records_due = True
        self._wake.set()

    async def _write(self) -> None:
        # Those alone that wait now: whoever comes again and again must not keep the rest from its turn.
        for _ in range(len(self._commands)):
            await self._carry_out(*self._commands.popleft())
        try:
            await self._clear_suspects()
            moved = await self.admissions.following()
        except StoreError as error:
            self._trouble(error)
            self._fail_drafts(error)
            return
        assembly = self._assemble(moved)
        if assembly.is_empty:
            return
        failure: Exception = RuntimeError("the outbox failed; the log of this node has the details")
        committed = False
        try:
            await self._commit(assembly, moved)
            committed = True
        except StoreError as error:
            # It may be on disk all the same: the lines are read anew before anything else is written.
            self._suspects.update(dict.fromkeys(assembly.lines))
            self._trouble(error)
            failure = error
        finally:
            if not committed:
                self._take_back(assembly, moved, NotStarted() if self._is_stopped else failure)

    async def _carry_out(self, command: Callable[[], Awaitable[T]], done: asyncio.Future[T]) -> None:
        """Runs a command for who waits; a fault in it is logged by who keeps this loop."""
        failure: Exception | None = RuntimeError("the outbox failed; the log of this node has the details")
        try:
            result = await command()
            if not done.done():
                done.set_result(result)
        except FederationError as error:
            failure = error
        except asyncio.CancelledError:
            # The node ends, and its tasks with it.
            failure = None
            raise
        finally:
            if failure is not None and not done.done():
                done.set_exception(failure)

    def _assemble(self, moved: list[Draft]) -> Assembly:
        assembly = Assembly()
        for draft in moved:
            draft.line.outgoing.assign(draft.size_bytes)
            self._book.note(draft.expires_at)
            assembly.add(draft)
        drafts, count, size_bytes = self._drafts, 0, 0
        holds_back = self.admissions.holds_back
        while drafts and count < BATCH_MESSAGES and size_bytes < BATCH_BYTES:
            draft = drafts.popleft()
            if draft.done is not None and draft.done.cancelled():
                draft.line.outgoing.unassign(draft.size_bytes)
                continue
            count += 1
            size_bytes += draft.size_bytes
            (assembly.stage if holds_back else assembly.add)(draft)
        records, self._records = self._records, {}
        self._records_due = False
        for outgoing, record in records.items():
            assembly.record(outgoing, record)
        return assembly

    async def _commit(self, assembly: Assembly, moved: list[Draft]) -> None:
        batch, seal = assembly.batch, self._post.seal
        await self._seal(batch)
        written = await self._post.store.write(lambda tx: write_batch(tx, batch, seal))
        self._pause_s = 0.0
        for draft in assembly.staged:
            draft.line.outgoing.unassign(draft.size_bytes)
            self._book.staging.add(draft.line.peer, draft.size_bytes, self._post.clock.monotonic_s())
        for draft in moved:
            if draft.staged is not None:
                self._book.staging.remove(draft.line.peer, draft.size_bytes)
        told = assembly.committed(written, self._book.floating)
        self.admissions.has_staged |= bool(assembly.staged)
        for outgoing, settlement, settled, count in told:
            self._told(outgoing, settlement, settled, count)
        for outgoing, record in assembly.records.items():
            self._confirm(outgoing, record)
        for outgoing in assembly.drafts:
            self._wake_sender(outgoing)

    async def _seal(self, batch: Batch) -> None:
        """Signs a large batch; what is not signed here, because the network does not run, is signed in the job."""
        bodies = batch.bodies()
        if len(bodies) >= SEALED_ASIDE:
            with contextlib.suppress(NetworkError, NotStarted):
                batch.envelopes = await self._post.network.seal(Kind.MESSAGE, bodies)

    def _take_back(self, assembly: Assembly, moved: list[Draft], failure: Exception) -> None:
        """The batch is not on disk: what came from disk or from receivers is written later."""
        assembly.failed(failure)
        for draft in moved:
            if draft.receipt is not None:
                self._book.floating[draft.mid] = draft.receipt
        self.admissions.put_back(moved)
        for outgoing, record in assembly.records.items():
            later = self._records.pop(outgoing, None)
            if later is not None:
                record.merge(later)
            self._records[outgoing] = record
            self._records_due = True

    def _fail_drafts(self, error: StoreError) -> None:
        drafts, self._drafts = self._drafts, deque()
        for draft in drafts:
            draft.line.outgoing.unassign(draft.size_bytes)
            if draft.done is not None and not draft.done.done():
                draft.done.set_exception(error)

    def _trouble(self, error: StoreError) -> None:
        if not self._pause_s:
            logger.warning("the outbox cannot be written: %s", error)
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LAST_PAUSE_S)

    async def _clear_suspects(self) -> None:
        """After a commit that failed, what is on disk counts."""
        for outgoing in list(self._suspects):
            peer, incarnation = outgoing.peer, outgoing.incarnation
            row = await self._post.store.read(partial(load_line, peer=peer, incarnation=incarnation))
            if row is not None:
                found = await self._post.store.read(
                    partial(places_from, peer=peer, incarnation=incarnation, seq=outgoing.next_seq)
                )
                for seq, mid in found:
                    if (receipt := self._book.floating.pop(mid, None)) is not None:
                        outgoing.live[seq] = receipt
                adopt(outgoing, row)
                outgoing.window.clear()
                self._wake_sender(outgoing)
            self._suspects.pop(outgoing, None)

    def _confirm(self, outgoing: Outgoing, record: Record) -> None:
        line = self._book.get(outgoing.peer)
        if record.settlements and line is not None and line.sender is not None and line.outgoing is outgoing:
            line.sender.confirm()
        for give_back, size_bytes in record.credits:
            give_back(size_bytes)

    def _wake_sender(self, outgoing: Outgoing) -> None:
        line = self._book.get(outgoing.peer)
        if line is not None and line.sender is not None:
            line.sender.wake()
