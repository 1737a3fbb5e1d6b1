"""Detours: peers that are connected through a relay alone. Why that is so, and now and then a try at a direct way."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Final

from covm.federation.clock import Clock, Random
from covm.federation.config import FederationConfig
from covm.federation.errors import AccessError, NetworkError
from covm.federation.network import interface as net
from covm.federation.peers.backoff import Backoff
from covm.federation.peers.record import PeerRecord
from covm.federation.peers.roster import Roster
from covm.federation.reachability import Punch
from covm.federation.supervisor import Supervisor
from covm.federation.wire.display import shown

logger = logging.getLogger("covm.federation.peers")

LOOK_S: Final = 10.0
"""How often it is looked whether a direct way is to be tried."""

AGAIN: Final = Backoff(120.0, 1800.0)
"""Waits between tries: a router may have opened a port meanwhile, or the peer may have come home to this network."""

DIAL_S: Final = 30.0
"""One try, over all addresses of a peer."""

MAX_PUNCHES: Final = 64
"""Peers of which it is remembered what came of punching a hole."""

MAX_REASON: Final = 300
"""Characters of a reason, in which each address has a part."""

NOT_YET: Final = "no direct way has been found yet"
SWITCHED_OFF: Final = "hole punching is switched off here (enable_hole_punching)"


class Detours:
    """Part of `reach`: hears of the same connections."""

    def __init__(
        self,
        network: net.Network,
        roster: Roster,
        config: FederationConfig,
        supervisor: Supervisor,
        clock: Clock,
        random: Random,
    ) -> None:
        self._network = network
        self._roster = roster
        self._punches_holes = config.enable_hole_punching
        self._why = NOT_YET if config.enable_hole_punching else SWITCHED_OFF
        self._supervisor = supervisor
        self._clock = clock
        self._random = random
        self._punches: OrderedDict[str, Punch] = OrderedDict()
        self._tries: dict[str, tuple[int, float]] = {}
        """Of each peer that is on a detour: how many direct dials were in vain, and when the next is due."""

    def punches(self) -> tuple[Punch, ...]:
        """What came of punching holes, the newest first."""
        return tuple(reversed(self._punches.values()))

    def on_opened(self, event: net.ConnectionOpened) -> None:
        self._judge(event.peer)

    def on_closed(self, event: net.ConnectionClosed) -> None:
        self._judge(event.peer)

    def on_punched(self, event: net.HolePunched) -> None:
        worked = event.connection is not None
        why = "" if worked else shown(event.reason, limit=MAX_REASON)
        now_ms, before = self._clock.now_ms(), self._punches.get(event.peer)
        worked_ms = now_ms if worked else before.worked_ms if before is not None else None
        self._punches[event.peer] = Punch(event.peer, worked, why, now_ms, worked_ms)
        self._punches.move_to_end(event.peer)
        if len(self._punches) > MAX_PUNCHES:
            self._punches.popitem(last=False)
        record = self._roster.get(event.peer)
        if record is not None and record.is_relayed and not worked:
            record.relayed_why = f"hole punching failed: {why}"

    def _judge(self, peer: str) -> None:
        """Whether the peer is on a detour now."""
        record = self._roster.get(peer)
        if record is not None and record.is_relayed:
            record.relayed_why = record.relayed_why or self._why
            self._tries.setdefault(peer, (0, self._clock.monotonic_s() + self._random.uniform(0.5, 1.0) * AGAIN.base_s))
            return
        self._tries.pop(peer, None)
        if record is not None:
            record.relayed_why = ""

    async def run(self) -> None:
        """Tries direct ways, one peer at a time."""
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = self._clock.monotonic_s()
            for peer, (failures, at_s) in list(self._tries.items()):
                record = self._roster.get(peer)
                if at_s <= now_s and record is not None and record.is_connected:
                    await self._try(record, failures)

    async def _try(self, record: PeerRecord, failures: int) -> None:
        direct = [address for address in self._roster.dial_order(record.peer) if "/p2p-circuit" not in address]
        for addresses in (direct, self._way_to_punch_on(record)):
            try:
                async with asyncio.timeout(DIAL_S):
                    if addresses and record.is_relayed:
                        await self._network.dial(record.peer, addresses)
            except (NetworkError, AccessError, TimeoutError) as error:
                logger.debug("no direct way to %s: %s", record.peer, error)
        if record.peer in self._tries:
            pause_s = self._random.uniform(0.5, 1.0) * AGAIN.ceiling_s(failures + 1)
            self._tries[record.peer] = (failures + 1, self._clock.monotonic_s() + pause_s)

    def _way_to_punch_on(self, record: PeerRecord) -> list[str]:
        """Where to open one more relayed connection: the network punches once for each, and a router may be in a better
        mood by now. Whoever opened the first does so, once.
        """
        ways = list(record.connections.values())
        return [ways[0].address] if self._punches_holes and len(ways) == 1 and ways[0].outbound else []
