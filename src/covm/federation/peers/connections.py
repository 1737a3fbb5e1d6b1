"""Connections with peers: what the network tells of them, and what follows for the peers' records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.errors import ConnectionFailed, NetworkError
from covm.federation.events import EventHub, PeerConnected, PeerDisconnected
from covm.federation.network import interface as net
from covm.federation.peers.bans import Bans
from covm.federation.peers.book import MAX_ADDRESSES, Source
from covm.federation.peers.dialler import JOIN_DEADLINE_S, SETTLE_DEADLINE_S, Dialler
from covm.federation.peers.door import Door, broken_off
from covm.federation.peers.health import Pulse
from covm.federation.peers.record import Connection, PeerRecord, PeerState
from covm.federation.peers.relay_choice import fitting
from covm.federation.peers.roster import Roster
from covm.federation.peers.seeker import Seeker
from covm.federation.peers.target import parse_address
from covm.federation.supervisor import Supervisor
from covm.federation.wire.display import shown
from covm.federation.wire.multiaddr import is_loopback, why_unroutable

logger = logging.getLogger("covm.federation.peers")

PING_WEIGHT = 0.25
"""Weight of libp2p's newest ping in the estimate that stands until heartbeats gave one."""

_SOURCES = {"mdns": Source.MDNS, "kademlia": Source.KADEMLIA}


