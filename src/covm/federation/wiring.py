"""Puts a node together: the only file that sees every component and every implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from covm._native import Link
from covm.federation import life
from covm.federation.blobs.offer import HANDLER, OFFER_TYPE
from covm.federation.blobs.protocol import BlobProtocol
from covm.federation.clock import Clock, Random, SystemClock, SystemRandom
from covm.federation.config import FederationConfig
from covm.federation.config.settings import without_password
from covm.federation.counters import Counters
from covm.federation.dispatch.composer import MessageComposer
from covm.federation.dispatch.direct import DirectProtocol
from covm.federation.dispatch.dispatcher import MessageDispatcher
from covm.federation.dispatch.incoming import Incomings
from covm.federation.dispatch.lane_runner import RetryTerms
from covm.federation.dispatch.lanes import SLOTS
from covm.federation.dispatch.line import Post, Terms
from covm.federation.dispatch.subscriptions import Subscription
from covm.federation.events import EventHub
from covm.federation.gossip.protocol import GossipProtocol
from covm.federation.home import Home
from covm.federation.identity import Identity
from covm.federation.membership.authority import EveryonesAuthority, MembersAuthority
from covm.federation.membership.desk import MembershipDesk
from covm.federation.membership.everyone import Everyone
from covm.federation.membership.hearing import Hearings
from covm.federation.membership.members import Members
from covm.federation.membership.own import Pen
from covm.federation.membership.passing import Passing
from covm.federation.network import make_network
from covm.federation.network.interface import Network
from covm.federation.offload import InlineOffload, Offload, ThreadOffload
from covm.federation.own_info import peer_info
from covm.federation.peers.bans import Bans
from covm.federation.peers.dialler import Dialler
from covm.federation.peers.gatekeeper import Gatekeeper
from covm.federation.peers.manager import PeerManager
from covm.federation.peers.reach import Reach
from covm.federation.peers.roster import Roster
from covm.federation.peers.warden import Warden
from covm.federation.ports import Membership
from covm.federation.publishing import Publishing
from covm.federation.recording import Recorder
from covm.federation.store import make_store
from covm.federation.store.interface import Store
from covm.federation.supervisor import Supervisor
from covm.federation.surroundings import Surroundings
from covm.federation.sync.bodies import Bodies
from covm.federation.sync.collection import Collection
from covm.federation.sync.exporting import Carrier
from covm.federation.sync.feed import Retry
from covm.federation.sync.forks import Forks
from covm.federation.sync.keeper import Keeper
from covm.federation.sync.manager import SyncManager
from covm.federation.sync.manager import Terms as SyncTerms
from covm.federation.sync.quotas import Usage
from covm.federation.sync.resolvers import NamedResolver, Resolvers
from covm.federation.sync.scribe import Scribe
from covm.federation.sync.sync_types import SyncTypes, refuse_writing
from covm.federation.version import agent
from covm.federation.wire.federation_id import FederationId, federation_of, open_federation
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.join import JoinHello
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_NAME
from covm.federation.wire.registry import TypeRegistry
from covm.federation.wire.system import FULL_LOAD

if TYPE_CHECKING:
    import msgspec

SHORT_ID = 8
"""Characters at the end of a peer id that name a node without a name: the beginnings are alike."""


class Parts:
    """What a node is made of, and how its parts meet. Nothing runs yet."""

    def __init__(
        self,
        identity: Identity,
        config: FederationConfig,
        types: Sequence[type[msgspec.Struct]],
        network: Network | None,
        clock: Clock | None,
        random: Random | None,
        store: Store | None = None,
        resolvers: Sequence[NamedResolver] = (),
    ) -> None:
        self.identity = identity
        self.config = config
        self.name = (config.name or identity.peer_id[-SHORT_ID:])[:MAX_NAME]
        self.federation: FederationId = _federation(config)
        self.registry = TypeRegistry(types)
        self.resolvers = Resolvers()
        for each in resolvers:
            self.resolvers.register(each.name, each.version, each.function)
        self.network: Network = network or make_network(identity, config, self.federation)
        # A network that is simulated has a time of its own, which threads would not keep.
        self._offload: Offload = ThreadOffload() if network is None else InlineOffload()
        self.clock: Clock = clock or SystemClock()
        self.random: Random = random or SystemRandom()
        self.hub = EventHub()
        self.counters = Counters()
        self.supervisor = Supervisor()
        self.home = Home(config.home_path)
        self.store: Store = store or make_store(config.home_path, config.store_url)
        self.hello = JoinHello(federation=self.federation.cid, agent=agent(), name=self.name)
        self.members = self._make_members() if config.membership == "members" else None
        self.membership: Membership = self.members or Everyone()
        self.bans = Bans(member_of=self.membership.member_of)
        self.pen = Pen(identity.keypair, self.clock, self.random)
        self.dispatcher, composer = self._make_dispatcher()
        self.peers = self._make_peers()
        self.post = self._make_post()
        self.direct = DirectProtocol(self.post, self._begin_anew)
        self.blobs = BlobProtocol(self._surroundings(), self.direct, config.home_path, config.max_file_size)
        self.sync, self.scribe = self._make_sync()
        self.recorder = self._make_recorder()
        self.carrier = Carrier(self.sync.keeper, self._offload)
        self.forks = Forks(self.sync.keeper, self.membership.member_of, self._offload, self.hub)
        self.sync_types = self._make_sync_types()
        self.gossip = self._make_gossip()
        self.publishing = self._make_publishing()
        composer.meet(self.peers, lambda: self.post.own_incarnation, self.direct.reserve, self.recorder)
        self.peers.meet(self.direct)
        self.dispatcher.meet(self.publishing, self.direct.take_staged, self.peers.clock_is_doubtful, self.recorder.look)
        self.dispatcher.feed_from(self.sync.published, self.recorder.is_durable)
        self.membership.on_change(self.dispatcher.durable_types_changed)
        self.desk: MembershipDesk | None = None
        self.hearings: Hearings | None = None
        if self.members is not None:
            self.desk, self.hearings = self._open_to_members(self.members)
        self.dispatcher.subscribe(Subscription(OFFER_TYPE, self.blobs.take_offer, HANDLER, hands_over=True))

    def _make_dispatcher(self) -> tuple[MessageDispatcher, MessageComposer]:
        config, retry = self.config, self.config.connection_retry
        composer = MessageComposer(
            self.registry,
            self.federation,
            self.identity.peer_id,
            self.random,
            config.message_time_to_live,
            config.max_message_size,
            self.membership,
        )
        dispatcher = MessageDispatcher(
            registry=self.registry,
            store=self.store,
            composer=composer,
            retry=RetryTerms(
                config.handler_attempts, retry.base_delay.total_seconds(), retry.max_delay.total_seconds()
            ),
            retention_s=config.unhandled_retention.total_seconds(),
            supervisor=self.supervisor,
            clock=self.clock,
            random=self.random,
            counters=self.counters,
            hub=self.hub,
            member_of=self.membership.member_of,
        )
        return dispatcher, composer

    def _make_peers(self) -> PeerManager:
        roster = self._roster = Roster(self.clock)
        self.reach = Reach(
            network=self.network,
            roster=roster,
            config=self.config,
            supervisor=self.supervisor,
            clock=self.clock,
            random=self.random,
        )
        dialler = Dialler(
            network=self.network,
            roster=roster,
            bans=self.bans,
            retry=self.config.connection_retry,
            max_connections=self.config.max_connections,
            supervisor=self.supervisor,
            clock=self.clock,
            random=self.random,
        )
        save_bans = partial(life.save_bans, self.store)
        return PeerManager(
            network=self.network,
            roster=roster,
            bans=self.bans,
            dialler=dialler,
            hello=self.hello,
            topic=self.federation.topic,
            max_connections=self.config.max_connections,
            heartbeat_interval_s=self.config.heartbeat_interval.total_seconds(),
            describe=partial(peer_info, self),
            load=lambda: FULL_LOAD * self.dispatcher.running // SLOTS,
            warden=Warden(self.network, roster, self.bans, save_bans, self.clock, self.hub, self.membership.nodes_of),
            membership=self.membership,
            supervisor=self.supervisor,
            clock=self.clock,
            hub=self.hub,
            counters=self.counters,
        )

    def _make_members(self) -> Members:
        return Members(
            federation=self.federation.cid,
            peer_id=self.identity.peer_id,
            store=self.store,
            offload=self._offload,
            supervisor=self.supervisor,
            counters=self.counters,
            clock=self.clock,
            hub=self.hub,
        )

    def _open_to_members(self, members: Members) -> tuple[MembershipDesk, Hearings]:
        """The gate asks the membership, and the membership moves the gate."""
        desk = MembershipDesk(members, self.pen, self.sync, self.clock, self.random)
        gate = Gatekeeper(self.peers, self._roster, self.peers.door, members, self.network, self.counters, self.hub)
        passing = Passing(members, self.network, self.clock, self.counters)
        hearings = Hearings(members, self.network, gate, desk.redeem, passing, self.supervisor, self.counters)
        self.peers.door.meet(hearings)
        members.meet(self.direct, gate)
        return desk, hearings

    def _make_post(self) -> Post:
        inbox = Incomings(
            self.dispatcher,
            self.supervisor,
            self.clock,
            self.counters,
            self.hub,
            self.membership,
            self.config.max_message_size,
        )
        return Post(
            network=self.network,
            presence=self.peers,
            membership=self.membership,
            inbox=inbox,
            supervisor=self.supervisor,
            counters=self.counters,
            hub=self.hub,
            clock=self.clock,
            random=self.random,
            store=self.store,
            seal=partial(self.identity.keypair.seal, Kind.MESSAGE),
            federation=self.federation,
            peer_id=self.identity.peer_id,
            terms=Terms.of(self.config),
            types_digest=self.registry.digest,
            is_own_rule=self._is_own_rule,
            save_incarnation=life.save_incarnation,
        )

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            network=self.network,
            presence=self.peers,
            store=self.store,
            supervisor=self.supervisor,
            offload=self._offload,
            counters=self.counters,
            hub=self.hub,
            clock=self.clock,
            random=self.random,
        )

    def _make_sync(self) -> tuple[SyncManager, Scribe]:
        cid, around = self.federation.cid, self._surroundings()
        authority = EveryonesAuthority(cid) if self.members is None else MembersAuthority(self.members)
        quota = Usage(self.config.record_quota, self.config.record_quota_bytes)
        keeper = Keeper(cid, self.store, authority, self._offload, self.clock, self.counters, quota)
        bodies = Bodies(around, keeper, self.membership, self.blobs, lambda: self.recorder.on_demand())  # noqa: PLW0108
        terms = SyncTerms.of(self.config)
        sync = SyncManager(around, keeper, self.membership, self.identity.peer_id, bodies, self.registry, terms)
        self.blobs.meet(bodies)
        return sync, Scribe(keeper, self.identity.keypair, lambda: self.post.own_incarnation, self.clock, self.random)

    def _make_recorder(self) -> Recorder:
        return Recorder(
            registry=self.registry,
            membership=self.membership,
            rule=self.sync.keeper.authority.rule,
            peer_id=self.identity.peer_id,
            scribe=self.scribe,
            connected=self.peers.connected_peers,
            store=self.store,
            random=self.random,
            counters=self.counters,
        )

    def _make_sync_types(self) -> SyncTypes:
        pauses = self.config.connection_retry
        base_s, max_s = pauses.base_delay.total_seconds(), pauses.max_delay.total_seconds()
        return SyncTypes(
            manager=self.sync,
            resolvers=self.resolvers,
            collection=partial(self.collection, require_writing=refuse_writing),
            registered=self.registry.names,
            store=self.store,
            transactor=self.dispatcher,
            retry=Retry(self.config.handler_attempts, base_s, max_s),
            clock=self.clock,
            random=self.random,
            hub=self.hub,
        )

    def collection(self, type_name: str, require_writing: Callable[[str], None]) -> Collection[Any]:
        """The shared data of a type; `require_writing` raises where this node may not write it now."""
        return Collection(
            type_name,
            self.sync.keeper,
            self.scribe,
            self.resolvers,
            self.registry,
            self.membership.member_of,
            require_writing,
            self.sync.bodies,
        )

    def _make_gossip(self) -> GossipProtocol:
        return GossipProtocol(
            network=self.network,
            federation=self.federation,
            access=self.peers,
            membership=self.membership,
            inbound=self.dispatcher,
            contents=self.blobs,
            store=self.store,
            supervisor=self.supervisor,
            counters=self.counters,
            hub=self.hub,
            clock=self.clock,
            random=self.random,
            allowance_per_s=self.config.gossip_allowance,
            max_message_bytes=self.config.max_message_size,
            log_size=self.config.gossip_log_size,
        )

    def _make_publishing(self) -> Publishing:
        return Publishing(
            gossip=self.gossip,
            recorder=self.recorder,
            courier=self.direct,
            inbound=self.dispatcher,
            membership=self.membership,
            federation=self.federation,
            peer_id=self.identity.peer_id,
            incarnation=lambda: self.post.own_incarnation,
            counters=self.counters,
            clock=self.clock,
            random=self.random,
            max_message_bytes=self.config.max_message_size,
        )

    async def _begin_anew(self, incarnation: Incarnation) -> None:
        self.pen.incarnation = incarnation
        await self.gossip.begin(incarnation)

    def _is_own_rule(self, digest: bytes) -> bool:
        if digest == self.membership.digest:
            return True
        return any(self.registry.rule_digest(name) == digest for name in self.registry.names())

    @property
    def store_place(self) -> str:
        """Where the store is, for people: no password in it; empty in memory."""
        if self.config.store_url:
            return without_password(self.config.store_url)
        return str(self.config.home_path / "store.db") if self.config.home_path is not None else ""


def _federation(config: FederationConfig) -> FederationId:
    """The one of the configuration; of a node that has none yet, one that nobody else is of."""
    if config.membership == "open":
        return open_federation(config.network)
    return federation_of(Link(config.federation)) if config.federation else open_federation("")
