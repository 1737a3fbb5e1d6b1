"""What a row is: what is asked of the service and of what stands beside it, what is read, what is aimed for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TIMEOUT_S = 180.0
"""Most rows take a quarter of a minute; one that takes longer than this hangs."""

LONG_TIMEOUT_S = 1_800.0
"""A million messages are queued and sent in minutes."""

Beside = Literal["floor", "nats", "disk", "negentropy", "none"]
"""What a row stands beside: the native core without Python, NATS JetStream, the disk itself, negentropy, or nothing."""


@dataclass(frozen=True)
class Goal:
    """What is aimed for. What is given must all hold; a ratio is to what stands beside, `plus` is added to it."""

    at_most: float | None = None
    at_least: float | None = None
    ratio_at_most: float | None = None
    ratio_at_least: float | None = None
    plus: float = 0.0

    def __str__(self) -> str:
        parts = []
        if self.at_most is not None:
            parts.append(f"<= {self.at_most:g}")
        if self.at_least is not None:
            parts.append(f">= {self.at_least:g}")
        if self.ratio_at_most is not None:
            parts.append(f"<= {self.ratio_at_most:g} x beside{f' + {self.plus:g}' if self.plus else ''}")
        if self.ratio_at_least is not None:
            parts.append(f">= {self.ratio_at_least:g} x beside")
        return " and ".join(parts)

    def is_met(self, service: float, beside: float | None) -> bool | None:
        """None when it is a ratio and nothing stands beside."""
        held = []
        if self.at_most is not None:
            held.append(service <= self.at_most)
        if self.at_least is not None:
            held.append(service >= self.at_least)
        if self.ratio_at_most is not None and beside is not None:
            held.append(service <= self.ratio_at_most * beside + self.plus)
        if self.ratio_at_least is not None and beside is not None:
            held.append(service >= self.ratio_at_least * beside)
        return all(held) if held else None


@dataclass(frozen=True)
class Figure:
    """One figure of a row: its key in the answers, how it is called, its digits after the point."""

    key: str
    label: str
    digits: int = 2
    goal: Goal | None = None


@dataclass(frozen=True)
class Row:
    """One question.

    With `server`, its words are asked against a server in another process, started with those; `amount` divides the
    processor time of both. What stands beside is asked `beside_words`, or the same words. Without `words` there is no
    service in the row.
    """

    name: str
    title: str
    words: tuple[str, ...]
    figures: tuple[Figure, ...]
    server: tuple[str, ...] = ()
    amount: float = 1.0
    beside: Beside = "floor"
    beside_words: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S
