"""Every peer this node has to do with: live records, and the address book behind them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from covm.federation.clock import Clock
from covm.federation.peers.book import MAX_PEERS, AddressBook
from covm.federation.peers.dial_order import in_order
from covm.federation.peers.record import AddressStatus, PeerRecord, PeerState, PeerStatus
from covm.federation.peers.trimming import Held, Standing, displaced_by
from covm.federation.ports import Control
from covm.federation.wire.multiaddr import hosts_of

MAX_RECORDS = 2 * MAX_PEERS
"""Live records: everyone connected, kept or banned lately, everyone in the book, and the latest strangers."""


class Roster:
    """Records by peer id. One that nothing depends on makes room when there are too many."""

    def __init__(
        self, clock: Clock, own_addresses: Callable[[], Sequence[str]], is_member: Callable[[str], bool]
    ) -> None:
        """`own_addresses` says where this node listens, `is_member` whose node somebody's is."""
        self._clock = clock
        self._own_addresses = own_addresses
        self.is_member = is_member
        self._records: OrderedDict[str, PeerRecord] = OrderedDict()
        self.book = AddressBook(needed=self._is_needed, is_member=is_member)
        self.recalled: set[str] = set()
        """Peers of earlier starts; where they are has to be heard anew."""

    def __iter__(self) -> Iterator[PeerRecord]:
        return iter(list(self._records.values()))

    def knows(self, peer: str) -> bool:
        """Whether anything was ever heard of the peer here."""
        return peer in self._records or peer in self.book or peer in self.recalled

    def get(self, peer: str) -> PeerRecord | None:
        return self._records.get(peer)

    def obtain(self, peer: str) -> PeerRecord:
        """The peer's record, made if there is none."""
        record = self._records.get(peer)
        if record is None:
            self._make_room()
            record = self._records[peer] = PeerRecord(peer, self._clock.now_ms())
        return record

    def connected(self) -> list[PeerRecord]:
        return [record for record in self._records.values() if record.is_connected]

    @property
    def places_taken(self) -> int:
        """Peers that hold a connection, whether they are *connected* yet or not."""
        return sum(1 for record in self._records.values() if record.admitted and not record.leaving)

    @property
    def places_reserved(self) -> int:
        """Places of pinned peers that are not here, and not banned."""
        absent = (record for record in self._records.values() if record.pinned and not record.admitted)
        return sum(1 for record in absent if record.state is not PeerState.BANNED)

    def standing(self, record: PeerRecord) -> Standing:
        """Why the peer has a place, or would get one."""
        if record.pinned:
            return Standing.PINNED
        if record.kept or record.wanted:
            return Standing.KEPT
        return Standing.MEMBER if self.is_member(record.peer) else Standing.OTHER

    def displaced_by(self, newcomer: Standing) -> PeerRecord | None:
        """Who gives its place to a newcomer of this standing, if anybody does."""
        now_s = self._clock.monotonic_s()
        held = (
            Held(
                record.peer,
                self.standing(record),
                record.is_direct,
                record.state is not PeerState.SUSPECT,
                record.admitted_s,
            )
            for record in self._records.values()
            if record.admitted and not record.leaving
        )
        peer = displaced_by(newcomer, held, now_s)
        return self._records[peer] if peer is not None else None

    def statuses(self, control: Control) -> list[PeerStatus]:
        """Everyone known, connected ones first."""
        records = [*self._records.values()]
        records += [PeerRecord(peer, 0) for peer in self.book.peers() if peer not in self._records]
        order = list(PeerState)
        front = (PeerState.CONNECTED, PeerState.SUSPECT)
        records.sort(key=lambda record: (record.state not in front, order.index(record.state), record.peer))
        return [self.status(record, control) for record in records]

    def dial_order(self, peer: str) -> list[str]:
        """Where the peer may be dialled, the best first."""
        known = self.book.known(peer)
        return in_order(known, hosts_of(self._own_addresses())) if len(known) > 1 else list(known)

    def addresses(self, record: PeerRecord) -> tuple[str, ...]:
        """Where the peer can be dialled, as `PeerStatus.addresses` says."""
        return _addresses(record, self.dial_order(record.peer))

    def _ways(self, peer: str, order: Sequence[str]) -> tuple[AddressStatus, ...]:
        known = self.book.known(peer)
        return tuple(
            AddressStatus(
                f"{address}/p2p/{peer}",
                known[address].source.name.lower(),
                known[address].first_ms,
                known[address].heard_ms,
                known[address].tried_ms,
                known[address].worked_ms,
                known[address].error,
            )
            for address in order
        )

    def status(self, record: PeerRecord, control: Control) -> PeerStatus:
        pulse, info, order = record.pulse, record.info, self.dial_order(record.peer)
        measured_ms = record.round_trip_ms if record.is_connected else None
        messages_in, bytes_in, messages_out, bytes_out = control.traffic(record.peer)
        waiting = control.waiting_for(record.peer)
        return PeerStatus(
            peer_id=record.peer,
            name=info.name if info is not None else record.name,
            state=record.state.value,
            why=record.why,
            since_ms=record.since_ms,
            addresses=_addresses(record, order),
            ways=self._ways(record.peer, order),
            direction=record.direction,
            relayed=record.is_relayed,
            relayed_why=_relayed_why(record),
            round_trip_ms=pulse.round_trip_ms if pulse and pulse.estimates else measured_ms,
            clock_offset_ms=pulse.clock_offset_ms if pulse is not None else None,
            version=info.version if info is not None else "",
            protocol=".".join(map(str, info.protocol)) if info is not None else "",
            agent=record.agent,
            kept=record.kept,
            pinned=record.pinned,
            queued=waiting.messages,
            queued_bytes=waiting.size_bytes,
            oldest_queued_ms=waiting.oldest_ms,
            last_error=record.last_error or waiting.trouble,
            next_try_ms=self._next_try_ms(record),
            messages_in=messages_in,
            bytes_in=bytes_in,
            messages_out=messages_out,
            bytes_out=bytes_out,
        )

    def clock_offsets_ms(self) -> dict[str, float]:
        """How far the clocks of connected peers are ahead of ours, of those that have been measured."""
        pulses = ((record.peer, record.pulse) for record in self if record.is_connected)
        return {peer: ms for peer, pulse in pulses if pulse is not None and (ms := pulse.clock_offset_ms) is not None}

    def _next_try_ms(self, record: PeerRecord) -> int | None:
        delay_s = record.retry_at_s - self._clock.monotonic_s()
        if record.is_connected or record.parked or record.state is PeerState.BANNED or delay_s <= 0:
            return None
        return self._clock.now_ms() + round(delay_s * 1000)

    def _is_needed(self, peer: str) -> bool:
        record = self._records.get(peer)
        return record is not None and not record.is_idle

    def _make_room(self) -> None:
        if len(self._records) < MAX_RECORDS:
            return
        # What the operator sent away is forgotten last: without its record, hints would bring it back.
        for parked in (False, True):
            for peer, record in self._records.items():
                if record.is_idle and record.parked is parked:
                    del self._records[peer]
                    return


def _addresses(record: PeerRecord, order: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{address}/p2p/{record.peer}" for address in dict.fromkeys([*record.reached_at, *order]))


def _relayed_why(record: PeerRecord) -> str:
    if not record.is_relayed:
        return ""
    relay = next((each.relay for each in record.connections.values() if each.relay), "")
    through = f"through {relay}" if relay else "through a relay"
    return f"{through}: {record.relayed_why}" if record.relayed_why else through
