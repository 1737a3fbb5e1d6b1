"""`FederationService`: what programs use. It forwards and holds no rule."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import msgspec

from covm.federation import status
from covm.federation.clock import Clock, Random
from covm.federation.config import FederationConfig
from covm.federation.diagnosis.finding import Finding
from covm.federation.diagnosis.running import diagnose
from covm.federation.dispatch.subscriptions import Handler, Subscription
from covm.federation.errors import InvalidMessage, NotAMember
from covm.federation.events import EventStream
from covm.federation.identity import Identity
from covm.federation.network.interface import Network
from covm.federation.peers.bans import Ban
from covm.federation.peers.health import MOST_PINGS
from covm.federation.peers.record import PeerStatus, Ping
from covm.federation.reachability import Reachability
from covm.federation.shared_data import SharedData
from covm.federation.status import TypeInfo
from covm.federation.wire.federation_id import FederationId

if TYPE_CHECKING:
    from covm.federation.blobs.transfer import FileTransfer
    from covm.federation.dispatch.inbox_desk import InboxDesk
    from covm.federation.dispatch.outbox_desk import OutboxDesk
    from covm.federation.dispatch.receipts import Receipt
    from covm.federation.dispatch.transaction import Tx
    from covm.federation.gossip.log import GossipLogEntry, GossipLogStream
    from covm.federation.gossip.protocol import PublishedMessage
    from covm.federation.membership.desk import MembershipDesk
    from covm.federation.store.interface import Store
    from covm.federation.sync.resolvers import NamedResolver

T = TypeVar("T")
H = TypeVar("H", bound=Callable[..., object])
TypeOrName = str | type[msgspec.Struct]

_LEFT_OUT: Any = object()


class FederationService(SharedData):
    """One node of a federation.

    Use it in `async with`, or call `start` and `stop`. `types` are the Structs that this node's application sends and
    handles (see `message_type`). `network`, `clock` and `random` are for tests; without them it is libp2p, the
    machine's clock and the operating system's randomness.
    """

    def __init__(
        self,
        identity: Identity,
        config: FederationConfig | None = None,
        *,
        types: Sequence[type[msgspec.Struct]] = (),
        network: Network | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        store: Store | None = None,
        resolvers: Sequence[NamedResolver] = (),
    ) -> None:
        """Makes nothing but objects; raises `InvalidMessage` for a type that cannot be one.

        `resolvers` are the application's own, for types whose rule names them. Raises `ValueError` for one that
        cannot be.
        """
        # Here and not above: the store and what is on it take longer to load than all the rest.
        from covm.federation.node import Node

        self._node = Node(identity, config or FederationConfig(), types, network, clock, random, store, resolvers)

    def __repr__(self) -> str:
        where = self.config.network if self.config.membership == "open" else self.config.federation or "no federation"
        return f"<FederationService {self.name} {self.peer_id} in {where}>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # --- the node ---

    @property
    def peer_id(self) -> str:
        """This node's peer id, base58."""
        return self._node.identity.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this node listens; each ends in `/p2p/<peer id>`. Empty unless it runs."""
        return tuple(self._node.network.addresses) if self._node.is_running else ()

    @property
    def reachable_at(self) -> tuple[str, ...]:
        """Where others reach this node, best first: what the operator announces, what was confirmed, places at relays,
        and where it listens. Each ends in `/p2p/<peer id>`. Empty unless it runs.
        """
        return self._node.reach.addresses() if self._node.is_running else ()

    @property
    def reachability(self) -> Reachability:
        """What this node knows of how it is reached: whether others connect to it, its addresses, its relays."""
        return self._node.reach.known()

    @property
    def config(self) -> FederationConfig:
        """The configuration it was made with."""
        return self._node.config

    @property
    def name(self) -> str:
        """The node's shown name: the configured one, or the end of its peer id."""
        return self._node.name

    @property
    def federation_id(self) -> FederationId:
        """Which federation this node takes part in."""
        return self._node.federation

    async def start(self) -> None:
        """Listens, and dials the bootstrap peers. Whatever fails leaves nothing running.

        Raises `AlreadyStarted`, `HomeInUse`, `StoreError`, `InvalidAddress`, and `NetworkError` when
        an address cannot be bound.
        """
        await self._node.start()

    async def stop(self) -> None:
        """Ends every task and frees ports and home. What waits is sent after the next start on the same home.

        Without a home it is given up (`cancelled`). Twice is once. A stopped service is not started again.
        """
        await self._node.stop()

    # --- messages ---

    async def publish(self, type: TypeOrName | msgspec.Struct, value: Any = _LEFT_OUT) -> PublishedMessage:
        """Publishes to every member: under a type name or class, or an instance of a registered Struct alone.

        This node's own handlers get it too. That no peer is connected is no error: see `.peers` of what is returned.
        A payload above 64 KiB is announced and fetched by those who want it. What is of a durable type is a record: it
        is on disk when this returns, and reaches also who is away. What else only some may read is queued for
        each of their nodes as by `send_direct`; one that is banned here, or whose outbox is full, does not get it, and
        only where that is so of all is it `OutboxFull`. Raises, before anything is sent, `MessageTooLarge` (above
        `max_message_size`), `InvalidMessage` with the path of what does not fit, `UnknownMessageType` for a Struct
        that is not registered, `NotAMember` and `NotAuthorized`, and `QuotaExceeded` where this node's member has no
        room for more of a durable type here. Raises `StoreError` where the disk failed; of a durable type it may be
        written all the same.
        """
        node = self._node
        node.require_running()
        name, payload = self._payload(type, value)
        return await node.publishing.publish(name, payload, node.registry.size_limit(name))

    async def send_direct(
        self,
        peer: str,
        type: TypeOrName | msgspec.Struct,
        value: Any = _LEFT_OUT,
        *,
        time_to_live: timedelta | None = None,
    ) -> Receipt:
        """Queues a message for one peer or member, up to `max_message_size`; it is on disk when this returns.

        The peer need not be connected. The message is sent until the peer has it on disk, or `time_to_live` (default
        `message_time_to_live`, 7 days) is over, over restarts of either side; the receipt tells what becomes of it.
        Without a home it does not outlive this process. Raises, with nothing queued, `UnknownPeer`, `PeerBanned`,
        `MessageTooLarge`, `InvalidMessage`, `UnknownMessageType`, `OutboxFull`, `UnknownMember`, `NotAMember`,
        `NotAuthorized`. Raises `StoreError` when the disk failed; then, and for who is cancelled while this waits, it
        may be queued all the same (see `outbox`).
        """
        node = self._node
        node.require_running()
        name, payload = self._payload(type, value)
        if time_to_live is not None and time_to_live <= timedelta(0):
            raise ValueError(f"a message cannot live {time_to_live}; give a positive duration, or none at all")
        lifetime_s = None if time_to_live is None else time_to_live.total_seconds()
        limit_bytes = min(node.registry.size_limit(name), self.config.max_message_size)
        return await node.direct.send(node.recipient(peer, name), name, payload, lifetime_s, limit_bytes)

    async def receipt(self, message_id: str) -> Receipt:
        """The receipt of a message that was sent before, also before a restart. Raises `UnknownMessage`."""
        self._node.require_running()
        return await self._node.direct.receipt(message_id)

    async def transaction(self, work: Callable[[Tx], T]) -> T:
        """Runs `work(tx)` in a transaction of the node's store and returns its result once that is committed.

        For an application's own tables, beside which its transactional handlers keep their effects. `work` is
        synchronous and may run more than once before it is committed. Raises what it raises, with nothing kept, and
        `StoreError`.
        """
        self._node.require_running()
        return await self._node.dispatcher.transaction(work)

    async def send_file(
        self,
        peer: str,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        time_to_live: timedelta | None = None,
    ) -> FileTransfer:
        """Offers a file of any size to one peer or member, which fetches it in verified chunks; goes on over restarts.

        The file must stay as it is until it is there. `name` is what the peer sees, by default the file's own;
        `time_to_live` is the offer's. Raises what `send_direct` raises, and `FileUnreadable`.
        """
        self._node.require_running()
        lifetime_s = None if time_to_live is None else time_to_live.total_seconds()
        return await self._node.send_file(peer, path, name, lifetime_s)

    def transfers(self) -> list[FileTransfer]:
        """Files under way in both directions, and the latest that were; the oldest first."""
        return self._node.blobs.transfers()

    @property
    def outbox(self) -> OutboxDesk:
        """What was sent to peers and what became of it: to list, show, cancel, retry."""
        return self._node.direct.desk

    @property
    def inbox(self) -> InboxDesk:
        """What arrived and waits for handlers or lies in quarantine: to list, show, retry, discard."""
        return self._node.dispatcher.desk

    @overload
    def subscribe(
        self, type: TypeOrName, handler: None = None, *, name: str | None = None, transactional: bool = False
    ) -> Callable[[H], H]: ...

    @overload
    def subscribe(
        self, type: TypeOrName, handler: Handler, *, name: str | None = None, transactional: bool = False
    ) -> Subscription: ...

    def subscribe(
        self,
        type: TypeOrName,
        handler: Handler | None = None,
        *,
        name: str | None = None,
        transactional: bool = False,
    ) -> Subscription | Callable[[H], H]:
        """Hands messages of a type to a handler, which takes one `Message`; as a decorator without `handler`.

        Handlers may be synchronous or asynchronous, several for a type. Messages of one sender and type come in
        order, one at a time. A direct message is handed over until the handler returns: again after a crash, and after
        its own failure up to `handler_attempts` times (`message.attempt` tells), then it is quarantined and its lane
        goes on. A `transactional` handler is synchronous, takes `(message, tx)` and runs inside the store's
        transaction: what it does through `tx` happens once. `name` tells handlers apart over restarts; by default it
        is the function's. Each name is given every record of a durable type that is held here, from the oldest on, and
        goes on behind the last that it was given.
        """
        type_name = self._node.registry.name_of(type)
        dispatcher = self._node.dispatcher
        if handler is not None:
            return dispatcher.subscribe(Subscription(type_name, handler, name, transactional=transactional))

        def decorate(function: H) -> H:
            dispatcher.subscribe(Subscription(type_name, function, name, transactional=transactional))
            return function

        return decorate

    def unsubscribe(self, what: Subscription | Handler) -> int:
        """Ends a subscription, or every one of a handler; returns how many ended. What runs is not interrupted."""
        return self._node.dispatcher.unsubscribe(what)

    def types(self) -> list[TypeInfo]:
        """The registered types, with their limits and JSON Schemas, and which of them are durable."""
        return status.types(self._node)

    # --- peers ---

    def connected_peers(self) -> list[str]:
        """Peers that what is published next reaches: both sides open, HELLO done, topic joined."""
        return self._node.peers.connected_peers()

    def get_peer_info(self, peer: str) -> PeerStatus:
        """What is known of a peer. Raises `UnknownPeer`."""
        return self._node.peers.status(peer)

    def peers(self) -> list[PeerStatus]:
        """Everyone known, the connected first."""
        return self._node.peers.statuses()

    async def connect_peer(self, target: str) -> str:
        """Connects to an address, or to a known peer by its id, and returns the peer id once it is *connected*.

        Tries again as `connection_retry` says; from then on the peer is kept: dialled again after a loss. Raises
        `ConnectionFailed` with each address's error, `WrongPeer`, `InvalidAddress`, `UnknownPeer`, `PeerBanned`,
        `NotAdmitted` with the reason of the side that refused, `ConnectionLimitReached`.
        """
        self._node.require_running()
        return await self._node.peers.connect(target)

    async def disconnect_peer(self, peer: str) -> None:
        """Closes every connection to a peer and does not dial it again; it may come back by itself (see `ban_peer`).

        Raises `UnknownPeer`, `PeerNotConnected`.
        """
        self._node.require_running()
        await self._node.peers.disconnect(peer)

    async def ping_peer(self, peer: str, count: int = 4) -> Ping:
        """Measures how long a connected peer takes to answer, `count` times (1 to 16), each awaited up to 5 s.

        Raises `UnknownPeer`, `PeerNotConnected`, `ValueError` for another count.
        """
        if not 1 <= count <= MOST_PINGS:
            raise ValueError(f"a peer is asked 1 to {MOST_PINGS} times, not {count}: ask again a moment later")
        self._node.require_running()
        return await self._node.peers.ping(peer, count)

    async def ban_peer(self, peer: str, duration: timedelta | None = None, reason: str = "") -> Ban:
        """Has nothing to do with a peer for a time, or until it is lifted; kept over restarts when there is a home.

        Raises `InvalidAddress` for what is no peer id, `NotAuthorized` for this node itself, `StoreError`.
        """
        self._node.require_running()
        return await self._node.peers.ban(peer, duration, reason)

    async def unban_peer(self, peer: str) -> None:
        """Lifts a ban. Raises `UnknownPeer` when there is none."""
        self._node.require_running()
        await self._node.peers.unban(peer)

    def bans(self) -> list[Ban]:
        """The standing bans, the oldest first."""
        return self._node.peers.bans()

    # --- members ---

    @property
    def members(self) -> MembershipDesk:
        """Who is a member: to list, show, invite, approve, remove. Raises `NotAMember` in `open` mode."""
        desk = self._node.desk
        if desk is None:
            raise NotAMember("membership is open here: nobody is a member, and everybody takes part")
        return desk

    # --- what happens ---

    def events(self) -> EventStream:
        """What happens from now on, to iterate with `async for`; it ends when the node stops.

        At most 1,000 events wait; then the oldest are dropped, and `EventsDropped` says how many.
        """
        return self._node.hub.listen()

    def gossip_log(self, limit: int = 100, type: str | None = None) -> list[GossipLogEntry]:
        """The newest entries of the gossip log, at most `limit`, of one type if given; the oldest of them first."""
        return self._node.gossip.log.latest(limit, type)

    def follow_gossip_log(self, type: str | None = None) -> GossipLogStream:
        """Entries of the gossip log as they are made, to iterate with `async for`."""
        return self._node.gossip.log.follow(type)

    def stats(self) -> dict[str, Any]:
        """Counters: messages and bytes by type and direction, peers, queues, drops by reason, uptime, versions."""
        return status.stats(self._node)

    def status(self) -> dict[str, Any]:
        """Who this node is, where it listens, and who may take part."""
        return status.status(self._node)

    def diagnosis(self) -> list[Finding]:
        """What is well with this node and what is not, with the cause and the next step, area by area.

        A look at what it knows anyway: nothing is waited for. `covm doctor` says more, of the machine and the home.
        """
        self._node.require_running()
        return diagnose(self._node)

    def _payload(self, type: TypeOrName | msgspec.Struct, value: Any) -> tuple[str, Any]:
        if value is not _LEFT_OUT:
            if isinstance(type, msgspec.Struct):
                raise TypeError("give a type and a value, or an instance of a registered Struct alone")
            return self._node.registry.to_payload(type, value)
        if isinstance(type, msgspec.Struct):
            return self._node.registry.to_payload(None, type)
        name = self._node.registry.name_of(type)
        raise InvalidMessage(name, "payload", "is missing: give a value after the type")
