"""Frontiers: equal for equal logs however they came to be, and differences found exactly, whatever fits an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covm._native import Link, cid
from covm.federation.sync.descent import Descent, answer
from covm.federation.sync.frontier import EMPTY_ROOT, Frontier, Tips
from covm.federation.wire.sync_frames import Found, Tip, Told

LOGS = [cid(b"log %d" % number) for number in range(200)]


def tips(*numbers: int) -> Tips:
    found = [Tip(number, cid(b"record %d" % number)) for number in set(numbers)]
    return tuple(sorted(found, key=lambda tip: (tip.seq, tip.id.bytes)))


some_tips = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(lambda numbers: tips(*numbers))
held = st.dictionaries(st.sampled_from(LOGS), some_tips, max_size=60)


def differing(ours: Mapping[Link, Tips], theirs: Mapping[Link, Tips], limit_bytes: int) -> tuple[dict[Link, Tips], int]:
    """What a descent finds, and in how many questions."""
    descent, there = Descent(Frontier.of(ours)), Frontier.of(theirs)
    found: dict[Link, Tips] = {}
    rounds = 0
    while (probes := descent.question()) is not None:
        rounds += 1
        for told in descent.on_answer(answer(there, probes, limit_bytes)):
            assert told.log not in found
            found[told.log] = told.tips
    return found, rounds


@given(held, st.lists(st.tuples(held, st.booleans()), max_size=4))
def test_a_frontier_follows_from_its_logs_alone(
    start: dict[Link, Tips], changes: list[tuple[dict[Link, Tips], bool]]
) -> None:
    frontier, known = Frontier.of(start), dict(start)
    for change, removes in changes:
        told = {log: () if removes else each for log, each in change.items()}
        frontier = frontier.changed(told)
        known.update(told)
        known = {log: each for log, each in known.items() if each}
    assert frontier.root == Frontier.of(known).root
    assert dict(frontier.logs()) == known
    assert len(frontier) == len(known)
    assert all(frontier.get(log) == known.get(log, ()) for log in LOGS)
    assert (frontier.root == EMPTY_ROOT) == (not known)


@given(held, held)
def test_other_logs_or_tips_have_another_root(one: dict[Link, Tips], other: dict[Link, Tips]) -> None:
    assert (Frontier.of(one).root == Frontier.of(other).root) == (one == other)


@given(held, held, st.sampled_from([1, 400, 100_000]))
def test_a_descent_finds_what_the_other_side_has_and_nothing_else(
    ours: dict[Link, Tips], theirs: dict[Link, Tips], limit_bytes: int
) -> None:
    found, _ = differing(ours, theirs, limit_bytes)
    assert found == {log: each for log, each in theirs.items() if ours.get(log) != each}


def test_one_log_of_a_thousand_takes_two_questions_and_seven_hundred_bytes() -> None:
    ours = {cid(b"author %d" % number): tips(1) for number in range(1000)}
    theirs = {**ours, cid(b"author 7"): tips(2)}
    descent, there, size_bytes = Descent(Frontier.of(ours)), Frontier.of(theirs), 0
    rounds = 0
    while (probes := descent.question()) is not None:
        found = answer(there, probes, 100_000)
        descent.on_answer(found)
        rounds += 1
        size_bytes += sum(len(each.digests) + len(each.path) for each in probes)
        size_bytes += sum(len(inner.digests) for each in found for inner in each.inner)
        size_bytes += sum(80 for each in found for _ in each.told)
    assert rounds == 2
    assert size_bytes < 1000


@given(held, held, st.data())
def test_a_liars_answers_end_the_descent(ours: dict[Link, Tips], theirs: dict[Link, Tips], data: Any) -> None:
    descent, there = Descent(Frontier.of(ours)), Frontier.of(theirs)
    for _ in range(20):
        if (probes := descent.question()) is None:
            return
        found = answer(there, probes, 100_000)
        lie = data.draw(st.sampled_from(["path", "twice", "place", "tips", "digests", "nothing", "truth"]))
        try:
            descent.on_answer(spoilt(found, lie, data))
        except ValueError:
            return


def spoilt(found: list[Found], lie: str, data: Any) -> list[Found]:
    if lie == "nothing":
        return []
    first = found[0]
    other = data.draw(st.sampled_from(LOGS))
    changes: dict[str, dict[str, Any]] = {
        "path": {"path": first.path + b"\x03"},
        "twice": {"told": [*first.told, *first.told]},
        "place": {"told": [*first.told, Told(other, tips(1))]},
        "tips": {"told": [Told(each.log, each.tips[::-1] * 2) for each in first.told]},
        "digests": {"inner": [msgspec.structs.replace(each, digests=each.digests[1:]) for each in first.inner]},
        "truth": {},
    }
    return [msgspec.structs.replace(first, **changes[lie]), *found[1:]]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"path": b"\x01"}, "not asked"),
        ({"told": [Told(LOGS[0], tips(1)), Told(LOGS[0], tips(1))]}, "twice"),
        ({"told": [Told(LOGS[0], tips(1, 2)[::-1])]}, "order"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(spoil: dict[str, Any], why: str) -> None:
    descent = Descent(Frontier())
    assert descent.question() is not None
    with pytest.raises(ValueError, match=why):
        descent.on_answer([msgspec.structs.replace(Found(b"", [], []), **spoil)])
