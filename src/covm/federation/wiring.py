"""Puts a node together: the only file that sees every component and every implementation. And its life, in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from covm.federation.clock import Clock, Random, SystemClock, SystemRandom
from covm.federation.config import FederationConfig
from covm.federation.counters import Counters
from covm.federation.dispatch.direct import DirectProtocol
from covm.federation.dispatch.dispatcher import MessageDispatcher
from covm.federation.dispatch.lanes import SLOTS
from covm.federation.dispatch.line import Post
from covm.federation.errors import AlreadyStarted, NodeFailed, NotStarted
from covm.federation.events import AddressesUpdated, EventHub
from covm.federation.events import NodeFailed as NodeFailedEvent
from covm.federation.gossip.protocol import GossipProtocol
from covm.federation.home import Home
from covm.federation.identity import Identity
from covm.federation.network.interface import AddressesChanged, Network, NetworkFailed
from covm.federation.peers.bans import Bans
from covm.federation.peers.dialler import Dialler
from covm.federation.peers.manager import PeerManager
from covm.federation.peers.roster import Roster
from covm.federation.peers.warden import Warden
from covm.federation.router import Router
from covm.federation.supervisor import Supervisor
from covm.federation.version import agent, software_version
from covm.federation.wire.federation_id import FederationId, open_federation
from covm.federation.wire.incarnation import next_incarnation
from covm.federation.wire.join import JoinHello, encode_join_hello
from covm.federation.wire.limits import MAX_ADDRESSES, MAX_NAME
from covm.federation.wire.registry import TypeRegistry
from covm.federation.wire.system import FULL_LOAD, PeerInfo

if TYPE_CHECKING:
    import msgspec

logger = logging.getLogger("covm.federation")

JOINING_PLACES = 16
"""Connections beyond `max_connections`: as many as the core lets join at once."""

SHORT_ID = 8
"""Characters at the end of a peer id that name a node without a name: the beginnings are alike."""


class Node:
    """A node, wired. It is started once and stopped once."""

    def __init__(
        self,
        identity: Identity,
        config: FederationConfig,
        types: Sequence[type[msgspec.Struct]],
        network: Network | None,
        clock: Clock | None,
        random: Random | None,
    ) -> None:
        self.identity = identity
        self.config = config
        self.name = (config.name or identity.peer_id[-SHORT_ID:])[:MAX_NAME]
        self.federation: FederationId = open_federation(config.network)
        self.registry = TypeRegistry(types)
        self.network: Network = network or _libp2p(identity, config, self.federation)
        self.clock: Clock = clock or SystemClock()
        self.random: Random = random or SystemRandom()
        self.hub = EventHub()
        self.counters = Counters()
        self.supervisor = Supervisor()
        self.home = Home(config.home_path, identity.peer_id)
        self.started_s: float | None = None
        self._hello = JoinHello(federation=self.federation.cid, agent=agent(), name=self.name)
        self._main: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._failure: str | None = None
        self._phase = "new"
        self._is_silent = False
        self._wire()

    def _wire(self) -> None:
        retry = self.config.connection_retry
        self.dispatcher = MessageDispatcher(self.registry, self.supervisor, self.clock, self.counters, self.hub)
        roster, self._bans = Roster(self.clock), Bans()
        dialler = Dialler(
            network=self.network,
            roster=roster,
            bans=self._bans,
            retry=retry,
            max_connections=self.config.max_connections,
            supervisor=self.supervisor,
            clock=self.clock,
            random=self.random,
        )
        self.peers = PeerManager(
            network=self.network,
            roster=roster,
            bans=self._bans,
            dialler=dialler,
            hello=self._hello,
            topic=self.federation.topic,
            max_connections=self.config.max_connections,
            heartbeat_interval_s=self.config.heartbeat_interval.total_seconds(),
            describe=self._describe,
            load=lambda: FULL_LOAD * self.dispatcher.running // SLOTS,
            warden=Warden(self.network, roster, self._bans, self.home.save_bans, self.clock, self.hub),
            supervisor=self.supervisor,
            clock=self.clock,
            hub=self.hub,
            counters=self.counters,
        )
        post = Post(
            network=self.network,
            presence=self.peers,
            inbound=self.dispatcher,
            supervisor=self.supervisor,
            counters=self.counters,
            hub=self.hub,
            clock=self.clock,
            federation=self.federation,
            peer_id=self.identity.peer_id,
            types_digest=self.registry.digest,
        )
        self.direct = DirectProtocol(post, self.random, self.config.message_timeout.total_seconds())
        self.peers.meet(self.direct)
        self.gossip = GossipProtocol(
            network=self.network,
            federation=self.federation,
            access=self.peers,
            inbound=self.dispatcher,
            supervisor=self.supervisor,
            counters=self.counters,
            hub=self.hub,
            clock=self.clock,
            random=self.random,
            allowance_per_s=self.config.gossip_allowance,
            log_size=self.config.gossip_log_size,
        )
        self.router = Router(
            self.peers, self.direct, self.gossip, self._addresses_changed, self._failed, self.supervisor
        )

    @property
    def is_running(self) -> bool:
        return self._phase == "running" and self._failure is None

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
                self.home.close()
                self.hub.close()

    async def _start(self) -> None:
        self.home.open()
        if self.home.path is None:
            logger.info("no home is set: everything is in memory, and nothing outlives this process")
        for ban in self.home.bans:
            self._bans.add(ban)
        incarnation = next_incarnation(self.clock.now_ms(), self.home.incarnation, self.random)
        # On disk before anything is said under it.
        self.home.save_incarnation(incarnation.number)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._main = asyncio.create_task(self.supervisor.run(ready), name=f"node {self.name}")
        self._main.add_done_callback(self._main_ended)
        # Who stops the node now may cancel the main task before its first step, which says that it is ready.
        await asyncio.wait({ready, self._main}, return_when=asyncio.FIRST_COMPLETED)
        self._require_starting()
        self.dispatcher.start()
        self.direct.start(incarnation)
        await self.network.start(self.router, encode_join_hello(self._hello))
        self._require_starting()
        await self.gossip.start(incarnation)
        self._require_starting()
        self.started_s = self.clock.monotonic_s()
        self.peers.start(self.config.bootstrap_peers)

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
        self.direct.stop()
        self.gossip.stop()
        self.peers.stop()

    def _describe(self) -> PeerInfo:
        addresses = [*self.config.announce_addresses, *self.network.addresses]
        return PeerInfo(
            name=self.name,
            version=software_version(),
            addresses=addresses[:MAX_ADDRESSES],
            capabilities=["direct", "gossip"],
            types_digest=self.registry.digest(),
        )

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


def _libp2p(identity: Identity, config: FederationConfig, federation: FederationId) -> Network:
    from covm.federation.network.libp2p import Libp2pNetwork

    return Libp2pNetwork(
        identity.keypair,
        listen=config.listen_addresses,
        agent=agent(),
        kademlia=federation.kademlia if config.enable_kademlia else None,
        mdns=config.enable_mdns,
        reachability=config.reachability,
        announce=config.announce_addresses,
        # Strangers need a place to be told that there is none for them.
        max_connections=config.max_connections + JOINING_PLACES,
    )
