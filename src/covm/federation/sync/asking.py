"""Our stream to one peer: questions about what it holds, each with its answer, and its news."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import structs

from covm.federation.errors import FederationError, PeerNotConnected, SyncInterrupted
from covm.federation.network.interface import SYNC_PROTOCOL
from covm.federation.surroundings import HELLO_DEADLINE_S, Surroundings
from covm.federation.violations import Violation
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.names import is_type_name
from covm.federation.wire.sync_frames import (
    KnownSyncFrame,
    NoSync,
    Owed,
    Roots,
    SyncHello,
    SyncNews,
    SyncRequest,
    SyncResponse,
    decode_sync_frame,
    encode_sync_frame,
)
from covm.federation.wire.system import PROTOCOL_VERSION

ANSWER_S: Final = 30.0
"""How long an answer may take, a full frame on a slow link."""

REOPEN_S: Final = 5.0
"""Before a stream is opened again that ended while the peer is still connected."""


class Asker:
    """One peer, while it is admitted. `on_roots` hears which roots it has, and of which types it is owed bodies."""

    def __init__(self, peer: str, around: Surroundings, on_roots: Callable[[Roots, Owed], None]) -> None:
        self.peer = peer
        self.stream: int | None = None
        self._around = around
        self._on_roots = on_roots
        self._greeted = asyncio.Event()
        self._writable = asyncio.Event()
        self._ended = asyncio.Event()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[SyncResponse]] = {}
        self._is_silent = False
        """Whether a question was not answered in time, and none has been since: it is asked one at a time then."""

    async def run(self, opened: Callable[[int], None]) -> None:
        """Keeps a stream open until it is cancelled; `opened` hears its number before anything arrives on it."""
        around = self._around
        while True:
            try:
                self._greeted.clear()
                self._ended.clear()
                self.stream = await around.network.open_stream(self.peer, SYNC_PROTOCOL)
                opened(self.stream)
                around.network.try_send(self.stream, [encode_sync_frame(SyncHello(PROTOCOL_VERSION))])
                async with asyncio.timeout(HELLO_DEADLINE_S):
                    await self._greeted.wait()
                await self._ended.wait()
            except (FederationError, TimeoutError) as error:
                if self.stream is not None:
                    around.close_stream(self.stream)
                self.on_closed(str(error) or "it did not answer our HELLO")
            await asyncio.sleep(REOPEN_S)

    async def ask(self, request: SyncRequest) -> SyncResponse:
        """The answer to a question, whose number is set here. Raises `SyncInterrupted`."""
        if self._is_silent and self._asked:
            raise SyncInterrupted(request.type, self.peer, "it leaves other questions unanswered")
        number = next(self._numbers)
        frame = structs.replace(request, number=number)
        answer: asyncio.Future[SyncResponse] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._send(frame)
                return await answer
        except TimeoutError:
            self._is_silent = True
            raise SyncInterrupted(request.type, self.peer, f"it did not answer within {ANSWER_S:g} s") from None
        except PeerNotConnected:
            raise SyncInterrupted(request.type, self.peer, "it is not connected") from None
        finally:
            self._asked.pop(number, None)
            answer.cancel()
            if not answer.cancelled():
                answer.exception()  # it may have failed before anybody waited for it

    def violation(self, reason: str) -> None:
        """It said what no honest node says: it is charged, and the stream ends."""
        self._around.violation(self.peer, reason)
        if self.stream is not None:
            self._around.close_stream(self.stream)
        self.on_closed("it broke the protocol")

    def on_frames(self, frames: Sequence[bytes]) -> None:
        self._around.presence.heard(self.peer)
        if self.stream is not None:
            self._around.release(self.stream, sum(map(len, frames)))
        try:
            for data in frames:
                self._on_frame(data)
        except Violation as violation:
            self.violation(violation.reason)

    def on_writable(self) -> None:
        self._writable.set()

    def on_closed(self, reason: str) -> None:
        self.stream = None
        self._ended.set()
        self._writable.set()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(SyncInterrupted("", self.peer, reason))

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
            self._is_silent = False
            self._on_roots(_checked(frame.roots), frame.owed)
        elif not self._greeted.is_set():
            raise Violation("frame_before_hello")
        elif isinstance(frame, SyncNews):
            self._on_roots(_checked(frame.roots), frame.owed)
        elif isinstance(frame, SyncResponse | NoSync):
            self._is_silent = False
            answer = self._asked.get(frame.number)
            if answer is None or answer.done():
                return  # nobody waits for it any more
            if isinstance(frame, NoSync):
                answer.set_exception(SyncInterrupted("", self.peer, frame.reason))
            else:
                answer.set_result(frame)
        elif isinstance(frame, SyncRequest):
            raise Violation("want_on_answering_half")

    async def _send(self, frame: KnownSyncFrame) -> None:
        data = encode_sync_frame(frame)
        while True:
            stream = self.stream
            if stream is None or not self._greeted.is_set():
                raise PeerNotConnected(self.peer)
            self._writable.clear()
            if self._around.network.try_send(stream, [data]):
                return
            await self._writable.wait()


def _checked(roots: Roots) -> Roots:
    """Roots of types that may be called so. Raises `Violation`."""
    if not all(is_type_name(name) for name, _ in roots):
        raise Violation("sync_no_type_name")
    return roots
