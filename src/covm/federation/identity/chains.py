"""Signed things that follow one another by `prev`, in whatever order they come.

What comes before the thing that it follows waits for it, in a bounded room that the oldest leave first. What has been
refused is forgotten, and what follows it waits in vain, so that what is placed in the end does not depend on the order
of arrival.
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

Whoever offers a chain from its beginning needs no room, so filling it with junk keeps nobody out.
"""

MAX_WAITING_BYTES = 16 * 1024 * 1024
"""Bytes of their envelopes."""


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
        """What waits, by what it waits for and its own id."""
        self._before: dict[_native.Link, _native.Link] = {}
        """What each waits for, the oldest first."""
        self._size_bytes = 0

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
        return [before for before in self._waiting if before not in self._before]

    def _wait(self, before: _native.Link, thing: S) -> Verdict:
        if thing.id not in self._before:
            self._before[thing.id] = before
            self._waiting.setdefault(before, {})[thing.id] = thing
            self._size_bytes += len(thing.envelope)
            while len(self._before) > self._max_waiting or self._size_bytes > MAX_WAITING_BYTES:
                self._send_away(next(iter(self._before)))
        return waiting("what it follows is not here yet", before)

    def _send_away(self, thing: _native.Link) -> None:
        before = self._before.pop(thing)
        room = self._waiting[before]
        self._size_bytes -= len(room.pop(thing).envelope)
        if not room:
            del self._waiting[before]

    def _released(self, before: _native.Link) -> Iterable[S]:
        released = self._waiting.pop(before, {})
        for each in released.values():
            del self._before[each.id]
            self._size_bytes -= len(each.envelope)
        return released.values()
