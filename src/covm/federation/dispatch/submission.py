"""Messages as they are handed in: checked, given a place, and on disk when `send` returns."""

from __future__ import annotations

from covm.federation.dispatch.drafting import Draft
from covm.federation.dispatch.journal import Journal
from covm.federation.dispatch.line import Post
from covm.federation.dispatch.line_book import LineBook
from covm.federation.dispatch.receipts import Receipt
from covm.federation.errors import InvalidMessage, NotStarted
from covm.federation.wire.limits import MAX_TIME_TO_LIVE, MID_SIZE, clamped_ms
from covm.federation.wire.message import MessageBody, encode_body


class Submission:
    """Takes messages for one peer each."""

    def __init__(self, post: Post, book: LineBook, journal: Journal) -> None:
        self._post = post
        self._book = book
        self._journal = journal
        self._lifetime_ms = _milliseconds(post.terms.time_to_live_s)
        self.is_open = False

    async def send(
        self,
        peer: str,
        type_name: str,
        payload: object,
        time_to_live_s: float | None,
        limit_bytes: int,
        mid: bytes | None = None,
    ) -> Receipt:
        """Returns once the message is on disk. Raises as `FederationService.send_direct` does.

        Who is cancelled meanwhile may have sent it or not.
        """
        if not self.is_open:
            raise NotStarted
        post = self._post
        if peer == post.peer_id:
            raise InvalidMessage(type_name, "", "the recipient is this node itself; publish reaches its own handlers")
        post.presence.may_write_to(peer)
        line = self._book.obtain(peer)
        outgoing = line.outgoing
        mid = post.random.bytes(MID_SIZE) if mid is None else mid
        now_ms = clamped_ms(post.clock.now_ms())
        lifetime_ms = self._lifetime_ms if time_to_live_s is None else _milliseconds(time_to_live_s)
        expires_at = clamped_ms(now_ms + lifetime_ms)
        incarnation = outgoing.incarnation
        body = MessageBody(
            federation=post.federation.cid,
            type=type_name,
            author=post.peer_id,
            incarnation=incarnation,
            seq=outgoing.assigned_seq,
            mid=mid,
            to=peer,
            sent_at=now_ms,
            expires_at=expires_at,
            payload=payload,
        )
        encoded = encode_body(body, limit_bytes)
        size_bytes = len(encoded)
        self._book.require_room(peer, size_bytes)
        receipt = Receipt(mid, peer, type_name, post.terms.message_timeout_s)
        draft = Draft(line, type_name, mid, encoded, now_ms, expires_at, receipt)
        draft.seq, draft.incarnation = outgoing.assign(size_bytes), incarnation
        self._book.note(expires_at)
        receipt = await self._journal.add(draft)
        line.messages_out += 1
        line.bytes_out += size_bytes
        post.counters.direct_out.add(type_name, size_bytes)
        return receipt


def _milliseconds(time_to_live_s: float) -> int:
    """How long a message lives: at least a moment, at most what receivers remember ids for."""
    return max(1, int(min(time_to_live_s, MAX_TIME_TO_LIVE.total_seconds()) * 1000))
