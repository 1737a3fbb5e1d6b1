"""The outbox as properties: places without gaps, whatever fails; and no word moves anything but a true one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_outbox_rules import BEN, LATER, LIFE, message, mid, place, row

from covm.federation.dispatch import tables
from covm.federation.dispatch.drafting import Assembly, Draft
from covm.federation.dispatch.line import Line
from covm.federation.dispatch.outbox import Budget, Flight, Outgoing
from covm.federation.dispatch.outbox_jobs import Written
from covm.federation.dispatch.resuming import laid_out
from covm.federation.violations import Violation
from covm.federation.wire.message import decode_body, encode_body

STATES = st.sampled_from(
    [tables.QUEUED, tables.HANDLED, tables.REFUSED, tables.QUARANTINED, tables.EXPIRED, tables.CANCELLED]
)


@given(st.integers(1, 20), st.integers(-5, 30), st.integers(0, 30))
def test_no_acknowledgement_but_the_true_one_moves_anything(sent: int, seq: int, number: int) -> None:
    flight = Flight(0, None)
    flight.sent([place(each) for each in range(1, sent + 1)])
    true = 1 <= seq <= sent and seq == number
    try:
        stored = flight.acknowledge(seq, mid(number))
    except Violation:
        stored = []
    assert [each.seq for each in stored] == (list(range(1, seq + 1)) if true else [])
    left = flight.acknowledge(sent, mid(sent))
    assert len(stored) + len(left) == sent


@given(
    st.dictionaries(st.integers(4, 40), st.tuples(STATES, st.booleans()), min_size=1),
    st.integers(0, 3),
)
def test_what_travels_takes_every_place_once_and_sends_only_what_is_to_be_sent(
    held: dict[int, tuple[int, bool]], after: int
) -> None:
    rows = [row(seq, state, released=released) for seq, (state, released) in sorted(held.items())]
    places = laid_out(rows, Outgoing(BEN, LIFE, Budget()), after, max(held))
    taken = [seq for each in places for seq in range(each.seq, each.last + 1)]
    assert taken == list(range(after + 1, max(held) + 1))
    for each in places:
        if each.is_skip:
            for seq in range(each.seq, each.last + 1):
                assert seq not in held or held[seq][0] in tables.SKIPPED or held[seq][1]
        else:
            state, released = held[each.seq]
            assert state not in tables.SKIPPED
            assert not released


BATCHES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["commits", "fails", "begins anew"])), max_size=12)


@given(BATCHES)
def test_whatever_fails_places_are_given_in_order_without_gaps_and_bodies_say_them(
    batches: list[tuple[int, str]],
) -> None:
    budget = Budget()
    line = Line(BEN, Outgoing(BEN, LIFE, budget))
    committed: list[tuple[int, bytes]] = []
    sent = 0
    for count, fate in batches:
        waiting: list[Draft] = []
        for _ in range(count):
            sent += 1
            outgoing = line.outgoing
            body = encode_body(message(outgoing.assigned_seq, sent, incarnation=outgoing.incarnation))
            draft = Draft(line, "a.note", mid(sent), body, 0, 7)
            draft.seq, draft.incarnation = outgoing.assign(len(body)), outgoing.incarnation
            waiting.append(draft)
        if fate == "begins anew":
            budget.add(-line.outgoing.waiting, -line.outgoing.waiting_bytes)
            line.outgoing = Outgoing(BEN, LATER, budget)
            committed = []
            for draft in waiting:
                line.outgoing.assign(draft.size_bytes)
        assembly = Assembly()
        for draft in waiting:
            assembly.add(draft)
        if fate == "fails":
            assembly.failed(OSError())
            continue
        assembly.batch.envelopes = [body for work in assembly.batch.lines for body in work.bodies]
        for work in assembly.batch.lines:
            committed += [(entry[0], entry[1]) for entry in work.rows]
            for entry, body in zip(work.rows, work.bodies, strict=True):
                said = decode_body(body)
                assert (said.seq, said.mid, said.incarnation) == (entry[0], entry[1], line.outgoing.incarnation)
        assembly.committed(Written([1 for _ in assembly.batch.lines], [[] for _ in assembly.batch.lines]), {})
    outgoing = line.outgoing
    assert [seq for seq, _ in committed] == list(range(1, outgoing.next_seq))
    assert outgoing.assigned_seq == outgoing.next_seq
    assert outgoing.assigned_bytes == 0
    assert (budget.messages, budget.size_bytes) == (outgoing.waiting, outgoing.waiting_bytes)
