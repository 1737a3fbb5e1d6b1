"""What a key's value is while several versions of it stand side by side, none of which knew of the other.

A *resolver* is a pure function from a set of siblings to a resolution: the same set gives the same resolution on every
node, whatever arrived first. It decides what is shown and nothing else: all siblings stay until somebody writes a
record that is based on them.

    keep_siblings      shows one of them and says that people have to choose
    last_writer_wins   the latest by its clock
    merge              one document out of all (`states`)

An application registers its own in `Resolvers`, and tries it before with `covm.testing.check_resolver`. A resolver that
fails loses nothing: all siblings are kept, as by `keep_siblings`, and `trouble` says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from covm._native import Link
from covm.federation.identity.roles import DEFAULT_RULE, Resolver, TypeRule
from covm.federation.sync.states import NoState, is_panic, is_state, joined
from covm.federation.wire.limits import MAX_BODY_OVERHEAD, MAX_DIRECT_PAYLOAD, MAX_RESOLVER_NAME
from covm.federation.wire.record import Hlc

MAX_MERGED: Final = MAX_DIRECT_PAYLOAD - MAX_BODY_OVERHEAD
"""Bytes of a merged state: it must fit into the record by which somebody keeps it."""

MAX_MERGE_INPUT: Final = 16 * MAX_DIRECT_PAYLOAD
"""Bytes of all states that are merged at once: one author's heads of a key at their largest, and a moment's work."""

MAX_VERSION: Final = 65535
"""The highest version of a resolver that the charter can name."""

_NAME: Final = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_RESOLVER_NAME - 1}}}")


class Sibling(msgspec.Struct, frozen=True, kw_only=True):
    """One of the concurrent versions of a key."""

    id: Link
    """The record's id."""
    author: str
    """The peer id of the node that wrote it."""
    member: str | None
    """The member whose node that is, where this is known."""
    hlc: Hlc
    """When it was written, by the author's clock: it orders, and proves nothing."""
    op: Literal["put", "delete"]
    """Whether it is a value, or says that there is none any more."""
    value: Any = None
    """What was put; None for a delete. Resolvers leave it as it is."""

    @property
    def rank(self) -> tuple[Hlc, bytes]:
        """Orders siblings the same on every node: by clock, then by id. No two siblings have the same."""
        return self.hlc, self.id.bytes


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """What a set of siblings comes to."""

    value: Any = None
    """What is shown; None where it is deleted."""
    is_deleted: bool = False
    """Whether there is nothing to show."""
    winner: Link | None = None
    """The sibling that this is; None where it was made of several, or where people have to choose."""
    is_conflict: bool = False
    """Whether people should look, because what somebody said is not in what is shown and no rule says that it goes."""
    broken: tuple[Link, ...] = ()
    """Siblings that the resolver could not read and left out, by id."""
    trouble: str | None = None
    """Why the resolver that the type asks for did not decide, in a sentence; None when it did."""


ResolverFunction = Callable[[Sequence[Sibling]], Resolution]
"""Gets the siblings sorted by id, at least one, and none twice."""


# --- what every node has


def keep_siblings(siblings: Sequence[Sibling]) -> Resolution:
    """Shows the latest put, or that all deleted it; with more than one sibling it is a conflict for people to resolve.

    A put is shown before any delete, however late: what somebody wrote without knowing that it goes is not hidden.
    """
    shown = max(_puts(siblings) or siblings, key=_rank)
    is_alone = len(siblings) == 1
    return Resolution(
        value=shown.value,
        is_deleted=shown.op == "delete",
        winner=shown.id if is_alone else None,
        is_conflict=not is_alone,
    )


def last_writer_wins(siblings: Sequence[Sibling]) -> Resolution:
    """The latest by clock, then by id, be it a put or a delete.

    For what only its newest state matters. Whoever has the fastest clock wins: for anything in dispute, choose another.
    """
    return _won(max(siblings, key=_rank))


def merge(siblings: Sequence[Sibling]) -> Resolution:
    """One document with everything that the siblings say; their values are full states, as `states` makes them.

    For equal sets the bytes are equal, since the states are put together in the order of the siblings' ids. A delete
    loses to a concurrent put. A value that is no state is left out, is named in `broken`, and makes a conflict beside
    others. Where nothing can be merged, because none is a state or because all together are too large, the siblings
    are kept and `trouble` says so.
    """
    puts = sorted(_puts(siblings), key=_id)
    if not puts:
        return last_writer_wins(siblings)
    if sum(len(put.value) for put in puts if isinstance(put.value, bytes)) > MAX_MERGE_INPUT:
        return _kept(siblings, f"the versions to merge have more than {MAX_MERGE_INPUT:,} bytes together")
    sound = [put for put in puts if is_state(put.value)]
    read = {put.id for put in sound}
    broken = tuple(put.id for put in puts if put.id not in read)
    if not sound:
        return _kept(siblings, "no version is the state of a document, so that there is nothing to merge", broken)
    if len(sound) == 1:
        return msgspec.structs.replace(_won(sound[0]), broken=broken, is_conflict=bool(broken))
    try:
        merged = joined(put.value for put in sound)
    except NoState:
        return _kept(siblings, "the versions contradict each other, so that they cannot be merged", broken)
    if len(merged) > MAX_MERGED:
        too_large = f"merged, the versions have {len(merged):,} bytes, and a record takes {MAX_MERGED:,}"
        return _kept(siblings, too_large, broken)
    return Resolution(value=merged, broken=broken, is_conflict=bool(broken))


