"""A peer's stream to us: it asks what we hold that it lacks, and is told when there is more.

One question after the other, so that a peer takes its share of the disk and no more; what it may not read is not named.
"""

from __future__ import annotations

from typing import Final, Protocol

from covm.federation.answering import AnsweringStream, Language
from covm.federation.errors import FederationError
from covm.federation.surroundings import Surroundings
from covm.federation.wire.sync_frames import (
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

    async def owed(self) -> set[str]:
        """Types of which handlers here are still to be given bodies that others should not drop yet."""

    async def answer(self, peer: str, request: SyncRequest) -> SyncResponse | NoSync:
        """What a peer asked for, as much as one frame takes. Raises `StoreError`."""


class Server(AnsweringStream[SyncRequest]):
    """Answers one stream that a peer opened."""

    def __init__(self, stream: int, peer: str, around: Surroundings, library: Library) -> None:
        super().__init__(stream, peer, around, _LANGUAGE, MAX_QUESTIONS, "too_many_questions")
        self._library = library
        self._told: dict[str, bytes] = {}
        self._owed: Owed = []
        self._has_news = False
        self._refused = 0

    def news(self) -> None:
        """Something has come: the peer is told, once however much it is by then."""
        self._has_news = True
        self._wake.set()

    async def _hello(self) -> SyncHello:
        roots, self._owed = await self._held()
        self._told = dict(roots)
        return SyncHello(PROTOCOL_VERSION, roots, self._owed)

    async def _volunteer(self) -> bool:
        if not self._has_news:
            return True
        self._has_news = False
        before, (roots, self._owed) = self._owed, await self._held()
        fresh = [(name, root) for name, root in roots if self._told.get(name) != root]
        self._told = dict(roots)
        is_news = bool(fresh) or self._owed != before
        return not is_news or await self._send(SyncNews(fresh, self._owed))

    async def _held(self) -> tuple[Roots, Owed]:
        """What there is, and what is still owed of it: looked up behind it, so that nothing of it is left out."""
        roots = self._library.roots(self.peer)
        owed = await self._library.owed()
        return roots, [name for name, _ in roots if name in owed]

    async def _answer(self, question: SyncRequest) -> SyncResponse | NoSync:
        try:
            answer = await self._library.answer(self.peer, question)
        except FederationError as error:
            return NoSync(question.number, f"it cannot be read now: {type(error).__name__}")
        is_refused = isinstance(answer, NoSync) and answer.reason == ASKED_TOO_MUCH
        self._refused = self._refused + 1 if is_refused else 0
        if self._refused > MAX_REFUSED:
            self._around.violation(self.peer, "sync_asked_on")
            self._around.close_stream(self.stream)
        return answer


_LANGUAGE: Final = Language(
    decode_sync_frame, encode_sync_frame, SyncHello, SyncRequest, (SyncResponse, SyncNews, NoSync)
)
