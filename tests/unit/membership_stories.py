"""Federations in which something happened, for the vectors: each is a set of things from which the members follow."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.membership_world import Coop, Desk, World, plain_rule

ASH, BIRCH, CEDAR, DILL, ELM = (Coop(name) for name in ("Ash", "Birch", "Cedar", "Dill", "Elm"))


def admitted() -> World:
    world = World([ASH, BIRCH, CEDAR], k=2)
    world.admitted(DILL, ["bookkeeper", "member"], by=[0, 2])
    world.admitted(ELM, by=[1])
    return world


def removed_and_back() -> World:
    world = World([ASH, BIRCH, CEDAR])
    world.admitted(DILL)
    removal = world.removed(DILL, 0, 1)
    world.approve(world.admission(DILL), 0)
    world.approve(world.admission(DILL, after=[removal]), 2)
    return world


def each_other() -> World:
    world = World([ASH, BIRCH])
    world.removed(BIRCH, 0)
    world.removed(ASH, 1)
    return world


def a_cut_elector() -> World:
    world = World([ASH, BIRCH, CEDAR])
    world.admitted(DILL, by=[0])
    cut = [world.desks[0].tip]
    world.admitted(ELM, by=[0])
    world.removed(ASH, 1, 2, cut=cut)
    return world


def a_stolen_node() -> World:
    world = World([ASH, BIRCH, CEDAR])
    world.admitted(DILL, by=[0])
    cut = [world.desks[0].tip]
    world.admitted(ELM, by=[0])
    world.know(ASH.remove_node(ASH.inception, 0, cut))
    return world


def a_stolen_member_key() -> World:
    world = World([ASH, BIRCH, CEDAR])
    theft = ASH.add_node(ASH.inception, 9)
    world.know(theft, ASH.recover(ASH.inception, 0, 5), DILL.inception)
    world.approve(world.admission(DILL), Desk(world.federation, ASH.node(9), theft))
    return world


def an_elector_back() -> World:
    world = World([ASH, BIRCH, CEDAR])
    removal = world.removed(ASH, 1, 2)
    back = world.admission(ASH, after=[removal])
    under = Desk(world.federation, ASH.node(0), ASH.inception, under=back.id, life=2)
    world.approve(back, under)
    world.approve(world.admission(DILL), under)
    world.know(DILL.inception)
    world.approve(back, 1)
    return world


def two_rules_for_a_type() -> World:
    world = World([ASH, BIRCH, CEDAR])
    world.approve(world.type("tools.loan", plain_rule(size_limit_bytes=1)), 0, 1)
    world.approve(world.type("tools.loan", plain_rule(size_limit_bytes=2)), 1, 2)
    world.approve(world.type("tools.list", plain_rule()), 1)
    return world


def erasures() -> World:
    world = World([ASH, BIRCH, CEDAR])
    world.admitted(DILL)
    theirs, ours = (Desk(world.federation, ASH.node(0), ASH.inception).approve(DILL.member, key=key).id for key in "ab")
    world.approve(world.erasure(DILL, theirs), 0, 1)
    world.approve(world.erasure(DILL, theirs, "shop.note"), 2)
    world.approve(world.erasure(ASH, ours), 0, 1)
    cut = [world.desks[0].tip]
    world.approve(world.erasure(DILL, ours), 0, 2)
    world.removed(ASH, 1, 2, cut=cut)
    return world


STORIES: dict[str, Callable[[], World]] = {
    "admitted by two, and by one of two": admitted,
    "removed, admitted without a word of it, and again with it": removed_and_back,
    "two that remove each other": each_other,
    "a removed elector's admissions count within the cut": a_cut_elector,
    "a stolen node key, revoked with a cut": a_stolen_node,
    "a stolen member key, recovered": a_stolen_member_key,
    "an elector that came back does not rest on its own approval": an_elector_back,
    "two rules for a type": two_rules_for_a_type,
    "erasures by enough, by too few, with its author's own approval, and beyond a cut": erasures,
}
