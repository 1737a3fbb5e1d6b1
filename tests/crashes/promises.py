"""The promises, as a rule over what both nodes noted: what was sent one way, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.crashes.ledger import Sent

PLAIN_TYPE, EXACT_TYPE = "crash.plain", "crash.exact"

SHOWN = 10
"""Numbers named in a problem: the first ones tell where to look."""


@dataclass
class Way:
    """One direction at rest: everything has been said, nothing is under way."""

    sent: Sent
    plain: Sequence[tuple[int, int]]
    """Number and attempt of each run of the receiver's plain handler."""
    exact: Sequence[tuple[int, int]]
    """The same of the effects that the transactional handler left, in the order of their commits."""
    answers: Sequence[int]
    """Numbers that the receiver answered, as the sender's transactional handler saw them."""
    may_be_gone: Container[int] = field(default_factory=frozenset)
    """Numbers that a restored backup may have cost: they have their effect once or never."""
    answers_may_differ: Container[int] = field(default_factory=frozenset)
    """Numbers of which one side has forgotten that it answered, or was answered."""


def problems(way: Way) -> list[str]:
    """Every promise that does not hold, in words."""
    return [*_lost(way), *_doubled(way), *_out_of_order(way), *_untold(way), *_answers(way), *_invented(way)]


def _lost(way: Way) -> Iterator[str]:
    plain, exact = {number for number, _ in way.plain}, {number for number, _ in way.exact}
    for what, kind, done in (("plain", PLAIN_TYPE, plain), ("transactional", EXACT_TYPE, exact)):
        missing = [number for number in way.sent.queued_of(kind) - done if number not in way.may_be_gone]
        yield from _named(f"queued, but no {what} effect", missing)


def _doubled(way: Way) -> Iterator[str]:
    counts = Counter(number for number, _ in way.exact)
    yield from _named("a transactional effect twice", (number for number, count in counts.items() if count > 1))


def _out_of_order(way: Way) -> Iterator[str]:
    """Transactional effects ascend; of the plain ones the first runs do."""
    yield from _named("transactional effects out of order", _descents([number for number, _ in way.exact]))
    first_runs = list(dict.fromkeys(number for number, _ in way.plain))
    yield from _named("plain effects out of order", _descents(first_runs))


def _untold(way: Way) -> Iterator[str]:
    """A plain handler that runs again is told so: the attempt is above all before."""
    attempts: dict[int, int] = {}
    untold = []
    for number, attempt in way.plain:
        if number in attempts and attempt <= attempts[number] and number not in way.may_be_gone:
            untold.append(number)
        attempts[number] = attempt
    yield from _named("run again, and not told by attempt", untold)


def _answers(way: Way) -> Iterator[str]:
    """What a transactional handler sends, it sends exactly when it has its effect."""
    counts = Counter(number for number in way.answers if number not in way.answers_may_differ)
    effects = {number for number, _ in way.exact if number not in way.answers_may_differ}
    yield from _named("answered twice", (number for number, count in counts.items() if count > 1))
    yield from _named("effect without its answer", effects - set(counts))
    yield from _named("answer without its effect", set(counts) - effects)


def _invented(way: Way) -> Iterator[str]:
    numbers = {number for number, _ in [*way.plain, *way.exact]}
    yield from _named("an effect of what was never sent", numbers - set(way.sent.begun))


def _descents(numbers: Sequence[int]) -> list[int]:
    return [after for before, after in pairwise(numbers) if after < before]


def _named(what: str, numbers: Iterable[int]) -> Iterator[str]:
    found = sorted(numbers)
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        yield f"{what}: {', '.join(map(str, found[:SHOWN]))}{more}"
