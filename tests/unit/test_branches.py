"""Branches of a log: places, forks, and what lies behind what."""

from __future__ import annotations

import itertools
import random

import pytest

from covm._native import Link, cid
from covm.federation.identity.branches import Branches, Spot

TREE = ["a", "a.b", "a.b.c", "a.b.d", "a.b.d.e", "a.b.c.f", "a.g", "a.g.h", "a.b.d.i", "z", "z.y"]
"""Records by their paths: what stands before the last dot is the record before."""


def link(name: str) -> Link:
    return cid(name.encode())


def grown(order: list[str]) -> tuple[Branches, dict[str, Spot]]:
    log, spots = Branches(), dict[str, Spot]()
    for name in order:
        before = name.rpartition(".")[0]
        spots[name] = log.take(link(name), spots[before] if before else None)
    return log, spots


def shuffled(seed: int) -> list[str]:
    """An order in which each record comes behind the one before it."""
    chance, left, order = random.Random(seed), list(TREE), list[str]()
    while left:
        able = [name for name in left if "." not in name or name.rpartition(".")[0] in order]
        order.append(chance.choice(able))
        left.remove(order[-1])
    return order


def test_a_log_that_was_never_forked_is_one_branch_with_one_tip() -> None:
    log, spots = grown(["a", "a.b", "a.b.c"])
    assert len(log) == 1
    assert spots["a.b.c"] == Spot(0, 3)
    assert [(each.tip_seq, each.tip) for each in log.tips()] == [(3, link("a.b.c"))]


@pytest.mark.parametrize("seed", range(20))
def test_what_lies_behind_what_does_not_depend_on_the_order_of_arrival(seed: int) -> None:
    log, spots = grown(shuffled(seed))
    for one, other in itertools.product(TREE, TREE):
        is_behind = other == one or other.startswith(f"{one}.")
        assert log.is_behind(spots[one], spots[other]) == is_behind, (one, other)
    ends = {name for name in TREE if not any(each.startswith(f"{name}.") for each in TREE)}
    assert {each.tip for each in log.tips()} == {link(name) for name in ends}
    assert [each.tip_seq for each in log.tips()] == sorted(name.count(".") + 1 for name in ends)


def test_a_log_that_was_forked_at_its_first_record_has_two_beginnings() -> None:
    log, spots = grown(TREE)
    assert log.root_of(spots["z.y"].branch) == spots["z"].branch
    assert log.root_of(spots["a.b.d.i"].branch) == spots["a"].branch


def test_branches_that_were_kept_go_on_where_they_ended() -> None:
    log, spots = grown(TREE)
    again = Branches([log[number] for number in range(len(log))])
    again.take(link("a.b.d.e.x"), spots["a.b.d.e"])
    assert link("a.b.d.e.x") in {each.tip for each in again.tips()}
    assert link("a.b.d.e") not in {each.tip for each in again.tips()}
