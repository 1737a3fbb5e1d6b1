"""Every peer's line, the receipts that somebody holds, and what waits in all lines together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from weakref import WeakValueDictionary

from covm.federation.dispatch.line import Line, Terms
from covm.federation.dispatch.outbox import IN_ALL, Budget, Outgoing
from covm.federation.dispatch.outbox_jobs import LineRow
from covm.federation.dispatch.receipts import Receipt
from covm.federation.dispatch.staging import Staging
from covm.federation.errors import OutboxFull
from covm.federation.ports import Waiting
from covm.federation.wire.incarnation import Incarnation

MAX_LINES = 1_000
"""Lines kept of peers that are away and to whom nothing was ever sent: what matters of them is on disk."""


class OldLine:
    """A line of an earlier incarnation; what waits in it gets places in the present one."""

    __slots__ = ("id", "peer")

    def __init__(self, line_id: int, peer: str) -> None:
        self.id = line_id
        self.peer = peer


class LineBook:
    """The lines by peer. `old` and `staging` are what still waits for places."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.budget = Budget()
        self.old: deque[OldLine] = deque()
        self.staging = Staging()
        self.floating: WeakValueDictionary[bytes, Receipt] = WeakValueDictionary()
        """Receipts of messages that have no place now."""
        self.soonest_ms = 0
        """When the next message may expire; at the start nobody knows."""
        self._lines: dict[str, Line] = {}
        self._incarnation: Incarnation | None = None

    def __iter__(self) -> Iterator[Line]:
        return iter(list(self._lines.values()))

    def get(self, peer: str) -> Line | None:
        return self._lines.get(peer)

    def obtain(self, peer: str) -> Line:
        """The peer's line; a new one if there is none."""
        line = self._lines.get(peer)
        if line is None:
            self._make_room()
            line = self._lines[peer] = Line(peer, self._outgoing(peer))
        return line

    def load(self, incarnation: Incarnation, rows: Sequence[LineRow]) -> None:
        """Takes over what is on disk, at the start."""
        self._incarnation = incarnation
        for row in rows:
            if (row.number, row.nonce) == (incarnation.number, incarnation.nonce):
                adopt(self.obtain(row.peer).outgoing, row)
            else:
                self.old.append(OldLine(row.id, row.peer))

    def begin(self, incarnation: Incarnation) -> None:
        """A new incarnation: every line begins anew, and what waited in the old ones is to be moved."""
        self._incarnation = incarnation
        for line in self:
            old = line.outgoing
            if old.id is not None:
                self.old.append(OldLine(old.id, old.peer))
            for receipt in list(old.live.values()):
                self.floating[receipt.mid] = receipt
            self.budget.add(-old.waiting, -old.waiting_bytes)
            line.outgoing = self._outgoing(line.peer)

    def note(self, expires_at: int) -> None:
        """A message that ends then was handed in."""
        self.soonest_ms = min(self.soonest_ms, expires_at)

    def require_room(self, peer: str, size_bytes: int) -> None:
        """Raises `OutboxFull` when one more message of this size for the peer is too much. Reads only."""
        terms, line = self.terms, self._lines.get(peer)
        waiting, waiting_bytes = self.staging.of(peer)
        if line is not None:
            waiting, waiting_bytes = waiting + line.outgoing.waiting, waiting_bytes + line.outgoing.waiting_bytes
        if waiting >= terms.max_messages:
            raise OutboxFull(peer, waiting, terms.max_messages)
        if waiting_bytes + size_bytes > terms.max_bytes:
            raise OutboxFull(peer, waiting_bytes, terms.max_bytes, "bytes")
        messages, total_bytes = self.waiting()
        if messages >= IN_ALL * terms.max_messages:
            raise OutboxFull("all peers together", messages, IN_ALL * terms.max_messages)
        if total_bytes + size_bytes > IN_ALL * terms.max_bytes:
            raise OutboxFull("all peers together", total_bytes, IN_ALL * terms.max_bytes, "bytes")

    def waiting_for(self, peer: str) -> Waiting:
        line, (messages, size_bytes) = self._lines.get(peer), self.staging.of(peer)
        if line is None:
            return Waiting(messages, size_bytes)
        outgoing = line.outgoing
        size_bytes += outgoing.waiting_bytes
        return Waiting(messages + outgoing.waiting, size_bytes, outgoing.oldest_ms, line.trouble)

    def waiting(self) -> tuple[int, int]:
        """Messages and bytes that wait or are unacknowledged, for all peers together."""
        return self.budget.messages + self.staging.messages, self.budget.size_bytes + self.staging.size_bytes

    def receipts(self) -> Iterator[Receipt]:
        """Every receipt that somebody holds."""
        yield from list(self.floating.values())
        for line in self:
            yield from list(line.outgoing.live.values())

    def _outgoing(self, peer: str) -> Outgoing:
        if self._incarnation is None:
            raise RuntimeError("lines were asked for before they were loaded")
        return Outgoing(peer, self._incarnation, self.budget)

    def _make_room(self) -> None:
        """Forgets the oldest line that nothing depends on."""
        if len(self._lines) < MAX_LINES:
            return
        for peer, line in self._lines.items():
            if line.is_idle:
                del self._lines[peer]
                return


def adopt(outgoing: Outgoing, row: LineRow) -> None:
    """Makes a line what it is on disk; what is handed in and not committed stays behind it."""
    pending = outgoing.assigned_seq - outgoing.next_seq
    outgoing.budget.add(-outgoing.waiting, -outgoing.waiting_bytes)
    outgoing.over_messages = outgoing.over_bytes = 0
    outgoing.is_counted = False
    outgoing.id = row.id
    outgoing.next_seq, outgoing.total_bytes = row.next_seq, row.total_bytes
    outgoing.assigned_seq = row.next_seq + pending
    if row.acked_seq >= outgoing.acked_seq:
        outgoing.acked_seq, outgoing.acked_mid, outgoing.acked_bytes = row.acked_seq, row.acked_mid, row.acked_bytes
    outgoing.released_seq = max(outgoing.released_seq, row.released_seq)
    outgoing.outcomes_upto = max(outgoing.outcomes_upto, row.outcomes_upto)
    outgoing.outcomes_seen = max(outgoing.outcomes_seen, row.outcomes_upto)
    outgoing.budget.add(outgoing.waiting, outgoing.waiting_bytes)
