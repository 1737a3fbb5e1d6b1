"""What people do with messages that were sent: look them up, follow them, cancel them, try them again."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from covm.federation.dispatch import outbox_queries, receipts, tables, upkeep_jobs
from covm.federation.dispatch.drafting import Draft
from covm.federation.dispatch.journal import Journal
from covm.federation.dispatch.line import Post
from covm.federation.dispatch.line_book import LineBook
from covm.federation.dispatch.outbox_queries import PeerOutbox, SentMessage
from covm.federation.dispatch.receipts import Receipt
from covm.federation.dispatch.upkeep import End, Upkeep
from covm.federation.errors import NotRetriable, UnknownMessage
from covm.federation.network.interface import NotOpened
from covm.federation.store.interface import Transaction
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MID_SIZE, clamped_ms

CANCELLED_BY_USER = "cancelled here"

NOT_OVER = "only what was refused, quarantined or cancelled, or has expired, can be"

TURN_S = 0.05
"""How long a message that has no place yet may take to get one, before it is looked at again."""


RETRY_WITHIN_MS: Final = 12 * 3600 * 1000
"""How long after its end a message may be tried again under its id: receivers remember ids for a day past the end, by
their own clocks, so that what had its effect has no second one."""


class OutboxDesk:
    """Every method raises `UnknownMessage` for an id that is not here, and `StoreError`."""

    def __init__(self, post: Post, book: LineBook, journal: Journal, upkeep: Upkeep) -> None:
        self._post = post
        self._book = book
        self._journal = journal
        self._upkeep = upkeep

    async def receipt(self, message_id: str) -> Receipt:
        """Follows a message that was sent before, also in an earlier run of this node."""
        mid = _mid(message_id)
        held = self._held(mid)
        if held is not None:
            return held
        # Between two commits: a message that is just getting its place would be followed where it is no more.
        return await self._journal.run(partial(self._followed, mid), for_guest=True)

    async def show(self, message_id: str) -> SentMessage:
        """One message; instead of the whole id its beginning will do, if only one has it."""
        if len(message_id) == 2 * MID_SIZE:
            return await self._look_up(_mid(message_id))
        ids = await self.ids_from(message_id, 2)
        if len(ids) != 1:
            raise UnknownMessage(message_id)
        return await self._look_up(_mid(ids[0]))

    async def ids_from(self, prefix: str, limit: int = 10) -> list[str]:
        """Ids of messages that begin with these hexadecimal digits."""
        digits = prefix.lower()
        if not digits or len(digits) > 2 * MID_SIZE or not set(digits) <= set("0123456789abcdef"):
            return []
        return await self._post.store.read(partial(outbox_queries.ids_from, prefix=digits, limit=limit))

    async def listed(
        self, peer: str | None = None, state: str | None = None, limit: int = 100, before: int | None = None
    ) -> list[SentMessage]:
        """The newest messages first, at most 1,000; `before` is the `number` of one, for those further back.

        Raises `ValueError` for an unknown state.
        """
        return await self._post.store.read(
            partial(outbox_queries.listed, peer=peer, state=state, limit=limit, before=before)
        )

    async def summary(self) -> list[PeerOutbox]:
        """What waits, by peer, the most first."""
        staged = {peer: rest for peer, *rest in await self._post.store.read(outbox_queries.staged_of)}
        reasons = await self._post.store.read(outbox_queries.last_reasons)
        offset_ms = self._post.clock.now_ms() - int(self._post.clock.monotonic_s() * 1000)
        peers = []
        for line in self._book:
            waiting = self._book.waiting_for(line.peer)
            count, size_bytes, oldest_ms = staged.pop(line.peer, (0, 0, None))
            due_s = self._upkeep.next_try_s(line.peer)
            reason = line.trouble or reasons.get(line.outgoing.id or 0, "")
            if not (waiting.messages or count or reason):
                continue
            ages = [each for each in (waiting.oldest_ms, oldest_ms) if each is not None]
            next_ms = None if due_s is None else int(due_s * 1000) + offset_ms
            peers.append(
                PeerOutbox(
                    line.peer,
                    waiting.messages + count,
                    waiting.size_bytes + size_bytes,
                    min(ages, default=None),
                    reason,
                    next_ms,
                )
            )
        peers += [PeerOutbox(peer, count, size, oldest, "", None) for peer, (count, size, oldest) in staged.items()]
        return sorted(peers, key=lambda each: -each.messages)

    async def cancel(self, message_id: str) -> SentMessage:
        """Gives a message up that its receiver does not have yet, and returns what it is then.

        What is stored there, or over, stays as it is: look at `state`. What is under way may arrive all the same;
        then the receipt says so.
        """
        mid = _mid(message_id)
        while (found := await self._journal.run(partial(self._cancel, mid), for_guest=True)) is None:
            # It gets its place first, so that its end can be kept there.
            self._journal.admissions.has_staged = True
            await asyncio.sleep(TURN_S)
        return found

    async def retry(self, message_id: str) -> Receipt:
        """Sends a message again that expired, or was cancelled, refused or quarantined; with a fresh time to live.

        The id stays, so what had its effect there has no second one. Raises `NotRetriable` when it is not over, or
        its content is no longer held, or its end is half a day past: receivers forget ids after a day.
        """
        mid = _mid(message_id)
        receipt = await self.receipt(message_id)
        draft = await self._journal.run(partial(self._drafted_again, mid, receipt), for_guest=True)
        return await self._journal.admit(draft)

    async def _cancel(self, mid: bytes) -> SentMessage | None:
        """None for a message that has no place yet."""
        found = await self._post.store.read(partial(outbox_queries.find, mid=mid))
        if found is None:
            await self._look_up(mid)
            return None
        line = self._book.get(found.peer)
        is_current = line is not None and line.outgoing.id == found.line_id
        acked_seq = line.outgoing.acked_seq if line is not None and is_current else 0
        is_stored = (found.seq <= acked_seq or found.was_stored) and not found.message.reason
        if found.state == tables.QUEUED and not is_stored:
            job = partial(
                upkeep_jobs.settle_rows,
                ids=[found.id],
                state=tables.CANCELLED,
                now_ms=self._post.clock.now_ms(),
                reason=CANCELLED_BY_USER,
            )
            due = upkeep_jobs.Due(found.id, found.line_id, found.seq, mid, found.message.size_bytes, "")
            await self._upkeep.write_ends([End(due, receipts.CANCELLED, CANCELLED_BY_USER)], job)
        return await self._look_up(mid)

    async def _drafted_again(self, mid: bytes, receipt: Receipt) -> Draft:
        found = await self._post.store.read(partial(outbox_queries.find, mid=mid))
        if found is None:
            # Once it is known at all, it waits for its place.
            await self._look_up(mid)
            raise NotRetriable(mid.hex(), receipt.state, NOT_OVER)
        envelope = await self._post.store.read(partial(_envelope, row_id=found.id))
        if not found.message.can_be_retried or envelope is None:
            is_over = found.state not in (tables.QUEUED, tables.HANDLED)
            why = "its content is no longer held; send it anew" if is_over else NOT_OVER
            raise NotRetriable(mid.hex(), receipt.state, why)
        (opened,) = await self._post.network.open(Kind.MESSAGE, [envelope])
        if isinstance(opened, NotOpened):
            raise NotRetriable(mid.hex(), receipt.state, "its content is damaged here; send it anew")
        now_ms = clamped_ms(self._post.clock.now_ms())
        if now_ms > found.message.expires_at_ms + RETRY_WITHIN_MS:
            why = "its receiver may have forgotten its id, and would take it for a new one; send it anew"
            raise NotRetriable(mid.hex(), receipt.state, why)
        lifetime_ms = found.message.expires_at_ms - found.message.queued_at_ms
        expires_at = clamped_ms(now_ms + lifetime_ms)
        line = self._book.obtain(found.peer)
        self._book.require_room(found.peer, len(opened.body))
        draft = Draft(line, found.message.type, mid, opened.body, now_ms, expires_at, receipt)
        draft.row = found.id
        if line.outgoing.id == found.line_id:
            draft.old_seq = found.seq
            draft.leaves_row = found.state in tables.GIVEN_UP
        # Also where it lies at a place that is not sent yet: a skip goes there.
        line.outgoing.window.clear()
        return draft

    async def _followed(self, mid: bytes) -> Receipt:
        held = self._held(mid)
        if held is not None:
            return held
        found, line_id = await self._find(mid)
        receipt = Receipt(mid, found.peer, found.type, self._post.terms.message_timeout_s)
        state, line = found.state, self._book.get(found.peer)
        if self._follow(receipt, found, line_id) and line is not None and state == receipts.QUEUED:
            # The receiver's last word may not be on disk yet.
            is_stored = found.seq is not None and found.seq <= line.outgoing.acked_seq and not found.reason
            state = receipts.STORED if is_stored else state
        is_given_up = state in (receipts.EXPIRED, receipts.CANCELLED)
        (receipt.end if is_given_up else receipt.advance)(state, found.reason)
        if line_id is not None and line is not None and line.outgoing.id == line_id:
            for seq in await self._post.store.read(partial(outbox_queries.places_of, mid=mid, line_id=line_id)):
                if seq != found.seq:
                    line.outgoing.former.setdefault(seq, receipt)
        return receipt

    def _held(self, mid: bytes) -> Receipt | None:
        floating = self._book.floating.get(mid)
        if floating is not None:
            return floating
        return next((receipt for receipt in self._book.receipts() if receipt.mid == mid), None)

    def _follow(self, receipt: Receipt, found: SentMessage, line_id: int | None) -> bool:
        """Whether the message has its place on the line that is in use."""
        line = self._book.get(found.peer)
        if found.seq is not None and line is not None and line.outgoing.id == line_id:
            line.outgoing.live.setdefault(found.seq, receipt)
            return True
        self._book.floating.setdefault(receipt.mid, receipt)
        return False

    async def _find(self, mid: bytes) -> tuple[SentMessage, int | None]:
        """A message, and the line on which it has its place."""
        found = await self._post.store.read(partial(outbox_queries.find, mid=mid))
        return (await self._look_up(mid), None) if found is None else (found.message, found.line_id)

    async def _look_up(self, mid: bytes) -> SentMessage:
        found = await self._post.store.read(partial(outbox_queries.look_up, mid=mid))
        if found is None:
            raise UnknownMessage(mid.hex())
        return found


def _mid(message_id: str) -> bytes:
    try:
        mid = bytes.fromhex(message_id)
    except ValueError:
        mid = b""
    if len(mid) != MID_SIZE:
        raise UnknownMessage(message_id)
    return mid


def _envelope(tx: Transaction, row_id: int) -> bytes | None:
    envelope = tx.execute("SELECT envelope FROM covm_outbox WHERE id = :id", {"id": row_id}).scalar()
    return None if envelope is None else bytes(envelope)
