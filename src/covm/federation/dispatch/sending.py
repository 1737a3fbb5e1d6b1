"""Our stream to one peer: HELLO, messages many to a frame, and the peer's acknowledgements on its half.

The stream is kept open while the peer is admitted. On each new one both say HELLO; the peer says what it has stored,
and the sender goes on from there. Credit is the network's: without it the messages wait in the outbox, which is
bounded, and `send_direct` says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator

from covm.federation.dispatch import receipts
from covm.federation.dispatch.line import FAULT, HELLO_DEADLINE_S, STREAM_ATTEMPTS, Line, Post
from covm.federation.dispatch.outbox import Entry, Violation
from covm.federation.errors import NetworkError
from covm.federation.network.interface import DIRECT_PROTOCOL
from covm.federation.wire.frames import (
    Ack,
    Hello,
    Malformed,
    Messages,
    Outcome,
    OutcomeState,
    Position,
    Unknown,
    decode_frame,
    encode_frame,
)
from covm.federation.wire.kinds import Kind
from covm.federation.wire.system import PROTOCOL_VERSION, Heartbeat, PeerInfo

logger = logging.getLogger("covm.federation.dispatch")

FRAME_MESSAGES = 256
"""Messages to a frame: beyond that the cost of a frame is spread thin enough."""

FRAME_BYTES = 256 * 1024
"""Bytes to a frame, unless one message alone is larger: the receiver begins before the last of it was read."""

STEADY_S = 60.0
"""A stream that stood this long was a good one; what happened before it no longer counts."""

REOPEN_DELAY_S = 0.2
"""Pause before a stream is opened again, times the attempt: the other side may just be replacing its own."""

ENDED_BY_PEER = frozenset({"closed by peer", "reset by peer"})
"""Ends of a stream that may be the peer's answer to the message at its head."""

_RECEIPT_STATES = {
    OutcomeState.HANDLED.value: receipts.HANDLED,
    OutcomeState.FAILED.value: receipts.QUARANTINED,
    OutcomeState.REFUSED.value: receipts.REFUSED,
}


