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
from dataclasses import dataclass, field
from typing import Any, Final

from covm import _native
from covm.federation.errors import FederationError
from covm.federation.identity.roles import Action
from covm.federation.network.interface import (
    FramesReceived,
    PeerAdmitted,
    PeerUnadmitted,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    StreamWritable,
)
from covm.federation.ports import BodySource, Membership, Written
from covm.federation.supervisor import Supervisor
from covm.federation.surroundings import Surroundings
from covm.federation.sync import reading
from covm.federation.sync.asking import Asker
from covm.federation.sync.bodies import Bodies
from covm.federation.sync.frontier import EMPTY_ROOT, Tips
from covm.federation.sync.keeper import Keeper, Taken
from covm.federation.sync.leases import Leases
from covm.federation.sync.library import answered
from covm.federation.sync.serving import Server
from covm.federation.sync.session import Session
from covm.federation.sync.standings import PeerStanding, Replica
from covm.federation.wire.limits import MAX_TYPES
from covm.federation.wire.record import Place
from covm.federation.wire.sync_frames import NoSync, Roots, SyncRequest, SyncResponse

logger = logging.getLogger("covm.federation")

AT_ONCE: Final = 4
"""Types that are fetched from one peer at the same time: a large one holds up no small one."""

UPKEEP_S: Final = 30.0
"""How often what is held is looked at again, and peers whose session was interrupted are asked again."""

BREACHES: Final = frozenset({"frame too large", "empty frame", "frame not complete in time", "no frame in time"})
"""Ends of a stream that its peer brought about by breaking the framing."""


@dataclass(slots=True)
class Standing:
    """How this node and one peer stand in one type."""

    root: bytes
    """What the peer holds, as it said last."""
    running: asyncio.Task[None] | None = None
    fetched: int = 0
    """Records that came from it since it connected."""
    last_ms: int | None = None
    """When a session with it was at its end last."""
    error: str = ""
    """Why the last session was interrupted; empty when it was not."""
    declined: dict[_native.Link, Tips] = field(default_factory=dict)


@dataclass(slots=True)
class Partner:
    """A peer that is admitted."""

    asker: Asker
    places: asyncio.Semaphore
    task: asyncio.Task[None] | None = None
    types: dict[str, Standing] = field(default_factory=dict)


