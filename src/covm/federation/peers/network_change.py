"""Has this machine been elsewhere? Noticed by its addresses, and by time that passed while it slept.

A connection may be dead then without either side having been told, and what could not be reached may be reached now.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from covm.federation.wire.multiaddr import Host

SLEPT_S = 10.0
"""The wall clock goes on while a machine is suspended, the one that waits are measured with does not. A clock that is
set by less than this is no suspension; one that is set by more costs every peer one heartbeat."""

ANSWER_WITHIN_S = 5.0
"""After a change a peer that does not answer so soon is given up: its connection led through what is gone."""


class Change(NamedTuple):
    """What happened to the machine."""

    why: str
    """As a sentence."""
    is_loss: bool
    """Whether connections may have died with it; with a further address none has."""


class NetworkWatch:
    """Looks now and then, and says what has changed since it last said so."""

    def __init__(self) -> None:
        self._times: tuple[int, float] | None = None
        self._hosts: frozenset[Host] = frozenset()
        self._seen: frozenset[Host] = frozenset()

    def look(self, wall_ms: int, monotonic_s: float, hosts: Collection[Host]) -> Change | None:
        """What happened; None for nothing. `hosts` are those at which this node listens."""
        before, self._times = self._times, (wall_ms, monotonic_s)
        moved = self._moved(frozenset(hosts))
        if before is not None:
            slept_s = (wall_ms - before[0]) / 1000 - (monotonic_s - before[1])
            if slept_s > SLEPT_S:
                why = f"the clock went on by {slept_s:.0f} s at once: this machine slept, or its clock was set"
                return Change(why, is_loss=True)
        return moved

    def _moved(self, hosts: frozenset[Host]) -> Change | None:
        """What became of the hosts. An interface brings several, so they have to be the same twice."""
        is_settled, self._seen = hosts == self._seen, hosts
        if not is_settled or hosts == self._hosts:
            return None
        before, self._hosts = self._hosts, hosts
        if not before:
            return None
        if before <= hosts:
            return Change("this machine has a further address", is_loss=False)
        return Change("this machine has other addresses", is_loss=True)
