"""Who gives way when all places are taken: the peer of least value, to one of more standing, and to nobody else.

Only standing displaces; what else makes a peer worth keeping decides among those that may have to go. So two peers of
one standing never push each other out in turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

SETTLED_S = 10.0
"""Who has just come stays so long, whoever knocks: a connection that is cut as it begins was work for nothing. Only a
pinned peer does not wait."""

PAUSE_S = 1.0
"""Between two peers that give way: a crowd of members that knock at once moves the node's connections one by one."""


class Standing(IntEnum):
    """Why a peer has a place."""

    OTHER = 0
    MEMBER = 1
    """It is the node of a member."""
    KEPT = 2
    """The operator or the configuration asked for it."""
    PINNED = 3
    """The configuration says that it never gives way."""


@dataclass(frozen=True, slots=True)
class Held:
    """A peer that has a place."""

    peer: str
    standing: Standing
    is_direct: bool
    """Whether it is connected without a relay."""
    is_healthy: bool
    """Whether it was heard of lately."""
    since_s: float
    """When it came, on the clock of `displaced_by`."""


def displaced_by(newcomer: Standing, held: Iterable[Held], now_s: float) -> str | None:
    """The peer that gives its place to a newcomer of this standing; None where nobody does.

    The least goes first: by standing, then those through relays, then silent ones, then those that came last.
    """
    least_s = 0.0 if newcomer is Standing.PINNED else SETTLED_S
    may_go = [each for each in held if each.standing < newcomer and now_s - each.since_s >= least_s]
    if not may_go:
        return None
    return min(may_go, key=lambda each: (each.standing, each.is_direct, each.is_healthy, -each.since_s, each.peer)).peer
