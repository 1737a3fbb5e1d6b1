"""Two processes with one key: a home that was copied and runs twice, or a key that somebody took.

Each process draws a number at its start and says it in its HELLO. Another number than before is a restart, as far as
anybody can tell; a number that had been followed by another and comes back is proof that both run.
"""

from __future__ import annotations

from collections.abc import Sequence

REMEMBERED = 4
"""Processes of one peer: two that take turns, and two that they took the place of."""

TWO_PROCESSES = (
    "another process with your key is connected here: two nodes run under one identity; stop one of them, or give it "
    "a key of its own (`covm init` on a new home)"
)
"""What is said to the one that comes while the other is here."""


def is_twin(before: Sequence[bytes], process: bytes) -> bool:
    """Whether a peer's process, that it says it is, runs beside the one that was heard of last."""
    return process in before[:-1]


def remembered(before: Sequence[bytes], process: bytes) -> tuple[bytes, ...]:
    """The processes of a peer with the one heard of now as the last. One that says nothing is not told apart."""
    if not process:
        return tuple(before)
    return (*(each for each in before if each != process), process)[-REMEMBERED:]
