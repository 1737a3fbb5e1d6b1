"""The branches of one log: where each record stands, and which records it has behind it. Rules: no I/O.

A log is a chain by `prev`, and a tree where its author forked it. Each place is `(branch, seq)`, so that "is this
record behind that one" costs a step for each fork between them, and no walk along the records:

    1 ── 2 ── 3 ── 4        branch 0
         └─── 3'── 4'       branch 1, which begins at 3 behind branch 0

Which branch has which number depends on the order of arrival; what the questions are answered with does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from covm import _native


class Spot(NamedTuple):
    """Where a record stands in its log."""

    branch: int
    seq: int


class Branch(NamedTuple):
    """One branch: where it leaves another, and its last record."""

    parent: int | None
    """The branch that it leaves; None for one that begins the log."""
    begins: int
    """The number of its first record."""
    tip_seq: int
    tip: _native.Link


class Branches:
    """A log's branches in the order in which they came to be. What is taken has its `prev` here, or begins the log."""

    __slots__ = ("_all",)

    def __init__(self, branches: Sequence[Branch] = ()) -> None:
        self._all = list(branches)

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, branch: int) -> Branch:
        return self._all[branch]

    def take(self, record: _native.Link, before: Spot | None) -> Spot:
        """Gives a record its place behind the one at `before`; a record that begins the log has None."""
        seq = 1 if before is None else before.seq + 1
        if before is not None and (known := self._all[before.branch]).tip_seq == before.seq:
            self._all[before.branch] = Branch(known.parent, known.begins, seq, record)
            return Spot(before.branch, seq)
        self._all.append(Branch(None if before is None else before.branch, seq, seq, record))
        return Spot(len(self._all) - 1, seq)

    def is_behind(self, one: Spot, other: Spot) -> bool:
        """Whether the record at `one` is the record at `other`, or one that it reaches by `prev`."""
        branch, seq = other
        while branch != one.branch:
            known = self._all[branch]
            if known.parent is None:
                return False
            branch, seq = known.parent, min(seq, known.begins - 1)
        return one.seq <= seq

    def reached(self, branch: int, end: Spot) -> int:
        """The number up to which the records of a branch are behind `end`, or that one; 0 when none of them is."""
        at, seq = end
        while at != branch:
            known = self._all[at]
            if known.parent is None:
                return 0
            at, seq = known.parent, min(seq, known.begins - 1)
        return seq

    def root_of(self, branch: int) -> int:
        """The branch with the record that began the log: they part at the very beginning where there are several."""
        while (parent := self._all[branch].parent) is not None:
            branch = parent
        return branch

    def tips(self) -> list[Branch]:
        """The branches by their last records, the frontier's way: by number, then id."""
        return sorted(self._all, key=lambda each: (each.tip_seq, each.tip.bytes))
