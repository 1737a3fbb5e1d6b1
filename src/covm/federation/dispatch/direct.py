"""The direct protocol `/covm/direct/1.0.0`: messages to one peer, acknowledged, none of them lost.

    opener                                             acceptor
      HELLO (incarnation, next, acknowledged)  ───────>
                       <───────  HELLO (stored, outcomes)
      messages, many to a frame        ───────────────>  inbox, dispatcher
                       <───────  ack (up to seq and id), outcomes, heartbeats
      confirm (outcomes on disk)       ───────────────>

Each of two peers opens one stream to the other. This file knows which stream belongs to which peer; `sending` and
`receiving` speak on them. The outbox: `submission` takes messages, `journal` writes them, `outbox` and `standing` are
the rules, `upkeep` what time does, `outbox_desk` what people do.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from covm.federation.dispatch import receipts, tables
from covm.federation.dispatch.line import Line, Post
from covm.federation.dispatch.outbox import Outgoing
from covm.federation.dispatch.outbox_desk import OutboxDesk
from covm.federation.dispatch.outbox_jobs import read_on
from covm.federation.dispatch.outbox_life import OutboxLife
from covm.federation.dispatch.receiving import Receiver
from covm.federation.dispatch.sending import DOUBTED, FRAME_BYTES, FRAME_MESSAGES, Doings, Sender
from covm.federation.dispatch.submission import Submission
from covm.federation.errors import StoreError
from covm.federation.network.interface import (
    DIRECT_PROTOCOL,
    FramesReceived,
    NotOpened,
    PeerAdmitted,
    PeerUnadmitted,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    StreamWritable,
)
from covm.federation.ports import Waiting
from covm.federation.store.interface import Transaction
from covm.federation.surroundings import BREACHES
from covm.federation.wire.frames import Frame, KnownFrame, Unknown, encode_frame
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import clamped_ms
from covm.federation.wire.system import Heartbeat

logger = logging.getLogger("covm.federation.dispatch")

ENDED_EACH_STREAM = "the peer ended the stream three times at this message"

REPLACED = "replaced"
"""Why the network ended a stream whose peer opened another: the old one seemed to stand."""

DAMAGED = "it is damaged on this node's disk: its signature does not fit any more"


class DirectProtocol:
    """The shell: takes stream events, sends messages, keeps every peer's line."""

    def __init__(self, post: Post, began: Callable[[Incarnation], Awaitable[None]]) -> None:
        """`began` is told when a new incarnation begins in mid-life: whoever else counts under it begins anew.

        It may raise `StoreError`; then it is told again.
        """
        life = OutboxLife(post, began)
        self._post = post
        self._life = life
        self._book, self._journal = life.book, life.journal
        self.desk = OutboxDesk(post, life.book, life.journal, life.upkeep)
        self.submission = Submission(post, life.book, life.journal)
        self.send = self.submission.send
        self.receipt = self.desk.receipt
        self._doings = Doings(
            life.journal,
            life.begin_anew,
            self._doubt_head,
            self._give_up_head,
            life.upkeep.refuse,
            life.upkeep.on_hello,
        )
        self._senders: dict[int, Sender] = {}
        self._receivers: dict[int, Receiver] = {}

    async def start(self, incarnation: Incarnation) -> None:
        """Takes over what is on disk. Raises `StoreError`."""
        self._post.incarnation = incarnation
        await self._life.load(incarnation)
        self.submission.is_open = True

    def begin(self) -> None:
        """Begins to write and to give places to what has none. The network runs: it opens and seals envelopes."""
        self._post.supervisor.keep(self._journal.write_on, "journal of the outbox")
        self._post.supervisor.keep(self._life.upkeep.keep, "upkeep of the outbox")
        self._journal.wake()

    def stop(self) -> None:
        """Nothing is sent any more. With a store, what waits goes on after the next start; without one it is gone."""
        self.submission.is_open = False
        self._journal.stop()
        for line in self._book:
            line.admitted = False
            self._drop_receiver(line)
        for receipt in self._book.receipts():
            if not self._post.store.is_durable:
                receipt.advance(receipts.CANCELLED, "this node stopped before the outcome was known")
            receipt.leave()

    def take_staged(self) -> None:
        """Messages were committed that wait for a place. (What transactions send)"""
        self._journal.admissions.has_staged = True
        self._journal.wake()

    def reserve(self, peer: str, size_bytes: int) -> None:
        """A transaction sends one more message of this size. Raises `OutboxFull`. Called on any thread."""
        self._book.require_room(peer, size_bytes)
        self._book.staging.add(peer, size_bytes, self._post.clock.monotonic_s())

    def send_control(self, peer: str, frame: Frame) -> bool:
        line = self._book.get(peer)
        if line is None or line.receiver is None or isinstance(frame, Unknown):
            return False
        return line.receiver.send_control(encode_frame(_timed(frame)))

    def waiting_for(self, peer: str) -> Waiting:
        return self._book.waiting_for(peer)

    def traffic(self, peer: str) -> tuple[int, int, int, int]:
        line = self._book.get(peer)
        return (line.messages_in, line.bytes_in, line.messages_out, line.bytes_out) if line else (0, 0, 0, 0)

    def waiting(self) -> tuple[int, int]:
        """Messages and bytes that wait or are unacknowledged, for all peers together."""
        return self._book.waiting()

    def has_written_to(self, peer: str) -> bool:
        """Whether anything was ever sent to the peer, so that it is known whoever else forgot it."""
        line = self._book.get(peer)
        return line is not None and line.outgoing.id is not None

    def on_admitted(self, event: PeerAdmitted) -> None:
        line = self._book.obtain(event.peer)
        line.admitted = True
        if line.sender is None:
            line.violations = 0
            line.sender = Sender(line, self._post, self._doings, self._senders)
            line.sender.task = self._post.supervisor.spawn(line.sender.run(), f"direct stream to {event.peer}")

    def on_unadmitted(self, event: PeerUnadmitted) -> None:
        line = self._book.get(event.peer)
        if line is None:
            return
        line.admitted = False
        line.ready = False
        sender, line.sender = line.sender, None
        if sender is not None and sender.task is not None:
            sender.task.cancel()
        self._drop_receiver(line)

    def on_stream_opened(self, event: StreamOpened) -> None:
        line = self._book.get(event.peer)
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
            if event.reason == REPLACED and line.sender is not None:
                line.sender.restart(DOUBTED)
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

    def _give_up_head(self, outgoing: Outgoing, seq: int) -> None:
        """The peer ends one stream after another at this message: a skip takes its place."""
        command = partial(self._journal.run, partial(self._skip_head, outgoing, seq, ENDED_EACH_STREAM))
        self._post.supervisor.launch(command(), "giving a message up")

    def _doubt_head(self, outgoing: Outgoing, seq: int) -> None:
        """Looks whether what was sent is still what was signed; only then, since each look costs verifications."""
        command = partial(self._journal.run, partial(self._look_behind, outgoing, seq))
        self._post.supervisor.launch(command(), "looking at messages")

    async def _look_behind(self, outgoing: Outgoing, seq: int) -> None:
        """One frame from a place on: nothing of it is taken when anything in it is damaged."""
        if outgoing.id is None or seq <= outgoing.acked_seq:
            return
        query = partial(
            read_on, line_id=outgoing.id, after_seq=seq - 1, max_count=FRAME_MESSAGES, max_bytes=FRAME_BYTES
        )
        try:
            rows = [row for row in await self._post.store.read(query) if row.state == tables.QUEUED and row.envelope]
            opened = await self._post.network.open(Kind.MESSAGE, [row.envelope for row in rows if row.envelope])
            for row, found in zip(rows, opened, strict=True):
                if isinstance(found, NotOpened):
                    logger.error("message %s for %s: %s", row.mid.hex(), outgoing.peer, DAMAGED)
                    await self._skip_head(outgoing, row.seq, DAMAGED)
        except StoreError as error:
            # The peer will end the next stream here too.
            logger.warning("what %s does not take could not be looked at: %s", outgoing.peer, error)

    async def _skip_head(self, outgoing: Outgoing, seq: int, reason: str) -> None:
        line, line_id = self._book.get(outgoing.peer), outgoing.id
        if line is None or line_id is None or line.outgoing is not outgoing or seq <= outgoing.acked_seq:
            return
        now_ms = self._post.clock.now_ms()

        def job(tx: Transaction) -> int | None:
            size: int | None = tx.execute(
                "UPDATE covm_outbox SET state = :state, reason = :reason, settled_at = :now "
                "WHERE line_id = :line AND seq = :seq AND state = 0 RETURNING size",
                {
                    "state": tables.REFUSED,
                    "reason": reason,
                    "now": now_ms,
                    "line": line_id,
                    "seq": seq,
                },
            ).scalar()
            return size

        size_bytes = await self._post.store.write(job)
        if size_bytes is not None:
            self._life.upkeep.ended(line, seq, b"", size_bytes, receipts.REFUSED, reason)
            self._post.counters.drop("refused_with_the_stream")


def _timed(frame: KnownFrame) -> KnownFrame:
    """A heartbeat with times that may travel, whatever this node's clock says."""
    if not isinstance(frame, Heartbeat):
        return frame
    received_at = None if frame.received_at is None else clamped_ms(frame.received_at)
    return msgspec.structs.replace(frame, sent_at=clamped_ms(frame.sent_at), received_at=received_at)


def _counter(reason: str) -> str:
    return reason.replace(" ", "_")
