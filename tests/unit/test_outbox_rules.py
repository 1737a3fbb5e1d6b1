"""The rules of the outbox, by calling them: what an acknowledgement, an outcome, a HELLO and a proof mean."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from covm.federation.dispatch import receipts, tables
from covm.federation.dispatch.drafting import placed
from covm.federation.dispatch.outbox import (
    FLIGHT_MESSAGES,
    NAMED_AT_FIRST,
    WINDOW_BYTES,
    WINDOW_MESSAGES,
    Budget,
    Flight,
    Outgoing,
    Place,
    Window,
)
from covm.federation.dispatch.outbox_jobs import Row
from covm.federation.dispatch.receipts import Receipt
from covm.federation.dispatch.resuming import laid_out
from covm.federation.dispatch.standing import GIVEN_BACK, Held, Standing, judge_hello, judge_outcome, proven_life
from covm.federation.violations import Violation
from covm.federation.wire.federation_id import open_federation
from covm.federation.wire.frames import Hello, Outcome, Position
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import MessageBody, decode_body, encode_body
from covm.federation.wire.skip import SKIP_TYPE, skip_mid, skip_payload

LIFE = Incarnation(5, b"nonce-05")
EARLIER = Incarnation(4, b"nonce-04")
LATER = Incarnation(6, b"nonce-06")
ADA, BEN = "ada", "ben"


def mid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def place(seq: int, size: int = 100) -> Place:
    return Place(seq, seq, mid(seq), seq * size, 0, b"x" * size)


def in_flight(count: int) -> Flight:
    flight = Flight(0, None)
    flight.sent([place(seq) for seq in range(1, count + 1)])
    return flight


def message(seq: int, number: int | None = None, **changes: Any) -> MessageBody:
    body = MessageBody(
        federation=open_federation("test").cid,
        type="a.note",
        author=ADA,
        incarnation=LIFE,
        seq=seq,
        mid=mid(seq if number is None else number),
        to=BEN,
        sent_at=0,
        expires_at=7,
        payload={"text": "weeds"},
    )
    return msgspec.structs.replace(body, **changes)


def skip(first: int, last: int) -> MessageBody:
    return message(first, type=SKIP_TYPE, mid=skip_mid(LIFE, BEN, last), payload=skip_payload(last))


def hello(seq: int | None, number: int | None = None, newer: Incarnation | None = None, own: bytes = b"") -> Hello:
    stored = None if seq is None else Position(seq, own or mid(seq if number is None else number))
    return Hello(v=(1, 0), incarnation=LIFE, types=bytes(32), stored=stored, newer=newer)


def held(number: int, state: int = tables.QUEUED, *, has_envelope: bool = True) -> Held:
    return Held(mid(number), state, 0, has_envelope)


def outcome(first: int, last: int, state: str = "handled", **changes: Any) -> Outcome:
    return msgspec.structs.replace(Outcome(1, first, last, mid(last), state), **changes)


def settled(said: Outcome, acked_seq: int = 10, *, ours: bool = False, given_back: int = 0) -> Any:
    return judge_outcome(said, acked_seq, 0, rule_is_ours=ours, given_back=given_back)


# --- acknowledgements


def test_an_acknowledgement_stores_everything_up_to_it() -> None:
    flight = in_flight(5)
    assert [each.seq for each in flight.acknowledge(3, mid(3))] == [1, 2, 3]
    assert flight.acknowledge(3, mid(3)) == [], "said again, it changes nothing"
    assert [each.seq for each in flight.acknowledge(5, mid(5))] == [4, 5]


@pytest.mark.parametrize(
    ("seq", "number", "reason"),
    [(3, 4, "ack_forged"), (6, 6, "ack_of_unsent"), (10**18, 1, "ack_of_unsent"), (0, 0, "ack_of_acknowledged")],
)
def test_an_acknowledgement_that_cannot_be_is_a_violation_and_changes_nothing(
    seq: int, number: int, reason: str
) -> None:
    flight = in_flight(5)
    with pytest.raises(Violation) as found:
        flight.acknowledge(seq, mid(number))
    assert found.value.reason == reason
    assert len(flight.acknowledge(5, mid(5))) == 5


def test_what_was_acknowledged_cannot_be_taken_back() -> None:
    flight = in_flight(5)
    flight.acknowledge(3, mid(3))
    for number in (2, 3):
        with pytest.raises(Violation, match="ack_of_acknowledged"):
            flight.acknowledge(number, mid(number + 1))


def test_a_place_inside_a_skip_of_several_cannot_be_acknowledged() -> None:
    flight = Flight(0, None)
    flight.sent([Place(1, 4, mid(4), 0, 0, b"skip", is_skip=True), place(5)])
    with pytest.raises(Violation, match="ack_forged"):
        flight.acknowledge(2, mid(2))
    assert [each.last for each in flight.acknowledge(4, mid(4))] == [4]


def test_a_peer_that_never_acknowledges_holds_a_bounded_number_in_memory() -> None:
    flight = in_flight(FLIGHT_MESSAGES)
    assert flight.is_full
    assert flight.room == 0


# --- the window


def test_the_window_gives_what_comes_next_and_nothing_else() -> None:
    window = Window()
    window.extend(place(seq) for seq in range(5, 11))
    assert window.take(3, 10, 10**6) == [], "what lies further back is read from disk"
    assert [each.seq for each in window.take(6, 2, 10**6)] == [6, 7]
    assert [each.seq for each in window.take(8, 9, 150)] == [8]
    assert [each.seq for each in window.take(9, 9, 1)] == [9], "never nothing for want of room"
    assert len(window) == 1


def test_the_window_is_bounded_by_number_and_by_bytes() -> None:
    window = Window()
    window.extend(place(seq) for seq in range(1, WINDOW_MESSAGES + 100))
    assert len(window) == WINDOW_MESSAGES
    window.clear()
    window.extend(place(seq, size=1024 * 1024) for seq in range(1, 10))
    assert window.size_bytes <= WINDOW_BYTES
    assert [each.seq for each in window.take(9, 1, 10**9)] == [9]


# --- the line's numbers


def test_what_waits_is_counted_from_being_handed_in_until_it_is_acknowledged() -> None:
    budget = Budget()
    line = Outgoing(BEN, LIFE, budget)
    assert [line.assign(100) for _ in range(3)] == [1, 2, 3]
    line.committed(2, 200)
    line.unassign(100)
    assert (line.waiting, line.waiting_bytes) == (2, 200)
    line.acknowledged(1, mid(1), 100)
    assert (line.waiting, line.waiting_bytes) == (1, 100) == (budget.messages, budget.size_bytes)


def test_a_receiver_that_names_its_outcomes_for_ever_is_found_out() -> None:
    line = Outgoing(BEN, LIFE, Budget())
    line.name(NAMED_AT_FIRST)
    line.name(4)
    with pytest.raises(Violation, match="outcomes_without_end"):
        line.name(1)


# --- outcomes


@pytest.mark.parametrize("said", [outcome(11, 11), outcome(9, 11), outcome(0, 1), outcome(5, 4), outcome(2**62, 2**62)])
def test_an_outcome_of_what_is_not_stored_is_a_violation(said: Outcome) -> None:
    with pytest.raises(Violation, match="outcome_of_unsent"):
        settled(said)


@pytest.mark.parametrize(
    ("state", "expected"),
    [("handled", receipts.HANDLED), ("failed", receipts.QUARANTINED), ("refused", receipts.REFUSED)],
)
def test_an_outcome_settles_what_it_names(state: str, expected: str) -> None:
    found = settled(outcome(2, 4, state, reason="why"))
    assert (found.first, found.last, found.receipt_state, found.reason, found.is_final) == (2, 4, expected, "why", True)


def test_a_state_that_only_a_newer_node_knows_is_ignored() -> None:
    assert settled(outcome(1, 1, "composted")) is None


def test_a_refusal_by_another_rule_than_ours_is_not_final_and_by_ours_it_is() -> None:
    by_rule = outcome(1, 1, "refused", rule=bytes(32))
    assert settled(by_rule).receipt_state == receipts.QUEUED
    assert settled(by_rule, ours=True).receipt_state == receipts.REFUSED


def test_a_peer_that_refuses_everything_for_now_is_believed_at_last() -> None:
    by_rule = outcome(1, 1, "refused", rule=bytes(32))
    assert settled(by_rule, given_back=GIVEN_BACK).is_final


def test_what_is_said_of_an_earlier_sending_counts_unless_a_later_one_may_still_be_taken() -> None:
    receipt = Receipt(mid(1), BEN, "a.note", 1.0)
    receipt.end(receipts.CANCELLED)
    receipt.renew()
    receipt.advance(receipts.STORED)
    receipt.advance_by_former(receipts.REFUSED, "not now")
    assert receipt.state == "stored"
    receipt.end(receipts.CANCELLED)
    assert receipt.state == "stored", "what the receiver has cannot be called back"
    receipt.advance_by_former(receipts.REFUSED, "not now")
    assert (receipt.state, receipt.reason) == ("refused", "not now")


# --- where the receiver stands


def standing(said: Hello, found: Held | None = None, *, next_seq: int = 11, acked: int = 5) -> Standing:
    return judge_hello(said, LIFE, BEN, next_seq, acked, found)


def test_a_receiver_that_has_what_we_think_or_more_agrees() -> None:
    assert standing(hello(5), held(5)) is Standing.AGREED
    assert standing(hello(10), held(10)) is Standing.AGREED
    assert standing(hello(None), acked=0) is Standing.AGREED


def test_a_receiver_that_has_less_than_it_acknowledged_was_rolled_back() -> None:
    assert standing(hello(None)) is Standing.BEHIND
    assert standing(hello(3), held(3)) is Standing.BEHIND
    assert standing(hello(3)) is Standing.BEHIND, "what it had then is no longer held here"


def test_a_receiver_that_has_more_than_we_sent_or_something_else_claims_that_we_were_rolled_back() -> None:
    assert standing(hello(11)) is Standing.AHEAD
    assert standing(hello(7, number=99), held(7)) is Standing.AHEAD
    assert standing(hello(3, number=99), held(3)) is Standing.AHEAD
    assert standing(hello(None, newer=LATER)) is Standing.AHEAD
    assert standing(hello(5, newer=EARLIER), held(5)) is Standing.AGREED


def test_the_id_of_a_skip_counts_only_where_a_skip_may_stand() -> None:
    of_skip = hello(7, own=skip_mid(LIFE, BEN, 7))
    assert standing(of_skip, held(7, tables.EXPIRED)) is Standing.AGREED
    assert standing(of_skip, held(7, has_envelope=False)) is Standing.AGREED
    assert standing(of_skip, held(7)) is Standing.AHEAD, "the message stands there, and it was not skipped"


# --- proofs that we were rolled back


def proven(body: MessageBody, found: Held | None = None, next_seq: int = 11) -> Incarnation | None:
    return proven_life(body, LIFE, ADA, BEN, next_seq, found)


def test_an_envelope_of_ours_that_we_do_not_know_proves_that_we_were_rolled_back() -> None:
    assert proven(message(11)) == LIFE
    assert proven(message(7, number=99), held(7)) == LIFE
    assert proven(skip(9, 12)) == LIFE
    assert proven(message(1, incarnation=LATER)) == LATER


@pytest.mark.parametrize(
    "body",
    [
        message(7),
        message(11, to="cleo"),
        message(11, to=None),
        message(11, author=BEN),
        message(11, incarnation=EARLIER),
    ],
)
def test_an_envelope_that_proves_nothing_new_is_no_proof(body: MessageBody) -> None:
    assert proven(body, held(7)) is None


def test_a_skip_of_ours_proves_that_we_forgot_it_only_where_we_would_still_send_the_message() -> None:
    assert proven(skip(7, 7), held(7)) == proven(skip(5, 7), held(7)) == LIFE
    for known in (None, *(held(7, state) for state in tables.SKIPPED), held(7, has_envelope=False)):
        assert proven(skip(7, 7), known) is None
    # Who acknowledged a skip and calls its message handled contradicts itself, and may be no proof of anything.
    for told in (tables.HANDLED, tables.QUARANTINED):
        assert proven(skip(7, 7), held(7, told)) is None


# --- what travels


def row(seq: int, state: int = tables.QUEUED, *, released: bool = False) -> Row:
    return Row(seq, seq, mid(seq), state, seq * 10, 10, 0, "notes.note", None if released else b"envelope")


def travelling(rows: list[Row], after: int, upto: int) -> list[tuple[int, int, bool]]:
    line = Outgoing(BEN, LIFE, Budget())
    return [(each.seq, each.last, each.is_skip) for each in laid_out(rows, line, after, upto)]


def test_messages_travel_as_they_are_and_skips_take_the_places_between() -> None:
    rows = [row(3), row(4, tables.EXPIRED), row(5, tables.CANCELLED), row(6, tables.HANDLED), row(9)]
    assert travelling(rows, 2, 9) == [(3, 3, False), (4, 5, True), (6, 6, False), (7, 8, True), (9, 9, False)]


def test_what_is_no_longer_held_is_skipped_in_one() -> None:
    rows = [row(4, tables.HANDLED, released=True), row(5, tables.HANDLED, released=True), row(6)]
    assert travelling(rows, 1, 6) == [(2, 5, True), (6, 6, False)]
    assert travelling([], 1, 6) == [(2, 6, True)]


def test_a_skip_has_an_id_of_its_own_so_that_nobody_takes_it_for_the_message() -> None:
    line = Outgoing(BEN, LIFE, Budget())
    one = laid_out([row(1, tables.EXPIRED)], line, 0, 1)
    several = laid_out([row(1, tables.EXPIRED), row(2, tables.EXPIRED)], line, 0, 2)
    assert [each.mid for each in one] == [skip_mid(LIFE, BEN, 1)]
    assert [each.mid for each in several] == [skip_mid(LIFE, BEN, 2)]


def test_a_message_that_moves_keeps_everything_but_its_place() -> None:
    moved = decode_body(placed(encode_body(message(0)), 12, LATER))
    assert moved == message(12, number=0, incarnation=LATER)
