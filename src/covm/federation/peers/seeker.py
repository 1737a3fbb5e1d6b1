"""The seeker: whom this node dials by itself, and when.

Kept peers (configured, or asked for by the operator) again and again, the first time at once; those that it has been
connected with lately, slowly; hints while there is room to spare.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from enum import IntEnum

from covm.federation.clock import Clock, Random
from covm.federation.config import ConnectionRetry
from covm.federation.errors import AccessError, InvalidAddress, NetworkError
from covm.federation.peers.admission import places_for_hints
from covm.federation.peers.backoff import Backoff
from covm.federation.peers.bans import Bans
from covm.federation.peers.book import Source
from covm.federation.peers.dialler import Dialler
from covm.federation.peers.hints import is_others_turn
from covm.federation.peers.record import PeerRecord, PeerState
from covm.federation.peers.roster import Roster
from covm.federation.peers.target import parse_dialled, parse_peer_id
from covm.federation.supervisor import Supervisor

logger = logging.getLogger("covm.federation.peers")

MAX_DIALS = 8
"""Dials of each kind of peer at once: hostile hints cost a few sockets, and good ones among them still get their turn,
as do those that are remembered."""

REMEMBERED_WAIT_S = 15 * 60.0
"""The longest wait for a peer that is remembered and not kept: a thousand of them are a dial a second."""

REFUSED_WAIT_S = 5.0
"""Who refused this node is left in peace at least so long."""

LASTED_S = 10.0
"""A connection that was shorter counts as a failed try: whoever breaks off again and again is not hammered."""

STEADY_S = 60.0
"""A connection that lasted so long is no accident, and worth having again soon."""

CROSSED = 2
"""Failures in a row that two may have had by dialling each other at the same moment."""

REFUSED = 32
"""Failures in a row as which a refusal counts: it will be refused again for a while."""


class Rank(IntEnum):
    """Who goes first when several wait to be dialled."""

    MEMBER = 0
    REMEMBERED = 1
    HINT = 2


class Seeker:
    """The part of the peer manager that dials without being asked."""

    def __init__(
        self,
        *,
        own_id: str,
        roster: Roster,
        bans: Bans,
        dialler: Dialler,
        retry: ConnectionRetry,
        max_connections: int,
        supervisor: Supervisor,
        clock: Clock,
        random: Random,
    ) -> None:
        self._own_id = own_id
        self._roster = roster
        self._bans = bans
        self._dialler = dialler
        base_s, max_s = retry.base_delay.total_seconds(), retry.max_delay.total_seconds()
        self._kept_wait = Backoff(base_s, max_s)
        self._remembered_wait = Backoff(base_s, max(max_s, REMEMBERED_WAIT_S))
        self._max_connections = max_connections
        self._supervisor = supervisor
        self._clock = clock
        self._random = random
        self._dials: Counter[Rank] = Counter()

    # --- kept peers ---

    def keep(self, target: str, source: Source) -> None:
        """Dials a peer of the configuration now and keeps it, unless it is banned. Raises `InvalidAddress`."""
        plain, peer = parse_dialled(target) if target.startswith("/") else ("", parse_peer_id(target))
        if peer is None:
            raise InvalidAddress(target, "the address of a peer that is to be kept ends in /p2p/<peer id>")
        if peer == self._own_id:
            return
        if plain:
            self._roster.book.add(peer, [plain], source, self._clock.now_ms())
        record = self._roster.obtain(peer)
        record.pinned = record.pinned or source is Source.PINNED
        if peer in self._bans:
            return
        record.kept = True
        self._redial(record)

    def lost(self, record: PeerRecord) -> None:
        """Its last connection is gone. One that had lasted is dialled again at once, any other only after a pause."""
        settled_s, record.settled_s = record.settled_s, None
        if settled_s is not None and self._clock.monotonic_s() - settled_s >= LASTED_S:
            record.failures = 0
        else:
            record.failures += 1
        self._redial(record)

    def _redial(self, record: PeerRecord) -> None:
        """Begins to dial a kept peer again, if nobody does yet."""
        if record.kept and not record.is_redialled:
            record.is_redialled = True
            self._supervisor.launch(self._dial_on(record), f"redial of {record.peer}")

    async def _dial_on(self, record: PeerRecord) -> None:
        """Until it is connected, or no longer wanted. The waits grow to their longest and stay there."""
        record.redial = asyncio.current_task()
        try:
            with self._dialler.attempting(record.peer):
                while record.kept and not record.is_connected:
                    await self._dial_again(record)
        finally:
            record.redial, record.is_redialled = None, False

    async def _dial_again(self, record: PeerRecord) -> None:
        if record.failures:
            delay_s = self._kept_wait.delay_s(record.failures, self._random)
            if record.failures >= REFUSED:
                delay_s = max(delay_s, min(REFUSED_WAIT_S, self._kept_wait.max_s))
            await self._dialler.pause(record, record.failures, delay_s)
        if record.connections:
            # The peer came by itself meanwhile; its own deadline decides what becomes of that.
            record.failures = max(record.failures, 1)
            return
        try:
            await self._dialler.dial(record)
        except (NetworkError, AccessError) as error:
            level = logging.DEBUG if record.failures else logging.INFO
            logger.log(level, "%s; it will be tried again", error)
            self._dialler.note_failure(record, str(error))
            record.failures = record.failures + 1 if not isinstance(error, AccessError) else REFUSED

    # --- remembered peers and hints ---

    def consider(self, peer: str) -> None:
        """Dials a peer of the book, if it is one to be dialled by itself, there is room, and nothing speaks against."""
        record, rank = self._roster.get(peer), self._rank(peer)
        if record is not None and record.kept and not self._roster.book.tried_ms(peer):
            record.hurry.set()  # a pinned peer of whom nothing was known but its id
        if rank is not None and self._has_room(rank) and self._is_free(peer, self._clock.monotonic_s()):
            self._dials[rank] += 1
            self._supervisor.launch(self._dial_once(self._roster.obtain(peer), rank), f"dial of {peer}")

    def consider_all(self) -> None:
        """Dials peers from the book while there is room: members' nodes, then those remembered, then hints.

        Of each, those that were tried longest ago go first.
        """
        if not self._has_room(Rank.MEMBER):
            return
        now_s, book = self._clock.monotonic_s(), self._roster.book
        waiting: dict[Rank, list[tuple[int, str]]] = {rank: [] for rank in Rank}
        for peer in book.peers():
            if self._is_free(peer, now_s) and (rank := self._rank(peer)) is not None:
                waiting[rank].append((book.tried_ms(peer), peer))
        for rank, peers in waiting.items():
            for _, peer in sorted(peers):
                if not self._has_room(rank):
                    break
                self.consider(peer)

    def postpone(self, record: PeerRecord) -> None:
        """Its connection is gone. Hints bring nobody back at once: either side may have had reason to close."""
        now_s = self._clock.monotonic_s()
        is_steady = record.settled_s is not None and now_s - record.settled_s >= STEADY_S
        wait_s = self._kept_wait.base_s if is_steady else self._kept_wait.max_s
        record.retry_at_s = now_s + self._random.uniform(0.5, 1.0) * wait_s
        # Who opened the connection opens it again; dialled from both sides, there would be two.
        record.left = not record.was_outbound

    def hurry(self) -> None:
        """Whatever waits is tried now: the network is another, and what failed before may work."""
        for record in self._roster:
            record.left = False
            record.failures = min(record.failures, 1)
            record.retry_at_s = 0.0
            record.hurry.set()
        self.consider_all()

    def _rank(self, peer: str) -> Rank | None:
        """None for one that is not dialled by itself."""
        book = self._roster.book
        is_remembered = book.is_remembered(peer)
        if not is_remembered and not book.is_found(peer):
            return None
        if self._roster.is_member(peer):
            return Rank.MEMBER
        return Rank.REMEMBERED if is_remembered else Rank.HINT

    def _has_room(self, rank: Rank) -> bool:
        places = self._max_connections if rank is Rank.MEMBER else places_for_hints(self._max_connections)
        return self._dials[rank] < MAX_DIALS and self._roster.places_taken + self._dials.total() < places

    def _is_free(self, peer: str, now_s: float) -> bool:
        """Whether nothing is under way with the peer, and nothing speaks against a try now."""
        record = self._roster.get(peer)
        if record is not None:
            if record.connections or record.retry_at_s > now_s or record.parked or record.kept:
                return False
            if record.is_redialled or record.waiters or record.state is PeerState.DIALLING:
                return False
            if record.left and not self._roster.book.is_found(peer):
                return False
        return peer not in self._bans and not self._is_others_turn(peer)

    def _is_others_turn(self, peer: str) -> bool:
        first_ms = min((known.first_ms for known in self._roster.book.known(peer).values()), default=0)
        return is_others_turn(self._own_id, peer, self._clock.now_ms() - first_ms)

    async def _dial_once(self, record: PeerRecord, rank: Rank) -> None:
        try:
            with self._dialler.attempting(record.peer):
                await self._dialler.dial(record)
        except (NetworkError, AccessError) as error:
            record.failures = record.failures + 1 if not isinstance(error, AccessError) else REFUSED
            record.last_error = str(error)
            record.retry_at_s = self._clock.monotonic_s() + self._wait_s(record, rank)
            logger.debug("dial of %s led nowhere: %s", record.peer, error)
            return
        finally:
            self._dials[rank] -= 1
        # Where one answers, the next may follow at once; where none does, they have their turn each second.
        self.consider_all()

    def _wait_s(self, record: PeerRecord, rank: Rank) -> float:
        if rank is Rank.HINT:
            # Two whose dials have crossed try again soon, by chance not in step. A hint that led nowhere more often
            # waits its longest, so that others have their turn.
            if record.failures <= CROSSED:
                return self._random.uniform(1.0, 5.0) * self._kept_wait.base_s * record.failures
            return self._random.uniform(0.5, 1.0) * self._kept_wait.max_s * min(record.failures, 8)
        wait_s = self._remembered_wait.delay_s(record.failures, self._random)
        return max(wait_s, REFUSED_WAIT_S) if record.failures >= REFUSED else wait_s
