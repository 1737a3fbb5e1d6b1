"""`check_resolver` as a developer uses it: good resolvers pass, and each way to be wrong is caught and told."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from covm import _native
from covm.federation.sync.resolvers import Resolution, Sibling, keep_siblings, last_writer_wins, merge
from covm.federation.sync.states import with_text
from covm.testing import check_resolver

BIDS = [{"cents": 100}, {"cents": 250}, {"cents": 250, "by": "Mill Bakery"}]
BEGUN = with_text(None, "bread, milk", client_id=1)
TEXTS = [
    BEGUN,
    with_text(BEGUN, "rye bread, milk", client_id=2),
    with_text(BEGUN, "bread", client_id=3),
    with_text(None, "eggs", client_id=4),
    b"no state",
    7,
]


def won(sibling: Sibling) -> Resolution:
    return Resolution(value=sibling.value, winner=sibling.id, is_deleted=sibling.op == "delete")


def cents(sibling: Sibling) -> int:
    return sibling.value["cents"] if sibling.op == "put" else -1


# --- what passes


@pytest.mark.parametrize("resolver", [keep_siblings, last_writer_wins, merge])
def test_what_every_node_has_passes(resolver: Callable[[Sequence[Sibling]], Resolution]) -> None:
    check_resolver(resolver, [*BIDS, "tea", None, 7], examples=60)
    check_resolver(resolver, TEXTS, examples=60)


def test_the_highest_bid_passes_when_equal_ones_are_told_apart() -> None:
    check_resolver(lambda siblings: won(max(siblings, key=lambda each: (cents(each), each.rank))), BIDS)


def test_a_value_made_of_all_passes() -> None:
    def union(siblings: Sequence[Sibling]) -> Resolution:
        if len(siblings) == 1 or all(each.op == "delete" for each in siblings):
            return last_writer_wins(siblings)
        return Resolution(value=sorted({tag for each in siblings if each.op == "put" for tag in each.value}))

    check_resolver(union, [["a"], ["b", "a"], []])


def test_values_may_come_from_a_strategy() -> None:
    check_resolver(last_writer_wins, st.dictionaries(st.text(), st.integers()))
    with pytest.raises(AssertionError, match="in another order"):
        check_resolver(lambda siblings: won(siblings[0]), st.integers())


def test_without_hypothesis_a_sequence_is_enough() -> None:
    script = """
        import sys
        sys.modules["hypothesis"] = None  # whoever imports it gets an ImportError
        from covm.federation.sync.resolvers import keep_siblings
        from covm.testing import check_resolver
        check_resolver(keep_siblings, [1, 2])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- what is caught


def first_come(siblings: Sequence[Sibling]) -> Resolution:
    return won(siblings[0])


def equal_bids_by_arrival(siblings: Sequence[Sibling]) -> Resolution:
    return won(max(siblings, key=cents))


def the_clock_alone(siblings: Sequence[Sibling]) -> Resolution:
    return won(max(siblings, key=lambda each: each.hlc))


def joined_by_arrival(siblings: Sequence[Sibling]) -> Resolution:
    if len(siblings) == 1:
        return won(siblings[0])
    return Resolution(value=[each.value for each in siblings])


def sorts_in_place(siblings: Sequence[Sibling]) -> Resolution:
    assert isinstance(siblings, list)
    siblings.sort(key=lambda each: each.rank)
    return won(siblings[-1])


def writes_into_a_value(siblings: Sequence[Sibling]) -> Resolution:
    for each in siblings:
        if each.op == "put":
            each.value["seen"] = True
    return last_writer_wins(siblings)


def knows_no_delete(siblings: Sequence[Sibling]) -> Resolution:
    return won(max(siblings, key=lambda each: (each.value["cents"], each.rank)))


def returns_the_value(siblings: Sequence[Sibling]) -> Any:
    return max(siblings, key=lambda each: each.rank).value


