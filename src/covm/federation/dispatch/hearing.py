"""What a receiver says of our messages on one stream: acknowledgements and outcomes, as far as they can be true.

Receipts hear of it at once, since the receiver has it on its disk; ours has it with the next commit, and only then are
outcomes confirmed and the credit of the frames that brought them given back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

from covm.federation.dispatch import receipts
from covm.federation.dispatch.drafting import Record
from covm.federation.dispatch.journal import Journal
from covm.federation.dispatch.line import Post
from covm.federation.dispatch.outbox import Flight, Outgoing
from covm.federation.dispatch.receipts import Receipt
from covm.federation.dispatch.standing import Settlement, judge_outcome
from covm.federation.violations import Violation
from covm.federation.wire.frames import Ack, Outcome, Position


class Hearing:
    """The ear of one stream: `flight` is what it may be told about."""

    def __init__(self, outgoing: Outgoing, flight: Flight, post: Post, journal: Journal) -> None:
        self.flight = flight
        self.told_upto = 0
        """The last outcome that came on this stream."""
        self._outgoing = outgoing
        self._post = post
        self._journal = journal

    def on_ack(self, ack: Ack, size_bytes: int, give_back: Callable[[int], None]) -> None:
        """Takes an acknowledgement, and gives its frame's credit back in time. Raises `Violation`."""
        record = Record()
        try:
            if ack.upto is not None:
                self._acknowledge(ack.upto, record)
            self._settle(ack.outcomes, record)
        finally:
            if record.settlements:
                record.credits.append((give_back, size_bytes))
            else:
                give_back(size_bytes)
            if self._outgoing.id is not None and (record.settlements or ack.upto is not None):
                self._journal.record(self._outgoing, record)

    def on_skipped(self, seq: int) -> None:
        """A message expired or was cancelled that may be under way: the receiver's word decides."""
        if self._outgoing.acked_seq < seq <= self.flight.upto:
            self._outgoing.doubtful.add(seq)

    def _acknowledge(self, upto: Position, record: Record) -> None:
        outgoing = self._outgoing
        stored = self.flight.acknowledge(upto.seq, upto.mid)
        live, doubtful, before = outgoing.live, outgoing.doubtful, outgoing.acked_bytes
        passed, passed_bytes = 0, 0
        for place in stored:
            size_bytes, before = place.end - before, place.end
            is_over = place.is_skip or place.seq in doubtful
            if is_over and place.last > outgoing.acked_seq:
                passed += place.last - max(place.seq - 1, outgoing.acked_seq)
                passed_bytes += size_bytes
            if place.is_skip:
                outgoing.skipped(place.seq, place.last)
                continue
            if place.seq in doubtful:
                doubtful.discard(place.seq)
                record.restored.append(place.seq)
            receipt = live.get(place.seq) or outgoing.former.get(place.seq)
            if receipt is not None:
                receipt.advance(receipts.STORED)
        if upto.seq > outgoing.acked_seq and stored:
            outgoing.acknowledged(upto.seq, upto.mid, stored[-1].end)
            outgoing.passed(passed, passed_bytes)
            oldest = self.flight.oldest
            if oldest is not None:
                outgoing.oldest_ms = oldest.queued_at
        if outgoing.fallen_to is not None:
            outgoing.fallen_to = upto.seq if upto.seq < outgoing.acked_seq else None

    def _settle(self, outcomes: Iterable[Outcome], record: Record) -> None:
        outgoing, now_ms = self._outgoing, self._post.clock.now_ms()
        for outcome in outcomes:
            if outcome.number <= outgoing.outcomes_seen:
                continue
            self.told_upto = outcome.number
            rule_is_ours = outcome.rule is not None and self._post.is_own_rule(outcome.rule)
            settlement = judge_outcome(
                outcome, outgoing.acked_seq, now_ms, rule_is_ours=rule_is_ours, given_back=outgoing.given_back
            )
            outgoing.name(outcome.last - outcome.first + 1)
            if settlement is not None:
                tell_at_once(outgoing, settlement)
                record.settlements.append(settlement)
            outgoing.outcomes_seen = outcome.number


def tell_at_once(outgoing: Outgoing, settlement: Settlement) -> None:
    """Tells an outcome whose message is known in memory; others are compared with the disk first.

    Raises `Violation`.
    """
    known = outgoing.live.get(settlement.last)
    if known is None:
        return
    if known.mid != settlement.mid:
        raise Violation("outcome_forged")
    if settlement.is_final:
        tell(outgoing, settlement)


def tell(outgoing: Outgoing, settlement: Settlement) -> None:
    """Takes the receipts that somebody holds to their outcome."""
    for receipt in _within(outgoing.live, settlement.first, settlement.last):
        receipt.advance(settlement.receipt_state, settlement.reason)
    for receipt in _within(outgoing.former, settlement.first, settlement.last):
        receipt.advance_by_former(settlement.receipt_state, settlement.reason)


def _within(held: WeakValueDictionary[int, Receipt], first: int, last: int) -> list[Receipt]:
    places = range(first, last + 1) if last - first < len(held) else [seq for seq in list(held) if first <= seq <= last]
    return [receipt for seq in places if (receipt := held.get(seq)) is not None]
