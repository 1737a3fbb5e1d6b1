"""A peer's stream to us: it asks what we hold that it lacks, and is told when there is more.

One question after the other, so that a peer takes its share of the disk and no more; what it may not read is not named.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

from covm.federation.answering import AnsweringStream, Language
from covm.federation.errors import FederationError
from covm.federation.surroundings import Surroundings
from covm.federation.wire.limits import MAX_TYPES
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

    def roots(self, peer: str, types: Collection[str] | None = None, turn: int = 0) -> Roots:
        """Of these types, or all, those that the peer may read; who is told all again is told another `turn`."""

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
        self._due: set[str] = set()
        """Types of which something has come."""
        self._is_all_due = False
        """Whether all types are to be looked at: who may read what may have changed."""
        self._turn = 0
        self._refused = 0

    def news(self, types: Collection[str] | None = None) -> None:
        """Something of these types has come, or of any: the peer is told, once however much it is by then."""
        if types is None:
            self._is_all_due = True
        else:
            self._due.update(types)
        self._wake.set()

    def anew(self) -> None:
        """The peer is told everything again, whatever it was told before."""
        self._told = {}
        self._turn += 1
        self.news()

    async def _hello(self) -> SyncHello:
        roots = self._library.roots(self.peer)
        first = roots[:MAX_TYPES]
        self._told = dict(first)
        if len(first) < len(roots):
            self.news()
        self._owed = await self._owed_now()
        return SyncHello(PROTOCOL_VERSION, first, self._owed)

    async def _volunteer(self) -> bool:
        if not self._due and not self._is_all_due:
            return True
        due = None if self._is_all_due else self._due
        self._due, self._is_all_due = set(), False
        roots = self._library.roots(self.peer, due, self._turn)
        fresh = [(name, root) for name, root in roots if self._told.get(name) != root]
        if due is None:
            self._told = dict(roots)  # what the peer may not read any more is told again once it may
        else:
            self._told.update(fresh)
        before, self._owed = self._owed, await self._owed_now()
        starts = range(0, len(fresh), MAX_TYPES) if self._owed == before else range(0, max(1, len(fresh)), MAX_TYPES)
        for start in starts:
            if not await self._send(SyncNews(fresh[start : start + MAX_TYPES], self._owed)):
                return False
        return True

    async def _owed_now(self) -> Owed:
        """Of types that the peer may read. Looked up behind the roots, so that nothing of these is left out."""
        owed = await self._library.owed()
        return sorted(name for name, _ in self._library.roots(self.peer, owed))[:MAX_TYPES] if owed else []

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
