"""A peer's stream to us: it asks what we hold that it lacks, and is told when there is more.

One question after the other, so that a peer takes its share of the disk and no more; what it may not read is not named.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from covm.federation.errors import FederationError, PeerNotConnected
from covm.federation.surroundings import HELLO_DEADLINE_S, Surroundings, Violation
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.sync_frames import (
    KnownSyncFrame,
    NoSync,
    Roots,
    SyncHello,
    SyncNews,
    SyncRequest,
    SyncResponse,
    decode_sync_frame,
    encode_sync_frame,
)
from covm.federation.wire.system import PROTOCOL_VERSION

MAX_QUESTIONS: Final = 16
"""Questions of one peer that wait: twice what we ask at once ourselves."""


ASKED_TOO_MUCH: Final = "it has been asked for more than there is: ask again later"
"""What a peer is told that has had its share."""

MAX_REFUSED: Final = 16
"""Questions in a row that are refused so; whoever asks on is charged."""


class Library(Protocol):
    """What this node holds for others. (SyncManager)"""

    def roots(self, peer: str) -> Roots:
        """Of all types that the peer may read."""

    async def answer(self, peer: str, request: SyncRequest) -> SyncResponse | NoSync:
        """What a peer asked for, as much as one frame takes. Raises `StoreError`."""


class Server:
    """Answers one stream that a peer opened."""

    def __init__(self, stream: int, peer: str, around: Surroundings, library: Library) -> None:
        self.stream = stream
        self.peer = peer
        self._around = around
        self._library = library
        self._greeted = asyncio.Event()
        self._questions: deque[SyncRequest] = deque()
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._told: dict[str, bytes] = {}
        self._has_news = False
        self._refused = 0
        self.task: asyncio.Task[None] | None = None

    def on_frames(self, frames: Sequence[bytes]) -> None:
        self._around.presence.heard(self.peer)
        self._around.release(self.stream, sum(map(len, frames)))
        try:
            for data in frames:
                self._on_frame(data)
        except Violation as violation:
            self._around.violation(self.peer, violation.reason)
            self.stop()

    def on_writable(self) -> None:
        self._writable.set()

    def news(self) -> None:
        """Something has come: the peer is told, once however much it is by then."""
        self._has_news = True
        self._wake.set()

    def stop(self) -> None:
        self._around.close_stream(self.stream)
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        """Answers until the stream ends."""
        try:
            async with asyncio.timeout(HELLO_DEADLINE_S):
                await self._greeted.wait()
        except TimeoutError:
            self._around.close_stream(self.stream)
            return
        roots = self._library.roots(self.peer)
        self._told = dict(roots)
        is_open = await self._send(SyncHello(PROTOCOL_VERSION, roots))
        while is_open:
            await self._wake.wait()
            self._wake.clear()
            while self._questions and is_open:
                is_open = await self._send(await self._answer(self._questions[0]))
                self._questions.popleft()
            if self._has_news and is_open:
                is_open = await self._tell()

    async def _tell(self) -> bool:
        self._has_news = False
        roots = self._library.roots(self.peer)
        fresh = [(name, root) for name, root in roots if self._told.get(name) != root]
        self._told = dict(roots)
        return not fresh or await self._send(SyncNews(fresh))

    async def _answer(self, request: SyncRequest) -> KnownSyncFrame:
        try:
            answer = await self._library.answer(self.peer, request)
        except FederationError as error:
            return NoSync(request.number, f"it cannot be read now: {type(error).__name__}")
        is_refused = isinstance(answer, NoSync) and answer.reason == ASKED_TOO_MUCH
        self._refused = self._refused + 1 if is_refused else 0
        if self._refused > MAX_REFUSED:
            self._around.violation(self.peer, "sync_asked_on")
            self._around.close_stream(self.stream)
        return answer

    async def _send(self, frame: KnownSyncFrame) -> bool:
        """Waits for credit as long as it takes; False when the stream is gone."""
        data = encode_sync_frame(frame)
        try:
            self._writable.clear()
            while not self._around.network.try_send(self.stream, [data]):
                await self._writable.wait()
                self._writable.clear()
        except PeerNotConnected:
            return False
        return True

    def _on_frame(self, data: bytes) -> None:
        try:
            frame = decode_sync_frame(data)
        except Malformed:
            raise Violation("malformed_frame") from None
        if isinstance(frame, SyncHello):
            if self._greeted.is_set():
                raise Violation("second_hello")
            if frame.v[0] != PROTOCOL_VERSION[0]:
                raise Violation("unknown_version")
            self._greeted.set()
        elif not self._greeted.is_set():
            raise Violation("frame_before_hello")
        elif isinstance(frame, SyncRequest):
            if len(self._questions) >= MAX_QUESTIONS:
                raise Violation("too_many_questions")
            self._questions.append(frame)
            self._wake.set()
        elif isinstance(frame, SyncResponse | SyncNews | NoSync):
            raise Violation("answer_on_asking_half")