class SyncManager:
    """The component's shell."""

    def __init__(self, around: Surroundings, keeper: Keeper, membership: Membership, own: str, bodies: Bodies) -> None:
        self.keeper = keeper
        self.bodies = bodies
        self._around = around
        self._membership = membership
        self._own = own
        self._leases = Leases()
        self._partners: dict[str, Partner] = {}
        self._streams: dict[int, Asker] = {}
        self._servers: dict[int, Server] = {}
        self._server_of: dict[str, Server] = {}
        keeper.listeners.append(self._kept)
        self._doubt = asyncio.Event()
        self._is_stopped = False

    async def start(self, supervisor: Supervisor) -> None:
        """Knows again what is held. Before the network starts. Raises `StoreError`."""
        await self.keeper.load()
        await self.keeper.reconsider()
        self._membership.on_change(self._doubt.set)
        self.keeper.on_doubt = self._doubt.set
        supervisor.keep(self._reconsider, "judging records anew")
        supervisor.keep(self._upkeep, "sync upkeep")
        supervisor.keep(self.bodies.run, "fetching bodies of records")

    def meet(self, source: BodySource) -> None:
        """By what bodies of records are fetched."""
        self.bodies.meet(source, lambda: self._partners)

    def stop(self) -> None:
        """Nothing is begun any more."""
        self._is_stopped = True

    def _kept(self, _taken: Taken) -> None:
        if self.keeper.is_doubtful:
            self._doubt.set()
        for server in self._servers.values():
            server.news()

    def standings(self, type_name: str) -> dict[str, Standing]:
        """Of each connected peer."""
        return {
            peer: partner.types[type_name] for peer, partner in self._partners.items() if type_name in partner.types
        }

    async def replicas(self) -> list[Replica]:
        """How this node stands in each type of which there are records, here or at a connected peer."""
        logs = self.keeper.logs
        names = sorted({*logs.types(), *(name for partner in self._partners.values() for name in partner.types)})
        counted = await self.keeper.store.read(reading.counts)
        return [
            Replica(
                name,
                sum(log.type == name for log in logs),
                *counted.get(name, reading.NOTHING),
                logs.frontier(name).root,
                tuple(self._peer(name, peer, standing) for peer, standing in self.standings(name).items()),
            )
            for name in names
        ]

    def _peer(self, name: str, peer: str, standing: Standing) -> PeerStanding:
        state = "interrupted" if standing.error else "differs"
        if standing.running is not None:
            state = "fetching"
        elif standing.root == self.keeper.logs.frontier(name).root:
            state = "same"
        return PeerStanding(peer, state, standing.fetched, standing.last_ms, standing.error)

    async def request(self, type_name: str) -> None:
        """Fetches what connected peers have of a type and this node lacks; returns when nothing is left to be had."""
        tasks = [self._begin(peer, type_name) for peer, partner in self._partners.items() if type_name in partner.types]
        running = [task for task in tasks if task is not None]
        if running:
            await asyncio.wait(running)

    def written_by(self, nodes: Collection[str]) -> list[Written]:
        """The ends of all logs of these nodes: of one that was forked, the longest branch."""
        ends = [(log, log.last()) for log in self.keeper.logs if log.author in nodes]
        return [
            Written(Place(log.link, end[0].seq, end[1]), end[2].hlc.time_ms)
            for log, end in ends
            if end is not None and end[2].hlc is not None
        ]

    # --- serving.Library

    def roots(self, peer: str) -> Roots:
        """Of all types that a peer may read."""
        logs = self.keeper.logs
        able = [name for name in logs.types() if self._membership.may(peer, Action.READ, name).holds]
        return [(name, logs.frontier(name).root) for name in able[:MAX_TYPES]]

    async def answer(self, peer: str, request: SyncRequest) -> SyncResponse | NoSync:
        """As `Library.answer`."""
        if not self._membership.may(peer, Action.READ, request.type).holds:
            return NoSync(request.number, "there is nothing of that type for you here")
        return await answered(self.keeper, request)

    # --- sessions

    def _heard_roots(self, peer: str, roots: Roots) -> None:
        partner = self._partners.get(peer)
        if partner is None:
            return
        for name, root in roots:
            if name not in partner.types and len(partner.types) >= MAX_TYPES:
                continue
            if self._membership.may(self._own, Action.READ, name).holds:
                partner.types.setdefault(name, Standing(root)).root = root
                self._begin(peer, name)

    def _begin(self, peer: str, name: str) -> asyncio.Task[None] | None:
        """Begins a session unless there is nothing to fetch; the one that runs, if one does."""
        partner = self._partners.get(peer)
        standing = partner.types.get(name) if partner is not None else None
        if partner is None or standing is None or self._is_stopped:
            return None
        if standing.running is None and not self._is_same(name, standing):
            standing.running = self._around.supervisor.spawn(
                self._sync(partner, name, standing), f"sync of {name} with {peer}"
            )
        return standing.running

    def _is_same(self, name: str, standing: Standing) -> bool:
        return standing.root in (EMPTY_ROOT, self.keeper.logs.frontier(name).root)

    async def _sync(self, partner: Partner, name: str, standing: Standing) -> None:
        try:
            async with partner.places:
                while not self._is_same(name, standing):
                    root = standing.root
                    session = Session(
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
                        standing.fetched += session.records
                    standing.last_ms, standing.error = self._around.clock.now_ms(), ""
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
            for server in self._servers.values():
                server.news()
            for peer, partner in list(self._partners.items()):
                for name, standing in list(partner.types.items()):
                    # What came to nothing may come to something now.
                    standing.declined.clear()
                    self._begin(peer, name)

    async def _upkeep(self) -> None:
        while True:
            await asyncio.sleep(UPKEEP_S)
            await self._trying(self.keeper.again())
            for peer, partner in list(self._partners.items()):
                for name, standing in list(partner.types.items()):
                    if standing.error:
                        self._begin(peer, name)

    async def _trying(self, work: Coroutine[Any, Any, None]) -> None:
        """What the store does not take now is tried again with the next upkeep."""
        try:
            await work
        except FederationError as error:
            self._doubt_later(error)

    def _doubt_later(self, error: FederationError) -> None:
        logger.warning("records could not be judged anew: %s", error)
        asyncio.get_running_loop().call_later(UPKEEP_S, self._doubt.set)

    # --- the network

    def owns(self, stream: int) -> bool:
        """Whether the stream is of this protocol."""
        return stream in self._servers or stream in self._streams

    def on_admitted(self, event: PeerAdmitted) -> None:
        if event.peer in self._partners:
            return
        asker = Asker(event.peer, self._around, lambda roots: self._heard_roots(event.peer, roots))
        partner = self._partners[event.peer] = Partner(asker, asyncio.Semaphore(AT_ONCE))

        def opened(stream: int) -> None:
            self._streams[stream] = asker

        partner.task = self._around.supervisor.spawn(asker.run(opened), f"sync stream to {event.peer}")
        self.bodies.anew()

    def on_unadmitted(self, event: PeerUnadmitted) -> None:
        if (partner := self._partners.pop(event.peer, None)) is not None:
            if partner.task is not None:
                partner.task.cancel()
            partner.asker.on_closed("it is not connected any more")
        if (server := self._server_of.get(event.peer)) is not None:
            self._drop(server)

    def on_stream_opened(self, event: StreamOpened) -> None:
        if event.peer not in self._partners:
            self._around.close_stream(event.stream)
            return
        if (older := self._server_of.get(event.peer)) is not None:
            self._drop(older)
        server = Server(event.stream, event.peer, self._around, self)
        self._servers[event.stream] = self._server_of[event.peer] = server
        server.task = self._around.supervisor.spawn(server.run(), f"sync stream from {event.peer}")

    def on_frames(self, event: FramesReceived) -> None:
        if (server := self._servers.get(event.stream)) is not None:
            server.on_frames(event.frames)
        elif (asker := self._streams.get(event.stream)) is not None:
            asker.on_frames(event.frames)

    def on_writable(self, event: StreamWritable) -> None:
        if (server := self._servers.get(event.stream)) is not None:
            server.on_writable()
        elif (asker := self._streams.get(event.stream)) is not None:
            asker.on_writable()

    def on_closed(self, event: StreamClosed) -> None:
        if (server := self._servers.get(event.stream)) is not None:
            if event.reason in BREACHES:
                self._around.violation(server.peer, event.reason.replace(" ", "_"))
            self._drop(server)
        elif (asker := self._streams.pop(event.stream, None)) is not None:
            if event.reason in BREACHES:
                self._around.violation(asker.peer, event.reason.replace(" ", "_"))
            if asker.stream == event.stream:
                asker.on_closed(event.reason)

    def on_refused(self, event: StreamRefused) -> None:
        """A stream that broke the framing before it said anything was never shown; its peer pays all the same."""
        self._around.violation(event.peer, event.reason.replace(" ", "_"))

    def _drop(self, server: Server) -> None:
        self._servers.pop(server.stream, None)
        if self._server_of.get(server.peer) is server:
            del self._server_of[server.peer]
        server.stop()
