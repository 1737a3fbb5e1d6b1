"""Where a stream goes on: what the receiver's HELLO says against what is on disk, and the way through it.

AGREED   from what it has stored
BEHIND   it was rolled back: what is still held is sent again, the rest is skipped
AHEAD    it has to show an envelope that we signed; if that proves that we were rolled back, we begin anew
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from covm.federation.dispatch import receipts, tables
from covm.federation.dispatch.journal import FIRST_PAUSE_S, LAST_PAUSE_S, Journal
from covm.federation.dispatch.line import Line, Post
from covm.federation.dispatch.outbox import Flight, Outgoing, Place
from covm.federation.dispatch.outbox_jobs import Row, held_at, read_on
from covm.federation.dispatch.standing import BACKWARDS, Held, Standing, judge_hello, proven_life
from covm.federation.errors import NetworkError, StoreError
from covm.federation.events import PeerRolledBack
from covm.federation.identity.roles import Action
from covm.federation.network.interface import NotOpened
from covm.federation.store.interface import Job
from covm.federation.wire.frames import Hello, Malformed, Proof, Prove
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import MessageBody, decode_body, encode_body
from covm.federation.wire.skip import SKIP_TYPE, is_skip, skip_mid, skip_payload, skipped_upto

T = TypeVar("T")

READ_MESSAGES: Final = 512
"""Messages read back at once: two frames."""

READ_BYTES: Final = 1024 * 1024
"""Their bytes, unless one message alone is larger."""

Ask = Callable[[Prove], Awaitable[Proof | None]]

Refuse = Callable[[Outgoing, Sequence[Row], str], Awaitable[None]]
"""Ends messages of a line that wait, for a reason."""


class Resuming:
    """One stream's way from disk. `proven`: the receiver has shown that we were rolled back: life and place."""

    def __init__(self, line: Line, post: Post, journal: Journal, refuse: Refuse, is_open: Callable[[], bool]) -> None:
        self.proven: tuple[Incarnation, int] | None = None
        self._line = line
        self._outgoing = line.outgoing
        self._post = post
        self._journal = journal
        self._refuse = refuse
        self._is_open = is_open

    async def stand(self, hello: Hello, ask: Ask) -> Flight | None:
        """From where to send; None when the stream ended, or when we have to begin anew."""
        outgoing, stored = self._outgoing, hello.stored
        held = None if stored is None else await self._held(stored.seq)
        standing = judge_hello(hello, outgoing.incarnation, outgoing.peer, outgoing.next_seq, outgoing.acked_seq, held)
        if standing is Standing.AHEAD:
            self.proven = await self._prove(hello, ask)
            if self.proven is not None or not self._is_open():
                return None
            self._post.violation(outgoing.peer, "rollback_unproven")
            return Flight(outgoing.acked_seq, outgoing.acked_mid)
        if standing is Standing.BEHIND:
            seq = 0 if stored is None else stored.seq
            self._fell_back(seq)
            return Flight(seq, None if stored is None else stored.mid)
        if stored is not None and stored.seq > outgoing.acked_seq:
            self._caught_up(stored.seq, stored.mid, outgoing.acked_bytes if held is None else held.end)
        outgoing.fallen_to = None
        return Flight(outgoing.acked_seq, outgoing.acked_mid)

    async def read_on(self, after_seq: int, max_count: int) -> list[Place]:
        """What comes behind a place, from disk, with skips for what is not sent."""
        outgoing = self._outgoing
        line_id, upto, count = outgoing.id, outgoing.next_seq - 1, min(READ_MESSAGES, max_count)
        if line_id is None or upto <= after_seq:
            return []
        rows = await self._read(
            partial(read_on, line_id=line_id, after_seq=after_seq, max_count=count, max_bytes=READ_BYTES)
        )
        rows = await self._readable([row for row in rows if row.seq <= upto])
        places = laid_out(rows, outgoing, after_seq, upto)
        skips = [place for place in places if place.is_skip]
        if skips:
            bodies = [encode_body(self._skip(place)) for place in skips]
            for place, envelope in zip(skips, await self._post.network.seal(Kind.MESSAGE, bodies), strict=True):
                place.envelope = envelope
        return places

    async def _readable(self, rows: list[Row]) -> list[Row]:
        """These, without what the receiver may not read: roles change while messages wait."""
        reasons: dict[str, str] = {}
        for name in {row.type for row in rows}:
            verdict = self._post.membership.may(self._outgoing.peer, Action.READ, name)
            if not verdict.holds:
                reasons[name] = f"it may not be sent there any more: {verdict.reason}"
        if not reasons:
            return rows
        waiting = [row for row in rows if row.type in reasons and row.state == tables.QUEUED and row.envelope]
        waiting = [row for row in waiting if row.seq > self._outgoing.acked_seq]
        for name, reason in reasons.items():
            if ends := [row for row in waiting if row.type == name]:
                await self._again(partial(self._refuse, self._outgoing, ends, reason))
        return [row._replace(envelope=None) if row.type in reasons else row for row in rows]

    def _skip(self, place: Place) -> MessageBody:
        return MessageBody(
            federation=self._post.federation.cid,
            type=SKIP_TYPE,
            author=self._post.peer_id,
            incarnation=self._outgoing.incarnation,
            seq=place.seq,
            mid=place.mid,
            to=self._outgoing.peer,
            sent_at=place.queued_at,
            expires_at=None,
            payload=skip_payload(place.last),
        )

    def _caught_up(self, seq: int, mid: bytes, end: int) -> None:
        outgoing = self._outgoing
        before, live = outgoing.acked_seq, outgoing.live
        outgoing.acknowledged(seq, mid, end)
        outgoing.is_counted = False
        has_skip = mid == skip_mid(outgoing.incarnation, outgoing.peer, seq)
        if has_skip:
            outgoing.skipped(seq, seq)
        for place in [place for place in list(live) if before < place <= seq - has_skip]:
            receipt = live.get(place)
            # Of the places before, its HELLO does not say whether it has the message or a skip.
            if receipt is not None and receipt.state == receipts.QUEUED:
                receipt.advance(receipts.STORED)
        self._journal.record(outgoing)

    def _fell_back(self, seq: int) -> None:
        """Said once for each time; on the way back up it is behind on every new stream."""
        outgoing = self._outgoing
        known, outgoing.fallen_to = outgoing.fallen_to, seq
        if known is not None and seq >= known:
            return
        outgoing.falls += 1
        self._post.hub.emit(PeerRolledBack(outgoing.peer, outgoing.acked_seq, seq))
        if outgoing.falls > BACKWARDS:
            self._post.violation(outgoing.peer, "stored_goes_back")

    async def _prove(self, hello: Hello, ask: Ask) -> tuple[Incarnation, int] | None:
        """The life and place that the receiver proves; None when it proves nothing."""
        own = self._outgoing.incarnation
        claimed = hello.newer if hello.newer is not None and hello.newer > own else own
        proof = await ask(Prove(claimed))
        if proof is None or proof.envelope is None:
            return None
        (opened,) = await self._post.network.open(Kind.MESSAGE, [proof.envelope])
        if isinstance(opened, NotOpened) or opened.author != self._post.peer_id:
            return None
        try:
            body = decode_body(opened.body)
            last = skipped_upto(body) if is_skip(body) else body.seq
        except Malformed:
            return None
        if body.federation != self._post.federation.cid:
            return None
        held = await self._held(last) if body.incarnation == own else None
        outgoing = self._outgoing
        life = proven_life(body, own, self._post.peer_id, outgoing.peer, outgoing.next_seq, held)
        return None if life is None else (life, last)

    async def _held(self, seq: int) -> Held | None:
        line_id = self._outgoing.id
        if line_id is None or not 0 < seq < self._outgoing.next_seq:
            return None
        return await self._read(partial(held_at, line_id=line_id, seq=seq))

    async def _read(self, query: Job[T]) -> T:
        """Reads from disk, again until it works. Raises `NetworkError` when the stream ended meanwhile."""
        return await self._again(partial(self._post.store.read, query))

    async def _again(self, work: Callable[[], Awaitable[T]]) -> T:
        pause_s = FIRST_PAUSE_S
        while self._is_open():
            try:
                return await work()
            except StoreError:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LAST_PAUSE_S)
        raise NetworkError("the stream ended")


