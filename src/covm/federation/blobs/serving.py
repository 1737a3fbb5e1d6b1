"""A peer's stream to us: it asks for chunks, one after the other is read and sent.

The next chunk is read while the last one travels; a peer that does not read gets no more, by the stream's credit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from covm.federation.blobs.chunks import Place
from covm.federation.errors import PeerNotConnected
from covm.federation.surroundings import HELLO_DEADLINE_S, Surroundings, Violation
from covm.federation.wire.blob_frames import (
    BlobHello,
    Chunk,
    KnownBlobFrame,
    Malformed,
    NoChunk,
    Want,
    decode_blob_frame,
    encode_blob_frame,
)
from covm.federation.wire.system import PROTOCOL_VERSION

MAX_WANTS: Final = 64
"""Questions of one peer that wait: eight times what we ask for at once ourselves."""


class NotHeld(Exception):
    """This node does not have the content, or not yet."""


class Gone(Exception):
    """The content is no longer what it was; its text says why. Asking again is of no use."""


class Shelf(Protocol):
    """What this node has for others."""

    async def read(self, peer: str, root: bytes, place: Place) -> bytes:
        """A chunk for this peer, by the binary id of the content's root. Raises `NotHeld`, `Gone`."""


class Server:
    """Answers one stream that a peer opened."""

    def __init__(self, stream: int, peer: str, around: Surroundings, shelf: Shelf) -> None:
        self.stream = stream
        self.peer = peer
        self._around = around
        self._shelf = shelf
        self._greeted = asyncio.Event()
        self._wants: deque[Want] = deque()
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
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
        if not await self._send(BlobHello(PROTOCOL_VERSION)):
            return
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wants:
                answer = await self._answer(self._wants[0])
                self._wants.popleft()
                if not await self._send(answer):
                    return

    async def _answer(self, want: Want) -> Chunk | NoChunk:
        try:
            data = await self._shelf.read(self.peer, want.root.bytes, Place(*want.place))
        except NotHeld:
            return NoChunk(want.number, final=False, reason="it is not held here")
        except Gone as gone:
            return NoChunk(want.number, final=True, reason=str(gone))
        return Chunk(want.number, data)

    async def _send(self, frame: KnownBlobFrame) -> bool:
        """Waits for credit as long as it takes; False when the stream is gone."""
        data = encode_blob_frame(frame)
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
            frame = decode_blob_frame(data)
        except Malformed:
            raise Violation("malformed_frame") from None
        if isinstance(frame, BlobHello):
            if self._greeted.is_set():
                raise Violation("second_hello")
            if frame.v[0] != PROTOCOL_VERSION[0]:
                raise Violation("unknown_version")
            self._greeted.set()
        elif not self._greeted.is_set():
            raise Violation("frame_before_hello")
        elif isinstance(frame, Want):
            if len(self._wants) >= MAX_WANTS:
                raise Violation("too_many_wants")
            self._wants.append(frame)
            self._wake.set()
        elif isinstance(frame, Chunk | NoChunk):
            raise Violation("answer_on_asking_half")
