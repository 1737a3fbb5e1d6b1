"""Dialling: one try over all addresses of a peer, and the tries that the operator asks for."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from covm.federation.clock import Clock, Random
from covm.federation.config import ConnectionRetry
from covm.federation.errors import (
    AccessError,
    ConnectionFailed,
    ConnectionLimitReached,
    InvalidAddress,
    NetworkError,
    NotStarted,
    UnknownPeer,
    WrongPeer,
)
from covm.federation.network.interface import Network
from covm.federation.peers.backoff import Backoff
from covm.federation.peers.bans import Bans
from covm.federation.peers.book import CONFIGURED, Source
from covm.federation.peers.record import PeerRecord, PeerState
from covm.federation.peers.roster import Roster
from covm.federation.peers.target import parse_address, parse_dialled, parse_peer_id
from covm.federation.peers.trimming import Standing
from covm.federation.wire.display import shown
from covm.federation.wire.limits import MAX_REASON

logger = logging.getLogger("covm.federation.peers")

DIAL_DEADLINE_S = 30.0
"""For all of a peer's addresses together; the network's own deadlines for each are shorter."""

JOIN_DEADLINE_S = 30.0
"""The longest that a join may take: where one side shows the other who is a member. The network ends it by itself."""

SETTLE_DEADLINE_S = 15.0
"""From being let in to *connected*: HELLO on the direct streams has 10 s."""


class Dialler:
    """The part of the peer manager that reaches out."""

    def __init__(
        self,
        *,
        network: Network,
        roster: Roster,
        bans: Bans,
        retry: ConnectionRetry,
        max_connections: int,
        clock: Clock,
        random: Random,
    ) -> None:
        self._network = network
        self._roster = roster
        self._bans = bans
        self._max_retries = retry.max_retries
        self._backoff = Backoff(retry.base_delay.total_seconds(), retry.max_delay.total_seconds())
        self._max_connections = max_connections
        self._clock = clock
        self._random = random
        self._reaching: Counter[str | None] = Counter()
        self._attempts: Counter[str] = Counter()
        self._connects: set[asyncio.Timeout] = set()
        self._is_stopped = False

    def stop(self) -> None:
        """Ends every `connect` that is under way, whatever it waits for, with `NotStarted`. There is none after it."""
        self._is_stopped = True
        for connect in self._connects:
            connect.reschedule(asyncio.get_running_loop().time())

    async def connect(self, target: str) -> str:
        """Connects as `FederationService.connect_peer` promises; returns the peer id."""
        peer, addresses = self._resolve(target)
        record = self._roster.get(peer) if peer is not None else None
        if record is not None:
            record.parked = record.left = False
            record.failures, record.retry_at_s = 0, 0.0
            if record.is_connected:
                record.kept = True
                return record.peer
        if self._roster.places_taken >= self._max_connections and not self._can_displace():
            raise ConnectionLimitReached(self._max_connections)
        with self.attempting(peer), self._wanting(peer):
            record = await self._connect(peer, addresses)
        record.kept, record.parked = True, False
        return record.peer

    def _can_displace(self) -> bool:
        return self._roster.displaced_by(Standing.KEPT) is not None

    def is_reaching(self, record: PeerRecord) -> bool:
        """Whether a dial of ours leads to this peer, or may: one to an address without a peer id."""
        return bool(self._reaching[record.peer] or self._reaching[None] or record.waiters)

    async def dial(self, record: PeerRecord) -> None:
        """One try over all of a peer's addresses, until it is *connected*. Raises `NetworkError`, `AccessError`."""
        await self._dial(record.peer, self._roster.dial_order(record.peer))

    async def pause(self, record: PeerRecord | None, failures: int, delay_s: float) -> None:
        """Waits for the next try, or until something says that it is worth another (`PeerRecord.hurry`)."""
        if record is None:
            await asyncio.sleep(delay_s)
            return
        record.retry_at_s = self._clock.monotonic_s() + delay_s
        if not record.connections and record.state is not PeerState.BANNED:
            why = f"try {failures} failed, the next is in {delay_s:.1f} s"
            record.become(PeerState.BACKING_OFF, why, self._clock.now_ms())
        record.hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await record.hurry.wait()

    @contextmanager
    def attempting(self, peer: str | None) -> Iterator[None]:
        """Whoever tries last to reach the peer leaves it at rest, however the trying ends: being cancelled, too."""
        if peer is None:
            yield
            return
        self._attempts[peer] += 1
        try:
            yield
        finally:
            self._attempts[peer] -= 1
            if not self._attempts[peer]:
                del self._attempts[peer]
                self._leave_at_rest(peer)

    @contextmanager
    def _wanting(self, peer: str | None) -> Iterator[None]:
        """The peer has a place as long as somebody waits for it."""
        if peer is None:
            yield
            return
        record = self._roster.obtain(peer)
        record.wanted += 1
        try:
            yield
        finally:
            record.wanted -= 1

    def note_failure(self, record: PeerRecord, why: str) -> None:
        """The last try to reach it failed."""
        record.last_error = why
        if record.state is PeerState.DIALLING:
            record.become(PeerState.KNOWN, why, self._clock.now_ms())

    def _leave_at_rest(self, peer: str) -> None:
        record = self._roster.get(peer)
        if record is None or record.state not in (PeerState.DIALLING, PeerState.BACKING_OFF):
            return
        why = record.why if record.state is PeerState.DIALLING else ""
        record.become(PeerState.KNOWN, why or "nobody tries to reach it any more", self._clock.now_ms())

    def _resolve(self, target: str) -> tuple[str | None, list[str]]:
        if target.startswith("/"):
            address, peer = parse_dialled(target)
            addresses = [address]
            if peer is not None and peer != self._network.peer_id:
                self._roster.book.add(peer, addresses, Source.OPERATOR, self._clock.now_ms())
        else:
            peer = parse_peer_id(target)
            addresses = self._roster.dial_order(peer)
        if peer == self._network.peer_id:
            raise InvalidAddress(target, "it is this node itself")
        if peer is not None and (ban := self._bans.get(peer)) is not None:
            raise ban.as_error()
        if not addresses:
            raise UnknownPeer(target)
        return peer, addresses

    async def _connect(self, peer: str | None, addresses: list[str]) -> PeerRecord:
        """Tries as often as configured, and until `stop`."""
        if self._is_stopped:
            raise NotStarted
        ending = asyncio.timeout(None)
        try:
            async with ending:
                self._connects.add(ending)
                try:
                    return await self._try_again(peer, addresses)
                finally:
                    self._connects.discard(ending)
        except TimeoutError:
            if not ending.expired():
                raise
            raise NotStarted from None

    async def _try_again(self, peer: str | None, addresses: list[str]) -> PeerRecord:
        failures = 0
        while True:
            try:
                return await self._dial(peer, addresses)
            except ConnectionFailed:
                failures += 1
                if failures > self._max_retries:
                    raise
                if self._is_stopped:
                    # A deadline of the dial's own may have come in the same moment and taken the place of `stop`.
                    raise NotStarted from None
                record = self._roster.obtain(peer) if peer is not None else None
                await self.pause(record, failures, self._backoff.delay_s(failures, self._random))
                if record is not None:
                    if record.is_connected:
                        return record
                    addresses = self._roster.dial_order(record.peer) or addresses

    async def _dial(self, peer: str | None, addresses: list[str]) -> PeerRecord:
        """One try over all addresses, until the peer is *connected*."""
        if peer is not None:
            self._begin(peer, addresses)
        try:
            found = await self._reach(peer, addresses)
            record = self._roster.obtain(found)
            await self._until_connected(record, addresses)
        except (NetworkError, AccessError) as error:
            if peer is not None:
                attempts = error.attempts if isinstance(error, ConnectionFailed) else {}
                self._roster.book.note_failed(peer, _by_address(attempts))
                if isinstance(error, NetworkError):
                    self.note_failure(self._roster.obtain(peer), str(error))
            raise
        if peer is None:
            self._roster.book.add(found, addresses, Source.OPERATOR, self._clock.now_ms())
        return record

    def _begin(self, peer: str, addresses: Sequence[str]) -> None:
        if (ban := self._bans.get(peer)) is not None:
            raise ban.as_error()
        if not addresses:
            raise ConnectionFailed(peer, {}, hint="give its address with `covm federation connect`, or wait for a hint")
        record = self._roster.obtain(peer)
        if not record.is_connected:
            record.become(PeerState.DIALLING, "", self._clock.now_ms())
        self._roster.book.note_tried(peer, addresses, self._clock.now_ms())

    async def _reach(self, peer: str | None, addresses: list[str]) -> str:
        for record in self._roster:
            if record.failure is not None and not self.is_reaching(record):
                record.failure = None  # what was before says nothing about this dial
        self._reaching[peer] += 1
        try:
            async with asyncio.timeout(DIAL_DEADLINE_S):
                return await self._try_each(peer, addresses)
        except TimeoutError:
            why = f"no answer within {DIAL_DEADLINE_S:g} s"
            raise ConnectionFailed(peer or addresses[0], dict.fromkeys(addresses, why)) from None
        finally:
            self._reaching[peer] -= 1
            if not self._reaching[peer]:
                del self._reaching[peer]

    async def _try_each(self, peer: str | None, addresses: Sequence[str]) -> str:
        """Where somebody else answers, the peer is not: the address is forgotten, and the others are tried."""
        while True:
            try:
                return await self._network.dial(peer, addresses)
            except WrongPeer as error:
                false, _ = parse_address(error.address)
                left = [address for address in addresses if address != false]
                self._forget(error, false)
                if not left or len(left) == len(addresses):
                    raise
                addresses = left

    def _forget(self, error: WrongPeer, address: str) -> None:
        """What the configuration names stays: it may be right again, and the next start would bring it back."""
        known = self._roster.book.known(error.expected).get(address)
        if known is not None and known.source in CONFIGURED:
            self._roster.book.note_failed(error.expected, {address: str(error)})
            return
        self._roster.book.remove(error.expected, address)
        logger.info("%s; the address is forgotten", error)

    async def _until_connected(self, record: PeerRecord, addresses: list[str]) -> None:
        if record.is_connected:
            return
        failure, record.failure = record.failure, None
        if failure is not None:
            # It turned us away, or broke off, in the same moment as it answered.
            raise failure
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        record.waiters.append(waiter)
        try:
            async with asyncio.timeout(JOIN_DEADLINE_S + SETTLE_DEADLINE_S):
                await waiter
        except TimeoutError:
            why = f"it answered, but was not ready within {JOIN_DEADLINE_S + SETTLE_DEADLINE_S:g} s"
            raise ConnectionFailed(record.peer, dict.fromkeys(addresses, why)) from None
        finally:
            if waiter in record.waiters:
                record.waiters.remove(waiter)


def _by_address(attempts: Mapping[str, str]) -> dict[str, str]:
    """The errors of a dial by the addresses as the book has them, in a form that can be kept."""
    errors = {}
    for address, why in attempts.items():
        plain = parse_address(address)[0] if "/p2p/" in address else address
        errors[plain] = shown(why, limit=MAX_REASON)
    return errors
