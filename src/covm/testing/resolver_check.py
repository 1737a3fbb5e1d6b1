"""Whether a resolver lets replicas converge: tried on many sets of siblings, each in many orders."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from covm import _native
from covm.federation.sync.resolvers import Resolution, ResolverFunction, Sibling, resolution_problem
from covm.federation.wire.record import Hlc

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

MOST_SIBLINGS: Final = 5
"""Siblings in the largest set: whoever depends on the order does so with two or three."""

MOST_ORDERS: Final = 24
"""Orders in which a set is tried: all of four siblings, some of five."""

AUTHORS: Final = ("12D3KooWAda", "12D3KooWBen", "12D3KooWCem")
"""Fewer than siblings, so that one author has several heads."""

TIMES_MS: Final = (0, 1_760_000_000_000, 1_760_000_000_001)
"""Fewer than siblings, so that clocks say the same, as they may."""

MEETINGS: Final = 12
"""How often sets of other ids have to come out alike: what follows from the ids themselves does so by chance."""

SHOWN: Final = 300
"""Characters shown of one value."""


def check_resolver(
    function: ResolverFunction, values: Sequence[Any] | SearchStrategy[Any], *, examples: int = 200, seed: int = 0
) -> None:
    """Raises `AssertionError` for a resolver with which replicas would not converge, and shows the siblings at fault.

    `values` are examples of what your application puts: a sequence, or a strategy of hypothesis where that is
    installed. Give some that are equal in part: two that differ in one field, one of each kind. From them, `examples`
    sets of one to five siblings are made by chance that follows from `seed`, small sets first, some with deletes, some
    with equal clocks. On each of them the function must

    - come to the same in every order of the siblings, also of those that it meets for the first time, and when it is
      called again;
    - leave the siblings and their values as they are;
    - raise nothing, and return a `Resolution`, whose `winner`, if any, is one of the siblings and says what it says;
    - let a single sibling be what it is, and no conflict.

    It looks from within one process. What differs between two is beyond it: a `set` of text has another order in each,
    so sort what you iterate over; and look at neither clock, nor chance, nor anything but the siblings.

        def test_the_highest_bid_is_the_same_everywhere() -> None:
            check_resolver(highest_bid, [{"bid": 1}, {"bid": 2}, {"bid": 2, "by": "Mill Bakery"}])
    """
    pool = list(values) if isinstance(values, Sequence) else _drawn(values, examples)
    if not pool:
        raise ValueError("there is no value to try the resolver on; give some that your application puts")
    chance, names = random.Random(seed), random.Random(f"names {seed}")
    for example in range(examples):
        siblings = _siblings(chance, pool, 1 + example * MOST_SIBLINGS // examples)
        _check(function, siblings, chance)
        if len(siblings) > 1:
            _check_forgetful(function, siblings, names)


def _check_forgetful(function: ResolverFunction, siblings: list[Sibling], names: random.Random) -> None:
    """The same set under ids that were never seen, met in the order of the ids and in the other one."""
    first, other = _met(function, siblings, names), _met(function, siblings, names, is_reversed=True)
    if first == other:
        return
    for _ in range(MEETINGS):
        if _met(function, siblings, names) != first or _met(function, siblings, names, is_reversed=True) == first:
            return  # it follows from the ids themselves
    raise AssertionError(
        f"siblings that were never seen before came to something else in the other order\n{_told(siblings)}\n"
        f"by ascending id:  {_short(first)}\nby descending id: {_short(other)}\n"
        "Nodes would differ by what arrived first. The resolver remembers in which order it met siblings: let it keep "
        "nothing from one call to the next."
    )


def _met(
    function: ResolverFunction, siblings: list[Sibling], names: random.Random, *, is_reversed: bool = False
) -> Resolution:
    """What the siblings come to under other ids in the same order, told by their own."""
    own = sorted(siblings, key=lambda each: each.id.bytes)
    fresh = sorted((_native.cid(names.randbytes(16)) for _ in own), key=lambda link: link.bytes)
    named = [
        msgspec.structs.replace(each, id=link, value=copy.deepcopy(each.value))
        for each, link in zip(own, fresh, strict=True)
    ]
    result = _called(function, named[::-1] if is_reversed else named)
    back = {link: each.id for each, link in zip(own, fresh, strict=True)}
    return msgspec.structs.replace(
        result,
        winner=None if result.winner is None else back[result.winner],
        broken=tuple(sorted((back[each] for each in result.broken), key=lambda link: link.bytes)),
    )


def _check(function: ResolverFunction, siblings: list[Sibling], chance: random.Random) -> None:
    first = _called(function, siblings)
    if len(siblings) == 1:
        _check_alone(first, siblings[0])
    if (again := _called(function, siblings)) != first:
        raise AssertionError(
            f"called twice with the same siblings, the resolver came to two things\n{_told(siblings)}\n"
            f"first:  {_short(first)}\nagain:  {_short(again)}\n"
            "Nodes would differ. Let it look at the siblings alone: no clock, no chance, nothing kept from before."
        )
    for order in _orders(siblings, chance):
        if (other := _called(function, order)) != first:
            raise AssertionError(
                f"the same siblings in another order came to something else\n{_told(siblings)}\n"
                f"so:          {_short(first)}\nin the order {', '.join(_short_id(each) for each in order)}\n"
                f"so:          {_short(other)}\n"
                "Nodes would differ by what arrived first. Let the result follow from the set: where two siblings are "
                "equally good, take the one with the higher `rank`, and sort what you put together by it."
            )


def _called(function: Callable[[Sequence[Sibling]], object], siblings: list[Sibling]) -> Resolution:
    """What the function returns, when it is a resolution and the siblings are as they were."""
    given = list(siblings)
    before = copy.deepcopy(siblings)
    try:
        result = function(given)
    except Exception as error:
        raise AssertionError(
            f"the resolver raised {type(error).__name__}: {error}\n{_told(before)}\n"
            "On a node this keeps all siblings, for people to resolve. If that is what you want, return "
            "`keep_siblings(siblings)`; a value of a kind that you do not know can come from a newer program."
        ) from error
    if given != siblings or siblings != before:
        raise AssertionError(
            f"the resolver changed what it was given\nbefore: {_told(before)}\nafter:  {_told(given)}\n"
            "They are the node's own, shown to others too. Copy what you change: sorted(siblings), dict(value)."
        )
    if (problem := resolution_problem(result, siblings)) is not None:
        raise AssertionError(
            f"the resolver {problem}\n{_told(siblings)}\nreturned: {_short(result)}\n"
            "On a node this keeps all siblings, for people to resolve. Return `Resolution(value=..., winner=...)`."
        )
    assert isinstance(result, Resolution)  # noqa: S101 - said above, to people; here to the type checker
    return result


def _check_alone(resolution: Resolution, sibling: Sibling) -> None:
    is_deleted = sibling.op == "delete"
    if (resolution.value, resolution.is_deleted, resolution.is_conflict) != (sibling.value, is_deleted, False):
        raise AssertionError(
            f"a single sibling did not stay what it is\n{_told([sibling])}\nresolved: {_short(resolution)}\n"
            "It conflicts with nothing, and nodes may show it without asking the resolver. Return its own value."
        )


def _siblings(chance: random.Random, pool: list[Any], count: int) -> list[Sibling]:
    return [_sibling(chance, pool, number) for number in range(count)]


def _sibling(chance: random.Random, pool: list[Any], number: int) -> Sibling:
    is_put = chance.random() < 0.8
    author = chance.choice(AUTHORS)
    return Sibling(
        id=_native.cid(_native.encode([number, chance.randbytes(16)])),
        author=author,
        member=chance.choice([None, f"member of {author}"]),
        hlc=Hlc(chance.choice(TIMES_MS), chance.randrange(2)),
        op="put" if is_put else "delete",
        value=copy.deepcopy(chance.choice(pool)) if is_put else None,
    )


def _orders(siblings: list[Sibling], chance: random.Random) -> Iterator[list[Sibling]]:
    if len(siblings) < MOST_SIBLINGS:
        yield from map(list, itertools.islice(itertools.permutations(siblings), 1, None))
        return
    yield siblings[::-1]
    for _ in range(MOST_ORDERS - 1):
        yield chance.sample(siblings, len(siblings))


def _drawn(values: SearchStrategy[Any], examples: int) -> list[Any]:
    """Values that the strategy gives, the same each time. A strategy is here, and so hypothesis is installed."""
    from hypothesis import HealthCheck, given, settings

    pool: list[Any] = []

    @settings(
        max_examples=examples, database=None, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(values)
    def draw(value: Any) -> None:
        pool.append(value)

    draw()
    return pool


def _told(siblings: Sequence[Sibling]) -> str:
    return "siblings:\n" + "\n".join(
        f"    {_short_id(each)} {each.op} {_short(each.value)} "
        f"at {each.hlc.time_ms}.{each.hlc.counter} by {each.author} ({each.member})"
        for each in siblings
    )


def _short_id(sibling: Sibling) -> str:
    return f"…{str(sibling.id)[-6:]}"


def _short(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
