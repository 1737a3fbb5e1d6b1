"""How two find out where they differ, what that costs, and what neither believes of the other: by calling the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import pytest

from covm._native import Link, cid
from covm.federation.sync import descent as rules
from covm.federation.sync.descent import Descent, answer
from covm.federation.sync.frontier import Frontier, Tips, nibble, path_of
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.sync_frames import (
    DEEPEST,
    MAX_PROBES,
    MAX_TIPS,
    MAX_TOLD,
    SHORT,
    Found,
    Inner,
    Probe,
    SyncRequest,
    SyncResponse,
    Tip,
    Told,
    decode_sync_frame,
    encode_sync_frame,
)

ROOMY = 1_000_000
THOUSAND = [cid(b"author %d" % number) for number in range(1000)]


def tips(*numbers: int) -> Tips:
    return tuple(Tip(number, cid(b"record %d" % number)) for number in numbers)


def holding(logs: Sequence[Link], number: int = 1) -> dict[Link, Tips]:
    return {log: tips(number) for log in logs}


def below(path: bytes, size: int) -> list[Link]:
    """As many logs whose paths begin with these nibbles."""
    found: list[Link] = []
    for number in count():
        if len(found) == size:
            break
        log = cid(b"log %d" % number)
        if all(nibble(path_of(log), depth) == each for depth, each in enumerate(path)):
            found.append(log)
    return found


def asked(descent: Descent) -> list[Probe]:
    """The next question, of a descent that has one."""
    probes = descent.question()
    assert probes is not None
    return probes


class Talk:
    """A descent over frames as they travel: what it found, and what it took."""

    def __init__(self, ours: Mapping[Link, Tips], theirs: Mapping[Link, Tips], limit_bytes: int = ROOMY) -> None:
        self.found: dict[Link, Tips] = {}
        self.questions: list[list[Probe]] = []
        self.answers: list[list[Found]] = []
        self.size_bytes = 0
        descent, there = Descent(Frontier.of(ours)), Frontier.of(theirs)
        while (probes := descent.question()) is not None:
            request = self._carried(SyncRequest(number=1, type="a.type", probes=probes))
            response = self._carried(SyncResponse(number=1, found=answer(there, request.probes, limit_bytes)))
            self.questions.append(request.probes)
            self.answers.append(response.found)
            self.found |= {told.log: told.tips for told in descent.on_answer(response.found)}

    def _carried(self, frame: Any) -> Any:
        data = encode_sync_frame(frame)
        self.size_bytes += len(data)
        return decode_sync_frame(data)


# --- what it finds, and what that costs


def test_one_log_of_a_thousand_takes_two_questions_and_1200_bytes_frames_and_all() -> None:
    for log in THOUSAND[::50]:
        talk = Talk(holding(THOUSAND), {**holding(THOUSAND), log: tips(2)})
        assert talk.found == {log: tips(2)}
        assert len(talk.questions) == 2
        assert talk.size_bytes < 1200


def test_who_has_nothing_is_told_of_everything() -> None:
    assert Talk({}, holding(THOUSAND)).found == holding(THOUSAND)


def test_what_the_other_side_lacks_is_not_asked_about_any_further() -> None:
    talk = Talk(holding(THOUSAND), holding(THOUSAND[:-1]))
    assert talk.found == {}
    assert len(talk.questions) <= 2
    assert Talk(holding(THOUSAND), {}).found == {}


def test_two_that_both_have_something_find_it_by_asking_each_other() -> None:
    one, other = holding(THOUSAND[:-5]), holding(THOUSAND[5:])
    assert Talk(one, other).found == holding(THOUSAND[-5:])
    assert Talk(other, one).found == holding(THOUSAND[:5])


def test_all_branches_of_a_forked_log_are_told() -> None:
    [log] = below(b"\x07", 1)
    assert Talk({log: tips(1)}, {log: tips(1, 4, 5)}).found == {log: tips(1, 4, 5)}


def test_few_logs_below_a_digest_are_told_at_once_and_more_are_asked_for_again() -> None:
    few, many = holding(below(b"\x07", MAX_TOLD)), holding(below(b"\x07", MAX_TOLD + 1))
    assert len(Talk({}, few).questions) == 1
    assert len(Talk({}, many).questions) == 2


def test_logs_whose_paths_part_late_are_found_as_well() -> None:
    logs = holding(below(b"\x07\x07\x07", MAX_TOLD + 1))
    assert Talk({}, logs).found == logs
    assert Talk(holding(below(b"\x07\x07\x07", 1)), logs).found.items() < logs.items()


# --- what does not fit


@pytest.mark.parametrize("limit_bytes", [1, 1000, 20_000])
def test_small_answers_take_more_questions_and_find_the_same(limit_bytes: int) -> None:
    ours, theirs = holding(THOUSAND[:500]), holding(THOUSAND[250:], 2)
    small, whole = Talk(ours, theirs, limit_bytes), Talk(ours, theirs)
    assert small.found == whole.found == theirs
    assert len(small.questions) > len(whole.questions)


def test_an_answer_is_as_large_as_it_may_be_unless_one_path_alone_is_larger() -> None:
    frontier = Frontier.of(holding(THOUSAND))
    probes = [Probe(bytes([first, second]), 0, b"") for first in range(16) for second in range(16)]
    for limit_bytes in (1, 2_000, 10_000, 50_000):
        found = answer(frontier, probes, limit_bytes)
        assert len(encode_sync_frame(SyncResponse(number=1, found=found))) <= limit_bytes + 64 or len(found) == 1


def test_a_path_without_differences_is_answered_and_one_that_does_not_fit_is_asked_for_again() -> None:
    descent = Descent(Frontier.of(holding(THOUSAND)))
    descent.on_answer(answer(Frontier.of(holding(THOUSAND, 2)), asked(descent), ROOMY))
    second = asked(descent)
    descent.on_answer([Found(second[0].path, [], [])])
    assert {probe.path for probe in asked(descent)} == {probe.path for probe in second[1:]}


def test_a_question_has_no_more_paths_than_fit_a_frame() -> None:
    logs = [cid(b"author %d" % number) for number in range(9000)]
    talk = Talk(holding(logs), holding(logs, 2))
    assert max(map(len, talk.questions)) == MAX_PROBES
    assert talk.found == holding(logs, 2)


# --- answers that no honest node gives

NEAR = below(b"\x03", MAX_TOLD + 1)
FAR = below(b"\x09", 1)
SIDE = Inner(4, 0x8000, bytes(SHORT))


def child_of(frontier: Frontier, child: int) -> Inner:
    """What an answerer with this frontier says of one child to somebody who has nothing."""
    [found] = answer(frontier, [Probe(b"", 0, b"")], ROOMY)
    return next(inner for inner in found.inner if inner.child == child)


OURS = Frontier.of(holding([*NEAR, *FAR]))
NONSENSE: dict[str, tuple[list[Found], str]] = {
    "no answer": ([], "nothing was answered"),
    "a path that was not asked for": ([Found(b"\x03", [], [])], "not asked"),
    "one path answered twice": ([Found(b"", [], []), Found(b"", [], [])], "not asked"),
    "a log twice": ([Found(b"", [], [Told(FAR[0], tips(2))] * 2)], "a log told twice"),
    "tips in another order": ([Found(b"", [], [Told(FAR[0], tips(2, 1))])], "tips out of order"),
    "one tip twice": ([Found(b"", [], [Told(FAR[0], tips(2, 2))])], "tips out of order"),
    "more logs of a child than are told at once": (
        [Found(b"", [], [Told(log, tips(2)) for log in NEAR])],
        "too many logs",
    ),
    "logs that are the same here": ([Found(b"", [], [Told(FAR[0], tips(1))])], "does not differ"),
    "digests that are the same here": ([Found(b"", [child_of(OURS, 3)], [])], "does not differ"),
    "fewer digests than children": ([Found(b"", [Inner(4, 0x8001, bytes(SHORT))], [])], "another number of digests"),
    "a digest that is too short": ([Found(b"", [Inner(4, 0x8000, bytes(SHORT - 1))], [])], "another number of digests"),
    "a child with nothing below it": ([Found(b"", [Inner(4, 0, b"")], [])], "nothing below it"),
    "a child twice": ([Found(b"", [SIDE, SIDE], [])], "one of them twice"),
    "children in another order": ([Found(b"", [SIDE, child_of(Frontier.of(holding(NEAR, 2)), 3)], [])], "out of order"),
    "a child by its logs and by what is below it": (
        [Found(b"", [Inner(9, 0x8000, bytes(SHORT))], [Told(FAR[0], tips(2))])],
        "both",
    ),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_an_answer_that_makes_no_sense_is_refused(what: str) -> None:
    found, why = NONSENSE[what]
    descent = Descent(OURS)
    asked(descent)
    with pytest.raises(ValueError, match=why):
        descent.on_answer(found)


def test_an_answer_before_any_question_is_refused() -> None:
    with pytest.raises(ValueError, match="not asked"):
        Descent(OURS).on_answer([Found(b"", [], [])])


def test_a_log_below_another_path_than_the_one_answered_is_refused() -> None:
    descent = Descent(OURS)
    asked(descent)
    descent.on_answer([Found(b"", [Inner(4, 0x8000, bytes(SHORT))], [])])
    assert [probe.path for probe in asked(descent)] == [b"\x04\x00"]
    with pytest.raises(ValueError, match="not below its path"):
        descent.on_answer([Found(b"\x04\x00", [], [Told(FAR[0], tips(2))])])


def test_a_log_that_is_told_again_as_it_is_here_beside_one_that_differs_is_no_lie() -> None:
    theirs = {**holding(NEAR[:3]), NEAR[0]: tips(2)}
    [found] = answer(Frontier.of(theirs), [Probe(b"", 0, b"")], ROOMY)
    descent = Descent(Frontier.of(holding(NEAR[:3])))
    asked(descent)
    assert descent.on_answer([found]) == [Told(NEAR[0], tips(2))]


# --- liars that go on


def invented(children: int) -> Callable[[Probe], Found]:
    """Answers as if there were more below every path, for ever."""
    bitmap = int("1" * children + "0" * (16 - children), 2)
    return lambda probe: Found(
        probe.path,
        [Inner(child, bitmap, b"\xee" * SHORT * children) for child in range(children)],
        [],
    )


def test_a_liar_that_leads_deeper_and_deeper_ends_with_the_hash() -> None:
    descent, liar = Descent(OURS), invented(1)
    for _ in range(DEEPEST // 2 - 1):
        descent.on_answer([liar(probe) for probe in asked(descent)])
    [last] = asked(descent)
    assert len(last.path) == DEEPEST - 2
    with pytest.raises(ValueError, match="deeper than a hash is long"):
        descent.on_answer([liar(last)])


def test_a_liar_that_answers_for_ever_is_asked_no_more_than_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_ROUNDS", 30)
    descent, liar, rounds = Descent(OURS), invented(2), 0
    while (probes := descent.question()) is not None:
        rounds += 1
        descent.on_answer([liar(probes[0])])
    assert rounds == 30


@pytest.mark.parametrize("defended", [True, False])
def test_paths_that_a_liar_invents_do_not_pile_up(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_PATHS", 1000 if defended else 10**9)
    descent, liar = Descent(Frontier()), invented(16)

    def go_on() -> None:
        for _ in range(3):
            descent.on_answer([liar(probe) for probe in asked(descent)])

    if defended:
        with pytest.raises(ValueError, match="more differences than there can be"):
            go_on()
    else:
        go_on()


# --- questions that no honest node asks


@pytest.mark.parametrize(
    ("probes", "why"),
    [
        ([Probe(b"\x10", 0, b"")], "no log can have"),
        ([Probe(b"\x03\xff", 0, b"")], "no log can have"),
        ([Probe(bytes(DEEPEST), 0, b"")], "no log can have"),
        ([Probe(b"", 0, b""), Probe(b"", 0, b"")], "asked for twice"),
        ([Probe(b"", 0x8000, b"")], "another number of digests"),
        ([Probe(b"", 0, bytes(SHORT))], "another number of digests"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(probes: list[Probe], why: str) -> None:
    for frontier in (OURS, Frontier.of(holding(FAR)), Frontier()):
        with pytest.raises(ValueError, match=why):
            answer(frontier, probes, ROOMY)


def test_a_path_below_everything_has_nothing() -> None:
    deep = Probe(bytes(DEEPEST - 1), 0, b"")
    for frontier in (OURS, Frontier.of(holding(FAR)), Frontier()):
        assert answer(frontier, [deep], ROOMY) == [Found(deep.path, [], [])]


def test_more_tips_than_a_log_may_have_do_not_even_come_out_of_a_frame() -> None:
    spoilt = Told(FAR[0], tips(*range(1, MAX_TIPS + 2)))
    frame = encode_sync_frame(SyncResponse(number=1, found=[Found(b"", [], [spoilt])]))
    with pytest.raises(Malformed, match="does not fit"):
        decode_sync_frame(frame)
