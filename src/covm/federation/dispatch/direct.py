"""The direct protocol `/covm/direct/1.0.0`: messages to one peer, acknowledged.

    opener                                             acceptor
      HELLO (incarnation, first held)  ───────────────>
                       <───────────────  HELLO (stored, outcomes)
      messages, many to a frame        ───────────────>  inbox, dispatcher
                       <───────────────  ack (up to seq and id), outcomes, heartbeats

Each of two peers opens one stream to the other. This file knows which stream belongs to which peer; `sending` and
`receiving` speak on them, `outbox` and `inbox` are the rules.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from covm.federation.clock import Random
from covm.federation.dispatch import receipts
from covm.federation.dispatch.line import Line, Post
from covm.federation.dispatch.outbox import MAX_WAITING, MAX_WAITING_BYTES, MAX_WAITING_BYTES_IN_ALL, Budget, Entry
from covm.federation.dispatch.receipts import Receipt
from covm.federation.dispatch.receiving import Receiver
from covm.federation.dispatch.sending import Sender
from covm.federation.errors import InvalidMessage, OutboxFull
from covm.federation.network.interface import (
    DIRECT_PROTOCOL,
    FramesReceived,
    PeerAdmitted,
    PeerUnadmitted,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    StreamWritable,
)
from covm.federation.wire.frames import Frame, KnownFrame, Unknown, encode_frame
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import MID_SIZE, clamped_ms
from covm.federation.wire.message import MessageBody, decode_body, encode_body
from covm.federation.wire.system import Heartbeat

MAX_LINES = 1_000
"""Peers whose sequences are remembered; those that are connected or have something waiting are never forgotten."""

MAX_SEQUENCES = 100_000
"""Forgotten peers whose next number is still known, some ten megabytes: only peers that this node wrote to."""

BREACHES = frozenset({"frame too large", "empty frame", "frame not complete in time", "no frame in time"})
"""Ends of a stream that its peer brought about by breaking the framing."""

EXPIRY_PERIOD_S = 1.0
"""How often expiry is looked at: a message lives at most this much longer than it should."""


class DirectProtocol:
    """The shell: takes stream events, sends messages, keeps every peer's line."""

    def __init__(self, post: Post, random: Random, message_timeout_s: float) -> None:
        self._post = post
        self._random = random
        self._message_timeout_s = message_timeout_s
        self._budget = Budget()
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._sequences: OrderedDict[str, int] = OrderedDict()
        self._senders: dict[int, Sender] = {}
        self._receivers: dict[int, Receiver] = {}

    def start(self, incarnation: Incarnation) -> None:
        self._post.incarnation = incarnation
        self._post.supervisor.keep(self._expire, "expiry of messages")

    def stop(self) -> None:
        """Nothing will be sent any more: every receipt whose fate is open says so."""
        for line in self._lines.values():
            line.admitted = False
            self._drop_receiver(line)
            for entry in line.outbox.unsettled():
                if entry.receipt.state == receipts.QUEUED:
                    entry.receipt.advance(receipts.CANCELLED, "this node stopped before it was acknowledged")
                else:
                    entry.receipt.advance(receipts.CANCELLED, "this node stopped before the outcome was known")

    def send(
        self, peer: str, type_name: str, payload: object, time_to_live_s: float | None, limit_bytes: int
    ) -> Receipt:
        """Queues a message. Raises as `FederationService.send_direct` says; then nothing was queued."""
        post = self._post
        if peer == post.peer_id:
            raise InvalidMessage(type_name, "", "the recipient is this node itself; publish reaches its own handlers")
        post.presence.require_connected(peer)
        outbox = (line := self._line(peer)).outbox
        now_ms = clamped_ms(post.clock.now_ms())
        lifetime_s = self._message_timeout_s if time_to_live_s is None else time_to_live_s
        mid = self._random.bytes(MID_SIZE)
        body = encode_body(
            MessageBody(
                federation=post.federation.cid,
                type=type_name,
                author=post.peer_id,
                incarnation=post.own_incarnation,
                seq=outbox.next_seq,
                mid=mid,
                to=peer,
                sent_at=now_ms,
                expires_at=clamped_ms(now_ms + int(lifetime_s * 1000)),
                payload=payload,
            ),
            limit_bytes,
        )
        self._require_room(line, len(body))
        receipt = Receipt(mid, peer, type_name, self._message_timeout_s)
        expires_s = post.clock.monotonic_s() + lifetime_s
        outbox.add(Entry(type_name, mid, outbox.next_seq, body, expires_s, receipt))
        self._count_sent(line, type_name, len(body))
        if line.sender is not None:
            line.sender.wake()
        return receipt

    def send_control(self, peer: str, frame: Frame) -> bool:
        line = self._lines.get(peer)
        if line is None or line.receiver is None or isinstance(frame, Unknown):
            return False
        return line.receiver.send_control(encode_frame(_timed(frame)))

    def queued(self, peer: str) -> int:
        line = self._lines.get(peer)
        return len(line.outbox) if line is not None else 0

    def traffic(self, peer: str) -> tuple[int, int, int, int]:
        line = self._lines.get(peer)
        return (line.messages_in, line.bytes_in, line.messages_out, line.bytes_out) if line else (0, 0, 0, 0)

    def waiting(self) -> tuple[int, int]:
        """Messages and bytes that wait or are unacknowledged, for all peers together."""
        return sum(len(line.outbox) for line in self._lines.values()), self._budget.size_bytes

    def on_admitted(self, event: PeerAdmitted) -> None:
        line = self._line(event.peer)
        line.admitted = True
        if line.sender is None:
            line.violations = 0
            line.sender = Sender(line, self._post, self._senders)
            line.sender.task = self._post.supervisor.spawn(line.sender.run(), f"direct stream to {event.peer}")

    def on_unadmitted(self, event: PeerUnadmitted) -> None:
        line = self._lines.get(event.peer)
        if line is None:
            return
        line.admitted = False
        line.ready = False
        sender, line.sender = line.sender, None
        if sender is not None and sender.task is not None:
            sender.task.cancel()
        self._drop_receiver(line)

    def on_stream_opened(self, event: StreamOpened) -> None:
        line = self._lines.get(event.peer)
        if event.protocol != DIRECT_PROTOCOL or line is None or not line.admitted:
            self._post.network.close_stream(event.stream)
            return
        self._drop_receiver(line)
        receiver = line.receiver = Receiver(event.stream, line, self._post)
        self._receivers[event.stream] = receiver
        receiver.task = self._post.supervisor.spawn(receiver.run(), f"direct stream from {event.peer}")

    def on_frames(self, event: FramesReceived) -> None:
        if (receiver := self._receivers.get(event.stream)) is not None:
            receiver.on_frames(event.frames)
        elif (sender := self._senders.get(event.stream)) is not None:
            sender.on_frames(event.frames)
        else:
            self._post.network.release(event.stream, sum(map(len, event.frames)))

    def on_writable(self, event: StreamWritable) -> None:
        if (receiver := self._receivers.get(event.stream)) is not None:
            receiver.on_writable()
        elif (sender := self._senders.get(event.stream)) is not None:
            sender.on_writable()

    def on_refused(self, event: StreamRefused) -> None:
        """A stream that broke the framing before it said anything was never shown; its peer pays all the same."""
        self._post.violation(event.peer, _counter(event.reason))

    def on_closed(self, event: StreamClosed) -> None:
        if event.reason in BREACHES and (line := self._line_of(event.stream)) is not None:
            self._post.violation(line.peer, _counter(event.reason))
        if (receiver := self._receivers.get(event.stream)) is not None:
            line = receiver.line
            if line.receiver is receiver:
                self._drop_receiver(line)
                line.update_ready(self._post, event.reason)
        elif (sender := self._senders.get(event.stream)) is not None:
            sender.on_closed(event.reason)

    def _line_of(self, stream: int) -> Line | None:
        if (receiver := self._receivers.get(stream)) is not None:
            return receiver.line
        sender = self._senders.get(stream)
        return sender.line if sender is not None else None

    def _drop_receiver(self, line: Line) -> None:
        receiver, line.receiver = line.receiver, None
        if receiver is not None:
            self._receivers.pop(receiver.stream, None)
            receiver.stop()

    def _require_room(self, line: Line, size_bytes: int) -> None:
        outbox, held = line.outbox, self._budget.size_bytes
        if len(outbox) >= MAX_WAITING:
            raise OutboxFull(line.peer, len(outbox), MAX_WAITING)
        if outbox.size_bytes + size_bytes > MAX_WAITING_BYTES:
            raise OutboxFull(line.peer, outbox.size_bytes, MAX_WAITING_BYTES, "bytes")
        if held + size_bytes > MAX_WAITING_BYTES_IN_ALL:
            raise OutboxFull("all peers together", held, MAX_WAITING_BYTES_IN_ALL, "bytes")

    def _busy(self) -> Iterator[Line]:
        return (line for line in self._lines.values() if len(line.outbox))

    def _count_sent(self, line: Line, type_name: str, size_bytes: int) -> None:
        line.messages_out += 1
        line.bytes_out += size_bytes
        self._post.counters.direct_out.add(type_name, size_bytes)

    def _line(self, peer: str) -> Line:
        line = self._lines.get(peer)
        if line is None:
            self._make_room()
            line = self._lines[peer] = Line(peer, self._budget, self._sequences.pop(peer, 1))
        return line

    def _make_room(self) -> None:
        """Forgets the oldest line that nothing depends on; the next number stays, so none is used twice."""
        if len(self._lines) < MAX_LINES:
            return
        for peer, line in self._lines.items():
            if line.is_idle:
                del self._lines[peer]
                if line.outbox.next_seq > 1:
                    self._sequences[peer] = line.outbox.next_seq
                if len(self._sequences) > MAX_SEQUENCES:
                    self._sequences.popitem(last=False)
                return

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRY_PERIOD_S)
            now_s = self._post.clock.monotonic_s()
            for line in list(self._busy()):
                in_flight = line.sender is not None and line.sender.in_flight
                for entry in line.outbox.expire(now_s, in_flight=in_flight, renumber=_renumbered):
                    entry.receipt.advance(receipts.EXPIRED)
                    self._post.counters.drop("expired")


def _timed(frame: KnownFrame) -> KnownFrame:
    """A heartbeat with times that may travel, whatever this node's clock says."""
    if not isinstance(frame, Heartbeat):
        return frame
    received_at = None if frame.received_at is None else clamped_ms(frame.received_at)
    return msgspec.structs.replace(frame, sent_at=clamped_ms(frame.sent_at), received_at=received_at)


def _renumbered(body: bytes, seq: int) -> bytes:
    return encode_body(msgspec.structs.replace(decode_body(body), seq=seq))


def _counter(reason: str) -> str:
    return reason.replace(" ", "_")
