"""A simulated node while it runs: its connections, streams and gossip, and what it tells its handler."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from covm.federation.errors import (
    ConnectionFailed,
    ConnectionLimitReached,
    FederationError,
    InvalidAddress,
    NetworkError,
    PeerBanned,
    PeerNotConnected,
    WrongPeer,
)
from covm.federation.network.interface import (
    AddressesChanged,
    ConnectionClosed,
    ConnectionOpened,
    GossipReceived,
    Handler,
    NetworkEvent,
    PeerAdmitted,
    PeerUnadmitted,
)
from covm.federation.network.simulated import limits
from covm.federation.network.simulated.addresses import split_address
from covm.federation.network.simulated.connection import ConnectionEnd, Phase, deny, join_ends
from covm.federation.network.simulated.gossip import GossipState
from covm.federation.network.simulated.outbox import Outbox
from covm.federation.network.simulated.packets import Identify, Packet
from covm.federation.network.simulated.streams import SimulatedStream, not_opened

if TYPE_CHECKING:
    from covm.federation.network.simulated.fabric import SimulatedFabric

AGENT = "covm-simulated"


class _Unanswered(NetworkError):
    """One address that did not lead to a connection."""


def _resolve(wait: asyncio.Future[None]) -> None:
    if not wait.done():
        wait.set_result(None)


def _fail(wait: asyncio.Future[Any], why: FederationError) -> None:
    if not wait.done():
        wait.set_exception(why)


class Node:
    """Everything that lives between `start` and `stop`. It owns its connections; they report to it."""

    def __init__(
        self,
        fabric: SimulatedFabric,
        peer_id: str,
        handler: Handler,
        hello: bytes,
        *,
        listen: Sequence[str],
        max_connections: int,
        protocols: tuple[str, ...],
    ) -> None:
        self.peer_id = peer_id
        self.protocols = protocols
        self.drops: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._fabric = fabric
        self._hello = hello
        self._max_connections = max_connections
        self._outbox = Outbox(handler, fabric.traffic)
        self._ends: dict[int, ConnectionEnd] = {}
        self._admitted: dict[str, list[ConnectionEnd]] = {}
        self._streams: dict[int, SimulatedStream] = {}
        self._blocked: set[str] = set()
        self._waits: dict[asyncio.Future[None], None] = {}
        self._last_connection = self._last_stream = 0
        self._silent = False
        self.gossip = GossipState(self, self.drops)
        bound = fabric.bind(self, listen)
        self.addresses = tuple(f"{address}/p2p/{peer_id}" for address in bound)
        self.emit(AddressesChanged(self.addresses))

    def set_hello(self, hello: bytes) -> None:
        self._hello = hello

    def shut(self, why: FederationError, *, last_word: NetworkEvent | None = None) -> None:
        """Closes everything; who still waits gets `why`. The handler hears the last word, if any, and no more."""
        self._fabric.unbind(self)
        if last_word is not None:
            self.emit(last_word)
            self._outbox.flush()
        self._silent = True
        self._outbox.discard()
        for end in list(self._ends.values()):
            end.close("this node stopped")
        self.gossip.close()
        for wait in self._waits:
            _fail(wait, why)

    def crash(self, *, silent: bool) -> None:
        """Ends as a process that is killed, or silently as a machine that loses power. Its handler hears nothing."""
        self._fabric.unbind(self)
        self._silent = True
        self._outbox.discard()
        for end in list(self._ends.values()):
            if silent:
                end.fall("this node lost power")
            else:
                end.close("this node was killed")
        self.gossip.close()

    def stats(self) -> dict[str, Any]:
        return {
            "connections": len(self._ends),
            "admitted_peers": len(self._admitted),
            "streams": len(self._streams),
            "gossip_undecided": self.gossip.undecided,
            "queue": self._outbox.depth,
            "drops": dict(self.drops),
        }

    # --- connections ---

    async def dial(self, peer: str | None, addresses: Sequence[str]) -> str:
        """Tries the addresses in order; see `interface.Network.dial`."""
        targets = {address: split_address(address) for address in addresses}
        failures: dict[str, NetworkError] = {}
        for address, (base, named) in targets.items():
            try:
                if peer is not None and named not in (None, peer):
                    raise WrongPeer(address, peer, str(named))  # noqa: TRY301 - as if it had been found out there
                return await self._dial_one(address, base, peer or named)
            except (_Unanswered, WrongPeer) as error:
                failures[address] = error
        for failure in failures.values():
            if isinstance(failure, WrongPeer):
                raise failure
        raise ConnectionFailed(peer or ", ".join(addresses), {at: str(error) for at, error in failures.items()})

    def disconnect(self, peer: str, reason: str = "disconnected here") -> None:
        for end in self._ends_with(peer):
            end.close(reason)

    def block(self, peer: str) -> None:
        self._blocked.add(peer)
        self.disconnect(peer, "blocked here")

    def unblock(self, peer: str) -> None:
        self._blocked.discard(peer)

    def end(self, connection: int) -> ConnectionEnd | None:
        return self._ends.get(connection)

    def sever_unreachable(self) -> None:
        for end in list(self._ends.values()):
            if not self._fabric.reaches(self.peer_id, end.peer):
                end.sever("the network is cut")

    async def _dial_one(self, address: str, base: str, expected: str | None) -> str:
        if expected is not None:
            self._check_dialable(expected, address)
        listener = self._fabric.listener(base)
        link = None if listener is None else self._fabric.link(self.peer_id, listener.peer_id)
        # The transport's handshake: there and back.
        await self._pause(link.delay_s() + link.delay_s() if link else 0.0)
        listener = self._fabric.listener(base)
        if listener is None:
            raise _Unanswered("connection refused: nobody listens there")
        if not self._fabric.reaches(self.peer_id, listener.peer_id):
            raise _Unanswered("no route: the network is cut")
        if expected is not None and expected != listener.peer_id:
            raise WrongPeer(address, expected, listener.peer_id)
        self._check_dialable(listener.peer_id, address)
        self._connect(listener, base)
        return listener.peer_id

    def _check_dialable(self, peer: str, address: str) -> None:
        if peer == self.peer_id:
            raise InvalidAddress(address, "this node itself answers there")
        if peer in self._blocked:
            raise PeerBanned(peer, "", "it is lifted")
        if len(self._ends) >= self._max_connections:
            raise ConnectionLimitReached(self._max_connections)
        if len(self._ends_with(peer)) >= limits.CONNECTIONS_PER_PEER:
            raise ConnectionLimitReached(limits.CONNECTIONS_PER_PEER)

    def _connect(self, listener: Node, base: str) -> None:
        link, traffic = self._fabric.link(self.peer_id, listener.peer_id), self._fabric.traffic
        mine = self._new_end(listener.peer_id, f"{base}/p2p/{listener.peer_id}", outbound=True)
        denial = listener._denial(self.peer_id)
        if denial is not None:
            listener.drops[denial] += 1
            deny(link, traffic, mine)
        else:
            theirs = listener._new_end(self.peer_id, self._fabric.source_address(), outbound=False)
            join_ends(link, traffic, mine, theirs)
            listener._greet(theirs)
        self._greet(mine)

    def _denial(self, peer: str) -> str | None:
        """Why a connection from the peer is closed as soon as it stands, if it is."""
        if peer in self._blocked:
            return "inbound_blocked"
        if len(self._ends) >= self._max_connections or len(self._ends_with(peer)) >= limits.CONNECTIONS_PER_PEER:
            return "too_many_connections"
        strangers = sum(1 for end in self._ends.values() if not end.outbound and end.phase is not Phase.OPEN)
        return "too_many_strangers" if strangers >= limits.STRANGERS_INBOUND else None

    def _new_end(self, peer: str, address: str, *, outbound: bool) -> ConnectionEnd:
        self._last_connection += 1
        end = ConnectionEnd(self, self._last_connection, peer, address, outbound=outbound)
        self._ends[end.number] = end
        self.emit(ConnectionOpened(end.number, peer, address, outbound))
        return end

    def _greet(self, end: ConnectionEnd) -> None:
        seen_at = end.address.partition("/p2p/")[0]
        end.greet(Identify(AGENT, self.protocols, self.addresses, seen_at), self._hello)

    def _ends_with(self, peer: str) -> list[ConnectionEnd]:
        return [end for end in self._ends.values() if end.peer == peer]

    async def _pause(self, delay_s: float) -> None:
        """Waits on the loop's time, but no longer than the node lives."""
        wait: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_later(delay_s, _resolve, wait)
        self._waits[wait] = None
        self._fabric.traffic.began()
        try:
            await wait
        finally:
            timer.cancel()
            del self._waits[wait]
            self._fabric.traffic.ended()

    # --- streams ---

    async def open_stream(self, peer: str, protocol: str) -> int:
        """Asks for a stream on the oldest admitted connection; see `interface.Network.open_stream`."""
        ends = self._admitted.get(peer)
        if not ends:
            raise PeerNotConnected(peer)
        opened = ends[0].streams.open(protocol)
        late = not_opened(peer, protocol, "open timed out")
        timer = self._loop.call_later(limits.STREAM_OPEN_DEADLINE_S, _fail, opened, late)
        try:
            return await opened
        finally:
            timer.cancel()

    def stream(self, number: int) -> SimulatedStream | None:
        return self._streams.get(number)

    # --- what connections, streams and gossip report and ask ---

    def emit(self, event: NetworkEvent) -> None:
        if not self._silent:
            self._outbox.put(event)

    def emit_gossip(self, event: GossipReceived) -> list[int]:
        return [] if self._silent else self._outbox.put_gossip(event)

    def send_to(self, peer: str, packet: Packet) -> bool:
        ends = self._admitted.get(peer)
        return ends[0].send(packet) if ends else False

    def cut_off(self, peer: str) -> None:
        self.drops["peer_cut_off"] += 1
        self.disconnect(peer, "it sent too much that is invalid")

    def end_opened(self, end: ConnectionEnd) -> None:
        self._admitted.setdefault(end.peer, []).append(end)
        self.emit(PeerAdmitted(end.peer, end.number))
        self.gossip.peer_opened(end.peer)

    def end_closed(self, end: ConnectionEnd, reason: str) -> None:
        del self._ends[end.number]
        self.emit(ConnectionClosed(end.number, end.peer, reason, len(self._ends_with(end.peer))))
        admitted = self._admitted.get(end.peer, [])
        if end in admitted:
            admitted.remove(end)
            if not admitted:
                del self._admitted[end.peer]
                self.gossip.peer_gone(end.peer)
                self.emit(PeerUnadmitted(end.peer))

    def is_followed(self) -> bool:
        return self._silent and self._fabric.runs(self.peer_id)

    def next_stream_number(self) -> int:
        self._last_stream += 1
        return self._last_stream

    def register_stream(self, stream: SimulatedStream) -> None:
        self._streams[stream.name.number] = stream

    def forget_stream(self, stream: SimulatedStream) -> None:
        del self._streams[stream.name.number]

    def find_stream(self, peer: str, protocol: str, *, inbound: bool) -> SimulatedStream | None:
        wanted = (peer, protocol, inbound)
        for stream in self._streams.values():
            if (stream.name.peer, stream.name.protocol, stream.name.inbound) == wanted and not stream.hidden:
                return stream
        return None
