"""What holds of every set of siblings: one result, whatever the order, and nothing lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Map, Text

from covm import _native
from covm.federation.identity.roles import Resolver
from covm.federation.sync.resolvers import BUILT_IN, Resolution, Resolvers, Sibling, merge
from covm.federation.sync.states import (
    NoState,
    array_of,
    doc_of,
    is_state,
    joined,
    map_of,
    state_of,
    text_of,
    with_text,
)
from covm.federation.wire.record import Hlc

KNOWN = Resolvers()


def sibling(number: int, value: Any, op: str = "put", time_ms: int = 1) -> Sibling:
    link = _native.cid(_native.encode(number))
    kind: Any = op
    return Sibling(id=link, author="ada", member=None, hlc=Hlc(time_ms, 0), op=kind, value=value)


def edited(base: bytes | None, seed: int, edits: int) -> bytes:
    """What one author makes of a document: text, map and array, with something deleted everywhere."""
    chance = random.Random(seed)
    document = doc_of(base, client_id=chance.getrandbits(50))
    text, entries, items = (
        document.get("text", type=Text),
        document.get("map", type=Map),
        document.get("array", type=Array),
    )
    for _ in range(edits):
        match chance.randrange(6):
            case 0:
                text.insert(chance.randrange(len(text) + 1), chance.choice(["a", "bread", "xyz"]))
            case 1 if len(text) > 2:
                start = chance.randrange(len(text) - 2)
                del text[start : start + 2]
            case 2:
                entries[chance.choice("abc")] = chance.randrange(100)
            case 3 if keys := sorted(entries.keys()):
                entries.pop(chance.choice(keys))
            case 4:
                items.append(chance.randrange(9))
            case 5 if len(items):
                del items[chance.randrange(len(items))]
    return state_of(document)


edits = st.integers(0, 25)
seeds = st.integers(0, 2**32)


@st.composite
def histories(draw: st.DrawFn) -> list[bytes]:
    """States that several authors reached from one beginning, some of them after a merge of others."""
    begun = edited(None, draw(seeds), draw(edits))
    states = [edited(begun, seed, draw(edits)) for seed in draw(st.lists(seeds, min_size=1, max_size=5, unique=True))]
    if draw(st.booleans()):
        states.append(edited(joined(states), draw(seeds) + 2**40, draw(edits)))
    return states


values = st.one_of(
    st.none(), st.integers(), st.text(max_size=5), st.binary(max_size=5), histories().map(lambda it: it[0])
)


@st.composite
def sets_of_siblings(draw: st.DrawFn) -> list[Sibling]:
    numbers = draw(st.lists(st.integers(0, 1000), min_size=1, max_size=6, unique=True))
    return [
        sibling(number, draw(values), time_ms=time_ms) if is_put else sibling(number, None, "delete", time_ms)
        for number in numbers
        for is_put, time_ms in [(draw(st.integers(0, 3)) > 0, draw(st.integers(0, 3)))]
    ]


def contents(state: bytes) -> tuple[str, dict[str, Any], list[Any]]:
    return text_of(state), map_of(state), array_of(state)


@pytest.mark.parametrize("rule", [*BUILT_IN, ("unknown", 1)])
@given(data=st.data())
@settings(max_examples=50)
def test_one_set_has_one_resolution(rule: tuple[str, int], data: st.DataObject) -> None:
    siblings = data.draw(sets_of_siblings())
    resolver = Resolver(*rule)
    resolution = KNOWN.resolve(resolver, siblings)
    assert KNOWN.resolve(resolver, data.draw(st.permutations(siblings))) == resolution
    function: Callable[[Sequence[Sibling]], Resolution] | None = BUILT_IN.get(rule)
    if function is not None:
        assert function(data.draw(st.permutations(siblings))) == resolution


@pytest.mark.parametrize("rule", BUILT_IN)
@given(siblings=sets_of_siblings())
@settings(max_examples=50)
def test_what_is_shown_was_said_or_made_of_what_was_said(rule: tuple[str, int], siblings: list[Sibling]) -> None:
    resolution = KNOWN.resolve(Resolver(*rule), siblings)
    said = [each.value for each in siblings if each.op == "put"]
    if resolution.is_deleted:
        assert len(said) < len(siblings)
    elif resolution.value not in said:
        assert rule == ("merge", 1)
        assert is_state(resolution.value)


@given(histories(), st.randoms())
def test_merged_bytes_are_equal_for_equal_sets(states: list[bytes], chance: random.Random) -> None:
    siblings = [sibling(number, state) for number, state in enumerate(states)]
    merged = merge(siblings)
    chance.shuffle(siblings)
    assert merge(siblings) == merged
    assert merged.broken == ()
    assert not merged.is_conflict


@given(histories(), st.randoms())
def test_honest_states_join_to_the_same_bytes_in_every_order(states: list[bytes], chance: random.Random) -> None:
    once = joined(states)
    chance.shuffle(states)
    assert joined(states) == once


@given(histories())
def test_joining_again_what_was_joined_changes_nothing(states: list[bytes]) -> None:
    once = joined(states)
    assert joined([once]) == once
    assert joined([once, *states]) == once
    assert contents(joined([joined(states[:1]), joined(states[1:])] if states[1:] else states)) == contents(once)


@given(histories())
def test_every_state_that_an_honest_author_reached_is_one(states: list[bytes]) -> None:
    assert all(is_state(state) for state in states)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_reads_as_it_was_written(before: str, text: str) -> None:
    assert text_of(with_text(with_text(None, before), text)) == text


@given(st.integers(0, 4), st.integers(0, 4), st.text("abc", max_size=4), st.text("xyz", max_size=4))
def test_edits_in_two_places_are_both_there(left: int, right: int, first: str, second: str) -> None:
    """One changes the beginning of a text, the other its end, with a middle that both leave."""
    begun = with_text(None, "1" * left + " middle " + "2" * right)
    one = with_text(begun, first + " middle " + "2" * right)
    other = with_text(begun, "1" * left + " middle " + second)
    assert text_of(joined([one, other])) == first + " middle " + second


@given(histories(), st.data())
@settings(max_examples=300)
def test_made_up_bytes_break_nothing(states: list[bytes], data: st.DataObject) -> None:
    """States with bytes changed, cut or put in: each is read or refused, and the others still merge."""
    made_up = bytearray(states[0])
    for at in data.draw(st.lists(st.integers(0, len(made_up) - 1), min_size=1, max_size=4)):
        made_up[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=6))
    siblings = [sibling(number, state) for number, state in enumerate([bytes(made_up), *states])]
    resolution = merge(siblings)
    assert merge(data.draw(st.permutations(siblings))) == resolution
    assert set(resolution.broken) <= {siblings[0].id}
    if resolution.trouble is None:
        contents(resolution.value)


@given(st.binary(max_size=200))
def test_bytes_are_a_state_or_raise_that_they_are_none(data: bytes) -> None:
    try:
        doc_of(data)
    except NoState:
        assert not is_state(data)
