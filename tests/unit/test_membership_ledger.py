"""What a node takes of a membership, and how two of them come to hold the same: by calling the rules."""

from __future__ import annotations

import random

import pytest
from tests.unit.membership_world import Coop, Desk, World

from covm.federation.membership import ledger as ledger_rules
from covm.federation.membership.aside import Item, item_id
from covm.federation.membership.asking import Asker, answer_ask, answer_want
from covm.federation.membership.ledger import Ledger, opened_items
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import MembersAsk, MembersGive, MembersHave, MembersWant

MILL, FARM, SHOP = Coop("Mill"), Coop("Farm"), Coop("Shop")


def everything(world: World) -> list[Item]:
    return [*world.updates, *world.credentials, *world.records]


def holding(world: World, items: list[Item]) -> Ledger:
    ledger = Ledger(world.signed)
    ledger.take(items)
    return ledger


def opened(give: MembersGive) -> list[Item]:
    found = opened_items(give)
    assert not any(isinstance(each, Malformed) for each in found)
    return found  # type: ignore[return-value]


def exchange(asking: Ledger, answering: Ledger) -> int:
    """One side asks until it lacks nothing; returns how many questions that took."""
    asker, questions = Asker(asking), 0
    question: MembersAsk | MembersWant | None = asker.begin()
    while question is not None:
        questions += 1
        if isinstance(question, MembersAsk):
            question = asker.on_have(answer_ask(answering, question))
        else:
            items = opened(answer_want(answering, question))
            asking.take(items)
            question = asker.after_give(items)
    return questions


def two_founders() -> World:
    world = World([MILL, FARM])
    world.admitted(SHOP)
    return world


def test_the_order_in_which_things_come_does_not_matter() -> None:
    world = two_founders()
    world.removed(FARM, 0)
    items = everything(world)
    digests = set()
    for seed in range(20):
        shuffled = items.copy()
        random.Random(seed).shuffle(shuffled)
        ledger = holding(world, shuffled)
        assert len(ledger) == len(items)
        digests.add(ledger.digest)
    assert len(digests) == 1


def test_what_comes_one_by_one_and_before_what_it_builds_on_is_asked_for_again_and_then_taken() -> None:
    world = two_founders()
    items = everything(world)
    whole, backwards = holding(world, items), Ledger(world.signed)
    for item in reversed(items):
        backwards.take([item])
    exchange(backwards, whole)
    assert backwards.digest == whole.digest


def test_strangers_and_what_they_propose_are_turned_away() -> None:
    world = World([MILL, FARM])
    ledger = holding(world, everything(world))
    stranger = Coop("Stranger")
    theirs = Desk(world.federation, stranger.node(0), stranger.inception)
    world.desks.append(theirs)
    proposal = world.admission(stranger)
    spoiled: list[Item] = [stranger.inception, theirs.approve(proposal)]
    taken = ledger.take(spoiled)
    assert (taken.new, taken.turned_away) == ((), 2)


def test_two_that_hold_different_halves_hold_the_same_once_both_have_asked() -> None:
    world = two_founders()
    items = everything(world)
    one, other = holding(world, items[::2]), holding(world, items[1::2])
    for _ in range(3):
        exchange(one, other)
        exchange(other, one)
    assert one.digest == other.digest
    assert len(one) == len(items)


def test_who_lacks_nothing_asks_once() -> None:
    world = two_founders()
    assert exchange(holding(world, everything(world)), holding(world, everything(world))) == 1


def test_one_thing_that_is_lacking_costs_two_questions() -> None:
    world = World([MILL, FARM])
    for number in range(50):
        world.admitted(Coop(f"Member {number}"))
    items = everything(world)
    behind, ahead = holding(world, items[:-1]), holding(world, items)
    assert exchange(behind, ahead) == 2
    assert behind.digest == ahead.digest


def test_ids_come_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("covm.federation.membership.asking.MAX_IDS", 7)
    world = World([MILL, FARM])
    for number in range(20):
        world.admitted(Coop(f"Member {number}"))
    empty, full = Ledger(world.signed), holding(world, everything(world))
    exchange(empty, full)
    exchange(empty, full)
    assert empty.digest == full.digest


@pytest.mark.parametrize(
    "have",
    [
        MembersHave(ids=[b"b" * 32, b"a" * 32]),
        MembersHave(ids=[b"a" * 32, b"a" * 32]),
        MembersHave(more=True),
    ],
)
def test_an_answer_that_makes_no_sense_ends_the_exchange(have: MembersHave) -> None:
    asker = Asker(Ledger(World([MILL]).signed))
    asker.begin()
    with pytest.raises(ValueError, match=r"ids out of order|more, and nothing here"):
        asker.on_have(have)


def test_items_that_nobody_asked_for_are_no_answer() -> None:
    world = two_founders()
    asker = Asker(Ledger(world.signed))
    asker.begin()
    asker.on_have(MembersHave(ids=[b"a" * 32]))
    with pytest.raises(ValueError, match="nobody asked for"):
        asker.after_give([MILL.inception])


def test_proposals_of_one_author_that_nobody_approves_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_rules, "MAX_PROPOSALS", 5)
    world = World([MILL, FARM])
    ledger = holding(world, everything(world))
    ledger.take([world.admission(Coop(f"Nobody {number}")) for number in range(20)])
    assert len(ledger.credentials) == 5
    kept = {item_id(each) for each in world.credentials if each.id in ledger.credentials}
    assert kept == set(sorted(map(item_id, world.credentials))[:5]), "the same everywhere"


def test_a_membership_has_room_for_so_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = two_founders()
    monkeypatch.setattr(ledger_rules, "MAX_ITEMS", 3)
    ledger = holding(world, everything(world))
    assert len(ledger) == 3
