"""Messages as they are handed in: checked, given a place, and on disk when `send` returns."""

from __future__ import annotations

from covm.federation.dispatch.drafting import Draft
from covm.federation.dispatch.journal import Journal
from covm.federation.dispatch.line import Post
from covm.federation.dispatch.line_book import LineBook
from covm.federation.dispatch.receipts import Receipt
from covm.federation.errors import InvalidMessage, NotStarted
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import MAX_TIME_TO_LIVE, MID_SIZE, clamped_ms
from covm.federation.wire.message import MessageBody, encode_body


class Submission:
    """Takes messages for one peer each."""

    def __init__(self, post: Post, book: LineBook, journal: Journal) -> None:
        self._post = post
        self._book = book
        self._journal = journal
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
        self._require_recipient(peer, type_name)
        line = self._book.obtain(peer)
        outgoing = line.outgoing
        mid = post.random.bytes(MID_SIZE) if mid is None else mid
        seq, incarnation = outgoing.assigned_seq, outgoing.incarnation
        now_ms = clamped_ms(post.clock.now_ms())
        expires_at = self._expiry(now_ms, time_to_live_s)
        body = self._encode(peer, type_name, payload, mid, incarnation, seq, now_ms, expires_at, limit_bytes)
        self._book.require_room(peer, len(body))
        receipt = Receipt(mid, peer, type_name, post.terms.message_timeout_s)
        draft = Draft(line, type_name, mid, body, now_ms, expires_at, receipt)
        draft.seq, draft.incarnation = outgoing.assign(len(body)), incarnation
        self._book.note(expires_at)
        receipt = await self._journal.add(draft)
        line.messages_out += 1
        line.bytes_out += len(body)
        post.counters.direct_out.add(type_name, len(body))
        return receipt

    def _require_recipient(self, peer: str, type_name: str) -> None:
        if peer == self._post.peer_id:
            raise InvalidMessage(type_name, "", "the recipient is this node itself; publish reaches its own handlers")
        self._post.presence.may_write_to(peer)

    def _expiry(self, now_ms: int, time_to_live_s: float | None) -> int:
        lifetime_s = self._post.terms.time_to_live_s if time_to_live_s is None else time_to_live_s
        return clamped_ms(now_ms + max(1, int(min(lifetime_s, MAX_TIME_TO_LIVE.total_seconds()) * 1000)))

    def _encode(
        self,
        peer: str,
        type_name: str,
        payload: object,
        mid: bytes,
        incarnation: Incarnation,
        seq: int,
        now_ms: int,
        expires_at: int,
        limit_bytes: int,
    ) -> bytes:
        body = MessageBody(
            federation=self._post.federation.cid,
            type=type_name,
            author=self._post.peer_id,
            incarnation=incarnation,
            seq=seq,
            mid=mid,
            to=peer,
            sent_at=now_ms,
            expires_at=expires_at,
            payload=payload,
        )
        return encode_body(body, limit_bytes)
