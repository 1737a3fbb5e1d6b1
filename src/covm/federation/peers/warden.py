"""The warden: sets bans, lifts them, and sees to it that they end in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from covm.federation.clock import Clock
from covm.federation.errors import NotAuthorized, StoreError, UnknownPeer
from covm.federation.events import EventHub, PeerDisconnected, PeerWasBanned, PeerWasUnbanned
from covm.federation.network.interface import Network
from covm.federation.peers.bans import MAX_BAN_REASON, MAX_BANS, Ban, Bans
from covm.federation.peers.record import PeerState
from covm.federation.peers.roster import Roster
from covm.federation.peers.target import parse_peer_id
from covm.federation.wire.display import shown
from covm.federation.wire.limits import MAX_TIME_MS
from covm.federation.wire.member_id import is_member_id

logger = logging.getLogger("covm.federation.peers")


EXPIRY_PERIOD_S = 1.0
"""How often the ends of bans are looked at: a ban lasts at most this much longer than it should."""


class Warden:
    """The shell around `Bans`: what the operator decides is saved first, then done.

    What time decides is done first: a ban ends also when that cannot be saved.
    """

    def __init__(
        self,
        network: Network,
        roster: Roster,
        bans: Bans,
        save: Callable[[Sequence[Ban]], Awaitable[None]],
        clock: Clock,
        hub: EventHub,
        nodes_of: Callable[[str], list[str]] | None = None,
    ) -> None:
        """`nodes_of` gives the nodes of a member by its id."""
        self._nodes_of = nodes_of or (lambda _: [])
        self._network = network
        self._roster = roster
        self._bans = bans
        self._save = save
        self._clock = clock
        self._hub = hub
        self._ends_s: dict[str, float] = {}
        """When each ban is over by the clock that only goes forward: a wall clock set back prolongs none."""
        self._is_unsaved = False
        self._saving = asyncio.Lock()

    def start(self) -> None:
        """Puts the bans of an earlier life in force."""
        for ban in self._bans.all():
            self._enforce(ban)

    async def ban(self, peer: str, duration: timedelta | None, reason: str) -> Ban:
        """Raises `NotAuthorized` for this node itself, `InvalidAddress` for what is no peer id."""
        peer = peer if is_member_id(peer) else parse_peer_id(peer)
        if self._network.peer_id in self._banned_by(peer):
            raise NotAuthorized("banning this node itself", "a node needs itself")
        if duration is not None and duration <= timedelta(0):
            raise ValueError(f"a ban cannot last {duration}; give a positive duration, or none at all")
        if len(self._bans) >= MAX_BANS and peer not in self._bans:
            raise NotAuthorized("another ban", f"{MAX_BANS:,} peers are banned already; lift some first")
        now_ms = self._clock.now_ms()
        until_ms = None if duration is None else min(now_ms + int(duration.total_seconds() * 1000), MAX_TIME_MS)
        ban = Ban(peer, shown(reason, limit=MAX_BAN_REASON), now_ms, until_ms)
        async with self._saving:
            await self._keep([*(each for each in self._bans.all() if each.peer != peer), ban])
            self._bans.add(ban)
            self._enforce(ban)
        self._hub.emit(PeerWasBanned(peer, ban.reason, until_ms))
        return ban

    async def unban(self, peer: str) -> None:
        """Raises `UnknownPeer` when it is not banned."""
        async with self._saving:
            if peer not in self._bans:
                raise UnknownPeer(peer)
            await self._keep([ban for ban in self._bans.all() if ban.peer != peer])
            if peer in self._bans:  # its time may have been over meanwhile
                self._release(peer, "lifted by the operator")

    async def run(self) -> None:
        """Ends the bans whose time is over, for as long as the node runs."""
        while True:
            await asyncio.sleep(EXPIRY_PERIOD_S)
            await self._expire()

    async def _expire(self) -> None:
        now_s = self._clock.monotonic_s()
        over = {ban.peer for ban in self._bans.expired(self._clock.now_ms())}
        over.update(peer for peer, end_s in self._ends_s.items() if end_s <= now_s)
        for peer in sorted(over):
            self._release(peer, "over")
        if over or self._is_unsaved:
            async with self._saving:
                await self._try_to_keep()

    async def _keep(self, bans: Sequence[Ban]) -> None:
        await self._save(bans)
        self._is_unsaved = False

    async def _try_to_keep(self) -> None:
        try:
            await self._keep(self._bans.all())
        except StoreError as error:
            if not self._is_unsaved:
                logger.warning("bans are over, but are still in the store: %s; it is tried again every second", error)
            self._is_unsaved = True

    def _enforce(self, ban: Ban) -> None:
        self._ends_s.pop(ban.peer, None)
        if ban.until_ms is not None:
            left_s = (ban.until_ms - self._clock.now_ms()) / 1000
            self._ends_s[ban.peer] = self._clock.monotonic_s() + left_s
        for peer in self._banned_by(ban.peer):
            self._send_away(peer, ban)

    def _send_away(self, peer: str, ban: Ban) -> None:
        record = self._roster.obtain(peer)
        record.let_go()
        record.parked = True
        record.resolve(ban.as_error())
        if record.is_connected:
            self._hub.emit(PeerDisconnected(peer, "banned"))
        record.become(PeerState.BANNED, ban.reason, self._clock.now_ms())
        record.pulse = None
        self._network.block(peer)

    def _banned_by(self, peer: str) -> list[str]:
        """The nodes that a ban is about; a member may have more, which the door knows."""
        return self._nodes_of(peer) if is_member_id(peer) else [peer]

    def _release(self, peer: str, why: str) -> None:
        self._bans.lift(peer)
        self._ends_s.pop(peer, None)
        for node in self._banned_by(peer):
            if node not in self._bans:
                self._network.unblock(node)
                self._roster.obtain(node).become(PeerState.KNOWN, f"the ban was {why}", self._clock.now_ms())
        self._hub.emit(PeerWasUnbanned(peer, why))
