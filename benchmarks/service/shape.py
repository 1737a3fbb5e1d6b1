"""Which records a row has: of whom, how many, of when, and which of them one side lacks. Rules, for the service's rows
and for what stands beside them.

Authors wrote one after the other, each for an equal share of the time, so the ends of their logs lie all over it. What
a side has more than the other is `consecutive`, behind one log, or `scattered`, behind as many logs as there can be.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

BEGAN_MS = 1_700_000_000_000

How = Literal["consecutive", "scattered"]
Sides = Literal["one", "both"]


class Shape(NamedTuple):
    """`records` of so many authors on both sides; one has `lacking` more, or each has."""

    records: int
    authors: int
    lacking: int = 0
    how: How = "consecutive"
    sides: Sides = "one"

    @classmethod
    def of(cls, words: list[str]) -> Shape:
        """As `words` has it."""
        records, authors, lacking, how, sides = words
        if how not in get_args(How) or sides not in get_args(Sides):
            raise ValueError(f"{how} and {sides}: one of {get_args(How)}, one of {get_args(Sides)}")
        return cls(int(records), int(authors), int(lacking), how, sides)  # type: ignore[arg-type]

    @property
    def words(self) -> tuple[str, ...]:
        """For a command line."""
        return (*map(str, self[:3]), self.how, self.sides)

    def share(self, author: int) -> int:
        """Records of an author that both have."""
        return self.records // self.authors + (author < self.records % self.authors)

    def more(self, side: int) -> dict[int, int]:
        """What a side, 0 or 1, has more: of whom, and how many. Nobody's log goes on on both sides: that is a fork."""
        if not self.lacking or (side == 1 and self.sides == "one"):
            return {}
        mine = range(side, self.authors, 2) if self.sides == "both" else range(self.authors)
        if self.how == "consecutive":
            return {mine[len(mine) // 2]: self.lacking}
        step = max(1, len(mine) // self.lacking)
        spread = mine[::step][: self.lacking]
        return {author: self.lacking // len(spread) + (place < self.lacking % len(spread))
                for place, author in enumerate(spread)}  # fmt: skip

    @property
    def missing(self) -> int:
        """Records that have to travel."""
        return self.lacking * (2 if self.sides == "both" else 1)

    def time_ms(self, author: int, seq: int) -> int:
        """When an author wrote a record, the first being number 0."""
        return BEGAN_MS + author * 2 * max(1, self.records // self.authors) + seq
