"""A peer's stream to us on which it asks and we answer, one question after the other: what files and records share.

The answer to a question is sent before the next is looked at, and without credit it waits: a peer takes its share of
the disk and no more, and one that does not read holds up itself alone.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from covm.federation.errors import PeerNotConnected
from covm.federation.surroundings import HELLO_DEADLINE_S, Surroundings
from covm.federation.violations import Violation
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.system import PROTOCOL_VERSION

Q = TypeVar("Q")

_HALF: Final = "answer_on_asking_half"


class Language(NamedTuple):
    """The frames of a protocol."""

    decode: Callable[[bytes], Any]
    """Raises `Malformed`."""
    encode: Callable[[Any], bytes]
    hello: type
    question: type
    answers: tuple[type, ...]
    """What we say; on its half of the stream the peer says none of it."""


class AnsweringStream(ABC, Generic[Q]):
    """The shell. At most `most` questions wait; one more is the violation `too_many`."""

    def __init__(
        self, stream: int, peer: str, around: Surroundings, language: Language, most: int, too_many: str
    ) -> None:
        self.stream = stream
        self.peer = peer
        self.task: asyncio.Task[None] | None = None
        self._around = around
        self._language = language
        self._most = most
        self._too_many = too_many
        self._greeted = asyncio.Event()
        self._questions: deque[Q] = deque()
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()

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
        is_open = await self._send(await self._hello())
        while is_open:
            await self._wake.wait()
            self._wake.clear()
            while self._questions and is_open:
                is_open = await self._send(await self._answer(self._questions[0]))
                self._questions.popleft()
            if is_open:
                is_open = await self._volunteer()

    @abstractmethod
    async def _hello(self) -> object:
        """Our HELLO."""

    @abstractmethod
    async def _answer(self, question: Q) -> object:
        """The frame that answers a question."""

    async def _volunteer(self) -> bool:
        """Says what was not asked for; False when the stream is gone."""
        return True

    async def _send(self, frame: object) -> bool:
        """Waits for credit as long as it takes; False when the stream is gone."""
        data = self._language.encode(frame)
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
            frame = self._language.decode(data)
        except Malformed:
            raise Violation("malformed_frame") from None
        if isinstance(frame, self._language.hello):
            if self._greeted.is_set():
                raise Violation("second_hello")
            if frame.v[0] != PROTOCOL_VERSION[0]:  # type: ignore[attr-defined]
                raise Violation("unknown_version")
            self._greeted.set()
        elif not self._greeted.is_set():
            raise Violation("frame_before_hello")
        elif isinstance(frame, self._language.question):
            if len(self._questions) >= self._most:
                raise Violation(self._too_many)
            self._questions.append(frame)  # type: ignore[arg-type]
            self._wake.set()
        elif isinstance(frame, self._language.answers):
            raise Violation(_HALF)
