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


MAY_COME_AGAIN = 64
"""Records of a durable type that a plain handler may be given again after a crash."""


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
    return [
        *_lost(way),
        *_doubled(way),
        *_out_of_order(way),
        *_untold(way),
        *_answers(way),
        *_invented(way),
    ]


def _lost(way: Way) -> Iterator[str]:
    plain, exact = {number for number, _ in way.plain}, {number for number, _ in way.exact}
    for what, kind, done in (("plain", PLAIN_TYPE, plain), ("transactional", EXACT_TYPE, exact)):
        missing = [number for number in way.sent.queued_of(kind) - done if number not in way.may_be_gone]
        yield from _named(f"queued, but no {what} effect", missing)


def _doubled(way: Way) -> Iterator[str]:
    yield from _named("a transactional effect twice", _repeated(number for number, _ in way.exact))


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


@dataclass
class News:
    """What one node's handlers were given of the records that both have published, at rest."""

    begun: Container[int]
    """Numbers that somebody began to publish."""
    published: Sequence[int]
    """Numbers that were acknowledged, or committed."""
    large: Container[int]
    """Numbers that do not travel beside their records: they come when they come."""
    plain: Sequence[tuple[int, int]]
    """Number and attempt of each run of the plain handler."""
    ledger: Sequence[int]
    """Numbers that the transactional handler was given, in the order of its commits."""
    archive: Sequence[int]
    """The same of one that began when all had been published."""
    held: Sequence[int]
    """Numbers of all records, also of those that were replaced."""
    crashes: int


def news_problems(news: News) -> list[str]:
    """Every promise about durable publications that does not hold, in words."""
    runs = list(dict.fromkeys(number for number, _ in news.plain))
    handlers = {"plain": runs, "transactional": news.ledger, "late": news.archive}
    small = {name: [each for each in given if each not in news.large] for name, given in handlers.items()}
    found = [*_named("published, but in no collection", set(news.published) - set(news.held))]
    found += _named("a record twice", _repeated(news.held))
    found += _named("a record of what nobody published", (each for each in news.held if each not in news.begun))
    for name, given in handlers.items():
        found += _named(f"not given to the {name} handler", set(news.held) - set(given))
        found += _named(f"given to the {name} handler, and no record", set(given) - set(news.held))
        found += _named(f"twice given to the {name} handler", _repeated(given))
        if not found and small[name] != small["plain"]:
            found.append(f"the {name} handler was given them in another order than the plain one")
    found += _named("run again, and told to be the first time", _repeated(each for each, nth in news.plain if nth == 1))
    if (again := len(news.plain) - len(runs)) > MAY_COME_AGAIN * news.crashes:
        found.append(f"{again} were given again to the plain handler, over {news.crashes} crashes")
    return found


def _repeated(numbers: Iterable[int]) -> Iterator[int]:
    return (number for number, count in Counter(numbers).items() if count > 1)


def _descents(numbers: Sequence[int]) -> list[int]:
    return [after for before, after in pairwise(numbers) if after < before]


def _named(what: str, numbers: Iterable[int]) -> Iterator[str]:
    found = sorted(numbers)
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        yield f"{what}: {', '.join(map(str, found[:SHOWN]))}{more}"
