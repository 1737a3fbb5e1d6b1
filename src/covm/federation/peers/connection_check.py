"""Tests every connection, and has everything dialled again, when this machine has slept or has moved."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from covm.federation.clock import Clock
from covm.federation.events import EventHub, NetworkChanged
from covm.federation.network.interface import Network
from covm.federation.peers.health import Pulse
from covm.federation.peers.network_change import ANSWER_WITHIN_S, NetworkWatch
from covm.federation.peers.record import PeerRecord
from covm.federation.peers.roster import Roster
from covm.federation.supervisor import Supervisor
from covm.federation.wire.multiaddr import hosts_of

logger = logging.getLogger("covm.federation.peers")


class ConnectionCheck:
    """The shell around `network_change`."""

    def __init__(
        self,
        network: Network,
        roster: Roster,
        hurry: Callable[[], None],
        lost: Callable[[PeerRecord, float], None],
        supervisor: Supervisor,
        clock: Clock,
        hub: EventHub,
    ) -> None:
        """`hurry` dials what waits to be dialled, `lost` gives up a peer that was silent for so many seconds."""
        self._network = network
        self._roster = roster
        self._hurry = hurry
        self._lost = lost
        self._supervisor = supervisor
        self._clock = clock
        self._hub = hub
        self._watch = NetworkWatch()
        self._ask: Callable[[PeerRecord], object]

    def meet(self, ask: Callable[[PeerRecord], object]) -> None:
        """Takes what asks a peer for a sign of life."""
        self._ask = ask

    def look(self) -> None:
        """Sees whether something has changed, and acts on it."""
        hosts = hosts_of(self._network.addresses)
        change = self._watch.look(self._clock.now_ms(), self._clock.monotonic_s(), hosts)
        if change is None:
            return
        logger.info("%s; everything is dialled again", change.why)
        self._hub.emit(NetworkChanged(change.why))
        if change.is_loss:
            self._network.network_changed()
            self._test()
        self._hurry()

    def _test(self) -> None:
        """Every connection, which may be dead without either side having been told."""
        asked = [(record, record.pulse, record.pulse.heard_s) for record in self._roster.connected() if record.pulse]
        for record, _, _ in asked:
            self._ask(record)
        self._supervisor.launch(self._give_up_silent(asked), "test of all connections")

    async def _give_up_silent(self, asked: Sequence[tuple[PeerRecord, Pulse, float]]) -> None:
        await asyncio.sleep(ANSWER_WITHIN_S)
        for record, pulse, heard_s in asked:
            if record.pulse is pulse and pulse.heard_s <= heard_s:
                self._lost(record, self._clock.monotonic_s() - heard_s)
