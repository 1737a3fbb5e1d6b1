"""The ledger of a membership over all orders and partitions: whoever has seen the same judges alike."""

from __future__ import annotations

import random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.test_standing_properties import Story, orders, stories
from tests.unit.membership_world import World

from covm.federation.membership import ledger as ledger_rules
from covm.federation.membership.aside import Item
from covm.federation.membership.asking import Asker, answer_ask, answer_want
from covm.federation.membership.ledger import Ledger, opened_items
from covm.federation.wire.membership import MembersAsk

ROUNDS = 6
"""Exchanges each way after which two that hold different things hold the same: what builds on others comes later."""


def everything(world: World) -> list[Item]:
    return [*world.updates, *world.credentials, *world.records]


def taken(world: World, order: random.Random, share: float = 1.0) -> Ledger:
    """Some of it, in some order, in portions."""
    items = [item for item in everything(world) if order.random() < share]
    order.shuffle(items)
    ledger = Ledger(world.signed)
    while items:
        size = order.randint(1, 5)
        ledger.take(items[:size])
        items = items[size:]
    return ledger


def exchange(asking: Ledger, answering: Ledger) -> None:
    asker = Asker(asking)
    question: Any = asker.begin()
    while question is not None:
        if isinstance(question, MembersAsk):
            question = asker.on_have(answer_ask(answering, question))
        else:
            items: Any = opened_items(answer_want(answering, question))
            asking.take(items)
            question = asker.after_give(items)


def said(ledger: Ledger) -> Any:
    standing = ledger.standing
    return standing and (
        {each: standing.verdict(each) for each in ledger.credentials},
        standing.memberships,
        standing.nodes,
        standing.type_rule("tools.loan"),
    )


@pytest.mark.parametrize("room", [1, 256])
@given(st.integers(1, 4), st.integers(1, 3), stories, orders)
def test_whoever_has_seen_everything_holds_the_same_in_whatever_order_it_came(
    room: int, founders: int, k: int, steps: list[tuple[str, int, int, int]], order: random.Random
) -> None:
    world = Story(founders, k, steps).world
    with patch.object(ledger_rules, "MAX_PROPOSALS", room):
        one, other = taken(world, order), taken(world, order)
    assert one.digest == other.digest
    assert said(one) == said(other)


@pytest.mark.parametrize("room", [1, 256])
@given(st.integers(1, 4), st.integers(1, 3), stories, orders)
def test_partitions_that_ask_each_other_hold_the_same_and_judge_alike(
    room: int, founders: int, k: int, steps: list[tuple[str, int, int, int]], order: random.Random
) -> None:
    world = Story(founders, k, steps).world
    with patch.object(ledger_rules, "MAX_PROPOSALS", room):
        one, other = taken(world, order, 0.6), taken(world, order, 0.6)
        for _ in range(ROUNDS):
            exchange(one, other)
            exchange(other, one)
    assert one.digest == other.digest
    assert said(one) == said(other)
