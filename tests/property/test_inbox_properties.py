"""The receiving half as properties: nothing twice, nothing out of order, nothing forgotten."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.inbox_world import LIFE, mid, offered, skip

from covm.federation.dispatch.inbox import Settled, id_runs, judge, runs_of
from covm.federation.dispatch.lanes import Backlogs
from covm.federation.dispatch.outcomes import OutcomeQueue
from covm.federation.wire.frames import Outcome

LANE = ("ada", "a.note")


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30), st.integers(1, 5))
def test_whatever_is_sent_is_taken_in_order_without_gap_and_once(sent: list[tuple[int, int]], size: int) -> None:
    stored_seq, stored_mid, taken = 0, None, list[int]()
    messages = [skip(seq, seq + more) if more % 3 == 0 else offered(seq) for seq, more in sent]
    for start in range(0, len(messages), size):
        judged = judge(LIFE, stored_seq, stored_mid, messages[start : start + size])
        assert judged.stored_seq >= stored_seq
        assert judged.moves == (judged.stored_seq > stored_seq)
        taken += [each.body.seq for each in judged.new]
        stored_seq, stored_mid = judged.stored_seq, judged.stored_mid
    assert taken == sorted(set(taken))
    assert not taken or taken[-1] <= stored_seq


@given(st.dictionaries(st.integers(1, 60), st.sampled_from(["handled", "refused"])))
def test_runs_say_of_every_place_what_became_of_it_and_of_no_other(places: dict[int, str]) -> None:
    runs = runs_of(Settled(seq, mid(seq), state, "", None) for seq, state in places.items())
    told = {seq: run.state for run in runs for seq in range(run.first, run.last + 1)}
    assert told == places
    assert all(run.mid == mid(run.last) for run in runs)
    for before, after in itertools.pairwise(runs):
        assert before.last + 1 < after.first or before.state != after.state, "they could have been one"


@given(st.sets(st.integers(0, 100)))
def test_runs_of_numbers_are_the_numbers(numbers: set[int]) -> None:
    assert [each for first, last in id_runs(sorted(numbers)) for each in range(first, last + 1)] == sorted(numbers)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 2**32), st.integers(1, 7))
def test_outcomes_that_come_late_twice_or_not_at_all_are_said_once_and_in_order(
    confirmed: int, more: int, seed: int, at_once: int
) -> None:
    chance = random.Random(seed)
    stored = [
        Outcome(number, number, number, mid(number), "handled") for number in range(confirmed + 1, confirmed + more + 1)
    ]
    queue, said = OutcomeQueue(chance.randint(0, confirmed)), list[int]()
    heard = [each for each in stored * 2 if chance.random() < 0.6]
    chance.shuffle(heard)
    for each in heard:
        queue.add([each])
        ready = queue.ready(at_once)
        said += [one.number for one in ready]
        queue.drop(len(ready))
    while queue.said < confirmed + more:
        after = queue.said
        found = [each for each in stored if each.number > after][:at_once]
        queue.fetched(found, is_all=len(found) < at_once)
        ready = queue.ready(at_once)
        said += [one.number for one in ready]
        queue.drop(len(ready))
        if not found and not ready:
            break
    assert said == [each.number for each in stored if each.number in said]
    assert said == sorted(set(said))
    assert set(said) == {each.number for each in stored}


@given(st.lists(st.sampled_from(["come", "work", "fetch"]), max_size=80), st.integers(1, 3))
def test_a_lane_hands_over_everything_in_order_wherever_it_lay(steps: list[str], room: int) -> None:
    backlogs, store, memory, handled = Backlogs(max_messages=room), list[int](), list[int](), list[int]()

    def work() -> None:
        if memory:
            handled.append(memory.pop(0))
            backlogs.left(LANE, 1)

    def fetch() -> None:
        if not memory and LANE in backlogs:
            span = backlogs.span(LANE)
            rows = [each for each in store if each > span[0] and each not in handled][:2]
            backlogs.fetched(LANE, span, rows[-1] if rows else span[0], is_all=len(rows) < 2)
            for each in rows:
                backlogs.count(LANE, 1)
                memory.append(each)

    for step in steps:
        if step == "come":
            number = len(store) + 1
            store.append(number)
            if backlogs.takes(LANE, 1):
                memory.append(number)
            else:
                backlogs.add(LANE, number, number)
        elif step == "work":
            work()
        else:
            fetch()
    while len(handled) < len(store):
        before = len(handled), len(memory)
        work()
        fetch()
        assert (len(handled), len(memory)) != before or LANE in backlogs
    assert handled == store
