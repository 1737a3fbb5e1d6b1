"""The network over libp2p: the native core, driven from one event loop.

The core wakes the loop through a descriptor, once for each batch. `_on_readable` drains what waits, resolves the
futures of finished commands and hands the rest to the handler in one call. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from covm import _native
from covm.federation.errors import (
    AlreadyStarted,
    ConnectionFailed,
    ConnectionLimitReached,
    InvalidAddress,
    MessageTooLarge,
    NetworkError,
    NodeFailed,
    NotStarted,
    PeerBanned,
    PeerNotConnected,
    WrongPeer,
)
from covm.federation.network import interface
from covm.federation.network.interface import (
    STREAM_PROTOCOLS,
    Handler,
    NetworkEvent,
    NetworkFailed,
    NotOpened,
    Opened,
    Published,
    Verdict,
)
from covm.federation.network.talk import check_hello, check_talk
from covm.federation.network.ways import Traversal
from covm.federation.wire.kinds import Kind

MOST_EVENTS_PER_TURN = 1024
"""Events taken in one turn of the loop: some milliseconds of work, then timers and other sockets have their turn."""

SEALED_IN_PLACE = 2
"""Envelopes signed or verified on the loop's own thread: fewer cost less than waking it again (about 50 us)."""

_EVENTS: dict[str, Callable[..., NetworkEvent]] = {
    "addresses": lambda addresses: interface.AddressesChanged(tuple(addresses)),
    "opened": interface.ConnectionOpened,
    "closed": interface.ConnectionClosed,
    "hello": interface.HelloReceived,
    "talked": interface.JoinTalked,
    "talk_sent": interface.JoinTalkSent,
    "refused": interface.JoinRefused,
    "join_failed": interface.JoinFailed,
    "admitted": interface.PeerAdmitted,
    "unadmitted": interface.PeerUnadmitted,
    "topic_joined": interface.TopicJoined,
    "topic_left": interface.TopicLeft,
    "gossip": interface.GossipReceived,
    "gossip_rejected": interface.GossipRejected,
    "stream_opened": interface.StreamOpened,
    "frames": interface.FramesReceived,
    "writable": interface.StreamWritable,
    "stream_closed": interface.StreamClosed,
    "stream_refused": interface.StreamRefused,
    "identified": lambda peer, agent, protocols, addresses, observed: interface.PeerIdentified(
        peer, agent, tuple(protocols), tuple(addresses), observed
    ),
    "discovered": lambda peer, addresses, source: interface.PeerDiscovered(peer, tuple(addresses), source),
    "ping": interface.PingMeasured,
    "reachability": interface.ReachabilityChanged,
    "external_address": interface.ExternalAddressChanged,
    "reservation": interface.ReservationChanged,
    "hole_punch": interface.HolePunched,
    "failed": NetworkFailed,
}


