"""What is shown where several versions of one key stand side by side."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from pycrdt import Array, Doc, Map, Text

from covm import _native
from covm.federation.identity.roles import Resolver
from covm.federation.sync import resolvers
from covm.federation.sync.resolvers import (
    BUILT_IN,
    MAX_MERGE_INPUT,
    MAX_MERGED,
    MAX_VERSION,
    Resolution,
    Resolvers,
    Sibling,
    keep_siblings,
    last_writer_wins,
    merge,
)
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

PANICS = bytes.fromhex("0102070001010474657874010000017901070001")
"""A text whose second block says that it has no length, at which pycrdt divides by nothing."""


def link(number: int) -> _native.Link:
    return _native.cid(_native.encode(number))


def put(number: int, value: Any, time_ms: int = 1) -> Sibling:
    return Sibling(id=link(number), author="ada", member=None, hlc=Hlc(time_ms, 0), op="put", value=value)


def delete(number: int, time_ms: int = 1) -> Sibling:
    return Sibling(id=link(number), author="ben", member="ben", hlc=Hlc(time_ms, 0), op="delete")


def by_id(siblings: Sequence[Sibling]) -> list[Sibling]:
    return sorted(siblings, key=lambda sibling: sibling.id.bytes)


# --- keep_siblings


def test_a_value_alone_is_the_value_and_no_conflict() -> None:
    assert keep_siblings([put(1, "tea")]) == Resolution(value="tea", winner=link(1))


def test_two_values_are_a_conflict_that_shows_the_later_one() -> None:
    assert keep_siblings([put(1, "tea", 2), put(2, "coffee", 1)]) == Resolution(value="tea", is_conflict=True)


def test_of_values_of_one_moment_the_one_with_the_higher_id_is_shown() -> None:
    siblings = [put(number, number) for number in range(5)]
    assert keep_siblings(siblings).value == by_id(siblings)[-1].value


def test_a_value_is_shown_before_a_later_delete_and_the_conflict_stays() -> None:
    assert keep_siblings([put(1, "tea", 1), delete(2, 9)]) == Resolution(value="tea", is_conflict=True)


def test_what_all_deleted_is_deleted() -> None:
    assert keep_siblings([delete(1), delete(2)]) == Resolution(is_deleted=True, is_conflict=True)


# --- last_writer_wins


@pytest.mark.parametrize("op", ["put", "delete"])
def test_the_last_writer_wins_also_with_a_delete(op: Literal["put", "delete"]) -> None:
    last = put(2, "coffee", 9) if op == "put" else delete(2, 9)
    won = last_writer_wins([put(1, "tea", 1), last])
    assert won == Resolution(value=last.value, is_deleted=op == "delete", winner=link(2))


def test_the_last_writer_of_one_millisecond_is_told_by_the_counter() -> None:
    early = Sibling(id=link(1), author="ada", member=None, hlc=Hlc(1, 1), op="put", value="early")
    late = Sibling(id=link(2), author="ada", member=None, hlc=Hlc(1, 2), op="put", value="late")
    assert last_writer_wins([late, early]).value == "late"


# --- merge


def test_two_edits_of_one_text_are_both_there() -> None:
    begun = with_text(None, "bread, milk")
    ada, ben = with_text(begun, "rye bread, milk"), with_text(begun, "bread, milk, eggs")
    resolution = merge([put(1, ada), put(2, ben)])
    assert text_of(resolution.value) == "rye bread, milk, eggs"
    assert resolution == Resolution(value=resolution.value)


def test_maps_and_arrays_merge_too() -> None:
    first, second = doc_of(), doc_of()
    first.get("map", type=Map)["roof"] = "solar"
    second.get("map", type=Map)["floor"] = "oak"
    second.get("array", type=Array).extend([1, 2])
    value = merge([put(1, state_of(first)), put(2, state_of(second))]).value
    assert map_of(value) == {"roof": "solar", "floor": "oak"}
    assert array_of(value) == [1, 2]
    assert text_of(value) == ""


def test_an_edit_outlives_a_delete_of_who_did_not_know_of_it() -> None:
    state = with_text(None, "bread")
    assert merge([delete(1, 9), put(2, state)]) == Resolution(value=state, winner=link(2))
    assert merge([delete(1, 9), delete(2, 1)]) == Resolution(is_deleted=True, winner=link(1))


def test_one_value_alone_stays_as_its_author_wrote_it() -> None:
    state = with_text(None, "bread")
    assert merge([put(1, state)]) == Resolution(value=state, winner=link(1))


@pytest.mark.parametrize("value", [b"", b"\xff" * 40, b"x", PANICS, "bread", 7, None, {"text": "bread"}])
def test_a_value_that_is_no_state_is_left_out_and_named(value: Any) -> None:
    one, other = with_text(None, "bread"), with_text(None, "milk")
    resolution = merge([put(1, one), put(2, value, 9), put(3, other)])
    assert resolution.broken == (link(2),)
    assert resolution.is_conflict
    assert "bread" in text_of(resolution.value)
    assert "milk" in text_of(resolution.value)
    assert merge([put(1, one), put(2, value)]) == Resolution(
        value=one, winner=link(1), broken=(link(2),), is_conflict=True
    )


def test_values_none_of_which_is_a_state_are_kept() -> None:
    resolution = merge([put(1, "tea", 2), put(2, 7, 1)])
    assert (resolution.value, resolution.is_conflict) == ("tea", True)
    assert set(resolution.broken) == {link(1), link(2)}
    assert "nothing to merge" in str(resolution.trouble)
    alone = merge([put(1, "tea")])
    assert (alone.value, alone.winner, alone.is_conflict) == ("tea", link(1), False)


def test_a_merged_state_too_large_for_a_record_keeps_the_siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    siblings = [put(1, with_text(None, "a" * 600), 1), put(2, with_text(None, "b" * 600), 2)]
    monkeypatch.setattr(resolvers, "MAX_MERGED", 1000)
    resolution = merge(siblings)
    assert (resolution.value, resolution.is_conflict) == (siblings[1].value, True)
    assert "a record takes 1,000" in str(resolution.trouble)


def test_more_states_than_can_be_merged_at_once_keep_the_siblings() -> None:
    large = bytes(MAX_MERGE_INPUT // 8)
    resolution = merge([put(number, large) for number in range(9)])
    assert resolution.is_conflict
    assert f"{MAX_MERGE_INPUT:,}" in str(resolution.trouble)


def test_what_merges_fits_into_a_record_with_its_salt() -> None:
    assert len(_native.encode({"salt": bytes(16), "value": bytes(MAX_MERGED)})) <= 1024 * 1024


def test_states_of_one_client_id_that_says_two_things_merge_to_the_same_in_every_order() -> None:
    left, right = with_text(None, "left", client_id=7), with_text(None, "rightmost", client_id=7)
    assert joined([left, right]) != joined([right, left])
    siblings = [put(1, left), put(2, right)]
    assert merge(siblings) == merge(siblings[::-1])


# --- states


@pytest.mark.parametrize("text", ["", "bread", "Käse, 🧀 und 🥖", "a🎉b", "🎉🎊", "e\u0301"])
@pytest.mark.parametrize("before", ["", "bread", "Käse und 🥖", "a🎊b", "🎊🎊", "é"])
def test_a_text_reads_as_it_was_written_whatever_it_was_before(before: str, text: str) -> None:
    begun = with_text(None, before)
    assert text_of(with_text(begun, text)) == text


def test_nothing_is_the_state_of_a_document_without_anything() -> None:
    assert (text_of(None), map_of(None), array_of(None)) == ("", {}, [])
    assert is_state(state_of(doc_of()))


def test_one_document_has_several_texts() -> None:
    state = with_text(with_text(None, "Roof", "title"), "It leaks.", "body")
    assert (text_of(state, "title"), text_of(state, "body"), text_of(state)) == ("Roof", "It leaks.", "")


def test_an_update_without_what_it_builds_on_is_no_state() -> None:
    document = doc_of()
    text = document.get("text", type=Text)
    text += "bread"
    since = document.get_state()
    text += ", milk"
    assert not is_state(document.get_update(since))
    assert is_state(document.get_update())


def test_a_deletion_without_what_it_deletes_is_no_state() -> None:
    document = doc_of(with_text(None, "bread"))
    since = document.get_state()
    del document.get("text", type=Text)[0:2]
    assert not is_state(document.get_update(since))


def test_bytes_that_are_no_state_are_said_to_be_none() -> None:
    for read in (text_of, map_of, array_of, doc_of):
        with pytest.raises(NoState, match="not the full state of a document"):
            read(b"\xff\xff")
        with pytest.raises(NoState, match="reading them failed"):
            read(PANICS)


# --- the registry


def rule(name: str, version: int = 1) -> Resolver:
    return Resolver(name, version)


def longest(siblings: Sequence[Sibling]) -> Resolution:
    best = max(siblings, key=lambda sibling: (len(sibling.value or ""), sibling.rank))
    return Resolution(value=best.value, winner=best.id, is_deleted=best.op == "delete")


def test_a_type_is_resolved_by_the_resolver_that_its_rule_names() -> None:
    known = Resolvers()
    known.register("longest", 1, longest)
    siblings = [put(1, "coffee", 1), put(2, "tea", 9)]
    assert known.resolve(rule("longest"), siblings).value == "coffee"
    assert known.resolve(rule("last_writer_wins"), siblings).value == "tea"
    assert known.resolve(rule("keep_siblings"), siblings).is_conflict


def test_versions_of_one_resolver_stand_beside_each_other() -> None:
    known = Resolvers()
    known.register("longest", 1, longest)
    known.register("longest", 2, last_writer_wins)
    siblings = [put(1, "coffee", 1), put(2, "tea", 9)]
    assert [known.resolve(rule("longest", version), siblings).value for version in (1, 2)] == ["coffee", "tea"]


@pytest.mark.parametrize("name", ["", "Longest", "long-est", "1st", "longest ", "längste", "l" * 65, "a.b"])
def test_a_name_that_cannot_be_on_the_wire_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a resolver's name"):
        Resolvers().register(name, 1, longest)


@pytest.mark.parametrize("version", [0, -1, MAX_VERSION + 1])
def test_a_version_that_cannot_be_on_the_wire_is_refused(version: int) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        Resolvers().register("longest", version, longest)


def test_a_name_is_taken_once() -> None:
    known = Resolvers()
    known.register("longest", 1, longest)
    with pytest.raises(ValueError, match="already"):
        known.register("longest", 1, longest)
    Resolvers().register("longest", 1, longest)


@pytest.mark.parametrize("name", sorted({name for name, _ in BUILT_IN}))
def test_what_every_node_has_keeps_its_meaning(name: str) -> None:
    with pytest.raises(ValueError, match="every node has"):
        Resolvers().register(name, 2, longest)


def test_a_resolver_that_this_node_lacks_keeps_the_siblings_and_says_so() -> None:
    siblings = [put(1, "coffee", 1), put(2, "tea", 9)]
    resolution = Resolvers().resolve(rule("longest", 3), siblings)
    assert resolution == Resolution(
        value="tea", is_conflict=True, trouble="this node has no resolver longest version 3"
    )


def raises(siblings: Sequence[Sibling]) -> Resolution:
    raise KeyError("cents")


def returns_a_value(siblings: Sequence[Sibling]) -> Any:
    return siblings[0].value


def returns_a_strange_winner(siblings: Sequence[Sibling]) -> Resolution:
    return Resolution(value="tea", winner=link(99))


def returns_what_the_winner_does_not_say(siblings: Sequence[Sibling]) -> Resolution:
    return Resolution(value="cocoa", winner=siblings[0].id)


def returns_a_deleted_value(siblings: Sequence[Sibling]) -> Resolution:
    return Resolution(value="tea", is_deleted=True)


def returns_strange_broken_ones(siblings: Sequence[Sibling]) -> Resolution:
    return Resolution(value="tea", broken=(link(99),))


def returns_what_cannot_be_compared(siblings: Sequence[Sibling]) -> Resolution:
    class Odd:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise TypeError("not with me")

    return Resolution(value=Odd(), winner=siblings[0].id)


FAILING = {
    raises: "raised KeyError",
    returns_a_value: "returned str instead of a Resolution",
    returns_a_strange_winner: "returned a winner that is none of the siblings",
    returns_what_the_winner_does_not_say: "something else than the winner says",
    returns_a_deleted_value: "returned a value and said that it is deleted",
    returns_strange_broken_ones: "returned as broken what is none of the siblings",
    returns_what_cannot_be_compared: "raised TypeError",
}


@pytest.mark.parametrize("function", FAILING, ids=lambda function: function.__name__)
def test_a_resolver_that_fails_loses_no_value_and_fails_alike_in_every_order(function: Any) -> None:
    known = Resolvers()
    known.register("mine", 1, function)
    siblings = [put(1, "coffee", 1), put(2, "tea", 9)]
    resolution = known.resolve(rule("mine"), siblings)
    assert (resolution.value, resolution.is_conflict) == ("tea", True)
    assert "the resolver mine version 1" in str(resolution.trouble)
    assert FAILING[function] in str(resolution.trouble)
    assert known.resolve(rule("mine"), siblings[::-1]) == resolution


def test_a_resolver_that_hands_made_up_bytes_to_pycrdt_itself_loses_no_value_either() -> None:
    def trusting(siblings: Sequence[Sibling]) -> Resolution:
        document: Doc[Any] = Doc()
        for sibling in siblings:
            document.apply_update(sibling.value)
        return Resolution(value=document.get_update())

    known = Resolvers()
    known.register("trusting", 1, trusting)
    resolution = known.resolve(rule("trusting"), [put(1, PANICS, 2), put(2, with_text(None, "bread"), 1)])
    assert (resolution.value, resolution.is_conflict) == (PANICS, True)
    assert "raised PanicException" in str(resolution.trouble)


def test_a_cancelled_task_is_no_failing_resolver() -> None:
    def cancelled(siblings: Sequence[Sibling]) -> Resolution:
        raise asyncio.CancelledError

    known = Resolvers()
    known.register("mine", 1, cancelled)
    with pytest.raises(asyncio.CancelledError):
        known.resolve(rule("mine"), [put(1, "tea")])


def test_a_resolver_gets_each_sibling_once_and_sorted() -> None:
    seen: list[Sequence[Sibling]] = []

    def curious(siblings: Sequence[Sibling]) -> Resolution:
        seen.append(siblings)
        return keep_siblings(siblings)

    known = Resolvers()
    known.register("curious", 1, curious)
    siblings = [put(number, number) for number in range(6)]
    known.resolve(rule("curious"), [*siblings, *siblings[::-1]])
    assert list(seen[0]) == by_id(siblings)


@pytest.mark.parametrize("name", ["keep_siblings", "last_writer_wins", "merge", "unknown"])
def test_nothing_resolves_to_nothing(name: str) -> None:
    with pytest.raises(ValueError, match="nothing to resolve"):
        Resolvers().resolve(rule(name), [])


def test_a_node_without_documents_starts_without_the_library_for_them() -> None:
    script = "import sys, covm.federation.sync.resolvers; sys.exit('pycrdt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
