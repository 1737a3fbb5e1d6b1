"""Peers that are admitted, and how this node and each of them stand in each type. Values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from covm import _native
from covm.federation.sync.asking import Asker
from covm.federation.sync.frontier import EMPTY_ROOT, Tips
from covm.federation.sync.session import Session
from covm.federation.wire.limits import MAX_TYPES

MAX_STRANGE: Final = 16
"""Types of one peer that nothing is known of here and that it is asked for at once: whoever makes names up fills no
table, and real ones are soon known."""


@dataclass(slots=True)
class Standing:
    """How this node and one peer stand in one type."""

    root: bytes
    """What the peer holds, as it said last."""
    running: asyncio.Task[None] | None = None
    fetched: int = 0
    """Records that came from it since it connected."""
    last_ms: int | None = None
    """When a session with it was at its end last."""
    error: str = ""
    """Why the last session was interrupted; empty when it was not."""
    failures: int = 0
    """Sessions in a row that were interrupted."""
    again_s: float = 0.0
    """When the next one may begin by itself, by the monotonic clock."""
    size_bytes: int = 0
    """Bytes that came from it since it connected."""
    session: Session | None = None
    """The one that runs."""
    asked: bytes | None = None
    """The root of which it was asked to the end last."""
    differs_s: float | None = None
    """Since when the roots differ, by the monotonic clock."""
    declined: dict[_native.Link, Tips] = field(default_factory=dict)

    def forget_declined(self) -> None:
        """What came to nothing may come to something now."""
        self.declined.clear()
        self.asked = None


@dataclass(slots=True)
class Partner:
    """A peer that is admitted.

    Types that it names and of which nothing is known here (they are not registered, have no rule of their own, and no
    record of them is here) are strange. A few of them are kept at a time, the others are put off until these are known,
    or came to nothing; what came to nothing is named again with the next exchange of roots.
    """

    asker: Asker
    places: asyncio.Semaphore
    """For sessions that have just begun."""
    places_of_large: asyncio.Semaphore
    """For those that go on, since they have much to fetch."""
    knows: Callable[[str], bool]
    """Whether something is known of a type here."""
    may_read: Callable[[str], bool]
    """Whether this node may read a type."""
    task: asyncio.Task[None] | None = None
    types: dict[str, Standing] = field(default_factory=dict)
    owed: frozenset[str] = frozenset()
    """Types of which handlers at the peer are still to be given bodies that nobody should drop yet."""
    put_off: dict[str, bytes] = field(default_factory=dict)
    """Strange types whose turn has not come, with their roots."""
    strange: set[str] = field(default_factory=set)
    """Those of its types of which nothing was known when they were looked at last."""

    def hear(self, name: str, root: bytes) -> Standing | None:
        """It holds this of a type. None where that is put off, or is nothing."""
        standing = self.types.get(name)
        if standing is not None:
            standing.root = root
            return standing
        if len(self.strange) >= MAX_STRANGE:
            self._look_again()
        if self.knows(name) or (root != EMPTY_ROOT and self._has_room_for(name)):
            self.put_off.pop(name, None)
            standing = self.types[name] = Standing(root)
        elif root != EMPTY_ROOT and (name in self.put_off or len(self.put_off) < MAX_TYPES):
            self.put_off[name] = root
        return standing

    def give_way(self, name: str) -> None:
        """A session about a type is over: a strange one that came to nothing makes room, if others wait for it."""
        if self.put_off and name in self.strange and not self.knows(name):
            self.strange.discard(name)
            self.types.pop(name, None)

    def take_turns(self) -> list[str]:
        """Something is known now, or over, or allowed: what was put off and has its turn is taken up."""
        if not self.put_off:
            return []
        self._look_again()
        taken = [each for each in self.put_off if self.knows(each) or self._has_room_for(each)]
        for each in taken:
            self.types[each] = Standing(self.put_off.pop(each))
        return taken

    def _look_again(self) -> None:
        self.strange = {each for each in self.strange if not self.knows(each)}

    def _has_room_for(self, name: str) -> bool:
        if len(self.strange) >= MAX_STRANGE or not self.may_read(name):
            return False
        self.strange.add(name)
        return True
