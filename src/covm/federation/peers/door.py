"""The door: what a peer that connects says of itself in the join exchange, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from covm.federation.clock import Clock
from covm.federation.counters import Counters
from covm.federation.errors import ConnectionFailed, NotAdmitted
from covm.federation.events import EventHub, PeerRefused
from covm.federation.network import interface as net
from covm.federation.peers.admission import no_place, refusal
from covm.federation.peers.bans import Bans
from covm.federation.peers.record import PeerRecord
from covm.federation.peers.roster import Roster
from covm.federation.peers.trimming import PAUSE_S, Standing
from covm.federation.peers.twins import TWO_PROCESSES, is_twin, remembered
from covm.federation.ports import Hearing
from covm.federation.wire.display import shown
from covm.federation.wire.join import JoinHello, Malformed, decode_join_hello

CLOSED_UNSAID = (
    "it answered and then closed without a reason, as nodes do that have no room for another connection or that "
    "banned this one: ask its operator, or try again later"
)
"""Bans and connection limits act before anything can be said, so nobody can spend a node's time by knocking."""

DISPLACED = "its place was needed for a peer that this node rather keeps"


class Door:
    """The shell around `admission`."""

    def __init__(
        self,
        network: net.Network,
        roster: Roster,
        bans: Bans,
        hello: JoinHello,
        max_connections: int,
        hub: EventHub,
        counters: Counters,
        clock: Clock,
        give_up: Callable[[str, str], None],
    ) -> None:
        """`give_up` closes the connections of a peer, for a reason."""
        self._network = network
        self._roster = roster
        self._bans = bans
        self._hello = hello
        self._max_connections = max_connections
        self._hearing: Hearing | None = None
        self._hub = hub
        self._counters = counters
        self._clock = clock
        self._give_up = give_up
        self._displaced_s = -inf
        self._silenced = 0
        """The connection whose talk was refused last: what it still says is no news."""

    def meet(self, hearing: Hearing) -> None:
        """Takes who hears what peers have to say for themselves; without, everybody is let in."""
        self._hearing = hearing

    def on_hello(self, event: net.HelloReceived) -> None:
        record = self._roster.obtain(event.peer)
        try:
            theirs = decode_join_hello(event.hello)
        except Malformed as error:
            self._counters.drop("malformed_hello")
            self._refuse(event.connection, record, f"your HELLO cannot be read: {error.reason}")
            return
        record.name, record.agent = theirs.name, theirs.agent
        ban = self._bans.get(event.peer)
        reason = refusal(self._hello, theirs, ban.reason if ban is not None else None)
        if reason is None and record.admitted and is_twin(record.processes, theirs.process):
            reason = TWO_PROCESSES
        if reason is not None:
            self._refuse(event.connection, record, reason)
            return
        record.processes = remembered(record.processes, theirs.process)
        if self._hearing is None:
            self.let_in(event.connection, event.peer)
        else:
            self._hearing.begin(event.connection, event.peer)

    def let_in(self, connection: int, peer: str) -> None:
        """Whoever this is may take part, and does if there is a place."""
        record = self._roster.obtain(peer)
        standing = self._roster.standing(record)
        is_wanted = standing >= Standing.KEPT
        taken = self._roster.places_taken + (0 if is_wanted else self._roster.places_reserved)
        reason = no_place(taken, self._max_connections, known=record.admitted)
        if reason is not None and (self._displace_for(standing) or is_wanted):
            reason = None
        if reason is None:
            self._network.admit(connection)
        else:
            self._refuse(connection, record, reason)

    def _displace_for(self, newcomer: Standing) -> bool:
        """Has a peer of less standing give its place, if there is one and none did a moment ago."""
        now_s = self._clock.monotonic_s()
        if newcomer is not Standing.PINNED and now_s - self._displaced_s < PAUSE_S:
            return False
        record = self._roster.displaced_by(newcomer)
        if record is None:
            return False
        self._displaced_s = now_s
        record.leaving = True
        self._give_up(record.peer, DISPLACED)
        return True

    def turn_away(self, connection: int, peer: str, reason: str) -> None:
        """Whoever this is may not take part."""
        self._refuse(connection, self._roster.obtain(peer), reason)

    def on_talked(self, event: net.JoinTalked) -> None:
        if event.connection != self._silenced:
            self._silenced = event.connection
            self._refuse(event.connection, self._roster.obtain(event.peer), "this node does not talk before it admits")

    def on_join_refused(self, event: net.JoinRefused) -> None:
        reason = shown(event.reason)
        self._hub.emit(PeerRefused(event.peer, event.peer, reason))
        self._turned_away(self._roster.obtain(event.peer), NotAdmitted(event.peer, event.peer, reason))

    def on_join_failed(self, event: net.JoinFailed) -> None:
        record = self._roster.obtain(event.peer)
        record.resolve(broken_off(record, f"join failed: {event.reason}"))

    def _refuse(self, connection: int, record: PeerRecord, reason: str) -> None:
        self._network.refuse(connection, reason)
        self._hub.emit(PeerRefused(record.peer, self._network.peer_id, reason))
        self._turned_away(record, NotAdmitted(record.peer, self._network.peer_id, reason))

    def _turned_away(self, record: PeerRecord, error: NotAdmitted) -> None:
        if not record.is_connected:
            record.why = error.why
        record.resolve(error)


def broken_off(record: PeerRecord, why: str, address: str = "") -> ConnectionFailed:
    """What a dialer is told whose connection ended before the peer was *connected*."""
    at = address or next(iter(record.reached_at), record.peer)
    error = ConnectionFailed(record.peer, {at: why})
    if not record.admitted:
        error.hint = CLOSED_UNSAID
    return error
