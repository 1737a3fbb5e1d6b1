"""A peer's stream to us: its HELLO and ours, its messages in sequence, and our acknowledgements on our half.

Credit for a message is given back when it leaves this node's queues, so a slow handler slows the sender of its
messages and nobody else. Our half also carries our heartbeats, so that they never wait behind messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from covm.federation.dispatch.inbox import Acceptance
from covm.federation.dispatch.line import FAULT, HELLO_DEADLINE_S, Line, Post
from covm.federation.dispatch.outbox import Violation
from covm.federation.errors import PeerNotConnected
from covm.federation.network.interface import NotOpened, Opened
from covm.federation.ports import DIRECT, HANDLED, QUARANTINED, Arrival
from covm.federation.wire.frames import (
    Ack,
    Hello,
    Malformed,
    Messages,
    Outcome,
    OutcomeState,
    Position,
    decode_frame,
    encode_frame,
)
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_REASON
from covm.federation.wire.message import MessageBody, decode_body
from covm.federation.wire.system import PROTOCOL_VERSION, Heartbeat, PeerInfo

OUTCOMES_A_FRAME = 2_048
"""With the longest reasons they stay under two thirds of a frame."""

MAX_VIOLATIONS = 3
"""Streams that a peer may spoil before it is disconnected: one could be our own misunderstanding."""

_OUTCOME_STATES = {HANDLED: OutcomeState.HANDLED.value, QUARANTINED: OutcomeState.FAILED.value}


class Receiver:
    """The shell around `Inbox`, one for each stream that a peer opened. It is the `Origin` of what came by it."""

    def __init__(self, stream: int, line: Line, post: Post) -> None:
        self.stream = stream
        self.greeted = False
        self.task: asyncio.Task[None] | None = None
        self.line = line
        self._post = post
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._writable = True
        self._said: tuple[int, bytes] | None = None
        self._outcomes: list[Outcome] = []
        self._settled_bytes = 0
        self._owed_bytes = 0
        self._in_lanes_bytes = 0
        self._ended = False
        self._flush_planned = False

    def on_frames(self, frames: Sequence[bytes]) -> None:
        """Queues what came; the network's credit bounds it."""
        self._owed_bytes += sum(map(len, frames))
        if self._ended:
            self._let_go()
            return
        self._frames.extend(frames)
        self._wake.set()

    def on_writable(self) -> None:
        self._writable = True
        self.flush()

    def send_control(self, data: bytes) -> bool:
        """Sends a frame on our half now, or not at all."""
        return self.greeted and self._writable and self._try_send(data)

    def settled(self, arrival: Arrival, state: str, reason: str) -> None:
        """A message left the queues: its outcome is told and its credit given back, both in the next flush."""
        self._in_lanes_bytes -= arrival.size_bytes
        self._settled_bytes += arrival.size_bytes
        self._conclude(arrival.body, _OUTCOME_STATES.get(state, OutcomeState.REFUSED.value), reason)
        if self._ended:
            self._let_go()
        else:
            self._plan_flush()

    def add_outcome(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._plan_flush()

    async def run(self) -> None:
        """Reads until the stream is closed or makes no sense.

        When something of ours breaks, the peer is given up: it must not seem connected while nobody reads.
        """
        failure = FAULT
        try:
            await self._read_on()
            failure = ""
        except asyncio.CancelledError:
            failure = ""
            raise
        finally:
            if failure:
                self._end(failure)
                self._post.presence.give_up(self.line.peer, failure)

    async def _read_on(self) -> None:
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                await self._read()
            while self.greeted:
                await self._read()
        except TimeoutError:
            self._end("its HELLO did not come")
        except Violation as violation:
            self._post.violation(self.line.peer, violation.reason)
            self._end(violation.reason)
            self.line.violations += 1
            if self.line.violations >= MAX_VIOLATIONS:
                self._post.presence.give_up(self.line.peer, f"it broke the protocol: {violation.reason}")

    def stop(self) -> None:
        """The stream ended, was replaced, or its peer is no longer admitted."""
        self._finish()
        if self.task is not None:
            self.task.cancel()

    def flush(self) -> None:
        """Says what is stored and what became of it, and only then gives credit back.

        A peer that does not read its acknowledgements gets no credit, so what we hold for it stays bounded.
        """
        self._flush_planned = False
        if not self.greeted or not self._writable:
            return
        stored = self.line.inbox.stored
        while stored != self._said or self._outcomes:
            part = self._outcomes[:OUTCOMES_A_FRAME]
            upto = Position(*stored) if stored is not None and stored != self._said else None
            if not self._try_send(encode_frame(Ack(upto=upto, outcomes=part))):
                return
            self._said = stored
            del self._outcomes[: len(part)]
        self._release(self._settled_bytes)

    async def _read(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        envelopes: list[bytes] = []
        while self._frames:
            data = self._frames.popleft()
            carried = self._on_frame(data)
            self._settled_bytes += len(data) - sum(map(len, carried))
            envelopes += carried
        self._post.presence.heard(self.line.peer)
        if envelopes:
            opened = await self._post.network.open(Kind.MESSAGE, envelopes)
            self._accept(opened, envelopes)
        self.flush()

    def _on_frame(self, data: bytes) -> list[bytes]:
        """Deals with a frame; returns the envelopes in it."""
        try:
            frame = decode_frame(data)
        except Malformed:
            raise Violation("malformed_frame") from None
        peer, presence = self.line.peer, self._post.presence
        if isinstance(frame, Hello):
            self._on_hello(frame)
        elif not self.greeted:
            raise Violation("frame_before_hello")
        elif isinstance(frame, Messages):
            return frame.envelopes
        elif isinstance(frame, Heartbeat):
            presence.heartbeat_received(peer, frame)
        elif isinstance(frame, PeerInfo):
            presence.peer_info_received(peer, frame)
        elif isinstance(frame, Ack):
            self._post.violation(peer, "ack_of_ack")
        return []

    def _on_hello(self, hello: Hello) -> None:
        post, inbox = self._post, self.line.inbox
        if self.greeted:
            raise Violation("second_hello")
        if hello.v[0] != PROTOCOL_VERSION[0]:
            raise Violation("unknown_version")
        inbox.open(hello.incarnation, hello.first or 1)
        self._said = inbox.stored
        outcomes = inbox.outcomes
        answer = Hello(
            v=PROTOCOL_VERSION,
            incarnation=post.own_incarnation,
            types=post.types_digest(),
            stored=Position(*inbox.stored) if inbox.stored is not None else None,
            outcomes=outcomes[:OUTCOMES_A_FRAME],
        )
        # What one frame does not take follows in acknowledgements. Nothing older: it may be of another incarnation.
        self._outcomes = outcomes[OUTCOMES_A_FRAME:]
        self._try_send(encode_frame(answer))
        self.greeted = True
        self.line.update_ready(post)

    def _accept(self, opened: Sequence[Opened | NotOpened], envelopes: Sequence[bytes]) -> None:
        """Takes messages in order up to the first that cannot be; what came before it is delivered all the same."""
        arrivals: list[Arrival] = []
        violation: Violation | None = None
        line, traffic = self.line, self._post.counters.direct_in
        for result, envelope in zip(opened, envelopes, strict=True):
            size_bytes = len(envelope)
            try:
                body = self._body_of(result)
                acceptance = line.inbox.accept(body)
            except Violation as found:
                violation = found
                break
            line.messages_in += 1
            line.bytes_in += size_bytes
            traffic.add(body.type, size_bytes)
            if acceptance is Acceptance.NEW:
                self._in_lanes_bytes += size_bytes
                arrivals.append(Arrival(body, DIRECT, size_bytes, self))
            else:
                self._turn_away(body, size_bytes, acceptance)
        if arrivals:
            self._post.inbound.deliver(arrivals)
        if violation is not None:
            raise violation

    def _body_of(self, opened: Opened | NotOpened) -> MessageBody:
        if isinstance(opened, NotOpened):
            raise Violation("bad_envelope")
        try:
            body = decode_body(opened.body)
        except Malformed:
            raise Violation("malformed_body") from None
        if body.author != opened.author or body.author != self.line.peer:
            raise Violation("author_mismatch")
        if body.federation != self._post.federation.cid:
            raise Violation("wrong_federation")
        if body.to != self._post.peer_id:
            raise Violation("wrong_recipient")
        return body

    def _turn_away(self, body: MessageBody, size_bytes: int, acceptance: Acceptance) -> None:
        """A message that is here already: no second effect, and no harm."""
        self._settled_bytes += size_bytes
        self._post.counters.drop(acceptance.value)
        if acceptance is Acceptance.REPEATED:
            self._conclude(body, OutcomeState.HANDLED.value, "")

    def _conclude(self, body: MessageBody, state: str, reason: str) -> None:
        if body.incarnation != self.line.inbox.incarnation:
            return
        outcome = Outcome(body.seq, body.mid, state, _short(reason))
        self.line.inbox.settle(outcome)
        self.line.tell_outcome(outcome)

    def _plan_flush(self) -> None:
        if not self._flush_planned:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _try_send(self, data: bytes) -> bool:
        try:
            self._writable = self._post.network.try_send(self.stream, (data,))
        except PeerNotConnected:
            self._writable = False
        return self._writable

    def _end(self, reason: str) -> None:
        self._finish()
        self.line.update_ready(self._post, reason)

    def _finish(self) -> None:
        self.greeted = False
        self._ended = True
        self._frames.clear()
        self._let_go()
        self._post.close_stream(self.stream)

    def _let_go(self) -> None:
        """Gives back all credit but that of messages still in the lanes.

        The peer's next stream inherits what this one owes, so that it cannot fill our queues by coming back; what
        is kept back by mistake would slow it for ever.
        """
        self._release(self._owed_bytes - self._in_lanes_bytes)

    def _release(self, size_bytes: int) -> None:
        if size_bytes:
            self._owed_bytes -= size_bytes
            self._settled_bytes = 0
            self._post.release(self.stream, size_bytes)


def _short(reason: str) -> str:
    """At most `MAX_REASON` bytes, so that outcomes with reasons fit their frame."""
    return reason.encode()[:MAX_REASON].decode(errors="ignore")
