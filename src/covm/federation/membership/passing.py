"""At the relay: strangers that show a pass are carried to who invited them, a little and for a while."""

from __future__ import annotations

from typing import Final

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.errors import NetworkError
from covm.federation.membership.members import Members
from covm.federation.membership.passes import MOST_CIRCUITS, Pass, read_shown
from covm.federation.network.interface import Network
from covm.federation.quota import Quota
from covm.federation.wire.membership import RelayPass

CIRCUITS: Final = 2
"""Circuits for one connection of a joiner: the way to who invited it, and once more where that broke."""

CARRIED_S: Final = 60.0
"""So long a joiner has to open them: the network closes the connection of a stranger after that."""

HOUR_S: Final = 3600.0

MOST_OF_ONE_AUTHOR: Final = 600
"""Circuits an hour for all passes by one node: members invite a few at a time."""


CLEANED_S: Final = 60.0
"""How often passes and authors are forgotten that have nothing to make up for."""


class Used:
    """What passes have used in the last hours: it is remembered until a restart, of each author some hundred passes."""

    def __init__(self) -> None:
        self._by_pass = Quota(MOST_CIRCUITS, MOST_CIRCUITS / HOUR_S)
        self._by_author = Quota(MOST_OF_ONE_AUTHOR, MOST_OF_ONE_AUTHOR / HOUR_S)
        self._cleaned_s = 0.0

    def __len__(self) -> int:
        """Passes that are remembered."""
        return len(self._by_pass)

    def take(self, grant: Pass, now_s: float) -> bool:
        """Takes circuits for one joiner, if the pass and its author have any left."""
        if now_s - self._cleaned_s >= CLEANED_S:
            self._cleaned_s = now_s
            for each in (self._by_pass, self._by_author):
                each.keep(set(), now_s)
        # The author is asked first, so that whoever makes ever new passes leaves no trace once it has none left; it
        # pays last, so that a pass that is used up costs it nothing.
        if not self._by_author.has_left(grant.author, now_s):
            return False
        # A pass with fewer circuits has used up more of the same bucket.
        share = CIRCUITS * MOST_CIRCUITS / grant.circuits
        return self._by_pass.take(grant.key, share, now_s) and self._by_author.take(grant.author, CIRCUITS, now_s)


class Passing:
    """The shell around `passes` and what they have used."""

    def __init__(self, members: Members, network: Network, clock: Clock, counters: Counters) -> None:
        self._members = members
        self._network = network
        self._clock = clock
        self._counters = counters
        self._used = Used()

    async def let_through(self, joiner: str, shown: RelayPass) -> str | None:
        """Lets a stranger reach members through this node; why not, as a sentence that it is told, or None."""
        why = await self._problem(joiner, shown)
        if why is not None:
            self._counters.drop("relay_pass_refused")
        return why

    async def _problem(self, joiner: str, shown: RelayPass) -> str | None:
        found = read_shown(shown, self._members.federation, self._network.peer_id, joiner, self._clock.now_ms())
        if isinstance(found, str):
            return found
        if not self._members.node_verdict(found.body.author).holds:
            return "your pass was made by a node that is no member's now, as far as this node knows"
        if not self._take(found.body):
            return "your pass has been used often in the last hour; try again later"
        try:
            await self._network.allow_relay(joiner, CIRCUITS, CARRIED_S)
        except NetworkError as error:
            return str(error)
        return None

    def _take(self, grant: Pass) -> bool:
        return self._used.take(grant, self._clock.monotonic_s())