class NamedResolver(msgspec.Struct, frozen=True):
    """An application's resolver, as it is handed to `FederationService` or `register_sync_type`."""

    name: str
    """A small letter followed by small letters, digits or `_`."""
    version: int
    """Another one whenever it comes to something else for the same siblings."""
    function: ResolverFunction
    """A pure function of the siblings; try it with `covm.testing.check_resolver`."""


BUILT_IN: Final[Mapping[tuple[str, int], ResolverFunction]] = {
    ("keep_siblings", 1): keep_siblings,
    ("last_writer_wins", 1): last_writer_wins,
    ("merge", 1): merge,
}
"""What every node has. A resolver that comes to something else for the same siblings is another version."""


class Resolvers:
    """The resolvers of this node: those that every node has, and the application's."""

    def __init__(self) -> None:
        self._functions = dict(BUILT_IN)
        self._chosen: dict[str, Resolver] = {}

    def register(self, name: str, version: int, function: ResolverFunction) -> None:
        """From now on, types whose rule names this resolver are resolved by the function.

        It must be a pure function of the siblings' set, the same on every node that has this name and version: a
        function that decides otherwise is another version. It raises nothing and changes none of the siblings.
        Raises `ValueError` for a name that is none or is taken, and for a version that is none.
        """
        if _NAME.fullmatch(name) is None:
            raise ValueError(
                f"{name!r} is not a resolver's name: a small letter followed by small letters, digits or _, "
                f"{MAX_RESOLVER_NAME} characters at most, as in highest_bid"
            )
        if not 1 <= version <= MAX_VERSION:
            raise ValueError(f"{version} is not a version of a resolver: 1 to {MAX_VERSION}")
        if any(name == taken for taken, _ in BUILT_IN):
            raise ValueError(f"{name} is a resolver that every node has; choose another name")
        if (name, version) in self._functions:
            raise ValueError(f"there is a resolver {name} version {version} already; choose another version")
        self._functions[name, version] = function

    def choose(self, types: Sequence[str], resolver: Resolver) -> None:
        """Has this node show types as a resolver says, where members have agreed on no rule for them.

        Raises `ValueError` for one that is not here, and where another was chosen before.
        """
        if (resolver.name, resolver.version) not in self._functions:
            raise ValueError(f"there is no resolver {resolver.name} version {resolver.version} here; hand it in first")
        for each in types:
            if (chosen := self._chosen.get(each, resolver)) != resolver:
                raise ValueError(f"{each} is resolved by {chosen.name} version {chosen.version} here already")
        self._chosen.update(dict.fromkeys(types, resolver))

    def of(self, type_name: str, rule: TypeRule) -> Resolver:
        """Which resolver a type has: that of its rule, or, where there is but the default rule, the one chosen here."""
        return self._chosen.get(type_name, rule.resolver) if rule == DEFAULT_RULE else rule.resolver

    def knows(self, named: NamedResolver) -> bool:
        """Whether this very resolver is here."""
        return self._functions.get((named.name, named.version)) is named.function

    def resolve(self, rule: Resolver, siblings: Iterable[Sibling]) -> Resolution:
        """What the siblings come to by the resolver that a type's rule names. Raises `ValueError` without any sibling.

        It always comes to something: where the resolver is not here, raises, or returns what is no resolution of these
        siblings, they are kept, and `trouble` says why.
        """
        each = tuple(sorted({sibling.id: sibling for sibling in siblings}.values(), key=_id))
        if not each:
            raise ValueError("there is nothing to resolve: a key has a value or a delete, or it is not there")
        name = f"resolver {rule.name} version {rule.version}"
        function = self._functions.get((rule.name, rule.version))
        if function is None:
            return _kept(each, f"this node has no {name}")
        try:
            resolution = function(each)
            problem = resolution_problem(resolution, each)
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise  # the program is being ended
            # The error's text stays out of it: it may differ between nodes that fail alike.
            return _kept(each, f"the {name} raised {type(error).__name__}; covm.testing.check_resolver shows where")
        return resolution if problem is None else _kept(each, f"the {name} {problem}")


def resolution_problem(resolution: object, siblings: Sequence[Sibling]) -> str | None:
    """Why this is no resolution of these siblings, as the end of a sentence about the resolver; None when it is one."""
    if not isinstance(resolution, Resolution):
        return f"returned {type(resolution).__name__} instead of a Resolution"
    by_id = {sibling.id: sibling for sibling in siblings}
    if resolution.is_deleted and resolution.value is not None:
        return "returned a value and said that it is deleted"
    if not by_id.keys() >= set(resolution.broken):
        return "returned as broken what is none of the siblings"
    if resolution.winner is None:
        return None
    winner = by_id.get(resolution.winner)
    if winner is None:
        return "returned a winner that is none of the siblings"
    if resolution.is_deleted != (winner.op == "delete") or resolution.value != winner.value:
        return "returned a winner and something else than the winner says; without a winner, the value is free"
    return None


def _puts(siblings: Iterable[Sibling]) -> list[Sibling]:
    return [sibling for sibling in siblings if sibling.op == "put"]


def _won(sibling: Sibling) -> Resolution:
    return Resolution(value=sibling.value, is_deleted=sibling.op == "delete", winner=sibling.id)


def _kept(siblings: Sequence[Sibling], trouble: str, broken: tuple[Link, ...] = ()) -> Resolution:
    return msgspec.structs.replace(keep_siblings(siblings), trouble=trouble, broken=broken)


def _rank(sibling: Sibling) -> tuple[Hlc, bytes]:
    return sibling.rank


def _id(sibling: Sibling) -> bytes:
    return sibling.id.bytes
