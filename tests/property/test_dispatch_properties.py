"""Delivery as properties: whatever breaks in between, everything arrives once and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_dispatch_rules import LIFE, body, mid, receipt

from covm.federation.dispatch.inbox import Acceptance, Inbox
from covm.federation.dispatch.lanes import Lanes
from covm.federation.dispatch.outbox import Budget, Entry, Outbox, Violation

STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "deliver", "ack", "break", "refuse"]), st.integers(1, 5)), max_size=60
)


def deliver(inbox: Inbox, stream: list[int], count: int) -> list[int]:
    taken = [seq for seq in stream[:count] if inbox.accept(body(seq)) is Acceptance.NEW]
    del stream[:count]
    return taken


def acknowledge(outbox: Outbox, inbox: Inbox) -> None:
    if inbox.stored is not None and not outbox.is_acknowledged(*inbox.stored):
        outbox.acknowledge(*inbox.stored)


@given(STEPS)
def test_whatever_breaks_in_between_everything_arrives_once_and_in_order(steps: list[tuple[str, int]]) -> None:
    budget = Budget()
    outbox, inbox = Outbox(budget), Inbox()
    stream: list[int] = []
    arrived: list[int] = []
    refused: set[int] = set()
    inbox.open(LIFE, 1)
    for step, count in [*steps, ("break", 1)]:
        if step == "send":
            for _ in range(count):
                seq = outbox.next_seq
                outbox.add(Entry("a.note", mid(seq), seq, b"body", 10**9, receipt(seq)))
            for entry in outbox.take(count, 10**9):
                entry.envelope = b"envelope"
                stream.append(entry.seq)
        elif step == "deliver":
            arrived += deliver(inbox, stream, count)
        elif step == "ack":
            acknowledge(outbox, inbox)
        else:
            for _ in range(3 if step == "refuse" else 0):
                head = outbox.ended_at_head()
                refused |= {head.seq} if head is not None else set()
            inbox.open(LIFE, outbox.first_held)
            acknowledge(outbox, inbox)
            stream = [entry.seq for entry in outbox.resume()]
    arrived += deliver(inbox, stream, len(stream))
    acknowledge(outbox, inbox)
    assert arrived == sorted(set(arrived))
    assert set(range(1, outbox.next_seq)) - set(arrived) <= refused, "only what was given up is missing"
    assert (len(outbox), budget.size_bytes) == (0, 0)


@given(st.integers(1, 20), st.integers(0, 20), st.integers(-5, 30), st.integers(0, 30))
def test_no_acknowledgement_but_the_true_one_moves_anything(count: int, sent: int, seq: int, number: int) -> None:
    outbox = Outbox(Budget())
    for each in range(1, count + 1):
        outbox.add(Entry("a.note", mid(each), each, b"body", 10**9, receipt(each)))
    for entry in outbox.take(sent, 10**9) if sent else []:
        entry.envelope = b"envelope"
    true = 1 <= seq <= min(sent, count) and seq == number
    try:
        stored = outbox.acknowledge(seq, mid(number))
    except Violation:
        stored = []
    assert len(stored) == (seq if true else 0)
    assert len(outbox) == count - len(stored)


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=80))
def test_lanes_keep_each_senders_order_and_never_run_more_than_their_slots(
    slots: int, steps: list[tuple[str, bool]]
) -> None:
    lanes: Lanes[int] = Lanes(slots)
    pushed: dict[str, list[int]] = {}
    taken: dict[str, list[int]] = {}
    running: list[tuple[str, str]] = []

    def work() -> None:
        lane = running.pop(0)
        item = lanes.pop(lane)
        if item is not None:
            taken.setdefault(lane[0], []).append(item)
        following = lanes.finish(lane)
        if following is not None:
            running.append(following)

    for number, (sender, works) in enumerate(steps):
        pushed.setdefault(sender, []).append(number)
        if lanes.push((sender, "a.note"), number):
            running.append((sender, "a.note"))
        assert lanes.running == len(running) <= slots
        if works:
            work()
    while running:
        work()
    assert taken == pushed
    assert lanes.queued == 0
