"""An identity log as a property: the same entries say the same in every order, in parts, and as the rule says it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.membership_world import Coop

from covm._native import Link
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.update import Recover, Rotate, SignedUpdate

ASH = Coop("Ash Bakery")
OPS = ("profile", "add_node", "remove_node", "rotate", "recover", "stolen")

steps = st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 40), st.integers(0, 3)), max_size=14)
orders = st.randoms(use_true_random=False)


def written(story: Sequence[tuple[str, int, int]]) -> list[SignedUpdate]:
    """Entries behind one another and beside one another; some of them by keys that may not sign there."""
    entries = [ASH.inception]
    keys = [(0, 0)]
    """For each entry, the numbers of the member's key and of its recovery key there, if all is as it should be."""
    for number, (op, behind, choice) in enumerate(story):
        at = behind % len(entries)
        before, (key, recovery) = entries[at], keys[at]
        signer = ASH.key(key)
        match op:
            case "profile":
                entry = ASH.profile(before, f"name {number}", signer)
            case "add_node":
                entry = ASH.add_node(before, 1 + choice, True, signer)
            case "remove_node":
                entry = ASH.remove_node(before, choice, (), signer)
            case "rotate":
                key += 1
                entry = ASH.rotate(before, key, next=key + 1)
            case "recover":
                entry = ASH.recover(before, recovery, 10 * (number + 1))
                key, recovery = 10 * (number + 1), recovery + 1
            case _:
                entry = ASH.profile(before, f"stolen {number}", ASH.key(choice))
        entries.append(entry)
        keys.append((key, recovery))
    return list({entry.id: entry for entry in entries}.values())


def filled(entries: Sequence[SignedUpdate]) -> IdentityLog:
    log = IdentityLog(ASH.member)
    for entry in entries:
        log.add(entry)
    return log


def said(log: IdentityLog, entries: Sequence[SignedUpdate]) -> Any:
    return (
        log.head,
        log.is_contested,
        [update.id for update in log.updates()],
        {entry.id: (log.verdict(entry.id), log.at(entry.id)) for entry in entries},
        sorted(str(update.id) for update in log.held()),
    )


def by_the_rule(log: IdentityLog) -> list[Link]:
    """The path through what has a place, as the rule is written: slowly."""
    held = list(log.held())

    def weight(entry: SignedUpdate) -> int:
        own = 2 if isinstance(entry.body, Recover) else 1 if isinstance(entry.body, Rotate) else 0
        return max([own, *(weight(each) for each in held if each.body.prev == entry.id)])

    path = [next(entry for entry in held if entry.body.prev is None)]
    while branches := [entry for entry in held if entry.body.prev == path[-1].id]:
        with_recovery = [entry for entry in branches if weight(entry) == 2]
        with_rotation = [entry for entry in branches if weight(entry) == 1]
        chosen = branches if len(branches) == 1 else with_recovery or with_rotation
        if len(chosen) != 1:
            break
        path += chosen
    return [entry.id for entry in path]


@settings(max_examples=150)
@given(steps, orders)
def test_the_order_of_arrival_changes_nothing(story: list[tuple[str, int, int]], order: random.Random) -> None:
    entries = written(story)
    expected = said(filled(entries), entries)
    shuffled = list(entries)
    order.shuffle(shuffled)
    assert said(filled(shuffled), entries) == expected


@settings(max_examples=150)
@given(steps, orders)
def test_the_log_goes_where_the_rule_says_after_every_entry(
    story: list[tuple[str, int, int]], order: random.Random
) -> None:
    entries = written(story)
    order.shuffle(entries)
    log = IdentityLog(ASH.member)
    for entry in entries:
        log.add(entry)
        if log.head is not None:
            assert [update.id for update in log.updates()] == by_the_rule(log)


@given(steps, orders)
def test_partitions_that_merge_agree(story: list[tuple[str, int, int]], order: random.Random) -> None:
    entries = written(story)
    here = [entry for entry in entries if order.random() < 0.6]
    there = [entry for entry in entries if entry not in here or order.random() < 0.3]
    order.shuffle(here)
    order.shuffle(there)
    ours, theirs = filled(here), filled(there)
    for log, more in ((ours, there), (theirs, here)):
        assert log.head is None or log.at(log.head.entry) == log.head
        for entry in more:
            log.add(entry)
    assert said(ours, entries) == said(theirs, entries) == said(filled(entries), entries)


@given(steps, orders, st.integers(0, 3))
def test_a_small_room_forgets_branches_and_not_the_outcome(
    story: list[tuple[str, int, int]], order: random.Random, room: int
) -> None:
    """Whatever is missing is offered again, as from a peer that has it, until there is nothing more to ask for."""
    entries = written(story)
    whole = filled(entries)
    chains = {entry.id: entry for entry in whole.held()}
    order.shuffle(entries)
    log = IdentityLog(ASH.member, max_held=len(list(whole.updates())) + room)
    for entry in entries:
        chain = [entry] if entry.id in chains else []
        while chain and (prev := chain[-1].body.prev) is not None:
            chain.append(chains[prev])
        for each in reversed(chain):
            log.add(each)
    assert [update.id for update in log.updates()] == [update.id for update in whole.updates()]
    assert log.head == whole.head
