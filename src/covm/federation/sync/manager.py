"""`SyncManager`: keeps the records of this node and those of its peers the same.

    opener                                        acceptor
      HELLO  ─────────────────────────────────────>
             <─────────────────────────────────────  HELLO: the roots of all types that the opener may read
             <─────────────────────────────────────  news: roots that changed, as soon as something has come
      request (where do we differ? what follows?) ─>
             <─────────────────────────────────────  response

Each of two peers opens a stream and asks for itself. Where a root differs from one's own, a `Session` fetches what is
lacking.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine
from functools import partial
from typing import Any, Final

from covm._native import Link
from covm.federation.errors import FederationError, PeerNotConnected
from covm.federation.identity.roles import Action
from covm.federation.ports import Authored, Membership, Written
from covm.federation.supervisor import Supervisor
from covm.federation.surroundings import Surroundings
from covm.federation.sync import reading
from covm.federation.sync.announcing import Announcer
from covm.federation.sync.bodies import Bodies
from covm.federation.sync.erasures import Erasures
from covm.federation.sync.frontier import EMPTY_ROOT
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.leases import Leases
from covm.federation.sync.library import answered
from covm.federation.sync.partners import Partner, Standing
from covm.federation.sync.published import Published
from covm.federation.sync.retention import Retention
from covm.federation.sync.serving import ASKED_TOO_MUCH
from covm.federation.sync.session import Session
from covm.federation.sync.shares import Shares
from covm.federation.sync.standings import MOST_SHOWN, MemberUsage, PeerStanding, Replica, SyncProgress, position
from covm.federation.sync.streams import SyncStreams
from covm.federation.sync.taken import Taken
from covm.federation.sync.written import ends_of, ends_until
from covm.federation.wire.limits import MAX_TYPES
from covm.federation.wire.sync_frames import NoSync, Owed, Roots, SyncRequest, SyncResponse

logger = logging.getLogger("covm.federation")

UPKEEP_S: Final = 30.0
"""How often what is held is looked at again, and peers whose session was interrupted are asked again."""

LOOK_AGAIN_S: Final = 1.0
"""How long after a write failed it is looked what is on disk."""

RETAIN_S: Final = 60.0
"""How often values are looked for that need not be kept any longer."""


class SyncManager:
    """The component's shell."""

    def __init__(
        self,
        around: Surroundings,
        keeper: Keeper,
        membership: Membership,
        own: str,
        bodies: Bodies,
        keep_for_s: float | None,
    ) -> None:
        self.keeper = keeper
        self.bodies = bodies
        bodies.meet(self.standings)
        self.published = Published(keeper, own, bodies.hand_out)
        self._around = around
        self._membership = membership
        self._own = own
        self._erasures = Erasures(keeper)
        self._leases = Leases()
        self._shares = Shares()
        self.streams = SyncStreams(around, self, self._heard_roots, self._left)
        self._partners = self.streams.partners
        self._announcer = Announcer(around.hub)
        keeper.listeners.append(self._kept)
        self._doubt = asyncio.Event()
        self._retention = Retention(keeper, membership, own, around.clock, keep_for_s, bodies.gave_up)
        self._look_again: asyncio.TimerHandle | None = None
        self._is_stopped = False

    async def start(self, supervisor: Supervisor) -> None:
        """Knows again what is held. Before the network starts. Raises `StoreError`."""
        await self.keeper.load()
        await self.keeper.reconsider()
        await self._erasures.obey()
        self._membership.on_change(self._doubt.set)
        self.keeper.on_doubt = self._doubt_soon
        supervisor.keep(self._reconsider, "judging records anew")
        supervisor.keep(self._upkeep, "sync upkeep")
        supervisor.keep(self._retain, "dropping old values")
        supervisor.keep(self.bodies.run, "fetching bodies of records")

    def stop(self) -> None:
        """Nothing is begun any more."""
        self._is_stopped = True

    def _kept(self, taken: Taken) -> None:
        self._announcer.tell(taken)
        for name in {name for name, _ in taken.keys}:
            for standing in self.standings(name).values():
                self._differs(standing)
        if self.keeper.is_doubtful:
            self._doubt.set()
        self.streams.news()

    def standings(self, type_name: str) -> dict[str, Standing]:
        """Of each connected peer."""
        if not self._may_read(type_name):
            return {}
        return {
            peer: partner.types[type_name] for peer, partner in self._partners.items() if type_name in partner.types
        }

    def known(self) -> set[str]:
        """The types of which there are records, here or at a connected peer."""
        told = {name for partner in self._partners.values() for name in partner.types}
        return {*self.keeper.logs.types(), *filter(self._may_read, told)}

    async def replicas(self, only: Collection[str] | None = None) -> list[Replica]:
        """How this node stands in each type of which there are records, here or at a connected peer."""
        logs = self.keeper.logs
        names = sorted(self.known() if only is None else self.known() & set(only))
        counted = await self.keeper.store.read(reading.counts)
        return [
            Replica(
                name,
                sum(log.type == name for log in logs),
                *counted.get(name, reading.NOTHING),
                logs.frontier(name).root,
                tuple(self._peer(name, peer, standing) for peer, standing in self.standings(name).items()),
                self._usage(name),
            )
            for name in names
        ]

    def _usage(self, name: str) -> tuple[MemberUsage, ...]:
        quotas = self.keeper.quotas
        return tuple(
            MemberUsage(member, *used, quotas.declines(name, member))
            for member, used in quotas.largest(name, MOST_SHOWN)
        )

    def _peer(self, name: str, peer: str, standing: Standing) -> PeerStanding:
        state = "interrupted" if standing.error else "differs"
        if standing.running is not None:
            state = "fetching"
        elif standing.root == self.keeper.logs.frontier(name).root:
            state = "same"
        session, own = standing.session, self.keeper.logs.frontier(name).root
        lacking = session.lacking if session is not None else 0
        since_s = standing.differs_s
        return PeerStanding(
            peer,
            state,
            standing.fetched + (session.records if session is not None else 0),
            standing.last_ms,
            standing.error,
            position(own, standing.root, standing.asked, is_lacking=bool(lacking or standing.declined)),
            standing.size_bytes + (session.size_bytes if session is not None else 0),
            lacking,
            0.0 if since_s is None or state == "same" else self._around.clock.monotonic_s() - since_s,
            len(standing.declined),
        )

    def progress(self, types: Collection[str], peer: str | None) -> SyncProgress:
        """What has come of types from connected peers, or one. Raises `PeerNotConnected`."""
        found = [
            self._peer(name, each, standing)
            for each in self.partners(peer)
            for name, standing in self._partners[each].types.items()
            if name in types
        ]
        return SyncProgress(
            sum(each.fetched for each in found),
            sum(each.size_bytes for each in found),
            sum(each.lacking for each in found),
        )

    def _differs(self, standing: Standing) -> None:
        if standing.differs_s is None:
            standing.differs_s = self._around.clock.monotonic_s()

    def partners(self, peer: str | None = None) -> list[str]:
        """Connected peers, or the one that is meant. Raises `PeerNotConnected`."""
        if peer is not None and peer not in self._partners:
            raise PeerNotConnected(peer)
        return [peer] if peer is not None else list(self._partners)

    async def request(self, type_name: str, peer: str | None = None) -> None:
        """Fetches what connected peers, or one, have of a type and this node lacks; returns when no more is to be had.

        Raises `PeerNotConnected`.
        """
        asked = self.partners(peer)
        tasks = [self._begin(each, type_name) for each in asked if type_name in self._partners[each].types]
        running = [task for task in tasks if task is not None]
        if running:
            await asyncio.wait(running)

    def written_by(self, nodes: Collection[str]) -> list[Written]:
        """The ends of all logs of these nodes: of one that was forked, the longest branch."""
        return ends_of(self.keeper.logs, nodes)

    async def written_until(self, nodes: Collection[str], until_ms: int) -> list[Written]:
        """Where these logs ended at a time by their author's clock. Raises `StoreError`."""
        logs = [log for log in self.keeper.logs if log.author in nodes]
        return await self._around.store.read(partial(ends_until, logs=logs, until_ms=until_ms))

    async def authored(self, record: Link) -> Authored | None:
        """As `Replicas.authored`."""
        return await self._erasures.authored(record)

    # --- serving.Library

    def roots(self, peer: str) -> Roots:
        """Of all types that a peer may read."""
        logs = self.keeper.logs
        able = [name for name in logs.types() if self._membership.may(peer, Action.READ, name).holds]
        return [(name, logs.frontier(name).root) for name in able[:MAX_TYPES]]

    async def owed(self) -> set[str]:
        """As `Library.owed`."""
        return await self.bodies.owed()

    async def answer(self, peer: str, request: SyncRequest) -> SyncResponse | NoSync:
        """As `Library.answer`."""
        if not self._membership.may(peer, Action.READ, request.type).holds:
            return NoSync(request.number, "there is nothing of that type for you here")
        now_s, length = self._around.clock.monotonic_s(), self.keeper.logs.length
        if not self._shares.take(peer, length, now_s):
            self._around.counters.drop("sync_asked_too_much")
            return NoSync(request.number, ASKED_TOO_MUCH)
        response = await answered(self.keeper, request)
        if isinstance(response, SyncResponse):
            self._shares.gave(peer, response, length, now_s)
        return response

    # --- sessions

    def _left(self) -> None:
        self._shares.keep(set(self._partners), self._around.clock.monotonic_s())

    def _heard_roots(self, peer: str, roots: Roots, owed: Owed) -> None:
        partner = self._partners.get(peer)
        if partner is None:
            return
        for name, standing in partner.types.items():
            standing.is_owed = name in owed
        for name, root in roots:
            if name in partner.types or len(partner.types) < MAX_TYPES:
                if name not in partner.types:
                    self.bodies.anew()
                # Kept also where this node may not read the type: it may be allowed to by now, and not know it yet.
                standing = partner.types.setdefault(name, Standing(root))
                standing.root, standing.is_owed = root, name in owed
                self._compare(peer, name, standing)
                self._begin(peer, name)

    def _begin(self, peer: str, name: str) -> asyncio.Task[None] | None:
        """Begins a session unless there is nothing to fetch; the one that runs, if one does."""
        partner = self._partners.get(peer)
        standing = partner.types.get(name) if partner is not None else None
        if partner is None or standing is None or self._is_stopped or not self._may_read(name):
            return None
        if standing.running is None and not self._is_same(name, standing):
            standing.running = self._around.supervisor.spawn(
                self._sync(partner, name, standing), f"sync of {name} with {peer}"
            )
        return standing.running

    def _compare(self, peer: str, name: str, standing: Standing) -> None:
        """Notes where a peer holds just what is here and needs no more, and since when it does not."""
        if standing.root == self.keeper.logs.frontier(name).root:
            standing.differs_s = None
            if not standing.is_owed:
                self._retention.note(peer, name)
        else:
            self._differs(standing)

    def _may_read(self, name: str) -> bool:
        return self._membership.may(self._own, Action.READ, name).holds

    def _is_same(self, name: str, standing: Standing) -> bool:
        return standing.root in (EMPTY_ROOT, self.keeper.logs.frontier(name).root)

    async def _sync(self, partner: Partner, name: str, standing: Standing) -> None:
        try:
            async with partner.places:
                while not self._is_same(name, standing):
                    root = standing.root
                    session = standing.session = Session(
                        name,
                        partner.asker,
                        self.keeper,
                        self._leases,
                        standing.declined,
                        self._around.clock,
                        self.bodies.brought,
                    )
                    try:
                        await session.run()
                    finally:
                        standing.session = None
                        standing.fetched += session.records
                        standing.size_bytes += session.size_bytes
                        self._compare(partner.asker.peer, name, standing)
                    standing.last_ms, standing.error, standing.asked = self._around.clock.now_ms(), "", root
                    if standing.root == root:
                        # What still differs is what the peer lacks, or what is not to be had.
                        return
        except FederationError as error:
            standing.error = str(error)
        finally:
            standing.running = None

    async def _reconsider(self) -> None:
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            await self._trying(self.keeper.reconsider())
            await self._trying(self._erasures.obey())
            self.bodies.anew()
            self.streams.news()
            for peer, partner in list(self._partners.items()):
                for name, standing in list(partner.types.items()):
                    # What came to nothing may come to something now.
                    standing.declined.clear()
                    self._begin(peer, name)

    async def _upkeep(self) -> None:
        while True:
            await asyncio.sleep(UPKEEP_S)
            await self._trying(self.keeper.again())
            if reopened := self.keeper.quotas.reopened():
                self.bodies.anew()
            for peer, partner in list(self._partners.items()):
                for name, standing in list(partner.types.items()):
                    if name in reopened:
                        standing.declined.clear()
                    if standing.error or name in reopened:
                        self._begin(peer, name)

    async def _retain(self) -> None:
        while True:
            await asyncio.sleep(RETAIN_S)
            for peer, partner in self._partners.items():
                for name, standing in partner.types.items():
                    self._compare(peer, name, standing)
            try:
                await self._retention.run()
                self.streams.news()  # what was given up is owed no more
            except FederationError as error:
                logger.warning("old values could not be dropped: %s", error)

    async def _trying(self, work: Coroutine[Any, Any, None]) -> None:
        """What the store does not take now is tried again with the next upkeep."""
        try:
            await work
        except FederationError as error:
            self._doubt_later(error)

    def _doubt_later(self, error: FederationError) -> None:
        logger.warning("records could not be judged anew: %s", error)
        asyncio.get_running_loop().call_later(UPKEEP_S, self._doubt.set)

    def _doubt_soon(self) -> None:
        """Not at once: looking again fetches again, which a disk that fails does not take again."""
        if self._look_again is None or self._look_again.when() <= asyncio.get_running_loop().time():
            self._look_again = asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._doubt.set)
