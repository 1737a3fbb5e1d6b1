"""The outcomes of one line that are to be said on one stream: in order, none left out. A rule: no I/O."""

from __future__ import annotations

from collections.abc import Iterable

from covm.federation.wire.frames import Outcome

MAX_HELD = 8_192
"""Outcomes held for one stream; what finds no room is read from the store when those before it were said."""


class OutcomeQueue:
    """Outcomes as the store numbered them; they may come late, twice, or not at all."""

    def __init__(self, said: int) -> None:
        self._next = said + 1
        self._held: dict[int, Outcome] = {}
        self._known = said

    @property
    def said(self) -> int:
        """Everything up to this number was said."""
        return self._next - 1

    @property
    def is_behind(self) -> bool:
        """Whether the next one is known to be in the store, and is not held."""
        return self._next <= self._known and self._next not in self._held

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Takes what was committed."""
        for outcome in outcomes:
            self._known = max(self._known, outcome.number)
            if outcome.number >= self._next and len(self._held) < MAX_HELD:
                self._held[outcome.number] = outcome

    def fetched(self, outcomes: Iterable[Outcome], *, is_all: bool) -> None:
        """Takes what the store has above `said`; a number that it no longer has was confirmed."""
        found = list(outcomes)
        if found:
            self._next = max(self._next, found[0].number)
        elif is_all:
            self._next = max(self._next, self._known + 1)
        self._held = {number: outcome for number, outcome in self._held.items() if number >= self._next}
        self.add(found)

    def ready(self, count: int) -> list[Outcome]:
        """The next ones, at most `count`; they stay until `drop`."""
        found: list[Outcome] = []
        while len(found) < count and (outcome := self._held.get(self._next + len(found))) is not None:
            found.append(outcome)
        return found

    def drop(self, count: int) -> None:
        """That many were said."""
        for number in range(self._next, self._next + count):
            del self._held[number]
        self._next += count
