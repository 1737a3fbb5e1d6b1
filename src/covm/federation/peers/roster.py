"""Every peer this node has to do with: live records, and the address book behind them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from covm.federation.clock import Clock
from covm.federation.peers.book import AddressBook
from covm.federation.peers.record import PeerRecord, PeerState, PeerStatus
from covm.federation.ports import Control

MAX_RECORDS = 2_000
"""Live records: everyone connected, kept or banned lately, and the latest strangers."""


class Roster:
    """Records by peer id. One that nothing depends on makes room when there are too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: OrderedDict[str, PeerRecord] = OrderedDict()
        self.book = AddressBook(needed=self._is_needed)
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
        return sum(1 for record in self._records.values() if record.admitted)

    def statuses(self, control: Control) -> list[PeerStatus]:
        """Everyone known, connected ones first."""
        records = [*self._records.values()]
        records += [PeerRecord(peer, 0) for peer in self.book.peers() if peer not in self._records]
        order = list(PeerState)
        front = (PeerState.CONNECTED, PeerState.SUSPECT)
        records.sort(key=lambda record: (record.state not in front, order.index(record.state), record.peer))
        return [self.status(record, control) for record in records]

    def addresses(self, record: PeerRecord) -> tuple[str, ...]:
        """Where the peer can be dialled, as `PeerStatus.addresses` says."""
        found = dict.fromkeys([*record.reached_at, *self.book.addresses(record.peer)])
        return tuple(f"{address}/p2p/{record.peer}" for address in found)

    def status(self, record: PeerRecord, control: Control) -> PeerStatus:
        pulse, info = record.pulse, record.info
        measured_ms = record.round_trip_ms if record.is_connected else None
        messages_in, bytes_in, messages_out, bytes_out = control.traffic(record.peer)
        waiting = control.waiting_for(record.peer)
        return PeerStatus(
            peer_id=record.peer,
            name=info.name if info is not None else record.name,
            state=record.state.value,
            why=record.why,
            since_ms=record.since_ms,
            addresses=self.addresses(record),
            direction=record.direction,
            round_trip_ms=pulse.round_trip_ms if pulse and pulse.estimates else measured_ms,
            clock_offset_ms=pulse.clock_offset_ms if pulse is not None else None,
            version=info.version if info is not None else "",
            agent=record.agent,
            kept=record.kept,
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

    def clock_offsets_ms(self) -> list[float]:
        """How far the clocks of connected peers are ahead of ours, of those that have been measured."""
        pulses = (record.pulse for record in self if record.is_connected)
        return [offset for pulse in pulses if pulse is not None and (offset := pulse.clock_offset_ms) is not None]

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
