"""Our stream to one peer, over which this node asks for chunks: opened when something is asked, kept while it serves.

Questions wait here until a few are under way, so one peer's answers never take more than a few MiB, whoever asks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from covm import _native
from covm.federation.blobs.chunks import Place
from covm.federation.errors import FederationError, NotStarted, PeerNotConnected
from covm.federation.network.interface import BLOB_PROTOCOL
from covm.federation.surroundings import HELLO_DEADLINE_S, Surroundings
from covm.federation.violations import Violation
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

WINDOW: Final = 8
"""Chunks under way from one peer: 2 MiB, which at a round trip of 100 ms are 20 MB a second."""

STALL_S: Final = 60.0
"""A peer that owes us chunks and says nothing for so long is given another stream: as two frame deadlines."""


class Interrupted(Exception):
    """The stream ended, or could not be opened, before the chunk came. It may be asked for again."""


class Unheld(Exception):
    """The peer does not give the chunk. `final`: asking again is of no use."""

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class _Question(NamedTuple):
    root: _native.Link
    place: Place
    answer: asyncio.Future[bytes]


class Fetcher:
    """Asks one admitted peer. Make it when the peer is admitted, `stop` it when it no longer is."""

    def __init__(self, peer: str, around: Surroundings, streams: dict[int, Fetcher]) -> None:
        self.peer = peer
        self._around = around
        self._streams = streams
        self._stream: int | None = None
        self._greeted = False
        self._opening: asyncio.Task[None] | None = None
        self._waiting: deque[_Question] = deque()
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0
        self._heard_s = 0.0
        self._stall: asyncio.TimerHandle | None = None

    def ask(self, root: _native.Link, place: Place) -> asyncio.Future[bytes]:
        """Asks for a chunk, in the order of the calls. The future raises `Interrupted` or `Unheld`.

        What comes is not verified here. A future that is cancelled is not asked for, if it was not yet.
        """
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_looked_at)
        self._waiting.append(_Question(root, place, answer))
        if self._stream is not None or self._opening is not None:
            self._pump()
            return answer
        try:
            self._opening = self._around.supervisor.spawn(self._open(), f"blob stream to {self.peer}")
        except NotStarted as error:
            self._end(str(error))
        return answer

    def on_frames(self, frames: Sequence[bytes]) -> None:
        self._heard_s = self._around.clock.monotonic_s()
        self._around.presence.heard(self.peer)
        if self._stream is not None:
            self._around.release(self._stream, sum(map(len, frames)))
        try:
            for data in frames:
                self._on_frame(data)
        except Violation as violation:
            self._around.violation(self.peer, violation.reason)
            self._end("it broke the protocol")
        self._pump()

    def on_writable(self) -> None:
        self._pump()

    def on_closed(self, reason: str) -> None:
        self._end(reason)

    def stop(self) -> None:
        """The peer is no longer admitted."""
        self.leave()
        self._end("the peer is not connected")

    def leave(self) -> None:
        """The node stops: whoever waits for an answer is ended with it."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    async def _open(self) -> None:
        """Opens the stream and says HELLO; the peer's answer opens the window."""
        around = self._around
        try:
            stream = await around.network.open_stream(self.peer, BLOB_PROTOCOL)
            self._stream = stream
            self._streams[stream] = self
            self._send(BlobHello(PROTOCOL_VERSION))
            await asyncio.sleep(HELLO_DEADLINE_S)
            self._end("it did not answer our HELLO")
        except FederationError as error:
            self._end(str(error))
        finally:
            if self._opening is asyncio.current_task():
                self._opening = None

    def _on_frame(self, data: bytes) -> None:
        try:
            frame = decode_blob_frame(data)
        except Malformed:
            raise Violation("malformed_frame") from None
        if isinstance(frame, BlobHello):
            self._on_hello()
        elif not self._greeted:
            raise Violation("frame_before_hello")
        elif isinstance(frame, Chunk | NoChunk):
            answer = self._asked.pop(frame.number, None)
            if answer is None:
                raise Violation("unasked_chunk")
            if answer.done():
                return
            if isinstance(frame, Chunk):
                answer.set_result(frame.data)
            else:
                answer.set_exception(Unheld(frame.reason, final=frame.final))
        elif isinstance(frame, Want):
            raise Violation("want_on_answering_half")

    def _on_hello(self) -> None:
        if self._greeted:
            raise Violation("second_hello")
        self._greeted = True
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None

    def _pump(self) -> None:
        """Asks while the window and the stream's credit allow."""
        while self._greeted and self._waiting and len(self._asked) < WINDOW:
            question = self._waiting[0]
            if not question.answer.cancelled():
                number = self._number + 1
                if not self._send(Want(number, question.root, question.place)):
                    return
                self._number = number
                self._asked[number] = question.answer
                self._watch()
            self._waiting.popleft()

    def _send(self, frame: KnownBlobFrame) -> bool:
        if self._stream is None:
            return False
        try:
            return self._around.network.try_send(self._stream, [encode_blob_frame(frame)])
        except PeerNotConnected:
            return False  # that it was closed is said in an event of its own

    def _watch(self) -> None:
        if self._stall is None:
            self._heard_s = self._around.clock.monotonic_s()
            self._stall = asyncio.get_running_loop().call_later(STALL_S, self._look)

    def _look(self) -> None:
        self._stall = None
        if not self._asked:
            return
        silent_s = self._around.clock.monotonic_s() - self._heard_s
        if silent_s >= STALL_S:
            self._end(f"it said nothing for {STALL_S:g} s")
        else:
            self._stall = asyncio.get_running_loop().call_later(STALL_S - silent_s, self._look)

    def _end(self, reason: str) -> None:
        stream, self._stream = self._stream, None
        self._greeted = False
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if stream is not None and self._streams.pop(stream, None) is not None:
            self._around.close_stream(stream)
        asked, self._asked = self._asked, {}
        waiting, self._waiting = self._waiting, deque()
        for answer in [*asked.values(), *(question.answer for question in waiting)]:
            if not answer.done():
                answer.set_exception(Interrupted(reason))


def _looked_at(answer: asyncio.Future[bytes]) -> None:
    """An answer that nobody awaits any more is no fault."""
    if not answer.cancelled():
        answer.exception()


Fetchers = Callable[[str], Fetcher | None]
"""The fetcher of a peer, None when it is not admitted."""
