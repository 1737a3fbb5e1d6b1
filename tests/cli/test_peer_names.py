"""Whom a person means by what they type."""

from __future__ import annotations

import pytest

from covm.control.failures import Invalid, NotFound
from covm.daemon.peer_names import find_peer

A, B, C = "12D3KooWAbcDef", "12D3KooWAbcXyz", "12D3KooWQrs"
NAMES = {A: "Mill Bakery", B: "Farm", C: "farm"}


@pytest.mark.parametrize(
    ("text", "peer"),
    [(A, A), ("12D3KooWAbcD", A), ("AbcX", B), ("Q", C), ("mill bakery", A), ("  Mill Bakery ", A), ("mil", A)],
)
def test_an_id_its_beginning_or_a_name_is_enough(text: str, peer: str) -> None:
    assert find_peer(text, NAMES) == peer


@pytest.mark.parametrize("text", ["12D3KooW", "Abc", "FARM", "far"])
def test_what_may_mean_several_is_refused_with_the_list(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        find_peer(text, NAMES)
    assert caught.value.code == "ambiguous_peer"
    assert all(peer in NAMES for peer in caught.value.details["matches"])


@pytest.mark.parametrize("text", ["", "  ", "nobody", "Mi", "Bakery", A + "x"])
def test_what_means_nobody_is_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        find_peer(text, NAMES)


def test_a_peer_cannot_take_anothers_id_for_its_name() -> None:
    assert find_peer("Abc", {A: "Mill", C: "Abc"}) == A
    assert find_peer(A, {A: "Mill", C: A}) == A


def test_a_member_is_meant_by_the_beginning_of_its_id() -> None:
    members = {A: "bafyreiabcd1234", B: "bafyreiwxyz9876"}
    assert find_peer("wxyz", NAMES, members) == B
    assert find_peer("bafyreiabcd1234", NAMES, members) == A


def test_of_those_that_are_called_alike_it_is_the_one_that_takes_part() -> None:
    members = {B: "bafyreiabcd1234", C: "bafyreifarm9876"}
    assert find_peer("Farm", NAMES, {}, {C}) == C
    for taking_part in ((), (B, C)):
        with pytest.raises(Invalid):
            find_peer("Farm", NAMES, {}, taking_part)
    with pytest.raises(Invalid):  # who is meant by the id of its member is never another
        find_peer("farm", NAMES, members, {B})


def test_a_peer_cannot_take_the_beginning_of_anothers_members_id_for_its_name() -> None:
    with pytest.raises(Invalid) as caught:
        find_peer("abcd1234", {A: "Mill", C: "abcd1234"}, {A: "bafyreiabcd1234"})
    assert caught.value.details["matches"] == sorted([A, C])
