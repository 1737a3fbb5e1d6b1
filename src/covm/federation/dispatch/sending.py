"""Our stream to one peer: HELLO, messages many to a frame, and the peer's acknowledgements on its half.

The stream is kept open while the peer is admitted. On each new one both say HELLO; the peer says what it has stored,
and the sender goes on from there: from memory what was just committed, from disk what lies further back. Credit is the
network's: without it the messages wait on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from covm.federation.dispatch.hearing import Hearing
from covm.federation.dispatch.journal import Journal
from covm.federation.dispatch.line import FAULT, HELLO_DEADLINE_S, STREAM_ATTEMPTS, Line, Post
from covm.federation.dispatch.outbox import Flight, Outgoing, Place
from covm.federation.dispatch.resuming import Refuse, Resuming
from covm.federation.errors import NetworkError, NotStarted
from covm.federation.network.interface import DIRECT_PROTOCOL
from covm.federation.violations import Violation
from covm.federation.wire.frames import (
    Ack,
    Confirm,
    Hello,
    KnownFrame,
    Malformed,
    Messages,
    Position,
    Proof,
    Unknown,
    decode_frame,
    encode_frame,
)
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.system import PROTOCOL_VERSION

FRAME_MESSAGES = 256
"""Messages to a frame: beyond that the cost of a frame is spread thin enough."""

FRAME_BYTES = 256 * 1024
"""Bytes to a frame, unless one message alone is larger: the receiver begins before the last of it was read."""

STEADY_S = 60.0
"""A stream that stood this long was a good one; what happened before it no longer counts."""

REOPEN_DELAY_S = 0.2
"""Pause before a stream is opened again, times the attempt: the other side may just be replacing its own."""

MAX_ENDS_AT_HEAD = 3
"""Streams that a peer may end at one message before that one is given up: one or two may be mishaps."""

ENDED_BY_PEER = frozenset({"closed by peer", "reset by peer"})
"""Ends of a stream that may be the peer's answer to the message at its head."""

ANEW = "this node begins a new incarnation"

DOUBTED = "the peer has lost its own stream unseen"
"""It opened another while the last one seemed to stand, so ours may lie on a dead connection. Nothing else would tell:
the peer is heard over its new one. A HELLO that nobody answers shows it; then all connections are closed."""


@dataclass(slots=True)
class Doings:
    """What a sender sets off beyond its stream."""

    journal: Journal
    begin_anew: Callable[[str, Incarnation, int], Awaitable[None]]
    """A peer proved that this node was rolled back: peer, proven incarnation, proven place. Then every stream says
    HELLO anew."""
    doubt_head: Callable[[Outgoing, int], None]
    """The peer ended a stream at this message: it, or one close behind it, may be damaged on this node's disk."""
    give_up_head: Callable[[Outgoing, int], None]
    """The peer ends every stream at this message."""
    refuse: Refuse
    try_again: Callable[[Line, bytes], None]
    """The peer said HELLO, with this digest of its types."""


