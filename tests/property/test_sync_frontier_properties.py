"""Frontiers: equal for equal logs however they came to be, and differences found exactly, whatever fits an answer."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covm._native import Link, cid
from covm.federation.sync import descent as descent_rules
from covm.federation.sync.descent import Descent, answer
from covm.federation.sync.frontier import EMPTY_ROOT, Frontier, Tips
from covm.federation.wire.sync_frames import (
    DEEPEST,
    SHORT,
    Found,
    Inner,
    Probe,
    SyncRequest,
    Tip,
    Told,
    decode_sync_frame,
    encode_sync_frame,
)

LOGS = [cid(b"log %d" % number) for number in range(200)]


def tips(*numbers: int) -> Tips:
    found = [Tip(number, cid(b"record %d" % number)) for number in set(numbers)]
    return tuple(sorted(found, key=lambda tip: (tip.seq, tip.id.bytes)))


some_tips = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(lambda numbers: tips(*numbers))
held = st.dictionaries(st.sampled_from(LOGS), some_tips, max_size=60)


def differing(ours: Mapping[Link, Tips], theirs: Mapping[Link, Tips], limit_bytes: int) -> tuple[dict[Link, Tips], int]:
    """What a descent finds, and in how many questions."""
    descent, there = Descent(Frontier.of(ours)), Frontier.of(theirs)
    found: dict[Link, Tips] = {}
    rounds = 0
    while (probes := descent.question()) is not None:
        rounds += 1
        for told in descent.on_answer(answer(there, probes, limit_bytes)):
            assert told.log not in found
            found[told.log] = told.tips
    return found, rounds


@given(held, st.lists(st.tuples(held, st.booleans()), max_size=4))
def test_a_frontier_follows_from_its_logs_alone(
    start: dict[Link, Tips], changes: list[tuple[dict[Link, Tips], bool]]
) -> None:
    frontier, known = Frontier.of(start), dict(start)
    for change, removes in changes:
        told = {log: () if removes else each for log, each in change.items()}
        frontier = frontier.changed(told)
        known.update(told)
        known = {log: each for log, each in known.items() if each}
    assert frontier.root == Frontier.of(known).root
    assert dict(frontier.logs()) == known
    assert len(frontier) == len(known)
    assert all(frontier.get(log) == known.get(log, ()) for log in LOGS)
    assert (frontier.root == EMPTY_ROOT) == (not known)


@given(held, held)
def test_other_logs_or_tips_have_another_root(one: dict[Link, Tips], other: dict[Link, Tips]) -> None:
    assert (Frontier.of(one).root == Frontier.of(other).root) == (one == other)


@given(held, held, st.sampled_from([1, 400, 100_000]))
def test_a_descent_finds_what_the_other_side_has_and_nothing_else(
    ours: dict[Link, Tips], theirs: dict[Link, Tips], limit_bytes: int
) -> None:
    found, _ = differing(ours, theirs, limit_bytes)
    assert found == {log: each for log, each in theirs.items() if ours.get(log) != each}


def test_one_log_of_a_thousand_takes_two_questions_and_seven_hundred_bytes() -> None:
    ours = {cid(b"author %d" % number): tips(1) for number in range(1000)}
    theirs = {**ours, cid(b"author 7"): tips(2)}
    descent, there, size_bytes = Descent(Frontier.of(ours)), Frontier.of(theirs), 0
    rounds = 0
    while (probes := descent.question()) is not None:
        found = answer(there, probes, 100_000)
        descent.on_answer(found)
        rounds += 1
        size_bytes += sum(len(each.digests) + len(each.path) for each in probes)
        size_bytes += sum(len(inner.digests) for each in found for inner in each.inner)
        size_bytes += sum(80 for each in found for _ in each.told)
    assert rounds == 2
    assert size_bytes < 1000


@given(held, held, st.data())
def test_a_liars_answers_end_the_descent(ours: dict[Link, Tips], theirs: dict[Link, Tips], data: Any) -> None:
    descent, there = Descent(Frontier.of(ours)), Frontier.of(theirs)
    for _ in range(20):
        if (probes := descent.question()) is None:
            return
        found = answer(there, probes, 100_000)
        lie = data.draw(st.sampled_from(["path", "twice", "place", "tips", "digests", "nothing", "truth"]))
        try:
            descent.on_answer(spoilt(found, lie, data))
        except ValueError:
            return


def spoilt(found: list[Found], lie: str, data: Any) -> list[Found]:
    if lie == "nothing":
        return []
    first = found[0]
    other = data.draw(st.sampled_from(LOGS))
    changes: dict[str, dict[str, Any]] = {
        "path": {"path": first.path + b"\x03"},
        "twice": {"told": [*first.told, *first.told]},
        "place": {"told": [*first.told, Told(other, tips(1))]},
        "tips": {"told": [Told(each.log, each.tips[::-1] * 2) for each in first.told]},
        "digests": {"inner": [msgspec.structs.replace(each, digests=each.digests[1:]) for each in first.inner]},
        "truth": {},
    }
    return [msgspec.structs.replace(first, **changes[lie]), *found[1:]]


paths = st.binary(max_size=DEEPEST) | st.binary(max_size=3).map(lambda path: bytes(each & 15 for each in path))
children = st.lists(st.integers(0, 15), unique=True, max_size=16).map(lambda each: sum(1 << bit for bit in each))
digests = st.integers(0, 3).map(lambda number: bytes(SHORT * number)) | st.binary(max_size=40)
probed = st.lists(st.builds(Probe, paths, children, digests), max_size=4)


@given(held, probed)
def test_whatever_a_peer_asks_is_answered_or_refused(there: dict[Link, Tips], probes: list[Probe]) -> None:
    request = decode_sync_frame(encode_sync_frame(SyncRequest(number=1, type="a.type", probes=probes)))
    assert isinstance(request, SyncRequest)
    try:
        found = answer(Frontier.of(there), request.probes, 100_000)
    except ValueError:
        return
    assert [each.path for each in found] == [each.path for each in probes]


@given(held, held, st.randoms(use_true_random=False))
def test_whatever_a_peer_answers_ends_the_descent_and_nothing_else(
    ours: dict[Link, Tips], theirs: dict[Link, Tips], chance: Random
) -> None:
    descent, there, rounds = Descent(Frontier.of(ours)), Frontier.of(theirs), 0
    with patch.object(descent_rules, "MAX_ROUNDS", 40):
        while (probes := descent.question()) is not None:
            rounds += 1
            found = [mutated(each, chance) for each in answer(there, probes, 100_000)]
            try:
                descent.on_answer(found)
            except ValueError:
                break
    assert rounds <= 40


def mutated(found: Found, chance: Random) -> Found:
    """An answer in which something may be left out, added, repeated, moved or overwritten."""
    inner, told = list(found.inner), list(found.told)
    if chance.random() < 0.3:
        size = chance.randint(1, 3)
        inner.append(Inner(chance.randrange(16), chance.choice([0xE000, 1, 3, 7]), chance.randbytes(SHORT * size)))
        inner.sort(key=lambda each: each.child)
    if inner and chance.random() < 0.1:
        inner[0] = msgspec.structs.replace(inner[0], bitmap=chance.randrange(1 << 16))
    if told and chance.random() < 0.2:
        told.append(chance.choice(told))
    if chance.random() < 0.2:
        told.append(Told(chance.choice(LOGS), tips(chance.randint(1, 9))))
    if told and chance.random() < 0.3:
        del told[chance.randrange(len(told))]
    if told and chance.random() < 0.1:
        told[0] = Told(told[0].log, told[0].tips[::-1])
    return Found(found.path + b"\x03" if chance.random() < 0.05 else found.path, inner, told)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ({"path": b"\x01"}, "not asked"),
        ({"told": [Told(LOGS[0], tips(1)), Told(LOGS[0], tips(1))]}, "twice"),
        ({"told": [Told(LOGS[0], tips(1, 2)[::-1])]}, "order"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(spoil: dict[str, Any], why: str) -> None:
    descent = Descent(Frontier())
    assert descent.question() is not None
    with pytest.raises(ValueError, match=why):
        descent.on_answer([msgspec.structs.replace(Found(b"", [], []), **spoil)])