class Connections:
    """The part of the peer manager that hears the network."""

    def __init__(
        self,
        *,
        network: net.Network,
        roster: Roster,
        bans: Bans,
        dialler: Dialler,
        seeker: Seeker,
        door: Door,
        topic: str,
        supervisor: Supervisor,
        clock: Clock,
        hub: EventHub,
        counters: Counters,
    ) -> None:
        self._network = network
        self._roster = roster
        self._bans = bans
        self._dialler = dialler
        self._seeker = seeker
        self._door = door
        self._topic = topic
        self._supervisor = supervisor
        self._clock = clock
        self._hub = hub
        self._counters = counters
        self._greet: Callable[[PeerRecord], None]

    def meet(self, greet: Callable[[PeerRecord], None]) -> None:
        """Takes what is said to a peer that has become *connected*."""
        self._greet = greet

    # --- events of the network ---

    def on_opened(self, event: net.ConnectionOpened) -> None:
        record = self._roster.obtain(event.peer)
        record.was_outbound = event.outbound or (record.was_outbound and bool(record.connections))
        record.connections[event.connection] = Connection(
            event.address, event.outbound, event.relayed, event.relay or ""
        )
        record.failure, record.leaving = None, False
        if record.parked and event.peer not in self._bans:
            if event.outbound and not self._dialler.is_reaching(record):
                # The core's own search (Kademlia) came by it; the operator did not call it back.
                self._supervisor.launch(self._send_away(record), f"disconnect of {event.peer}")
                return
            record.parked = False
        if not record.is_connected and record.deadline_s is None:
            record.deadline_s = self._clock.monotonic_s() + JOIN_DEADLINE_S + SETTLE_DEADLINE_S

    def on_hello(self, event: net.HelloReceived) -> None:
        record = self._roster.obtain(event.peer)
        # Who was sent away and did not come by itself is not let in; who is banned is told so.
        if not record.parked or event.peer in self._bans:
            self._door.on_hello(event)

    def on_admitted(self, event: net.PeerAdmitted) -> None:
        record = self._roster.obtain(event.peer)
        record.admitted = True
        record.admitted_s = self._clock.monotonic_s()
        if record.deadline_s is not None:
            record.deadline_s = self._clock.monotonic_s() + SETTLE_DEADLINE_S
        self.note_addresses(record.peer, record.claimed, Source.PEER_INFO)
        self.settle(record)

    def on_unadmitted(self, event: net.PeerUnadmitted) -> None:
        record = self._roster.obtain(event.peer)
        record.admitted = record.topic_joined = record.direct_ready = False
        if record.is_connected:
            self.disconnected(record, PeerState.LOST, record.why or "the connection was closed")

    def on_topic_joined(self, event: net.TopicJoined) -> None:
        if event.topic == self._topic:
            record = self._roster.obtain(event.peer)
            record.topic_joined = True
            self.settle(record)

    def on_topic_left(self, event: net.TopicLeft) -> None:
        if event.topic == self._topic:
            record = self._roster.obtain(event.peer)
            record.topic_joined = False
            record.deadline_s = self._clock.monotonic_s() + SETTLE_DEADLINE_S

    def on_closed(self, event: net.ConnectionClosed) -> None:
        record = self._roster.obtain(event.peer)
        ended = record.connections.pop(event.connection, None)
        if event.remaining:
            return
        record.connections.clear()
        record.deadline_s = record.round_trip_ms = None
        record.leaving = False
        why = f"the connection was closed: {event.reason}"
        record.resolve(broken_off(record, why, ended.address if ended is not None and ended.outbound else ""))
        if record.is_connected:
            self.disconnected(record, PeerState.LOST, record.why or why)
        elif record.state is PeerState.DIALLING:
            record.become(PeerState.KNOWN, record.why or why, self._clock.now_ms())
        self._seeker.lost(record)

    def on_identified(self, event: net.PeerIdentified) -> None:
        record = self._roster.get(event.peer)
        if record is None:
            return
        record.agent = record.agent or shown(event.agent, limit=64)
        record.claimed = tuple(fitting(event.addresses, MAX_ADDRESSES))
        if record.admitted:
            self.note_addresses(record.peer, record.claimed, Source.PEER_INFO)

    def on_discovered(self, event: net.PeerDiscovered) -> None:
        if event.peer != self._network.peer_id:
            self.note_addresses(event.peer, event.addresses, _SOURCES.get(event.source, Source.MDNS))
            self._seeker.consider(event.peer)

    def on_ping(self, event: net.PingMeasured) -> None:
        record = self._roster.get(event.peer)
        if record is not None:
            newest, before = event.round_trip_s * 1000, record.round_trip_ms
            record.round_trip_ms = newest if before is None else before + PING_WEIGHT * (newest - before)

    # --- what follows ---

    def settle(self, record: PeerRecord) -> None:
        """Everything may be there now that makes a peer *connected*."""
        if not record.is_complete or record.parked:
            # What still arrives of a peer that was sent away makes it no part of the federation again.
            return
        record.deadline_s = None
        if record.is_connected:
            return
        record.settled_s = self._clock.monotonic_s()
        record.pulse = Pulse(record.settled_s)
        record.left = False
        self.note_addresses(record.peer, record.reached_at, Source.CONNECTED)
        self._roster.book.note_met(record.peer, record.reached_at, self._clock.now_ms())
        record.become(PeerState.CONNECTED, "", self._clock.now_ms())
        record.hurry.set()
        self._greet(record)
        address = next(iter(self._roster.addresses(record)), "")
        self._hub.emit(PeerConnected(record.peer, address, outbound=bool(record.reached_at)))
        record.resolve()

    def disconnected(self, record: PeerRecord, state: PeerState, why: str) -> None:
        record.pulse = None
        record.become(PeerState.KNOWN if record.parked else state, why, self._clock.now_ms())
        self._seeker.postpone(record)
        self._hub.emit(PeerDisconnected(record.peer, why))

    async def _send_away(self, record: PeerRecord) -> None:
        # The operator may have called it back since; a disconnect would end that dial, too.
        if record.parked:
            await self._network.disconnect(record.peer)

    async def drop(self, record: PeerRecord, why: str) -> None:
        await self._network.disconnect(record.peer)
        record.resolve(ConnectionFailed(record.peer, {record.peer: why}))

    def note_addresses(self, peer: str, addresses: Iterable[str], source: Source, giver: str = "") -> None:
        """Keeps those that may be addresses of this peer; what cannot be, is counted.

        `giver` is the peer that named another.
        """
        near, own = self._is_near(giver or (peer if source is Source.PEER_INFO else "")), []
        for text in addresses:
            try:
                address, named = parse_address(text)
            except NetworkError:
                continue  # of a transport that this node does not have, perhaps: no fault of who names it
            if named is not None and named != peer:
                self._counters.drop("address_of_another_peer")
            elif why := why_unroutable(address, near=near):
                self._counters.drop("address_unroutable")
                logger.debug("%s is no address of %s: %s", address, peer, why)
            else:
                own.append(address)
        self._roster.book.add(peer, own, source, self._clock.now_ms(), giver)

    def _is_near(self, giver: str) -> bool:
        """Whether who named an address is on this machine, where loopback leads to the same place."""
        own = self._network.addresses
        if own and all(is_loopback(address) for address in own):
            return True
        record = self._roster.get(giver)
        return record is not None and any(is_loopback(each.address) for each in record.connections.values())

    def watch_deadlines(self) -> None:
        now_s = self._clock.monotonic_s()
        for record in self._roster:
            if record.deadline_s is not None and record.deadline_s <= now_s:
                record.deadline_s = None
                why = "not ready in time after connecting"
                self._supervisor.launch(self.drop(record, why), f"disconnect of {record.peer}")
