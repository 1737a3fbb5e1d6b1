"""The peer manager: who is let in, who is dialled, who counts as connected, who is banned.

A peer counts as *connected* when both sides admitted each other, HELLO is done on both direct streams, and the peer
listens to the federation's topic: what is published next reaches it.

    known ──> dialling ──> connected <──> suspect ──> lost ──> backing off ──> dialling ...
                  └──> backing off                                        banned: from anywhere
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial

from covm.federation.clock import Clock, Random
from covm.federation.config import FederationConfig
from covm.federation.counters import Counters
from covm.federation.errors import (
    PeerNotConnected,
    UnknownPeer,
)
from covm.federation.events import (
    ClockFoundRight,
    ClockFoundWrong,
    EventHub,
    PeerLost,
    PeerRecovered,
    PeerSuspected,
)
from covm.federation.network import interface as net
from covm.federation.peers.bans import Ban, Bans
from covm.federation.peers.book import Source
from covm.federation.peers.clocks import Clocks
from covm.federation.peers.connection_check import ConnectionCheck
from covm.federation.peers.connections import Connections
from covm.federation.peers.dialler import SETTLE_DEADLINE_S, Dialler
from covm.federation.peers.door import Door
from covm.federation.peers.exchange import PeerExchange
from covm.federation.peers.health import INFOS_AT_ONCE, INFOS_PER_S, clock_is_doubtful
from covm.federation.peers.heartbeat import Heartbeats
from covm.federation.peers.record import PeerRecord, PeerState, PeerStatus, Ping
from covm.federation.peers.roster import Roster
from covm.federation.peers.seeker import Seeker
from covm.federation.peers.warden import Warden
from covm.federation.ports import Control, Membership
from covm.federation.supervisor import Supervisor
from covm.federation.wire.display import shown
from covm.federation.wire.hints import PeerHints
from covm.federation.wire.join import JoinHello
from covm.federation.wire.system import Heartbeat, PeerInfo

logger = logging.getLogger("covm.federation.peers")

UPKEEP_PERIOD_S = 1.0
"""How often bans, deadlines and hints are looked at; each may be that late."""


class PeerManager:
    """The shell around admission, bans, book, health and backoff. It is the `Access` and `Presence` of the others."""

    _control: Control
    _heartbeats: Heartbeats

    def __init__(
        self,
        *,
        network: net.Network,
        roster: Roster,
        bans: Bans,
        config: FederationConfig,
        hello: JoinHello,
        topic: str,
        describe: Callable[[], PeerInfo],
        load: Callable[[], int],
        warden: Warden,
        membership: Membership,
        supervisor: Supervisor,
        clock: Clock,
        random: Random,
        hub: EventHub,
        counters: Counters,
    ) -> None:
        retry, max_connections = config.connection_retry, config.max_connections
        self._network = network
        self._roster = roster
        self._bans = bans
        self._dialler = Dialler(
            network=network,
            roster=roster,
            bans=bans,
            retry=retry,
            max_connections=max_connections,
            clock=clock,
            random=random,
        )
        self._seeker = Seeker(
            own_id=network.peer_id,
            roster=roster,
            bans=bans,
            dialler=self._dialler,
            retry=retry,
            max_connections=max_connections,
            supervisor=supervisor,
            clock=clock,
            random=random,
        )
        self._interval_s = config.heartbeat_interval.total_seconds()
        self._describe = describe
        self._load = load
        self._warden = warden
        self._supervisor = supervisor
        self._clock = clock
        self._hub = hub
        self._membership = membership
        self.door = Door(network, roster, bans, hello, max_connections, hub, counters, clock, self.give_up)
        self.connections = Connections(
            network=network,
            roster=roster,
            bans=bans,
            dialler=self._dialler,
            seeker=self._seeker,
            door=self.door,
            topic=topic,
            supervisor=supervisor,
            clock=clock,
            hub=hub,
            counters=counters,
        )
        hears = self._seeker.consider if config.enable_peer_exchange else None
        self._exchange = PeerExchange(network, roster, bans, membership, hears, clock, random, counters, hub)
        self._clocks = Clocks()
        self.check = ConnectionCheck(network, roster, self._seeker.hurry, self.lost, supervisor, clock, hub)

    def meet(self, control: Control) -> None:
        """Takes the port to the direct streams, which in turn need this manager's."""
        self._control = control
        self._heartbeats = Heartbeats(self, control, self._membership, self._clock, self._interval_s, self._load)
        self.connections.meet(self._greet)
        self._exchange.meet(control, self.connections.note_addresses)
        self.check.meet(self._heartbeats.ask)

    def start(self, bootstrap: Iterable[str], pinned: Iterable[str]) -> None:
        """Blocks the banned, dials the configured peers and those of earlier starts, and begins to keep watch."""
        self._warden.start()
        self._supervisor.keep(self._heartbeats.run, "heartbeats")
        self._supervisor.keep(self._exchange.run, "peer exchange")
        # Each for itself: what fails in one keeps none of the others from its turn.
        self._supervisor.keep(self._warden.run, "end of bans")
        self._supervisor.keep(partial(_regularly, self.connections.watch_deadlines), "deadlines of peers")
        self._supervisor.keep(partial(_regularly, self._seeker.consider_all), "dials of remembered peers and hints")
        self._supervisor.keep(partial(_regularly, self.check.look), "watch of the network")
        for target in pinned:
            self._seeker.keep(target, Source.PINNED)
        for address in bootstrap:
            self._seeker.keep(address, Source.BOOTSTRAP)
        self._seeker.consider_all()

    def recall(self, peers: Iterable[str]) -> None:
        """These were dealt with in earlier starts: they may be written to, wherever they are."""
        self._roster.recalled.update(peers)

    def stop(self) -> None:
        """Ends every `connect` that still waits, with `NotStarted`."""
        self._dialler.stop()

    # --- for users ---

    async def connect(self, target: str) -> str:
        return await self._dialler.connect(target)

    async def disconnect(self, peer: str) -> None:
        record = self._roster.get(peer)
        if record is None and peer not in self._roster.book:
            raise UnknownPeer(peer)
        record = record or self._roster.obtain(peer)
        is_sought = record.kept or (self._roster.book.is_remembered(peer) and not record.parked)
        if record.state is PeerState.BANNED or not (record.connections or is_sought):
            raise PeerNotConnected(peer)
        record.let_go()
        record.parked = True
        # At once and not when the last connection has closed, so that a connect that follows begins anew.
        if record.is_connected:
            self.connections.disconnected(record, PeerState.KNOWN, "disconnected by the operator")
        else:
            record.become(PeerState.KNOWN, "disconnected by the operator", self._clock.now_ms())
        await self._network.disconnect(peer)

    async def ping(self, peer: str, count: int) -> Ping:
        """Raises `UnknownPeer`, `PeerNotConnected`."""
        status, record = self.status(peer), self._roster.get(peer)
        found: list[float] = []
        for _ in range(count):
            if record is None or not record.is_connected:
                raise PeerNotConnected(peer, status.last_error or status.why or "there is no open connection")
            estimate = await self._heartbeats.measure(record)
            found += [estimate.round_trip_ms] if estimate is not None else []
        return Ping(peer, tuple(found), count - len(found), status.relayed, status.relayed_why)

    async def ban(self, peer: str, duration: timedelta | None, reason: str) -> Ban:
        return await self._warden.ban(peer, duration, reason)

    async def unban(self, peer: str) -> None:
        await self._warden.unban(peer)

    def bans(self) -> list[Ban]:
        return self._bans.all()

    def connected_peers(self) -> list[str]:
        return [record.peer for record in self._roster.connected()]

    def statuses(self) -> list[PeerStatus]:
        return self._roster.statuses(self._control)

    def status(self, peer: str) -> PeerStatus:
        """Raises `UnknownPeer`."""
        record = self._roster.get(peer)
        if record is None:
            if peer not in self._roster.book:
                raise UnknownPeer(peer)
            record = PeerRecord(peer, 0)
        return self._roster.status(record, self._control)

    def count_by_state(self) -> dict[str, int]:
        counts: Counter[str] = Counter({"connected": 0, "suspect": 0})
        counts.update(record.state.value for record in self._roster)
        return dict(counts)

    def announce(self) -> None:
        """Something that `PeerInfo` says has changed: tells everyone connected."""
        info = self._describe()
        for record in self._roster.connected():
            self._control.send_control(record.peer, info)

    # --- ports ---

    def is_connected(self, peer: str) -> bool:
        record = self._roster.get(peer)
        return record is not None and record.is_connected

    def is_banned(self, peer: str) -> bool:
        return peer in self._bans

    def may_write_to(self, peer: str) -> None:
        if (ban := self._bans.get(peer)) is not None:
            raise ban.as_error()
        if not self._roster.knows(peer) and self._membership.member_of(peer) is None:
            raise UnknownPeer(peer)

    def clock_is_doubtful(self) -> bool:
        return clock_is_doubtful(self._roster.clock_offsets_ms().values())

    @property
    def own_clock_ahead_ms(self) -> float | None:
        """By how much this node's clock is ahead of most peers', while that is too much; negative: behind."""
        return self._clocks.own_ahead_ms

    def heard(self, peer: str) -> None:
        record = self._roster.get(peer)
        if record is not None:
            self._heartbeats.heard(record)

    def direct_ready(self, peer: str) -> None:
        record = self._roster.obtain(peer)
        record.direct_ready = True
        self.connections.settle(record)

    def direct_lost(self, peer: str, reason: str) -> None:
        record = self._roster.obtain(peer)
        record.direct_ready = False
        record.deadline_s = self._clock.monotonic_s() + SETTLE_DEADLINE_S
        logger.debug("direct stream with %s ended: %s", peer, shown(reason))

    def heartbeat_received(self, peer: str, heartbeat: Heartbeat) -> None:
        record = self._roster.get(peer)
        if record is not None:
            self._heartbeats.received(record, heartbeat)

    def peer_info_received(self, peer: str, info: PeerInfo) -> bool:
        record = self._roster.get(peer)
        if record is None:
            return True
        if not record.infos.take(self._clock.monotonic_s(), INFOS_PER_S, INFOS_AT_ONCE):
            return False
        record.info = info
        self.connections.note_addresses(peer, info.addresses, Source.PEER_INFO)
        self._exchange.changed(record)
        return True

    def peer_hints_received(self, peer: str, hints: PeerHints) -> None:
        record = self._roster.get(peer)
        if record is not None:
            self._exchange.received(record, hints)

    def give_up(self, peer: str, reason: str) -> None:
        record = self._roster.obtain(peer)
        record.why = reason
        self._supervisor.launch(self.connections.drop(record, reason), f"disconnect of {peer}")

    # --- judged by heartbeats ---

    def connected_records(self) -> Iterable[PeerRecord]:
        return self._roster.connected()

    def suspect(self, record: PeerRecord, silent_s: float) -> None:
        record.become(PeerState.SUSPECT, f"silent for {silent_s:.0f} s", self._clock.now_ms())
        self._hub.emit(PeerSuspected(record.peer, silent_s))

    def recovered(self, record: PeerRecord) -> None:
        record.become(PeerState.CONNECTED, "", self._clock.now_ms())
        self._hub.emit(PeerRecovered(record.peer))

    def lost(self, record: PeerRecord, silent_s: float) -> None:
        why = f"silent for {silent_s:.0f} s"
        self._hub.emit(PeerLost(record.peer, silent_s))
        self.connections.disconnected(record, PeerState.LOST, why)
        self._supervisor.launch(self.connections.drop(record, why), f"disconnect of {record.peer}")

    def measured(self) -> None:
        """A peer's clock was measured anew."""
        for change in self._clocks.judge(self._roster.clock_offsets_ms()):
            peer = change.peer or self._network.peer_id
            whose = "this node's clock" if change.peer is None else f"the clock of {peer}"
            if change.is_wrong:
                way = "ahead of" if change.ahead_ms > 0 else "behind"
                logger.warning("%s is %.1f s %s those of others; set it", whose, abs(change.ahead_ms) / 1000, way)
                self._hub.emit(ClockFoundWrong(peer, change.ahead_ms))
            else:
                logger.info("%s is right again", whose)
                self._hub.emit(ClockFoundRight(peer))

    # --- inside ---

    def _greet(self, record: PeerRecord) -> None:
        self._control.send_control(record.peer, self._describe())
        self._heartbeats.ask(record)
        self._exchange.connected(record)


async def _regularly(step: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(UPKEEP_PERIOD_S)
        step()