class Sender:
    """The shell around `Outbox`, one for each admitted peer."""

    def __init__(self, line: Line, post: Post, streams: dict[int, Sender]) -> None:
        self.line = line
        self._post = post
        self._streams = streams
        self._stream: int | None = None
        self._closed_because: str | None = None
        self._wake = asyncio.Event()
        self._credit = asyncio.Event()
        self._sent_upto = 0
        self.greeted = False
        self.task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Something waits in the outbox."""
        self._wake.set()

    async def run(self) -> None:
        """Opens our stream and pumps; opens it again when it ends; gives the peer up when that does not work.

        Also when something of ours breaks: a peer that seems connected, and to whom nothing is sent, would be worse.
        """
        failure = FAULT
        try:
            failure = f"no direct stream can be kept open: {await self._keep_open()}"
        except asyncio.CancelledError:
            failure = ""
            raise
        finally:
            if failure:
                self._post.presence.give_up(self.line.peer, failure)

    async def _keep_open(self) -> str:
        """Returns why the last of too many streams ended."""
        failures, reason = 0, ""
        while failures < STREAM_ATTEMPTS:
            began_s = self._post.clock.monotonic_s()
            reason = ""
            try:
                self._begin(await self._post.network.open_stream(self.line.peer, DIRECT_PROTOCOL))
                await self._converse()
            except (NetworkError, TimeoutError) as error:
                reason = str(error) or f"it did not answer our HELLO within {HELLO_DEADLINE_S:g} s"
            finally:
                reason = reason or self._closed_because or "the stream ended"
                self._end(reason)
            lasted_s = self._post.clock.monotonic_s() - began_s
            failures = 1 if lasted_s > STEADY_S else failures + 1
            await asyncio.sleep(REOPEN_DELAY_S * failures)
            # Only now: when the whole connection was lost, this task has been cancelled meanwhile.
            self._judge_head()
        return reason

    def on_frames(self, frames: Iterable[bytes]) -> None:
        """What the peer says on its half. It is dealt with at once, so its credit is given back at once."""
        size_bytes = 0
        self._post.presence.heard(self.line.peer)
        for data in frames:
            size_bytes += len(data)
            try:
                self._on_frame(data)
            except Violation as violation:
                self._post.violation(self.line.peer, violation.reason)
        if self._stream is not None:
            self._post.network.release(self._stream, size_bytes)

    def on_writable(self) -> None:
        self._credit.set()

    def on_closed(self, reason: str) -> None:
        if self._stream is not None:
            self._streams.pop(self._stream, None)
        self._closed_because = reason
        self._wake.set()
        self._credit.set()

    def _begin(self, stream: int) -> None:
        self._stream = stream
        self._streams[stream] = self
        self._closed_because = None
        self._wake.clear()

    @property
    def in_flight(self) -> bool:
        """Whether a stream stands, from before our HELLO says where it begins: what was sent keeps its place."""
        return self._stream is not None

    def _judge_head(self) -> None:
        """A message at which the peer ends one stream after another is given up, so that others are not behind it."""
        sent_upto, self._sent_upto = self._sent_upto, 0
        outbox = self.line.outbox
        if not self.line.admitted or self._closed_because not in ENDED_BY_PEER or outbox.first_held > sent_upto:
            return
        entry = outbox.ended_at_head()
        if entry is not None:
            entry.receipt.advance(receipts.REFUSED, "the peer ended the stream three times at this message")
            self._post.counters.drop("refused_with_the_stream")

    def _end(self, reason: str) -> None:
        stream, self._stream = self._stream, None
        self.greeted = False
        if stream is not None and self._streams.pop(stream, None) is not None:
            self._post.close_stream(stream)
        self.line.update_ready(self._post, reason)

    async def _converse(self) -> None:
        post, outbox = self._post, self.line.outbox
        first = outbox.first_held
        hello = Hello(v=PROTOCOL_VERSION, incarnation=post.own_incarnation, types=post.types_digest(), first=first)
        await self._hand_over([encode_frame(hello)])
        async with asyncio.timeout(HELLO_DEADLINE_S):
            while not self.greeted and self._closed_because is None:
                await self._wait()
        await self._send_again(outbox.resume())
        while self._closed_because is None:
            while outbox.has_waiting and self._closed_because is None:
                await self._send(outbox.take(FRAME_MESSAGES, FRAME_BYTES))
            await self._wait()
        if not self.greeted:
            raise NetworkError(f"the stream was closed before HELLO: {self._closed_because}")

    async def _wait(self) -> None:
        if self._closed_because is None:
            await self._wake.wait()
            self._wake.clear()

    async def _send_again(self, entries: list[Entry]) -> None:
        for part in _in_frames(entries):
            held = [entry for entry in part if not entry.is_stored]
            if held and self._closed_because is None:
                await self._send(held)

    async def _send(self, entries: list[Entry]) -> None:
        unsealed = [entry for entry in entries if entry.envelope is None]
        if unsealed:
            envelopes = await self._post.network.seal(Kind.MESSAGE, [entry.body for entry in unsealed])
            for entry, envelope in zip(unsealed, envelopes, strict=True):
                entry.envelope = envelope
        sealed = [entry.envelope for entry in entries if entry.envelope is not None]
        if sealed:
            await self._hand_over([encode_frame(Messages(sealed))])
        if self._closed_because is None:
            self._sent_upto = entries[-1].seq

    async def _hand_over(self, frames: list[bytes]) -> None:
        """Waits for credit as long as it takes: the receiver decides how fast it reads."""
        while self._closed_because is None and self._stream is not None:
            self._credit.clear()
            if self._post.network.try_send(self._stream, frames):
                return
            await self._credit.wait()

    def _on_frame(self, data: bytes) -> None:
        try:
            frame = decode_frame(data)
        except Malformed:
            raise Violation("malformed_frame") from None
        if isinstance(frame, Hello):
            self._on_hello(frame)
        elif not self.greeted:
            raise Violation("frame_before_hello")
        elif isinstance(frame, Ack):
            self._acknowledge(frame.upto)
            self._settle(frame.outcomes)
        elif isinstance(frame, Heartbeat):
            self._post.presence.heartbeat_received(self.line.peer, frame)
        elif isinstance(frame, PeerInfo):
            self._post.presence.peer_info_received(self.line.peer, frame)
        elif not isinstance(frame, Unknown):
            raise Violation("message_on_acknowledging_half")

    def _on_hello(self, hello: Hello) -> None:
        if self.greeted:
            raise Violation("second_hello")
        self.greeted = True
        if hello.stored is not None and not self.line.outbox.is_acknowledged(hello.stored.seq, hello.stored.mid):
            self._acknowledge(hello.stored)
        self._settle(hello.outcomes)
        self._wake.set()
        self.line.update_ready(self._post)

    def _acknowledge(self, upto: Position | None) -> None:
        if upto is None:
            return
        for entry in self.line.outbox.acknowledge(upto.seq, upto.mid):
            entry.receipt.advance(receipts.STORED)

    def _settle(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            state = _RECEIPT_STATES.get(outcome.state)
            if state is None:
                continue
            entry = self.line.outbox.settle(outcome.seq, outcome.mid)
            if entry is not None:
                entry.receipt.advance(state, outcome.reason)


def _in_frames(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Parts that fit a frame each."""
    part: list[Entry] = []
    size_bytes = 0
    for entry in entries:
        if part and (len(part) >= FRAME_MESSAGES or size_bytes + entry.size_bytes > FRAME_BYTES):
            yield part
            part, size_bytes = [], 0
        part.append(entry)
        size_bytes += entry.size_bytes
    if part:
        yield part