def returns_a_winner_with_another_value(siblings: Sequence[Sibling]) -> Resolution:
    return Resolution(value="none of them", winner=siblings[0].id)


def doubles(siblings: Sequence[Sibling]) -> Resolution:
    return Resolution(value=2 * sum(max(cents(each), 0) for each in siblings))


def always_a_conflict(siblings: Sequence[Sibling]) -> Resolution:
    latest = last_writer_wins(siblings)
    return Resolution(value=latest.value, is_deleted=latest.is_deleted, is_conflict=True)


CAUGHT = {
    first_come: "in another order came to something else",
    equal_bids_by_arrival: "in another order came to something else",
    the_clock_alone: "in another order came to something else",
    joined_by_arrival: "in another order came to something else",
    sorts_in_place: "changed what it was given",
    writes_into_a_value: "changed what it was given",
    knows_no_delete: "raised TypeError",
    returns_the_value: "instead of a Resolution",
    returns_a_winner_with_another_value: "something else than the winner says",
    doubles: "a single sibling did not stay what it is",
    always_a_conflict: "a single sibling did not stay what it is",
}


@pytest.mark.parametrize("resolver", CAUGHT, ids=lambda resolver: resolver.__name__)
def test_a_resolver_that_would_not_converge_is_caught(resolver: Any) -> None:
    with pytest.raises(AssertionError, match=CAUGHT[resolver]):
        check_resolver(resolver, BIDS)


def test_a_resolver_that_remembers_whom_it_met_first_is_caught() -> None:
    met: dict[_native.Link, int] = {}

    def first_met(siblings: Sequence[Sibling]) -> Resolution:
        for each in siblings:
            met.setdefault(each.id, len(met))
        return won(min(siblings, key=lambda each: met[each.id]))

    with pytest.raises(AssertionError, match="remembers in which order it met siblings"):
        check_resolver(first_met, BIDS)


def test_a_resolver_that_looks_into_the_ids_themselves_is_not_mistaken_for_one_that_remembers() -> None:
    check_resolver(lambda siblings: won(min(siblings, key=lambda each: each.id.bytes[::-1])), BIDS)


def test_a_resolver_that_remembers_is_caught() -> None:
    calls = itertools.count()

    def counts(siblings: Sequence[Sibling]) -> Resolution:
        return won(siblings[0]) if len(siblings) == 1 else Resolution(value=next(calls))

    with pytest.raises(AssertionError, match="called twice with the same siblings"):
        check_resolver(counts, BIDS)


def test_the_message_shows_the_siblings_both_results_and_what_to_do() -> None:
    with pytest.raises(AssertionError) as caught:
        check_resolver(first_come, ["tea", "coffee"])
    message = str(caught.value)
    assert message.count("\n    …") == 2, "the smallest set at which it fails has two siblings"
    assert message.count("Resolution(value=") == 2
    assert "'tea'" in message or "'coffee'" in message
    assert "higher `rank`" in message


def test_a_large_value_does_not_fill_the_screen() -> None:
    with pytest.raises(AssertionError) as caught:
        check_resolver(first_come, ["tea" * 100_000, "coffee" * 100_000])
    assert len(str(caught.value)) < 3000


def test_the_cause_of_a_raising_resolver_is_in_the_traceback() -> None:
    with pytest.raises(AssertionError) as caught:
        check_resolver(knows_no_delete, BIDS)
    assert isinstance(caught.value.__cause__, TypeError)


def test_the_same_seed_fails_at_the_same_siblings_in_every_process() -> None:
    script = """
        from covm.federation.sync.resolvers import Resolution
        from covm.testing import check_resolver
        try:
            check_resolver(lambda all: Resolution(value=all[0].value, winner=all[0].id), [1, 2, 3], seed=5)
        except AssertionError as error:
            print(error)
    """
    said = {
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(said) == 1
    assert "siblings:" in said.pop()


def test_without_values_there_is_nothing_to_check() -> None:
    with pytest.raises(ValueError, match="no value to try"):
        check_resolver(keep_siblings, [])
