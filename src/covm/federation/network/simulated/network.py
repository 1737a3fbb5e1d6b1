"""`interface.Network` on a simulated fabric: the commands, each of which raises outside `start` and `stop`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from covm import _native
from covm.federation.errors import (
    AlreadyStarted,
    NetworkError,
    NodeFailed,
    NotStarted,
    PeerNotConnected,
)
from covm.federation.network.interface import Handler, NetworkFailed, NotOpened, Opened, Published, Verdict
from covm.federation.network.simulated.node import Node
from covm.federation.network.talk import check_hello, check_talk
from covm.federation.wire.kinds import Kind

if TYPE_CHECKING:
    from covm._native import Keypair
    from covm.federation.network.simulated.fabric import SimulatedFabric

_WHAT = "the simulated network"


class SimulatedNetwork:
    """One node's network, made by `SimulatedFabric.network`; all of `interface.Network`, and three levers for tests.

    `unsubscribe` lets a node leave a topic, `fail` ends the node as a panic of the native core would, `crash` ends it
    as a process or a machine ends that nobody asked.
    """

    def __init__(
        self,
        fabric: SimulatedFabric,
        keypair: Keypair,
        listen: tuple[str, ...],
        max_connections: int,
        protocols: tuple[str, ...],
    ) -> None:
        self._fabric = fabric
        self._keypair = keypair
        self._listen = listen
        self._max_connections = max_connections
        self._protocols = protocols
        self._node: Node | None = None
        self._addresses: tuple[str, ...] = ()
        self._started = False
        self._failure: str | None = None

    @property
    def peer_id(self) -> str:
        return self._keypair.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._addresses

    async def start(self, handler: Handler, hello: bytes) -> None:
        if self._started:
            raise AlreadyStarted(_WHAT)
        check_hello(hello)
        self._node = Node(
            self._fabric,
            self.peer_id,
            handler,
            hello,
            listen=self._listen,
            max_connections=self._max_connections,
            protocols=self._protocols,
        )
        self._started = True
        self._addresses = self._node.addresses

    async def stop(self) -> None:
        if self._node is not None:
            node, self._node = self._node, None
            node.shut(NotStarted(_WHAT))

    def fail(self, reason: str) -> None:
        """Ends the node at once, as a panic does: `NetworkFailed` is the last event, calls raise `NodeFailed`."""
        node = self._running()
        self._node, self._failure = None, reason
        node.shut(NodeFailed(reason), last_word=NetworkFailed(reason))

    def crash(self, *, silent: bool = False) -> None:
        """Ends the node in the middle of whatever it does; what it tries to say from now on raises `NotStarted`.

        What was under way still arrives. Its peers then see the connection close, as when a process is killed; with
        `silent` they see nothing, as when a machine loses power.
        """
        if self._node is not None:
            node, self._node = self._node, None
            node.crash(silent=silent)

    # --- connections ---

    async def dial(self, peer: str | None, addresses: Sequence[str]) -> str:
        return await self._running().dial(peer, addresses)

    async def disconnect(self, peer: str) -> None:
        self._running().disconnect(peer)

    def block(self, peer: str) -> None:
        self._running().block(peer)

    def unblock(self, peer: str) -> None:
        self._running().unblock(peer)

    def admit(self, connection: int) -> None:
        if (end := self._running().end(connection)) is not None:
            end.admit()

    def refuse(self, connection: int, reason: str) -> None:
        if (end := self._running().end(connection)) is not None:
            end.refuse(reason)

    def talk(self, connection: int, frames: Sequence[bytes]) -> bool:
        size_bytes = check_talk(frames)
        end = self._running().end(connection)
        return end is None or end.talk(tuple(frames), size_bytes)

    def grant(self, connection: int, size_bytes: int) -> None:
        if (end := self._running().end(connection)) is not None:
            end.grant(size_bytes)

    def set_hello(self, hello: bytes) -> None:
        check_hello(hello)
        self._running().set_hello(hello)

    async def reserve(self, address: str) -> str:
        """Raises: there are no relays in this network."""
        self._running()
        raise NetworkError(f"no place at {address}: the simulated network has no relays; use libp2p to try them")

    async def drop_reservation(self, relay: str) -> None:  # noqa: ARG002 - there is none to give back
        self._running()

    async def allow_relay(self, peer: str, circuits: int, lasts_s: float) -> None:  # noqa: ARG002 - as `reserve`
        """Raises: there are no relays in this network."""
        self._running()
        raise NetworkError(f"no pass for {peer}: the simulated network has no relays; use libp2p to try them")

    def network_changed(self) -> None:
        """Changes nothing: no address here is ever found out, and none goes while its node runs."""
        self._running()

    # --- envelopes ---

    async def seal(self, kind: Kind, bodies: Sequence[bytes]) -> list[bytes]:
        self._running()
        return self._keypair.seal(kind.value, bodies)

    async def open(self, kind: Kind, envelopes: Sequence[bytes]) -> list[Opened | NotOpened]:
        self._running()
        return [
            NotOpened(opened) if isinstance(opened, str) else Opened(*opened)
            for opened in _native.open_envelopes(kind.value, envelopes)
        ]

    # --- gossip ---

    async def subscribe(self, topic: str) -> None:
        self._running().gossip.subscribe(topic)

    async def unsubscribe(self, topic: str) -> None:
        """Leaves a topic; neighbours hear `TopicLeft`."""
        self._running().gossip.unsubscribe(topic)

    async def publish(self, topic: str, envelopes: Sequence[bytes]) -> list[Published]:
        return self._running().gossip.publish(topic, envelopes)

    def judge(self, verdicts: Sequence[tuple[int, Verdict]]) -> None:
        self._running().gossip.judge(verdicts)

    def charge(self, peer: str, amount: float) -> None:
        self._running().gossip.charge(peer, amount)

    # --- streams ---

    async def open_stream(self, peer: str, protocol: str) -> int:
        try:
            return await self._running().open_stream(peer, protocol)
        except PeerNotConnected:
            self._running()  # says so when it is this node that is gone
            raise

    def try_send(self, stream: int, frames: Sequence[bytes]) -> bool:
        found = self._running().stream(stream)
        if found is None:
            raise PeerNotConnected("at the other end", f"stream {stream} has ended")
        return found.try_send(frames)

    def release(self, stream: int, size_bytes: int) -> None:
        if (found := self._running().stream(stream)) is not None:
            found.release(size_bytes)

    def close_stream(self, stream: int) -> None:
        if (found := self._running().stream(stream)) is not None:
            found.close()

    def stats(self) -> dict[str, Any]:
        """Counts of connections, admitted peers, streams, waiting events and verdicts, and drops by reason."""
        return self._running().stats()

    def _running(self) -> Node:
        if self._failure is not None:
            raise NodeFailed(self._failure)
        if self._node is None:
            raise NotStarted(_WHAT)
        return self._node
