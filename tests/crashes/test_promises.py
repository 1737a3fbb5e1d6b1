"""The rule that judges the crashes can fail: each broken promise is found."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.crashes.ledger import Sent
from tests.crashes.promises import EXACT_TYPE, MAY_COME_AGAIN, PLAIN_TYPE, News, Way, news_problems, problems

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


NEWS = News(
    begun={1, 2, 3, 4},
    published=[1, 2, 3],
    large={2},
    plain=[(1, 1), (3, 1), (3, 2), (2, 2)],
    ledger=[1, 2, 3],
    archive=[2, 1, 3],
    held=[1, 2, 3],
    crashes=1,
)


def test_promises_about_publications_that_are_kept_have_no_problems() -> None:
    assert news_problems(NEWS) == []
    unheard = dataclasses.replace(NEWS, plain=[*NEWS.plain, (4, 1)], ledger=[1, 2, 3, 4], archive=[2, 1, 3, 4])
    assert news_problems(dataclasses.replace(unheard, held=[1, 2, 3, 4])) == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"published": [1, 2, 3, 4]}, "published, but in no collection: 4"),
        ({"held": [1, 2, 3, 3]}, "a record twice: 3"),
        ({"begun": {1, 2}}, "a record of what nobody published: 3"),
        ({"plain": [(1, 1), (3, 1)]}, "not given to the plain handler: 2"),
        ({"ledger": [1, 2]}, "not given to the transactional handler: 3"),
        ({"ledger": [1, 2, 3, 3]}, "twice given to the transactional handler: 3"),
        ({"archive": [1, 2, 3, 4]}, "given to the late handler, and no record: 4"),
        ({"ledger": [3, 2, 1]}, "the transactional handler was given them in another order than the plain one"),
        ({"plain": [(1, 1), (2, 1), (3, 1), (3, 1)]}, "run again, and told to be the first time: 3"),
        (
            {"plain": [*NEWS.plain, *[(3, 2)] * MAY_COME_AGAIN]},
            "65 were given again to the plain handler, over 1 crashes",
        ),
    ],
)
def test_a_broken_promise_about_publications_is_named(broken: dict[str, Any], told: str) -> None:
    assert news_problems(dataclasses.replace(NEWS, **broken)) == [told]
