"""Messages on their way to disk: drafts, and the batch in which they are committed. Rules: no I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from covm.federation.dispatch.line import Line
from covm.federation.dispatch.outbox import Outgoing, Place
from covm.federation.dispatch.outbox_jobs import Batch, LineWork, Settled, Written
from covm.federation.dispatch.receipts import Receipt
from covm.federation.dispatch.standing import Settlement
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import decode_body, encode_body

GivesBack = Callable[[int], None]


class Draft:
    """One message that is to get a place. Its body has the place that it will get if all goes well.

    `done` is the future of who waits for it. For one that is on disk already and moves, `row` or `staged` is where
    from, and `old_seq` its place on the present line, if it had one there.
    """

    __slots__ = (
        "body",
        "done",
        "expires_at",
        "incarnation",
        "is_asked",
        "is_read_again",
        "leaves_row",
        "line",
        "mid",
        "old_seq",
        "queued_at",
        "receipt",
        "row",
        "seq",
        "size_bytes",
        "staged",
        "type",
    )

    def __init__(
        self,
        line: Line,
        type_name: str,
        mid: bytes,
        body: bytes,
        queued_at: int,
        expires_at: int,
        receipt: Receipt | None = None,
        done: asyncio.Future[Receipt] | None = None,
    ) -> None:
        self.line = line
        self.type = type_name
        self.mid = mid
        self.body = body
        self.size_bytes = len(body)
        self.queued_at = queued_at
        self.expires_at = expires_at
        self.receipt = receipt
        self.done = done
        self.seq = 0
        self.incarnation: Incarnation | None = None
        self.row: int | None = None
        self.staged: int | None = None
        self.old_seq: int | None = None
        self.leaves_row = False
        """Whether `row` stays: what was sent from there may be under way, and the receiver may have it."""
        self.is_asked = False
        """Whether it is stored there, and sent again only to hear what became of it."""
        self.is_read_again = False
        """Whether it is read from its table again when this commit fails."""


class Record:
    """What came from one receiver and is not on disk yet."""

    __slots__ = ("credits", "restored", "settlements")

    def __init__(self) -> None:
        self.settlements: list[Settlement] = []
        self.restored: list[int] = []
        self.credits: list[tuple[GivesBack, int]] = []

    def merge(self, later: Record) -> None:
        self.settlements += later.settlements
        self.restored += later.restored
        self.credits += later.credits


def placed(body: bytes, seq: int, incarnation: Incarnation, expires_at: int | None = None) -> bytes:
    """The body of the same message at another place; with another end of its life, if one is given."""
    decoded = decode_body(body)
    expires_at = decoded.expires_at if expires_at is None else expires_at
    changed = msgspec.structs.replace(decoded, seq=seq, incarnation=incarnation, expires_at=expires_at)
    # It was within its limit when it was sent.
    return encode_body(changed, len(body))


class Assembly:
    """A batch while it is put together, and how it ends."""

    def __init__(self) -> None:
        self.batch = Batch()
        self.records: dict[Outgoing, Record] = {}
        self.drafts: dict[Outgoing, list[Draft]] = {}
        self.staged: list[Draft] = []
        self._works: dict[Outgoing, LineWork] = {}

    @property
    def is_empty(self) -> bool:
        return not self._works and not self.staged

    @property
    def lines(self) -> Iterable[Outgoing]:
        return self._works

    def add(self, draft: Draft) -> None:
        """Gives a draft the next place of its line."""
        outgoing = draft.line.outgoing
        work = self._work(outgoing)
        seq, incarnation = work.next_seq, outgoing.incarnation
        if draft.seq != seq or draft.incarnation is not incarnation:
            draft.body = placed(draft.body, seq, incarnation, None if draft.is_asked else draft.expires_at)
            draft.seq, draft.incarnation = seq, incarnation
        size = len(draft.body)
        times, extent = (draft.queued_at, draft.expires_at), (work.total_bytes, size)
        work.rows.append((seq, draft.mid, draft.type, 0, "", int(draft.is_asked), *times, *extent))
        work.bodies.append(draft.body)
        work.next_seq = seq + 1
        work.total_bytes += size
        self.drafts.setdefault(outgoing, []).append(draft)
        if draft.row is not None and not draft.leaves_row:
            self.batch.moved_rows.append(draft.row)
        if draft.staged is not None:
            self.batch.moved_staged.append(draft.staged)

    def stage(self, draft: Draft) -> None:
        """A draft that has to wait for its place behind others of its peer."""
        self.staged.append(draft)
        self.batch.staged.append(
            (draft.line.peer, draft.mid, draft.type, draft.body, draft.queued_at, draft.expires_at)
        )

    def record(self, outgoing: Outgoing, record: Record) -> None:
        work = self._work(outgoing)
        self.records[outgoing] = record
        work.settlements = record.settlements
        work.restored = record.restored
        last = max((each.number for each in record.settlements), default=0)
        work.outcomes_upto = max(work.outcomes_upto, last)

    def _work(self, outgoing: Outgoing) -> LineWork:
        work = self._works.get(outgoing)
        if work is None:
            work = self._works[outgoing] = LineWork(
                outgoing.id,
                outgoing.peer,
                outgoing.incarnation,
                outgoing.next_seq,
                outgoing.total_bytes,
                outgoing.acked_seq,
                outgoing.acked_mid,
                outgoing.acked_bytes,
                outgoing.released_seq,
                outgoing.outcomes_upto,
            )
            self.batch.lines.append(work)
        return work

    def committed(self, written: Written, floating: Any) -> list[tuple[Outgoing, Settlement, Settled, int]]:
        """Everything is on disk: places, receipts, and who waits for them. Returns what became of the outcomes."""
        envelopes = iter(self.batch.envelopes or ())
        told: list[tuple[Outgoing, Settlement, Settled, int]] = []
        for line_id, settled, (outgoing, work) in zip(
            written.line_ids, written.settled, self._works.items(), strict=True
        ):
            outgoing.id = line_id
            outgoing.outcomes_upto = max(outgoing.outcomes_upto, work.outcomes_upto)
            drafts = self.drafts.get(outgoing)
            if drafts:
                _enter(outgoing, drafts, [next(envelopes) for _ in drafts])
            told += [(outgoing, each, *found) for each, found in zip(work.settlements, settled, strict=True)]
        for draft in self.staged:
            if draft.receipt is not None:
                floating[draft.mid] = draft.receipt
        for draft in self._all():
            if draft.done is not None and draft.receipt is not None and not draft.done.done():
                draft.done.set_result(draft.receipt)
        return told

    def failed(self, error: Exception) -> None:
        """Nothing is on disk: whoever waits learns why."""
        for outgoing, drafts in self.drafts.items():
            for draft in drafts:
                outgoing.unassign(draft.size_bytes)
        for draft in self._all():
            if draft.done is not None and not draft.done.done():
                draft.done.set_exception(error)

    def _all(self) -> Iterable[Draft]:
        for drafts in self.drafts.values():
            yield from drafts
        yield from self.staged


def _enter(outgoing: Outgoing, drafts: list[Draft], envelopes: list[bytes]) -> None:
    """What was committed joins the line: its numbers, its window, and the receipts that somebody holds."""
    end, live = outgoing.total_bytes, outgoing.live
    places: list[Place] = []
    assigned_bytes = 0
    for draft, envelope in zip(drafts, envelopes, strict=True):
        assigned_bytes += draft.size_bytes
        end += len(draft.body)
        places.append(Place(draft.seq, draft.seq, draft.mid, end, draft.queued_at, envelope))
        receipt = draft.receipt
        if receipt is not None:
            live[draft.seq] = receipt
            if (draft.row is not None or draft.staged is not None) and not draft.is_asked:
                receipt.renew()
        if draft.old_seq is not None and receipt is not None and live.get(draft.old_seq) is receipt:
            live.pop(draft.old_seq, None)
            if draft.leaves_row:
                outgoing.former[draft.old_seq] = receipt
    added = end - outgoing.total_bytes
    outgoing.budget.add(0, added - assigned_bytes)
    outgoing.assigned_bytes += added - assigned_bytes
    outgoing.committed(len(drafts), added)
    if outgoing.oldest_ms is None:
        outgoing.oldest_ms = drafts[0].queued_at
    sender = drafts[0].line.sender
    if sender is not None and sender.greeted:
        outgoing.window.extend(places)
    else:
        outgoing.window.clear()