def laid_out(rows: Sequence[Row], outgoing: Outgoing, after_seq: int, upto: int) -> list[Place]:
    """What travels for these rows: messages, and one skip for each run of places that have none to send."""
    places: list[Place] = []
    first, end, queued_at = after_seq + 1, 0, 0
    for row in rows:
        if row.seq > first:
            _skip_to(places, outgoing, first, row.seq - 1, row.offset, row.queued_at)
        end, queued_at, first = row.offset + row.size, row.queued_at, row.seq + 1
        if row.envelope is None or row.state in tables.SKIPPED:
            _skip_to(places, outgoing, row.seq, row.seq, end, queued_at)
        else:
            places.append(Place(row.seq, row.seq, row.mid, end, queued_at, row.envelope))
    if not rows:
        _skip_to(places, outgoing, first, upto, outgoing.total_bytes, 0)
    return places


def _skip_to(places: list[Place], outgoing: Outgoing, first: int, last: int, end: int, queued_at: int) -> None:
    """Adds a skip, or lengthens the one before it."""
    mid, before = skip_mid(outgoing.incarnation, outgoing.peer, last), places[-1] if places else None
    if before is not None and before.is_skip:
        before.last, before.end, before.mid = last, end, mid
        return
    places.append(Place(first, last, mid, end, queued_at, b"", is_skip=True))
