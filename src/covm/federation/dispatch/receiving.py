"""A peer's stream to us: its HELLO and ours, its messages in sequence, and our acknowledgements on our half.

What came is taken by the peer's `Incoming`. Credit for a message is given back when it is on disk and that has been
said; where the inbox is full nothing more is read, so a slow handler slows the sender of its messages and nobody else.
Our half also carries our heartbeats, so that they never wait behind messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from covm.federation.dispatch.inbox import Judgement, Offered
from covm.federation.dispatch.incoming import OUTCOMES_READ, Incoming
from covm.federation.dispatch.incoming_stream import Greeting
from covm.federation.dispatch.line import FAULT, HELLO_DEADLINE_S, Line, Post
from covm.federation.dispatch.outcomes import OutcomeQueue
from covm.federation.errors import NodeFailed, NotStarted, PeerNotConnected
from covm.federation.network.interface import NotOpened, Opened
from covm.federation.violations import Violation
from covm.federation.wire.frames import (
    Ack,
    Confirm,
    Hello,
    Malformed,
    Messages,
    Outcome,
    Position,
    Proof,
    Prove,
    decode_frame,
    encode_frame,
)
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.message import MessageBody, decode_body
from covm.federation.wire.system import PROTOCOL_VERSION

MAX_VIOLATIONS = 3
"""Streams that a peer may spoil before it is disconnected: one could be our own misunderstanding."""

MAX_PROOFS = 8
"""Proofs that a stream may ask for: an honest peer asks for one, after it was rolled back. Each may be a megabyte."""


class Receiver:
    """One for each stream that a peer opened: reads frames, and says what became of what they brought."""

    def __init__(self, stream: int, line: Line, post: Post) -> None:
        self.stream = stream
        self.greeted = False
        self.task: asyncio.Task[None] | None = None
        self.line = line
        self._post = post
        self._incoming: Incoming = post.inbox.of(line.peer)
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._writable = True
        self._has_hello = False
        self._stored: Position | None = None
        self._said: Position | None = None
        self._outcomes = OutcomeQueue(0)
        self._is_catching_up = False
        self._trouble = ""
        self._proofs = 0
        self._replies: deque[bytes] = deque()
        self._due_bytes = 0
        self._owed_bytes = 0
        self._ended = False

    @property
    def is_over(self) -> bool:
        """Whether nothing of it matters any more."""
        return self._ended

    def on_frames(self, frames: Sequence[bytes]) -> None:
        """Queues what came; the network's credit bounds it."""
        self._owed_bytes += sum(map(len, frames))
        if self._ended:
            self._let_go()
            return
        self._post.presence.heard(self.line.peer)
        self._frames.extend(frames)
        self._wake.set()

    def on_writable(self) -> None:
        self._writable = True
        self.flush()

    def send_control(self, data: bytes) -> bool:
        """Sends a frame on our half now, or not at all."""
        return self.greeted and self._writable and self._try_send(data)

    async def run(self) -> None:
        """Reads until the stream is closed or makes no sense.

        When something of ours breaks, the peer is given up: it must not seem connected while nobody reads.
        """
        has_failed = True
        try:
            await self._read_on()
            has_failed = False
        except asyncio.CancelledError:
            has_failed = False
            raise
        finally:
            if has_failed:
                self.failed()

    def stop(self) -> None:
        """The stream ended, was replaced, or its peer is no longer admitted."""
        self._finish()
        if self.task is not None:
            self.task.cancel()

    # --- what comes

    async def _read_on(self) -> None:
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                while not self._has_hello and not self._ended:
                    await self._read()
            while not self._ended:
                await self._read()
        except TimeoutError:
            self._end("its HELLO did not come")
        except Violation as violation:
            self.violated(violation.reason)

    async def _read(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        envelopes: list[bytes] = []
        size_bytes = 0
        try:
            while self._frames:
                data = self._frames.popleft()
                carried = self._on_frame(data)
                size_bytes += len(data)
                if carried:
                    envelopes += carried
                elif not envelopes:
                    self._due_bytes += size_bytes
                    size_bytes = 0
        finally:
            # What came before a frame that makes no sense is taken all the same.
            if envelopes:
                await self._offer(envelopes, size_bytes)
        self.flush()

    async def _offer(self, envelopes: list[bytes], size_bytes: int) -> None:
        opened = await self._post.network.open(Kind.MESSAGE, envelopes)
        offered: list[Offered] = []
        try:
            for result, envelope in zip(opened, envelopes, strict=True):
                body = self._body_of(result)
                offered.append(Offered(body, result.body, envelope))  # type: ignore[union-attr]
        finally:
            if offered:
                self._incoming.offer(self, offered, size_bytes)

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

    def _on_frame(self, data: bytes) -> list[bytes]:
        """Deals with a frame; returns the envelopes in it."""
        try:
            frame = decode_frame(data)
        except Malformed:
            raise Violation("malformed_frame") from None
        if isinstance(frame, Messages) and self._has_hello:
            return frame.envelopes
        if isinstance(frame, Hello):
            self._on_hello(frame)
        elif not self._has_hello:
            raise Violation("frame_before_hello")
        elif isinstance(frame, Confirm):
            self._incoming.confirm(self, frame.upto)
        elif isinstance(frame, Prove):
            self._on_prove(frame)
        elif not self._post.hear(self.line.peer, frame) and isinstance(frame, Ack):
            self._post.violation(self.line.peer, "ack_of_ack")
        return []

    def _on_hello(self, hello: Hello) -> None:
        if self._has_hello:
            raise Violation("second_hello")
        if hello.v[0] != PROTOCOL_VERSION[0]:
            raise Violation("unknown_version")
        self._has_hello = True
        self._incoming.greet(self, hello)

    def _on_prove(self, prove: Prove) -> None:
        self._proofs += 1
        if self._proofs > MAX_PROOFS:
            raise Violation("too_many_proofs")
        self._incoming.prove(self, prove.incarnation)

    # --- what became of it (see `incoming_stream`)

    def greeted_with(self, greeting: Greeting) -> None:
        """Answers HELLO. Outcomes that one frame does not take follow in acknowledgements."""
        answer = Hello(
            v=PROTOCOL_VERSION,
            incarnation=self._post.own_incarnation,
            types=self._post.types_digest(),
            stored=greeting.stored,
            newer=greeting.newer,
            outcomes=greeting.outcomes,
        )
        self._stored = self._said = greeting.stored
        said = greeting.outcomes[-1].number if greeting.outcomes else greeting.said_upto
        self._outcomes = OutcomeQueue(said)
        self._try_send(encode_frame(answer))
        self.greeted = True
        self.line.update_ready(self._post)
        if not greeting.is_all:
            self.look()
        self.flush()

    def took(self, judgement: Judgement, size_bytes: int) -> None:
        """What the stream brought is on disk, as far as it was fit."""
        if self._ended:
            return
        line, traffic = self.line, self._post.counters.direct_in
        for body, _, envelope in judgement.new:
            line.messages_in += 1
            line.bytes_in += len(envelope)
            traffic.add(body.type, len(envelope))
        if judgement.resent:
            self._post.counters.drop("resent", judgement.resent)
        self._trouble = ""
        if judgement.stored_mid is not None:
            self._stored = Position(judgement.stored_seq, judgement.stored_mid)
        self._due_bytes += size_bytes
        self.flush()
        if judgement.violation:
            self.violated(judgement.violation)

    def troubled(self, why: str) -> None:
        """What the stream brought cannot be stored now: said once, and over with what is stored next."""
        if self.greeted and self._writable and why != self._trouble:
            self._trouble = why
            self._try_send(encode_frame(Ack(trouble=why)))

    def proved(self, incarnation: Incarnation, envelope: bytes | None) -> None:
        """What the peer asked to be shown."""
        self._replies.append(encode_frame(Proof(incarnation=incarnation, envelope=envelope)))
        self.flush()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes were committed."""
        self._outcomes.add(outcomes)
        self.flush()

    def fetched(self, outcomes: Sequence[Outcome], *, is_all: bool) -> None:
        """What the store has of outcomes above those that were said."""
        self._is_catching_up = False
        self._outcomes.fetched(outcomes, is_all=is_all)
        self.flush()
        if not is_all:
            self.look()

    def look(self) -> None:
        """Reads outcomes from the store."""
        if not self._is_catching_up and not self._ended:
            self._is_catching_up = True
            self._incoming.catch_up(self, self._outcomes.said)

    def violated(self, reason: str) -> None:
        """The peer did what no honest peer does: the stream ends, and after a few of them the peer is sent away."""
        if self._ended:
            return
        self._post.violation(self.line.peer, reason)
        self._end(reason)
        self.line.violations += 1
        if self.line.violations >= MAX_VIOLATIONS:
            self._post.presence.give_up(self.line.peer, f"it broke the protocol: {reason}")

    def failed(self) -> None:
        """Something of ours broke."""
        if not self._ended:
            self._end(FAULT)
            self._post.presence.give_up(self.line.peer, FAULT)

    # --- what is said

    def flush(self) -> None:
        """Says what is stored and what became of it, and only then gives credit back.

        A peer that does not read its acknowledgements gets no credit, so what we hold for it stays bounded.
        """
        if not self.greeted or not self._writable:
            return
        while self._replies:
            if not self._try_send(self._replies[0]):
                return
            self._replies.popleft()
        while True:
            upto = self._stored if self._stored != self._said else None
            outcomes = self._outcomes.ready(OUTCOMES_READ)
            if upto is None and not outcomes:
                break
            if not self._try_send(encode_frame(Ack(upto=upto, outcomes=outcomes))):
                return
            self._said = self._stored
            self._outcomes.drop(len(outcomes))
        if self._outcomes.is_behind:
            self.look()
        self._release(self._due_bytes)

    def _try_send(self, data: bytes) -> bool:
        try:
            self._writable = self._post.network.try_send(self.stream, (data,))
        except (PeerNotConnected, NotStarted, NodeFailed):
            self._writable = False
        return self._writable

    def _end(self, reason: str) -> None:
        self._finish()
        self.line.update_ready(self._post, reason)

    def _finish(self) -> None:
        self.greeted = False
        self._ended = True
        self._frames.clear()
        self._replies.clear()
        self._wake.set()
        self._let_go()
        self._post.inbox.stream_ended()
        self._post.close_stream(self.stream)

    def _let_go(self) -> None:
        """Gives back all credit: what the peer sent and we did not store, it sends again on its next stream."""
        self._due_bytes = self._owed_bytes
        self._release(self._due_bytes)

    def _release(self, size_bytes: int) -> None:
        if size_bytes:
            self._owed_bytes -= size_bytes
            self._due_bytes = 0
            self._post.release(self.stream, size_bytes)
