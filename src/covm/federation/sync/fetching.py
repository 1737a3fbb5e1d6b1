"""`Fetcher`: which types are fetched from which peers, one session for each, and which again.

A session begins when a peer says that it holds something else of a type than is here, and when somebody asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Final

from covm import _native
from covm.federation.errors import FederationError
from covm.federation.identity.roles import Action
from covm.federation.ports import Membership
from covm.federation.supervisor import attempt_async, described
from covm.federation.surroundings import Surroundings
from covm.federation.sync.asking import Asker
from covm.federation.sync.frontier import EMPTY_ROOT
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.leases import Leases
from covm.federation.sync.partners import Partner, Standing
from covm.federation.sync.session import Means, Session
from covm.federation.wire.display import shown
from covm.federation.wire.limits import MAX_REASON
from covm.federation.wire.sync_frames import Owed, Roots

FIRST_PAUSE_S: Final = 30.0
LAST_PAUSE_S: Final = 300.0
"""How long a peer is left alone with a type whose session was interrupted: not at all the first time, then so long and
twice as long each time, but no longer than this."""

PATIENCE_S: Final = 60.0
"""How long somebody waits who asked for types and gets nothing: twice what an answer may take."""

AT_ONCE: Final = 4
"""Types that are fetched from one peer at the same time; beside them as many that turned out to differ by much, so that
these hold up no small one."""


class Fetcher:
    """Begins sessions with the `partners`, which come and go with the network's events."""

    def __init__(
        self,
        around: Surroundings,
        keeper: Keeper,
        membership: Membership,
        own: str,
        knows: Callable[[str], bool],
        agreed: Callable[[str, str], None],
        brought: Callable[[str, Iterable[_native.Link]], None],
    ) -> None:
        """`knows` says whether something is known of a type here.

        `agreed` hears of peers that hold just what is here of a type and are owed nothing of it, `brought` from whom
        records of which logs came.
        """
        self.partners: dict[str, Partner] = {}
        self.is_stopped = False
        """Nothing is begun any more."""
        self._around = around
        self._keeper = keeper
        self._membership = membership
        self._own = own
        self._knows = knows
        self._agreed = agreed
        self._brought = brought
        self._leases = Leases()

    def meet(self, asker: Asker) -> Partner:
        """A peer is admitted."""
        places = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        partner = Partner(asker, *places, self._knows, partial(self._may_read, self._own))
        self.partners[asker.peer] = partner
        return partner

    def heard(self, peer: str, roots: Roots, owed: Owed) -> bool:
        """A peer says what it holds, and what it is owed; whether it named a type for the first time."""
        partner, is_new = self.partners.get(peer), False
        if partner is None:
            return False
        partner.owed = frozenset(owed)
        for name, root in roots:
            is_new |= name not in partner.types
            # Kept also where this node may not read the type: it may be allowed to by now, and not know it yet.
            standing = partner.hear(name, root)
            if standing is not None:
                self.compare(peer, name, standing)
                self.begin(peer, name)
        return is_new

    def begin(self, peer: str, name: str) -> asyncio.Task[None] | None:
        """Begins a session unless there is nothing to fetch; the one that runs, if one does."""
        partner = self.partners.get(peer)
        standing = partner.types.get(name) if partner is not None else None
        if partner is None or standing is None or self.is_stopped or not self._may_read(self._own, name):
            return None
        if standing.running is None and not self._is_same(peer, name, standing):
            standing.running = self._around.supervisor.spawn(
                self._sync(partner, name, standing), f"sync of {name} with {peer}"
            )
        return standing.running

    async def request(self, types: Collection[str], peers: Collection[str]) -> None:
        """Asks all of these side by side; returns when no more is to be had, or nothing has come for `PATIENCE_S`."""
        tasks = [self.begin(peer, name) for peer in peers for name in types]
        running = {task for task in tasks if task is not None}
        while running:
            before = self._fetched(types)
            _, running = await asyncio.wait(running, timeout=PATIENCE_S)
            if self._fetched(types) == before:
                return

    def _fetched(self, types: Collection[str]) -> int:
        """Records of these types that have come from peers which are connected."""
        standings = [
            each for partner in self.partners.values() for name, each in partner.types.items() if name in types
        ]
        return sum(each.fetched + (each.session.records if each.session else 0) for each in standings)

    def begin_all(self, *, interrupted: bool = False) -> None:
        """Begins sessions with all peers, or only those that were interrupted; these once their pause is over."""
        now_s = self._around.clock.monotonic_s()
        for peer, partner in list(self.partners.items()):
            self._take_turns(peer, partner)
            for name, standing in list(partner.types.items()):
                if standing.again_s <= now_s if standing.error else not interrupted:
                    self.begin(peer, name)

    def reopen(self, types: Collection[str]) -> None:
        """There may be room for what was declined of these types."""
        for peer, partner in list(self.partners.items()):
            for name, standing in list(partner.types.items()):
                if name in types:
                    standing.forget_declined()
                    self.begin(peer, name)

    def forget_failures(self) -> None:
        """What came to nothing may come to something now: who may what has changed."""
        for partner in self.partners.values():
            for standing in partner.types.values():
                standing.failures, standing.again_s = 0, 0.0

    def take_turns(self, name: str) -> None:
        """Something of a type is known now, so that whoever named it is asked for it."""
        for peer, partner in self.partners.items():
            if name in partner.put_off:
                self._take_turns(peer, partner)

    def compare(self, peer: str, name: str, standing: Standing) -> None:
        """Notes where a peer holds just what is here and is owed no body, and since when it does not."""
        if standing.root == self._keeper.logs.frontier(name).root:
            standing.differs_s = None
            partner = self.partners.get(peer)
            if partner is not None and name not in partner.owed:
                self._agreed(peer, name)
        else:
            self.differs(standing)

    def differs(self, standing: Standing) -> None:
        """Notes that a peer does not hold what is here, and since when."""
        if standing.differs_s is None:
            standing.differs_s = self._around.clock.monotonic_s()

    def _take_turns(self, peer: str, partner: Partner) -> None:
        for each in partner.take_turns():
            self.begin(peer, each)

    def _may_read(self, peer: str, name: str) -> bool:
        return self._membership.may(peer, Action.READ, name).holds

    def _is_same(self, peer: str, name: str, standing: Standing) -> bool:
        """Whether there is nothing to fetch."""
        if self._may_read(peer, name):
            return standing.root in (EMPTY_ROOT, self._keeper.logs.frontier(name).root)
        # Whether it guessed right what is here it does not learn.
        return standing.root in (EMPTY_ROOT, standing.asked)

    def _means(self, peer: str, name: str) -> Means:
        may_read = partial(self._may_read, peer, name)
        return Means(self._keeper, self._leases, self._around.clock, may_read, self._brought)

    async def _sync(self, partner: Partner, name: str, standing: Standing) -> None:
        peer = partner.asker.peer
        try:
            error = await attempt_async(partial(self._run, partner, name), standing)
        finally:
            standing.running = None
        if error is not None:
            self._interrupted(standing, error, f"sync of {name} with {peer}")
        if not self.is_stopped:
            partner.give_way(name)
            self._take_turns(peer, partner)

    async def _run(self, partner: Partner, name: str, standing: Standing) -> None:
        """Fetches until the peer is asked to the end of what it said last that it has."""
        peer = partner.asker.peer
        while not self._is_same(peer, name, standing):
            root = standing.root
            async with partner.places:
                is_done = await self._run_one(partner, name, standing, only_small=True)
            if not is_done:
                async with partner.places_of_large:
                    await self._run_one(partner, name, standing, only_small=False)
            standing.last_ms, standing.error, standing.asked = self._around.clock.now_ms(), "", root
            standing.failures = 0
            if standing.root == root:
                # What still differs is what the peer lacks, or what is not to be had.
                return

    async def _run_one(self, partner: Partner, name: str, standing: Standing, *, only_small: bool) -> bool:
        peer = partner.asker.peer
        session = standing.session = Session(name, partner.asker, standing.declined, self._means(peer, name))
        try:
            return await session.run(only_small=only_small)
        finally:
            standing.session = None
            standing.fetched += session.records
            standing.size_bytes += session.size_bytes
            self.compare(peer, name, standing)

    def _interrupted(self, standing: Standing, error: BaseException, what: str) -> None:
        """It is asked again after a pause. What nobody expected is in the log once, however often it comes again."""
        why = str(error)
        if not isinstance(error, FederationError):
            why = f"an unexpected error, which is in the log: {shown(described(error), limit=MAX_REASON)}"
            if why != standing.error:
                self._around.supervisor.report(what, error)
        standing.error = why
        pause_s = FIRST_PAUSE_S * (2 ** min(standing.failures, 10) - 1)
        standing.failures += 1
        standing.again_s = self._around.clock.monotonic_s() + min(pause_s, LAST_PAUSE_S)
