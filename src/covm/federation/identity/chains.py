"""Signed things that follow one another by `prev`, in whatever order they come.

What comes before the thing that it follows waits for it, in a bounded room. What has been refused is forgotten, and
what follows it waits in vain, so that what is placed in the end does not depend on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from covm import _native
from covm.federation.identity.verdicts import Verdict, refused, valid, waiting
from covm.federation.wire.signed import Signed

S = TypeVar("S", bound=Signed)  # type: ignore[type-arg]

MAX_WAITING = 4096
"""Things that wait in one room for what they follow: as many as an identity log may be deep.

Whoever offers a chain from its beginning needs none of them, so filling the room with junk keeps nobody out.
"""


class Placement(msgspec.Struct, Generic[S], frozen=True):
    """What came of adding something."""

    verdict: Verdict
    placed: tuple[S, ...] = ()
    """What has its place now: the thing itself, and what had waited for it; to be stored in this order."""
    dropped: tuple[_native.Link, ...] = ()
    """Ids of what is no longer held, to make room."""


class Chains(Generic[S]):
    """The room where things wait, and the order in which they are placed."""

    def __init__(
        self,
        prev: Callable[[S], _native.Link | None],
        is_placed: Callable[[_native.Link], bool],
        place: Callable[[S], str | None],
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """`place` puts a thing whose `prev` is placed behind it, or says why it has no place there."""
        self._prev = prev
        self._is_placed = is_placed
        self._place = place
        self._max_waiting = max_waiting
        self._waiting: dict[_native.Link, dict[_native.Link, S]] = {}
        self._waiting_count = 0

    def add(self, thing: S) -> Placement[S]:
        """Places a thing and whatever waited for it, or lets it wait."""
        if self._is_placed(thing.id):
            return Placement(valid("it is here already"))
        before = self._prev(thing)
        if before is not None and not self._is_placed(before):
            return Placement(self._wait(before, thing))
        why, placed, pending = self._place(thing), [], [thing]
        if why is not None:
            return Placement(refused(why))
        while pending:
            placed.append(pending.pop())
            pending += [each for each in self._released(placed[-1].id) if self._place(each) is None]
        return Placement(valid("it has its place"), tuple(placed))

    def missing(self) -> list[_native.Link]:
        """The ids of what others wait for, and which do not wait themselves."""
        here = {each for room in self._waiting.values() for each in room}
        return [before for before in self._waiting if before not in here]

    def _wait(self, before: _native.Link, thing: S) -> Verdict:
        room = self._waiting.get(before, {})
        if thing.id not in room:
            if self._waiting_count >= self._max_waiting:
                return waiting("too many wait already, so it is not kept: offer what it follows first", before)
            self._waiting.setdefault(before, room)[thing.id] = thing
            self._waiting_count += 1
        return waiting("what it follows is not here yet", before)

    def _released(self, before: _native.Link) -> Iterable[S]:
        released = self._waiting.pop(before, {})
        self._waiting_count -= len(released)
        return released.values()
