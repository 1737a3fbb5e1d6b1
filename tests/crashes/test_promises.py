"""The rule that judges the crashes can fail: each broken promise is found."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.crashes.ledger import Sent
from tests.crashes.promises import EXACT_TYPE, PLAIN_TYPE, Way, problems

KEPT = Way(
    sent=Sent(
        begun={1: PLAIN_TYPE, 2: EXACT_TYPE, 3: PLAIN_TYPE, 4: EXACT_TYPE, 5: PLAIN_TYPE},
        queued={1: "a", 2: "b", 3: "c", 4: "d"},
    ),
    plain=[(1, 1), (3, 1), (1, 2), (3, 2)],
    exact=[(2, 1), (4, 2)],
    answers=[2, 4],
)


def test_promises_that_are_kept_have_no_problems() -> None:
    assert problems(KEPT) == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"plain": [(1, 1)]}, "queued, but no plain effect: 3"),
        ({"exact": [(2, 1)], "answers": [2]}, "queued, but no transactional effect: 4"),
        ({"exact": [(2, 1), (4, 1), (4, 1)]}, "a transactional effect twice: 4"),
        ({"exact": [(4, 1), (2, 1)]}, "transactional effects out of order: 2"),
        ({"plain": [(3, 1), (1, 1)]}, "plain effects out of order: 1"),
        ({"plain": [(1, 1), (3, 1), (3, 1)]}, "run again, and not told by attempt: 3"),
        ({"answers": [2, 4, 4]}, "answered twice: 4"),
        ({"answers": [2]}, "effect without its answer: 4"),
        ({"answers": [2, 4, 6]}, "answer without its effect: 6"),
        ({"plain": [(1, 1), (3, 1), (7, 1)]}, "an effect of what was never sent: 7"),
    ],
)
def test_a_broken_promise_is_named(broken: dict[str, Any], told: str) -> None:
    assert problems(dataclasses.replace(KEPT, **broken)) == [told]


def test_what_a_backup_cost_is_missing_without_being_a_problem_and_never_happens_twice() -> None:
    restored = dataclasses.replace(KEPT, may_be_gone=range(3, 5), answers_may_differ=range(3, 5))
    assert problems(dataclasses.replace(restored, plain=[(1, 1)], exact=[(2, 1)], answers=[2, 4])) == []
    twice = dataclasses.replace(restored, exact=[(2, 1), (4, 1), (4, 1)])
    assert problems(twice) == ["a transactional effect twice: 4"]