class Libp2pNetwork:
    """`interface.Network` over rust-libp2p: TCP, QUIC, WebSocket; Noise; gossipsub; Kademlia; mDNS.

    `listen` and `announce` are multiaddrs; `kademlia` is a protocol name, or None to do without. Relays, AutoNAT, DCUtR
    and UPnP are as `traversal` says.
    """

    def __init__(
        self,
        keypair: _native.Keypair,
        *,
        listen: Sequence[str],
        agent: str,
        kademlia: str | None = None,
        mdns: bool = False,
        reachability: str = "auto",
        announce: Sequence[str] = (),
        max_connections: int = 50,
        traversal: Traversal = Traversal(),  # noqa: B008 - it cannot change
    ) -> None:
        self._keypair = keypair
        self._listen = list(listen)
        self._agent = agent
        self._kademlia = kademlia
        self._mdns = mdns
        self._reachability = reachability
        self._announce = list(announce)
        self._max_connections = max_connections
        self._traversal = traversal
        self._addresses: tuple[str, ...] = ()
        self._node: _native.Node | None = None
        self._stopping: asyncio.Future[None] | None = None
        self._running = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: Handler | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._failure: str | None = None
        self._started = False

    @property
    def peer_id(self) -> str:
        return self._keypair.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._addresses

    async def start(self, handler: Handler, hello: bytes) -> None:
        if self._started:
            raise AlreadyStarted("the network")
        for address in (*self._listen, *self._announce):
            _transport(address)
        check_hello(hello)
        self._started = True
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._node = _native.Node(
            self._keypair,
            hello=hello,
            agent=self._agent,
            gossip_kind=Kind.MESSAGE.value,
            stream_protocols=STREAM_PROTOCOLS,
            kademlia=self._kademlia,
            mdns=self._mdns,
            reachability=self._reachability,
            announce=self._announce,
            max_connections=self._max_connections,
            **asdict(self._traversal),
        )
        self._running = True
        self._loop.add_reader(self._node.fileno(), self._on_readable)
        try:
            self._set_addresses(await self._result(self._node.listen(self._listen)))
        except _Refused as refused:
            await self.stop()
            raise _listen_error(refused) from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._stopping is not None:
            await asyncio.shield(self._stopping)
        if self._node is None or self._loop is None:
            return
        self._running = False
        self._handler = None
        self._stopping = self._loop.create_future()
        try:
            if self._failure is None:
                await self._result(self._node.stop())
        except (NodeFailed, _native.NodeStopped):
            pass  # it ended by itself in the meantime, and its sockets with it
        finally:
            self._loop.remove_reader(self._node.fileno())
            self._node = None
            self._fail_waiting(NotStarted("the network"))
            self._stopping.set_result(None)

    async def dial(self, peer: str | None, addresses: Sequence[str]) -> str:
        transports = [_transport(address) for address in addresses]
        try:
            found = await self._command(lambda node: node.dial(peer, [transport for transport, _ in transports]))
        except _Refused as refused:
            raise self._dial_error(refused, peer, addresses) from None
        return str(found)

    async def disconnect(self, peer: str) -> None:
        await self._command(lambda node: node.disconnect(peer))

    def block(self, peer: str) -> None:
        self._core().block(peer)

    def unblock(self, peer: str) -> None:
        self._core().unblock(peer)

    def admit(self, connection: int) -> None:
        self._core().admit(connection)

    def refuse(self, connection: int, reason: str) -> None:
        self._core().refuse(connection, reason)

    def talk(self, connection: int, frames: Sequence[bytes]) -> bool:
        check_talk(frames)
        return self._core().talk(connection, frames)

    def grant(self, connection: int, size_bytes: int) -> None:
        self._core().grant(connection, size_bytes)

    def set_hello(self, hello: bytes) -> None:
        check_hello(hello)
        self._core().set_hello(hello)

    async def subscribe(self, topic: str) -> None:
        await self._command(lambda node: node.subscribe(topic))

    async def seal(self, kind: Kind, bodies: Sequence[bytes]) -> list[bytes]:
        if len(bodies) <= SEALED_IN_PLACE:
            self._core()
            return self._keypair.seal(kind.value, bodies)
        return list(await self._command(lambda node: node.seal(kind.value, bodies)))

    async def open(self, kind: Kind, envelopes: Sequence[bytes]) -> list[Opened | NotOpened]:
        if len(envelopes) <= SEALED_IN_PLACE:
            self._core()
            found = _native.open_envelopes(kind.value, envelopes)
        else:
            found = await self._command(lambda node: node.open(kind.value, envelopes))
        return [NotOpened(one) if isinstance(one, str) else Opened(*one) for one in found]

    async def publish(self, topic: str, envelopes: Sequence[bytes]) -> list[Published]:
        try:
            published = await self._command(lambda node: node.publish(topic, envelopes))
        except _Refused as refused:
            if refused.code == "too_large":
                details = dict(refused.details)
                raise MessageTooLarge("the envelope", int(details["size"]), int(details["limit"])) from None
            raise NetworkError(refused.message) from None
        return [Published(gossip_id, peers) for gossip_id, peers in published]

    def judge(self, verdicts: Sequence[tuple[int, Verdict]]) -> None:
        self._core().judge([(handle, int(verdict)) for handle, verdict in verdicts])

    def charge(self, peer: str, amount: float) -> None:
        self._core().charge(peer, amount)

    async def open_stream(self, peer: str, protocol: str) -> int:
        try:
            return int(await self._command(lambda node: node.open_stream(peer, protocol)))
        except _Refused as refused:
            if refused.code == "not_connected":
                raise PeerNotConnected(peer) from None
            raise NetworkError(f"no {protocol} stream to {peer}: {refused.message}") from None

    def try_send(self, stream: int, frames: Sequence[bytes]) -> bool:
        try:
            return self._core().send(stream, frames)
        except ConnectionError:
            raise PeerNotConnected("at the other end", why=f"stream {stream} has ended") from None

    def release(self, stream: int, size_bytes: int) -> None:
        self._core().release(stream, size_bytes)

    def close_stream(self, stream: int) -> None:
        self._core().close_stream(stream)

    async def reserve(self, address: str) -> str:
        transport, relay = _transport(address)
        if relay is None:
            raise InvalidAddress(address, "it names no relay: end it with /p2p/<the relay's peer id>")
        try:
            (through,) = await self._command(lambda node: node.reserve(relay, transport))
        except _Refused as refused:
            raise NetworkError(f"no place at {address}: {refused.message}") from None
        return f"{through}/p2p/{self.peer_id}"

    async def drop_reservation(self, relay: str) -> None:
        await self._command(lambda node: node.drop_reservation(relay))

    async def allow_relay(self, peer: str, circuits: int, lasts_s: float) -> None:
        try:
            await self._command(lambda node: node.allow_relay(peer, circuits, lasts_s))
        except _Refused as refused:
            raise NetworkError(f"no pass for {peer}: {refused.message}") from None

    def network_changed(self) -> None:
        self._core().network_changed()

    def stats(self) -> dict[str, Any]:
        return self._core().stats()

    def _core(self) -> _native.Node:
        if self._failure is not None:
            raise NodeFailed(self._failure)
        if self._node is None or not self._running:
            raise NotStarted("the network")
        return self._node

    async def _command(self, give: Callable[[_native.Node], int]) -> Any:
        node = self._core()
        try:
            command = give(node)
        except _native.NodeStopped:
            raise NotStarted("the network") from None
        except _native.NodeBusy as busy:
            raise NetworkError(f"the network core is busy: {busy}") from None
        return await self._result(command)

    def _result(self, command: int) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[command] = future
        return future

    def _on_readable(self) -> None:
        node = self._node
        if node is None:
            return
        events: list[NetworkEvent] = []
        for name, *fields in node.drain(MOST_EVENTS_PER_TURN):
            if name == "done":
                self._resolve(fields[0], fields[1])
            elif name == "error":
                self._refuse(*fields)
            else:
                events.append(_EVENTS[name](*fields))
        for event in events:
            if isinstance(event, interface.AddressesChanged):
                self._set_addresses(event.addresses)
            elif isinstance(event, NetworkFailed):
                self._failure = event.reason
                self._fail_waiting(NodeFailed(event.reason))
        if events and self._handler is not None:
            self._handler.on_network_events(events)

    def _set_addresses(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(f"{address}/p2p/{self.peer_id}" for address in addresses)

    def _resolve(self, command: int, result: Any) -> None:
        future = self._waiting.pop(command, None)
        if future is not None and not future.done():
            future.set_result(result)

    def _refuse(self, command: int, code: str, message: str, details: list[tuple[str, str]]) -> None:
        future = self._waiting.pop(command, None)
        if future is not None and not future.done():
            future.set_exception(_Refused(code, message, details))

    def _fail_waiting(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(error)

    def _dial_error(self, refused: _Refused, peer: str | None, addresses: Sequence[str]) -> Exception:
        details = dict(refused.details)
        match refused.code:
            case "wrong_peer":
                return WrongPeer(details["address"], details["expected"], details["found"])
            case "invalid_address":
                address, why = refused.details[0]
                return InvalidAddress(address, why)
            case "limit":
                return ConnectionLimitReached(int(details.get("limit", self._max_connections)))
            case "blocked":
                return PeerBanned(peer or "at this address", "", "it is lifted")
            case "relay":
                return ConnectionFailed(peer or ", ".join(addresses), dict.fromkeys(addresses, refused.message))
        attempts = details or dict.fromkeys(addresses, refused.message)
        return ConnectionFailed(peer or ", ".join(addresses), attempts)


class _Refused(NetworkError):
    """A command's failure as the core tells it; never leaves this file."""

    def __init__(self, code: str, message: str, details: list[tuple[str, str]]) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


def _listen_error(refused: _Refused) -> NetworkError:
    return NetworkError(f"{refused.message}; free the port, or listen on another address")


def _transport(address: str) -> tuple[str, str | None]:
    try:
        return _native.parse_multiaddr(address)
    except ValueError as error:
        raise InvalidAddress(address, str(error)) from None
