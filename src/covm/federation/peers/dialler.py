"""Dialling: once for the operator, again and again for peers that are kept, now and then for hints."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
from covm.federation.peers.book import Source
from covm.federation.peers.record import PeerRecord, PeerState
from covm.federation.peers.roster import Roster
from covm.federation.peers.target import parse_address, parse_peer_id
from covm.federation.supervisor import Supervisor

logger = logging.getLogger("covm.federation.peers")

MAX_HINT_DIALS = 8
"""Dials of hints at once: hostile hints cost a few sockets, and good ones among them still get their turn."""

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
        supervisor: Supervisor,
        clock: Clock,
        random: Random,
    ) -> None:
        self._network = network
        self._roster = roster
        self._bans = bans
        self._max_retries = retry.max_retries
        self._backoff = Backoff(retry.base_delay.total_seconds(), retry.max_delay.total_seconds())
        self._max_connections = max_connections
        self._supervisor = supervisor
        self._clock = clock
        self._random = random
        self._hint_dials = 0
        self._configured: set[tuple[str, str]] = set()
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
            record.parked = False
            if record.is_connected:
                record.kept = True
                return record.peer
        if self._roster.places_taken >= self._max_connections:
            raise ConnectionLimitReached(self._max_connections)
        with self._attempting(peer):
            record = await self._connect(peer, addresses)
        record.kept, record.parked, record.failures = True, False, 0
        return record.peer

    def keep(self, address: str) -> None:
        """Dials a bootstrap peer now and keeps it, unless it is banned. Raises `InvalidAddress`."""
        plain, peer = parse_address(address)
        if peer is None:
            raise InvalidAddress(address, "a bootstrap peer's address ends in /p2p/<peer id>")
        if peer == self._network.peer_id:
            return
        self._configured.add((peer, plain))
        self._roster.book.add(peer, [plain], Source.BOOTSTRAP, self._clock.now_ms())
        if peer in self._bans:
            return
        record = self._roster.obtain(peer)
        record.kept = True
        self.redial(record)

    def redial(self, record: PeerRecord) -> None:
        """Begins to dial a kept peer again, if nobody does yet."""
        if record.kept and not record.is_redialled:
            record.is_redialled = True
            self._supervisor.launch(self._redial(record), f"redial of {record.peer}")

    def consider_hints(self) -> None:
        """Dials peers from the book while there is room."""
        now_s = self._clock.monotonic_s()
        for peer in self._roster.book.hinted():
            if self._roster.places_taken + self._hint_dials >= self._max_connections:
                return
            if self._hint_dials >= MAX_HINT_DIALS:
                return
            if peer not in self._bans and self._is_free(peer, now_s):
                record = self._roster.obtain(peer)
                self._hint_dials += 1
                self._supervisor.launch(self._dial_hint(record), f"dial of {peer}")

    def is_reaching(self, record: PeerRecord) -> bool:
        """Whether a dial of ours leads to this peer, or may: one to an address without a peer id."""
        return bool(self._reaching[record.peer] or self._reaching[None] or record.waiters)

    def postpone(self, record: PeerRecord) -> None:
        """Hints do not bring a peer back at once: it, or this node, may have had reason to close."""
        record.retry_at_s = self._clock.monotonic_s() + self._random.uniform(0.5, 1.0) * self._backoff.max_s

    def _is_free(self, peer: str, now_s: float) -> bool:
        """Whether nothing is under way with the peer, and nothing speaks against a try now."""
        record = self._roster.get(peer)
        if record is None:
            return True
        busy = record.connections or record.is_redialled or record.waiters or record.state is PeerState.DIALLING
        return not (busy or record.parked or record.kept or record.retry_at_s > now_s)

    def _resolve(self, target: str) -> tuple[str | None, list[str]]:
        if target.startswith("/"):
            address, peer = parse_address(target)
            addresses = [address]
            if peer is not None and peer != self._network.peer_id:
                self._roster.book.add(peer, addresses, Source.OPERATOR, self._clock.now_ms())
        else:
            peer = parse_peer_id(target)
            addresses = self._roster.book.addresses(peer)
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
                await self._pause(peer, failures)

    @contextmanager
    def _attempting(self, peer: str | None) -> Iterator[None]:
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

    def _leave_at_rest(self, peer: str) -> None:
        record = self._roster.get(peer)
        if record is None or record.state not in (PeerState.DIALLING, PeerState.BACKING_OFF):
            return
        why = record.why if record.state is PeerState.DIALLING else ""
        record.become(PeerState.KNOWN, why or "nobody tries to reach it any more", self._clock.now_ms())

    async def _dial(self, peer: str | None, addresses: list[str]) -> PeerRecord:
        """One try over all addresses, until the peer is *connected*."""
        if peer is not None:
            if (ban := self._bans.get(peer)) is not None:
                raise ban.as_error()
            record = self._roster.obtain(peer)
            if not record.is_connected:
                record.become(PeerState.DIALLING, "", self._clock.now_ms())
        try:
            found = await self._reach(peer, addresses)
            record = self._roster.obtain(found)
            await self._until_connected(record, addresses)
        except NetworkError as error:
            if peer is not None:
                self._note_failure(self._roster.obtain(peer), str(error))
            raise
        self._roster.book.add(found, addresses if peer is None else (), Source.OPERATOR, self._clock.now_ms())
        return record

    async def _reach(self, peer: str | None, addresses: list[str]) -> str:
        for record in self._roster:
            if not self.is_reaching(record):
                record.failure = None  # what was before says nothing about this dial
        self._reaching[peer] += 1
        try:
            async with asyncio.timeout(DIAL_DEADLINE_S):
                return await self._try_each(peer, sorted(addresses, key=_is_quic))
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
        if (error.expected, address) in self._configured:
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

    async def _pause(self, peer: str | None, failures: int) -> None:
        delay_s = self._backoff.delay_s(failures, self._random)
        if peer is not None:
            record = self._roster.obtain(peer)
            record.retry_at_s = self._clock.monotonic_s() + delay_s
            if not record.connections and record.state is not PeerState.BANNED:
                why = f"try {failures} failed, the next is in {delay_s:.1f} s"
                record.become(PeerState.BACKING_OFF, why, self._clock.now_ms())
        await asyncio.sleep(delay_s)

    async def _redial(self, record: PeerRecord) -> None:
        """Until it is connected, or no longer wanted. Beyond `max_retries` the waits stay at their longest."""
        record.redial = asyncio.current_task()
        try:
            with self._attempting(record.peer):
                while record.kept and not record.is_connected:
                    await self._redial_once(record)
        finally:
            record.redial, record.is_redialled = None, False

    async def _redial_once(self, record: PeerRecord) -> None:
        if record.failures:
            await self._pause(record.peer, record.failures)
        if record.connections:
            # The peer came by itself meanwhile; its own deadline decides what becomes of that.
            record.failures = max(record.failures, 1)
            return
        try:
            await self._dial(record.peer, self._roster.book.addresses(record.peer))
            record.failures = 0
        except (NetworkError, AccessError) as error:
            level = logging.DEBUG if record.failures else logging.INFO
            logger.log(level, "%s; it will be tried again", error)
            self._note_failure(record, str(error))
            # What was refused will be refused again for a while.
            record.failures = record.failures + 1 if not isinstance(error, AccessError) else 32

    async def _dial_hint(self, record: PeerRecord) -> None:
        try:
            with self._attempting(record.peer):
                await self._dial(record.peer, self._roster.book.addresses(record.peer))
            record.failures = 0
        except (NetworkError, AccessError) as error:
            record.failures += 1
            record.last_error = str(error)
            # A hint that led nowhere waits its longest, so that others have their turn.
            record.retry_at_s = self._clock.monotonic_s() + self._backoff.max_s * min(record.failures, 8)
            logger.debug("hint %s led nowhere: %s", record.peer, error)
        finally:
            self._hint_dials -= 1
        self.consider_hints()

    def _note_failure(self, record: PeerRecord, why: str) -> None:
        record.last_error = why
        if record.state is PeerState.DIALLING:
            record.become(PeerState.KNOWN, why, self._clock.now_ms())


def _is_quic(address: str) -> bool:
    """The core tries one address after the other. TCP comes first: it is refused at once where nobody listens, while a
    QUIC handshake that nobody answers keeps its port for seconds.
    """
    return "/quic-v1" in address
