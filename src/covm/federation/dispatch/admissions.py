"""Messages on disk that get a place now: of an earlier incarnation, sent inside a transaction, or tried again."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from covm import _native
from covm.federation.dispatch.drafting import Draft
from covm.federation.dispatch.line import Line, Post
from covm.federation.dispatch.line_book import LineBook
from covm.federation.dispatch.outbox import Outgoing
from covm.federation.dispatch.upkeep_jobs import close_line
from covm.federation.errors import StoreError
from covm.federation.store.interface import Transaction
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_TIME_TO_LIVE

logger = logging.getLogger("covm.federation.dispatch")

AT_ONCE = 1_024
"""Messages that get a place in one commit; more than are sent in one, so that a backlog ends under any load."""

AT_ONCE_BYTES = 4 * 1024 * 1024
"""Their bytes, unless one message alone is larger."""

DAMAGED = "its stored form is damaged"


class _Waiting(NamedTuple):
    """A row of the outbox that gets another place."""

    id: int
    seq: int
    mid: bytes
    type: str
    queued_at: int
    expires_at: int
    body: bytes | None
    """None: the envelope does not open."""


@dataclass(slots=True)
class _Retry:
    outgoing: Outgoing
    upto_seq: int
    is_asked: bool
    after_seq: int = 0


class Admissions:
    """Where the next messages without a place come from. `is_empty` when there are none."""

    def __init__(self, post: Post, book: LineBook) -> None:
        self._post = post
        self._book = book
        self._ready: deque[Draft] = deque()
        self._retries: deque[_Retry] = deque()
        self.has_staged = False
        """Whether something may be staged."""

    @property
    def is_empty(self) -> bool:
        return not (self._ready or self._book.old or self.has_staged or self._retries)

    @property
    def holds_back(self) -> bool:
        """Whether what is sent now has to wait behind what is on disk without a place."""
        return bool(self._book.old) or self.has_staged

    def add(self, draft: Draft) -> None:
        """A message that somebody wants sent again."""
        self._ready.append(draft)

    def retry(self, outgoing: Outgoing) -> None:
        """Everything that the receiver refused for now is to be tried again."""
        self._retries.append(_Retry(outgoing, outgoing.acked_seq, is_asked=False))

    def ask(self, outgoing: Outgoing, upto_seq: int) -> None:
        """What the receiver stored up to there and never settled is sent once more: it says what became of it."""
        self._retries.append(_Retry(outgoing, upto_seq, is_asked=True))

    async def following(self) -> list[Draft]:
        """The next of them, in order; none when nothing is left of one source. Raises `StoreError`.

        What is on disk is read again, from the beginning, until its commit has taken it from there.
        """
        if self._ready:
            return [self._ready.popleft() for _ in range(min(len(self._ready), AT_ONCE))]
        if self._book.old:
            return await self._of_old_line()
        if self.has_staged:
            return await self._of_staged()
        return await self._of_retries() if self._retries else []

    def put_back(self, drafts: Sequence[Draft]) -> None:
        """These were not committed. Some are read again, some wait here, and of some somebody was told."""
        kept = [draft for draft in drafts if not draft.is_read_again and draft.done is None]
        self._ready.extendleft(reversed(kept))
        self.has_staged |= any(draft.staged is not None for draft in drafts)

    async def _of_old_line(self) -> list[Draft]:
        old = self._book.old[0]
        rows = await self._post.store.read(lambda tx: _rows(tx, old.id, 0, "envelope IS NOT NULL"))
        if not rows:
            await self._post.store.write(partial(close_line, line_id=old.id))
            self._book.old.popleft()
            return []
        drafts = await self._drafts(self._book.obtain(old.peer), rows)
        for draft in drafts:
            draft.is_read_again = True
        return drafts

    async def _of_staged(self) -> list[Draft]:
        # Before the look: what is staged after it says so again.
        self.has_staged = False
        try:
            rows, is_all = await self._post.store.read(_staged)
        except StoreError:
            self.has_staged = True
            raise
        self.has_staged |= not is_all
        drafts = []
        for row_id, peer, mid, type_name, body, queued_at, expires_at in rows:
            receipt = self._book.floating.get(mid)
            draft = Draft(self._book.obtain(peer), type_name, mid, body, queued_at, expires_at, receipt)
            draft.staged, draft.is_read_again = row_id, True
            drafts.append(draft)
        return drafts

    async def _of_retries(self) -> list[Draft]:
        retry = self._retries[0]
        outgoing, where = retry.outgoing, f"envelope IS NOT NULL AND reason {'=' if retry.is_asked else '<>'} ''"
        line = self._book.get(outgoing.peer)
        if outgoing.id is None or line is None or line.outgoing is not outgoing:
            self._retries.popleft()
            return []
        line_id, after_seq = outgoing.id, retry.after_seq
        rows = await self._post.store.read(lambda tx: _rows(tx, line_id, after_seq, where, retry.upto_seq))
        if not rows:
            self._retries.popleft()
            return []
        drafts = await self._drafts(line, rows)
        places = {row.id: row.seq for row in rows}
        for draft in drafts:
            draft.old_seq, draft.is_asked = places[draft.row or 0], retry.is_asked
            if draft.is_asked:
                # Its time does not run out here any more: the receiver has it.
                kept_ms = int(MAX_TIME_TO_LIVE.total_seconds() * 1000)
                draft.expires_at = max(draft.expires_at, self._post.clock.now_ms() + kept_ms)
            old_seq = draft.old_seq
            draft.receipt = draft.receipt or outgoing.live.get(old_seq) or outgoing.former.get(old_seq)
        retry.after_seq = rows[-1].seq
        if not retry.is_asked:
            outgoing.given_back = max(0, outgoing.given_back - len(rows))
        return drafts

    async def _drafts(self, line: Line, rows: Sequence[_Waiting]) -> list[Draft]:
        drafts = []
        for row in rows:
            if row.body is None:
                logger.error("message %s is not sent: %s", row.mid.hex(), DAMAGED)
                await self._give_up(row.id)
                continue
            receipt = self._book.floating.get(row.mid)
            draft = Draft(line, row.type, row.mid, row.body, row.queued_at, row.expires_at, receipt)
            draft.row = row.id
            drafts.append(draft)
        return drafts

    async def _give_up(self, row_id: int) -> None:
        now_ms = self._post.clock.now_ms()

        def job(tx: Transaction) -> None:
            tx.execute(
                "UPDATE covm_outbox SET state = 2, reason = :reason, settled_at = :now WHERE id = :id",
                {"id": row_id, "reason": DAMAGED, "now": now_ms},
            )

        await self._post.store.write(job)


def _rows(tx: Transaction, line_id: int, after_seq: int, where: str, upto_seq: int | None = None) -> list[_Waiting]:
    upto = "" if upto_seq is None else f" AND seq <= {int(upto_seq)}"
    sizes = tx.execute(
        "SELECT id, size FROM covm_outbox "  # noqa: S608 - ours
        f"WHERE line_id = :line AND seq > :seq AND state = 0 AND {where}{upto} ORDER BY seq LIMIT {AT_ONCE}",
        {"line": line_id, "seq": after_seq},
    ).all()
    if not sizes:
        return []
    found = tx.execute(
        "SELECT id, seq, mid, type, queued_at, expires_at, envelope FROM covm_outbox "  # noqa: S608 - integers of ours
        f"WHERE id IN ({_first(sizes)}) ORDER BY seq"
    )
    rows = found.all()
    # Here and not by the network, which need not run yet; and off the loop.
    opened = _native.open_envelopes(Kind.MESSAGE.value, [bytes(row[-1]) for row in rows])
    return [
        _Waiting(row_id, seq, bytes(mid), type_name, queued_at, expires_at, None if isinstance(one, str) else one[1])
        for (row_id, seq, mid, type_name, queued_at, expires_at, _), one in zip(rows, opened, strict=True)
    ]


def _staged(tx: Transaction) -> tuple[list[tuple[Any, ...]], bool]:
    """The first staged messages, and whether these are all."""
    sizes = tx.execute("SELECT id, length(body) FROM covm_staged ORDER BY id LIMIT :count", {"count": AT_ONCE}).all()
    if not sizes:
        return [], True
    found = tx.execute(
        "SELECT id, peer, mid, type, body, queued_at, expires_at FROM covm_staged "  # noqa: S608 - integers of ours
        f"WHERE id IN ({_first(sizes)}) ORDER BY id"
    )
    rows = [
        (row_id, peer, bytes(mid), type_name, bytes(body), queued_at, expires_at)
        for row_id, peer, mid, type_name, body, queued_at, expires_at in found
    ]
    return rows, len(rows) == len(sizes) < AT_ONCE


def _first(sizes: Sequence[Sequence[Any]]) -> str:
    """The ids of the first rows that are no more than may be in memory at once, at least one."""
    ids, size_bytes = list[str](), 0
    for row_id, size in sizes:
        size_bytes += size
        if ids and size_bytes > AT_ONCE_BYTES:
            break
        ids.append(str(int(row_id)))
    return ", ".join(ids)