class Sender:
    """The shell around `Flight`, one for each admitted peer."""

    def __init__(self, line: Line, post: Post, doings: Doings, streams: dict[int, Sender]) -> None:
        self.line = line
        self.greeted = False
        self.task: asyncio.Task[None] | None = None
        self._post = post
        self._doings = doings
        self._streams = streams
        self._stream: int | None = None
        self._closed_because: str | None = None
        self._wake = asyncio.Event()
        self._credit = asyncio.Event()
        self._hello: Hello | None = None
        self._proof: Proof | None = None
        self._outgoing = line.outgoing
        self._hearing: Hearing | None = None
        self._early: list[tuple[Ack, int]] = []
        self._confirmed = 0
        self._sent_upto = 0

    def wake(self) -> None:
        """Something waits in the outbox."""
        self._wake.set()

    def restart(self, why: str = ANEW) -> None:
        """The line begins anew, and so does the stream; or it is `DOUBTED`."""
        if self._stream is not None:
            self._post.close_stream(self._stream)
            self.on_closed(why)

    async def run(self) -> None:
        """Opens our stream and pumps; opens it again when it ends; gives the peer up when that does not work.

        Also when something of ours breaks: a peer that seems connected, and to whom nothing is sent, would be worse.
        """
        failure = FAULT
        try:
            failure = f"no direct stream can be kept open: {await self._keep_open()}"
        except (asyncio.CancelledError, NotStarted):
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
            if reason == ANEW:
                failures = 0
                continue
            lasted_s = self._post.clock.monotonic_s() - began_s
            failures = 1 if lasted_s > STEADY_S else failures + 1
            if reason == DOUBTED:
                failures = STREAM_ATTEMPTS - 1  # one more HELLO shows it
            await asyncio.sleep(REOPEN_DELAY_S * failures)
            # Only now: when the whole connection was lost, this task has been cancelled meanwhile.
            self._judge_head()
        return reason

    def on_frames(self, frames: Iterable[bytes]) -> None:
        """What the peer says on its half. Its credit is given back at once, but for outcomes: once they are on disk."""
        size_bytes = 0
        self._post.presence.heard(self.line.peer)
        for data in frames:
            try:
                if not self._on_frame(data):
                    size_bytes += len(data)
            except Violation as violation:
                size_bytes += len(data)
                self._post.violation(self.line.peer, violation.reason)
        self._give_back(size_bytes)

    def on_writable(self) -> None:
        self._credit.set()
        self.confirm()

    def on_closed(self, reason: str) -> None:
        if self._stream is not None:
            self._streams.pop(self._stream, None)
        if self._closed_because is None:
            self._closed_because = reason
        self._wake.set()
        self._credit.set()

    def confirm(self) -> None:
        """Says which outcomes are on our disk; without credit it is said later, or in the next HELLO."""
        if self._hearing is None:
            return
        upto = min(self._outgoing.outcomes_upto, self._hearing.told_upto)
        if upto > self._confirmed and self._say(Confirm(upto)):
            self._confirmed = upto

    def on_skipped(self, seq: int) -> None:
        """A message expired or was cancelled that may be under way: the receiver's word decides."""
        if self._hearing is not None:
            self._hearing.on_skipped(seq)

    def _begin(self, stream: int) -> None:
        self._stream = stream
        self._streams[stream] = self
        self._closed_because = None
        self._hello = self._proof = self._hearing = None
        self.line.trouble = ""
        self._early = []
        self._confirmed = 0
        self._outgoing = self.line.outgoing
        self._outgoing.window.clear()
        self._outgoing.doubtful.clear()
        self._wake.clear()

    def _end(self, reason: str) -> None:
        stream, self._stream = self._stream, None
        self.greeted = False
        self._sent_upto = self._hearing.flight.upto if self._hearing is not None else 0
        self._hearing = None
        self._outgoing.window.clear()
        if stream is not None and self._streams.pop(stream, None) is not None:
            self._post.close_stream(stream)
        self.line.update_ready(self._post, reason)

    def _judge_head(self) -> None:
        """A message at which the peer ends one stream after another is given up, so that others are not behind it."""
        outgoing, head = self._outgoing, self._outgoing.acked_seq + 1
        by_peer = self._closed_because in ENDED_BY_PEER and head <= self._sent_upto
        if not self.line.admitted or not by_peer or self.line.outgoing is not outgoing:
            return
        seq, count = outgoing.ended_at
        outgoing.ended_at = (head, count + 1 if seq == head else 1)
        self._doings.doubt_head(outgoing, head)
        if outgoing.ended_at[1] >= MAX_ENDS_AT_HEAD:
            outgoing.ended_at = (0, 0)
            self._doings.give_up_head(outgoing, head)

    async def _converse(self) -> None:
        post, outgoing = self._post, self._outgoing
        await self._doings.journal.forget(outgoing)
        acked = None
        if outgoing.acked_mid is not None:
            acked = Position(outgoing.acked_seq, outgoing.acked_mid)
        hello = Hello(
            v=PROTOCOL_VERSION,
            incarnation=outgoing.incarnation,
            types=post.types_digest(),
            next=outgoing.next_seq,
            acked=acked,
            outcomes_upto=outgoing.outcomes_upto,
        )
        await self._hand_over([encode_frame(hello)])
        async with asyncio.timeout(HELLO_DEADLINE_S):
            while self._hello is None and self._closed_because is None:
                await self._wait()
        if self._hello is None:
            raise NetworkError(f"the stream was closed before HELLO: {self._closed_because}")
        resuming = Resuming(self.line, post, self._doings.journal, self._doings.refuse, self._is_open)
        flight = await resuming.stand(self._hello, self._ask)
        if flight is not None:
            self._take_up(self._hello, flight)
            await self._pump(resuming, flight)
        elif resuming.proven is not None:
            await self._doings.begin_anew(self.line.peer, *resuming.proven)

    def _is_open(self) -> bool:
        return self._closed_because is None

    def _take_up(self, hello: Hello, flight: Flight) -> None:
        """What was said before we knew where the receiver stands counts now."""
        self._hearing = Hearing(self._outgoing, flight, self._post, self._doings.journal)
        self._on_ack(Ack(outcomes=hello.outcomes), 0)
        early, self._early = self._early, []
        for ack, size_bytes in early:
            self._on_ack(ack, size_bytes)
        self._doings.try_again(self.line, hello.types)

    async def _pump(self, resuming: Resuming, flight: Flight) -> None:
        outgoing = self._outgoing
        while self._closed_because is None:
            while self._is_open() and flight.upto + 1 < outgoing.next_seq and not flight.is_full:
                places = outgoing.window.take(flight.upto + 1, min(FRAME_MESSAGES, flight.room), FRAME_BYTES)
                places = places or await resuming.read_on(flight.upto, flight.room)
                for part in in_frames(places):
                    await self._send(part, flight)
            await self._wait()

    async def _ask(self, frame: KnownFrame) -> Proof | None:
        """Asks the receiver for its proof; None when it does not answer."""
        self._proof = None
        await self._hand_over([encode_frame(frame)])
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                while self._shown() is None and self._is_open():
                    await self._wait()
        except TimeoutError:
            return None
        return self._shown()

    def _shown(self) -> Proof | None:
        return self._proof

    async def _wait(self) -> None:
        if self._closed_because is None:
            await self._wake.wait()
            self._wake.clear()

    async def _send(self, places: list[Place], flight: Flight) -> None:
        frame = encode_frame(Messages([place.envelope for place in places]))
        if await self._hand_over([frame]):
            # In the same step as it left: its acknowledgement must find it.
            flight.sent(places)

    async def _hand_over(self, frames: list[bytes]) -> bool:
        """Waits for credit as long as it takes: the receiver decides how fast it reads. False: the stream ended."""
        while self._closed_because is None and self._stream is not None:
            self._credit.clear()
            if self._post.network.try_send(self._stream, frames):
                return True
            await self._credit.wait()
        return False

    def _say(self, frame: KnownFrame) -> bool:
        """Sends a frame now, or not at all."""
        if self._closed_because is not None or self._stream is None:
            return False
        try:
            return self._post.network.try_send(self._stream, [encode_frame(frame)])
        except NetworkError:
            return False

    def _give_back(self, size_bytes: int) -> None:
        if self._stream is not None and size_bytes:
            self._post.release(self._stream, size_bytes)

    def _on_frame(self, data: bytes) -> bool:
        """Whether the frame's credit is kept until what it says is on disk."""
        try:
            frame = decode_frame(data)
        except Malformed:
            raise Violation("malformed_frame") from None
        if isinstance(frame, Hello):
            self._on_hello(frame)
        elif not self.greeted:
            raise Violation("frame_before_hello")
        elif isinstance(frame, Ack):
            self._on_ack(frame, len(data))
            return True
        elif isinstance(frame, Proof):
            self._proof = frame
            self._wake.set()
        elif not (self._post.hear(self.line.peer, frame) or isinstance(frame, Unknown)):
            raise Violation("message_on_acknowledging_half")
        return False

    def _on_ack(self, ack: Ack, size_bytes: int) -> None:
        if self._hearing is None:
            self._early.append((ack, size_bytes))
            return
        try:
            self.line.trouble = ack.trouble
            self._hearing.on_ack(ack, size_bytes, _releaser(self._post, self._stream))
        except Violation as violation:
            self._post.violation(self.line.peer, violation.reason)
        self._wake.set()

    def _on_hello(self, hello: Hello) -> None:
        if self.greeted:
            raise Violation("second_hello")
        self.greeted = True
        self._hello = hello
        self._wake.set()
        self.line.update_ready(self._post)


def _releaser(post: Post, stream: int | None) -> Callable[[int], None]:
    """Gives credit back to the stream on which it came."""

    def release(size_bytes: int) -> None:
        if stream is not None and size_bytes:
            post.release(stream, size_bytes)

    return release


def in_frames(places: list[Place]) -> Iterable[list[Place]]:
    """Parts that fit a frame each."""
    part: list[Place] = []
    size_bytes = 0
    for place in places:
        size = len(place.envelope)
        if part and (len(part) >= FRAME_MESSAGES or size_bytes + size > FRAME_BYTES):
            yield part
            part, size_bytes = [], 0
        part.append(place)
        size_bytes += size
    if part:
        yield part
