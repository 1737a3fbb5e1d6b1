"""A node: its parts, put together by `wiring`, and its life, in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from covm.federation import life, wiring
from covm.federation.allowed import require, require_recipient
from covm.federation.blobs.offer import OFFER_TYPE
from covm.federation.clock import Clock, Random
from covm.federation.config import FederationConfig
from covm.federation.errors import AlreadyStarted, NodeFailed, NotAMember, NotStarted, UnknownMember
from covm.federation.events import AddressesUpdated, StoreRecovered, StoreTroubled
from covm.federation.events import NodeFailed as NodeFailedEvent
from covm.federation.identity import Identity
from covm.federation.identity.roles import Action
from covm.federation.network.interface import AddressesChanged, Network, NetworkFailed
from covm.federation.router import Router
from covm.federation.store.interface import Store, StoreHealth
from covm.federation.wire.join import encode_join_hello
from covm.federation.wire.member_id import is_member_id

if TYPE_CHECKING:
    import os

    import msgspec

    from covm.federation.blobs.transfer import FileTransfer
    from covm.federation.sync.resolvers import NamedResolver

logger = logging.getLogger("covm.federation")

NO_FEDERATION = (
    "this node is of no federation yet: found one with `covm federation create NAME`, join one with `covm federation "
    "join LINK`, or, for a trial, set membership to open"
)

CLOSING_S = 5.0
"""How long a node that stops waits for its store to take the last word: a store that works takes milliseconds."""


class Node(wiring.Parts):
    """A node, wired. It is started once and stopped once."""

    def __init__(
        self,
        identity: Identity,
        config: FederationConfig,
        types: Sequence[type[msgspec.Struct]],
        network: Network | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        store: Store | None = None,
        resolvers: Sequence[NamedResolver] = (),
    ) -> None:
        super().__init__(identity, config, types, network, clock, random, store, resolvers)
        self.store.on_health = self._store_changed
        self.router = Router(
            self.peers,
            self.reach,
            self.hearings,
            self.direct,
            self.gossip,
            self.blobs,
            self.sync.streams,
            self._addresses_changed,
            self._failed,
            self.supervisor,
        )
        self.started_s: float | None = None
        self._main: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._failure: str | None = None
        self._phase = "new"
        self._is_silent = False
        self._troubled_s: float | None = None

    @property
    def is_running(self) -> bool:
        return self._phase == "running" and self._failure is None

    def recipient(self, to: str, type_name: str) -> str:
        """The node to which a message of a type goes: the one named, or one of a member's, connected ones first.

        Raises `UnknownMember`; `NotAMember` and `NotAuthorized` where this node may not send it, or that not read it.
        """
        node = self._node_named(to)
        require(self.membership, self.identity.peer_id, Action.SEND, type_name)
        require_recipient(self.membership, node, type_name)
        return node

    def _node_named(self, to: str) -> str:
        standing = self.members.standing if self.members is not None else None
        if standing is None or to in standing.nodes or not is_member_id(to):
            return to
        nodes = sorted(peer for peer, membership in standing.nodes.items() if str(membership.member) == to)
        if not nodes:
            raise UnknownMember(to)
        connected = set(self.peers.connected_peers())
        return next((node for node in nodes if node in connected), nodes[0])

    async def send_file(
        self, to: str, path: str | os.PathLike[str], name: str | None, time_to_live_s: float | None
    ) -> FileTransfer:
        """As `FederationService.send_file`."""
        return await self.blobs.send_file(self.recipient(to, OFFER_TYPE), path, name, time_to_live_s)

    def require_writing(self, type_name: str) -> None:
        """Raises as `require_running`, `NotAMember` and `NotAuthorized` where this node may not write records."""
        self.require_running()
        require(self.membership, self.identity.peer_id, Action.WRITE, type_name)

    def require_reading(self, type_name: str) -> None:
        """Raises as `require_writing` where this node may not read records."""
        self.require_running()
        require(self.membership, self.identity.peer_id, Action.READ, type_name)

    def require_running(self) -> None:
        """Raises `NotStarted`, or `NodeFailed` when the node ended by itself."""
        if self._failure is not None:
            raise NodeFailed(self._failure)
        if self._phase != "running":
            raise NotStarted

    async def start(self) -> None:
        """Everything or nothing: what fails half-way leaves no task, socket or lock behind."""
        if self._phase != "new":
            raise AlreadyStarted
        self._phase = "starting"
        try:
            await self._start()
        except BaseException as error:
            was_stopped = self._phase == "stopped"
            await self.stop()
            if was_stopped and isinstance(error, Exception):
                raise NotStarted from error
            raise
        self._phase = "running"

    async def stop(self) -> None:
        """Ends every task, then the network, then gives the home back. Twice is once, and ends when the first does.

        Whoever waits for it may be cancelled, even by it: the node stops all the same.
        """
        if self._phase == "new":
            self._phase = "stopped"
        elif self._stopping is None and self._phase != "stopped":
            self._phase = "stopped"
            self._stopping = asyncio.create_task(self._stop(), name=f"stop of {self.name}")
        if self._stopping is not None:
            await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        try:
            self._silence()
            if self._main is not None:
                self._main.cancel()
                await asyncio.wait([self._main])
        finally:
            try:
                await self.network.stop()
            finally:
                await self._put_away()

    async def _put_away(self) -> None:
        """Every task has ended: what is to be kept goes to disk, and what is held is given back."""
        try:
            async with asyncio.timeout(CLOSING_S):
                await self.dispatcher.close()
                if self.members is not None:
                    await self.members.journal.close()
        except TimeoutError:
            logger.warning("the store did not take the last word within %g s", CLOSING_S)
        finally:
            try:
                await self.store.close()
            finally:
                self.blobs.close()
                self.home.close()
                self.hub.close()

    async def _start(self) -> None:
        if self.members is not None and not self.config.federation:
            raise NotAMember(NO_FEDERATION)
        self.home.open()
        await self.store.open()
        if not self.store.is_durable:
            logger.info("no home is set: everything is in memory, and nothing outlives this process")
        incarnation = await life.begin(self.store, self.identity.peer_id, self.clock, self.random)
        for ban in await life.stored_bans(self.store):
            self.bans.add(ban)
        self.peers.recall(await life.known_peers(self.store))
        self.pen.incarnation = incarnation
        if self.members is not None:
            await self.members.load()
        invite = await self.hearings.load() if self.hearings is not None else None
        self._require_starting()
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._main = asyncio.create_task(self.supervisor.run(ready), name=f"node {self.name}")
        self._main.add_done_callback(self._main_ended)
        # Who stops the node now may cancel the main task before its first step, which says that it is ready.
        await asyncio.wait({ready, self._main}, return_when=asyncio.FIRST_COMPLETED)
        self._require_starting()
        if self.members is not None:
            self.members.start()
        await self.direct.start(incarnation)
        self._require_starting()
        await self.blobs.start()
        self._require_starting()
        await self.dispatcher.start()
        self._require_starting()
        await self.sync.start(self.supervisor)
        self.recorder.start(self.supervisor)
        self._require_starting()
        self.sync_types.start(self.supervisor)
        await self.network.start(self.router, encode_join_hello(self.hello))
        self._require_starting()
        self.direct.begin()
        await self.gossip.start(incarnation)
        self._require_starting()
        self.started_s = self.clock.monotonic_s()
        invited = [f"{address}" for address in invite.addresses] if invite is not None else []
        self.reach.start(self.peers.announce)
        self.peers.start([*self.config.bootstrap_peers, *invited])

    def _require_starting(self) -> None:
        if self._failure is not None:
            raise NodeFailed(self._failure)
        if self._phase != "starting":
            raise NotStarted

    def _silence(self) -> None:
        if self._is_silent:
            return
        self._is_silent = True
        self.router.close()
        self.dispatcher.stop()
        self.direct.stop()
        self.gossip.stop()
        self.blobs.stop()
        self.sync.stop()
        self.peers.stop()

    def _store_changed(self, health: StoreHealth) -> None:
        """Says so when the store cannot be written, and when it can again."""
        troubled_s, self._troubled_s = self._troubled_s, None
        if health.state != "ok":
            self._troubled_s = self.clock.monotonic_s() if troubled_s is None else troubled_s
            logger.error(
                "the store is %s: %s; nothing is acknowledged until it can be written", health.state, health.why
            )
            self.hub.emit(StoreTroubled(health.state, health.why))
        elif troubled_s is not None:
            after_s = self.clock.monotonic_s() - troubled_s
            logger.warning("the store can be written again after %.0f s", after_s)
            self.hub.emit(StoreRecovered(after_s))

    def _addresses_changed(self, event: AddressesChanged) -> None:
        self.hub.emit(AddressesUpdated(event.addresses))
        self.peers.announce()

    def _failed(self, event: NetworkFailed) -> None:
        logger.critical("the network core failed: %s", event.reason)
        self._fail(event.reason)
        if self._main is not None:
            self._main.cancel()

    def _main_ended(self, main: asyncio.Task[None]) -> None:
        error = None if main.cancelled() else main.exception()
        if self._phase == "stopped" or self._failure is not None:
            return
        reason = f"its tasks were ended: {error or 'somebody cancelled them'}"
        logger.critical("the node failed: %s", reason, exc_info=error)
        self._fail(reason)

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self._silence()
        self.hub.emit(NodeFailedEvent(reason))
        self.hub.close()
