"""The rules of the receiving half, by calling them."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.inbox_world import LATER, LIFE, mid, offered, skip

from covm.federation.dispatch.inbox import (
    SEEN_AFTER_EXPIRY_MS,
    SEEN_AT_MOST_MS,
    Holdings,
    Run,
    Settled,
    forget_at_ms,
    id_runs,
    judge,
    retry_bound_s,
    runs_of,
    short_reason,
)
from covm.federation.dispatch.lanes import Backlogs, Lanes
from covm.federation.dispatch.outcomes import MAX_HELD, OutcomeQueue
from covm.federation.dispatch.shelf import Shelf
from covm.federation.wire.frames import Ack, Outcome, encode_frame
from covm.federation.wire.limits import MAX_REASON

LANE = ("ada", "a.note")
OTHER = ("ben", "a.note")


def outcome(number: int) -> Outcome:
    return Outcome(number, number, number, mid(number), "handled")


# --- a batch against its line


def test_messages_are_taken_in_order_and_what_was_stored_is_a_resend() -> None:
    judged = judge(LIFE, 2, mid(2), [offered(1), offered(2), offered(3), offered(4)])
    assert [each.body.seq for each in judged.new] == [3, 4]
    assert (judged.stored_seq, judged.stored_mid, judged.resent) == (4, mid(4), 2)
    assert judged.last_envelope == offered(4).envelope
    assert judged.violation == ""


def test_nothing_new_moves_nothing() -> None:
    judged = judge(LIFE, 2, mid(2), [offered(1), skip(2, 2), offered(0)])
    assert (judged.moves, judged.stored_seq, judged.stored_mid, judged.resent) == (False, 2, mid(2), 3)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (offered(3), "sequence_gap"),
        (offered(2, incarnation=LATER), "wrong_incarnation"),
        (skip(2, 1), "malformed_skip"),
        (skip(2, None), "malformed_skip"),
        (skip(2, True), "malformed_skip"),
        (skip(3, 9), "sequence_gap"),
    ],
)
def test_what_cannot_be_ends_the_batch_and_keeps_what_came_before(second: object, reason: str) -> None:
    judged = judge(LIFE, 0, None, [offered(1), second, offered(2)])  # type: ignore[list-item]
    assert (judged.violation, judged.stored_seq, len(judged.new)) == (reason, 1, 1)


def test_without_a_line_nothing_is_taken() -> None:
    assert judge(None, 0, None, [offered(1)]).violation == "wrong_incarnation"


def test_a_skip_takes_its_places_also_where_some_are_taken_already() -> None:
    judged = judge(LIFE, 3, mid(3), [skip(2, 5), offered(6)])
    assert [each.body.seq for each in judged.new] == [6]
    assert judged.stored_seq == 6


# --- what is remembered, and for how long


def test_ids_are_remembered_a_day_past_expiry_and_never_for_ever() -> None:
    now = 10**12
    assert forget_at_ms(now + 1000, now) == now + 1000 + SEEN_AFTER_EXPIRY_MS
    assert forget_at_ms(now - 10**9, now) == now + SEEN_AFTER_EXPIRY_MS, "our clock may be ahead of the sender's"
    assert forget_at_ms(None, now) == forget_at_ms(10**15, now) == now + SEEN_AT_MOST_MS


def test_neighbours_that_came_to_the_same_are_one_run() -> None:
    settled = [Settled(seq, mid(seq), "handled", "", None) for seq in (3, 1, 2, 5)]
    settled.append(Settled(6, mid(6), "refused", "no", None))
    settled.append(Settled(7, mid(7), "refused", "no", bytes(32)))
    assert runs_of(settled) == [
        Run(1, 3, mid(3), "handled", "", None),
        Run(5, 5, mid(5), "handled", "", None),
        Run(6, 6, mid(6), "refused", "no", None),
        Run(7, 7, mid(7), "refused", "no", bytes(32)),
    ]


def test_numbers_without_gaps_are_one_statement() -> None:
    assert id_runs([1, 2, 3, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]
    assert id_runs([]) == []


def test_a_reason_fits_its_frame_whatever_it_is_made_of() -> None:
    reason = short_reason("\0ü" * 500 + "\ud800")
    assert "\0" not in reason
    assert len(reason.encode()) <= MAX_REASON
    longest = [
        msgspec.structs.replace(outcome(number), reason="x" * MAX_REASON, rule=bytes(32)) for number in range(2_048)
    ]
    assert len(encode_frame(Ack(outcomes=longest))) < 1024 * 1024


def test_pauses_double_up_to_the_longest() -> None:
    assert [retry_bound_s(failures, 1, 5) for failures in (1, 2, 3, 4, 10_000)] == [1, 2, 4, 5, 5]


# --- bounds


def test_one_sender_fills_its_part_and_all_together_theirs() -> None:
    holdings = Holdings(max_messages=2, max_bytes=100)
    holdings.add("ada", 10, 2)
    assert (holdings.is_full("ada"), holdings.is_full("ben")) == (True, False)
    holdings.add("ben", 100)
    assert holdings.is_full("ben")
    for number in range(5):
        holdings.add(f"peer {number}", 1)
    assert holdings.is_full("cleo"), "eight messages are four times what one may have"
    holdings.remove("ada", 10, 2)
    assert not holdings.is_full("cleo")
    assert holdings.of("ada") == (0, 0)


def test_the_shelf_counts_what_is_marked_and_gives_a_types_lanes_out_at_once() -> None:
    shelf = Shelf(max_messages=3, max_bytes=100)
    shelf.put(LANE, 5, 40)
    shelf.put(OTHER, 6, 40)
    assert shelf.takes("ada", 2, 60)
    assert not shelf.takes("ada", 1, 61)
    assert not shelf.takes("ada", 3, 10)
    assert shelf.takes("cleo", 3, 100), "nobody takes another's room"
    shelf.park(("ada", "b.note"), 9)
    assert shelf.messages == 2
    shelf.refused(OTHER, 40)
    taken = shelf.take("a.note")
    assert [(lane, each.last_id, each.messages) for lane, each in taken.items()] == [(LANE, 5, 1)]
    assert (shelf.messages, shelf.size_bytes) == (0, 0)
    shelf.marked(("ada", "b.note"), 0, 0)
    assert shelf.lanes() == {}


# --- lanes that lie in the store


def test_a_lane_that_found_no_room_is_behind_until_everything_was_fetched() -> None:
    backlogs = Backlogs(max_messages=1)
    assert backlogs.takes(LANE, 10)
    assert not backlogs.takes(LANE, 10)
    backlogs.add(LANE, 2, 2)
    backlogs.left(LANE, 10)
    assert not backlogs.takes(LANE, 10), "what comes now lies behind what is in the store"
    span = backlogs.span(LANE)
    assert span == (1, 2)
    backlogs.add(LANE, 3, 3)
    backlogs.fetched(LANE, span, 2, is_all=True)
    assert backlogs.span(LANE) == (2, 3), "something came while it was fetched"
    backlogs.fetched(LANE, backlogs.span(LANE), 3, is_all=True)
    assert LANE not in backlogs
    assert backlogs.takes(LANE, 10)


def test_what_comes_before_a_fetch_has_ended_is_fetched_again() -> None:
    backlogs = Backlogs()
    backlogs.add(LANE, 10, 20)
    span = backlogs.span(LANE)
    backlogs.add(LANE, 5, 5)
    backlogs.fetched(LANE, span, 20, is_all=True)
    assert backlogs.span(LANE) == (4, 20)


def test_memory_of_all_lanes_together_is_bounded() -> None:
    backlogs = Backlogs(all_bytes=100)
    assert backlogs.takes(LANE, 60)
    assert not backlogs.takes(OTHER, 60)
    backlogs.left(LANE, 60)
    assert backlogs.takes(OTHER, 60)


def test_a_lane_with_something_to_fetch_takes_turns_like_any_other() -> None:
    lanes: Lanes[int] = Lanes(slots=1)
    assert lanes.open(LANE)
    assert not lanes.open(LANE)
    assert not lanes.open(OTHER)
    assert lanes.peek(LANE) is None
    lanes.extend(LANE, [1, 2, 3])
    assert lanes.ahead(LANE, 2, lambda item: item < 9) == [1, 2]  # type: ignore[arg-type]
    assert lanes.finish(LANE, more=True) == OTHER
    assert lanes.finish(OTHER) == LANE
    assert not lanes.put_back(LANE, 0)
    assert [lanes.pop(LANE) for _ in range(4)] == [0, 1, 2, 3]
    assert lanes.queued == 0


# --- outcomes on a stream


def test_outcomes_are_said_in_order_and_none_is_left_out() -> None:
    queue = OutcomeQueue(4)
    queue.add([outcome(6), outcome(4)])
    assert queue.ready(9) == []
    assert queue.is_behind
    queue.add([outcome(5), outcome(5)])
    assert [each.number for each in queue.ready(9)] == [5, 6]
    assert [each.number for each in queue.ready(1)] == [5]
    queue.drop(2)
    assert (queue.said, queue.is_behind) == (6, False)


def test_what_the_store_no_longer_has_was_confirmed() -> None:
    queue = OutcomeQueue(0)
    queue.add([outcome(9)])
    queue.fetched([outcome(7), outcome(8)], is_all=True)
    assert [each.number for each in queue.ready(9)] == [7, 8, 9]
    queue = OutcomeQueue(0)
    queue.add([outcome(number) for number in range(2, MAX_HELD + 9)])
    queue.fetched([], is_all=True)
    assert not queue.ready(9)
    assert not queue.is_behind
