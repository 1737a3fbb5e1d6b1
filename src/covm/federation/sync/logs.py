"""The logs of a node, as far as they are kept in memory: their branches and what the next record has to follow.

As much as there are logs, not as there are records. Rules: no I/O. What is planned for a batch is planned on copies
(`Logs.draft`), and taken over (`Logs.commit`) once it is on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from covm import _native
from covm.federation.identity.branches import Branches, Spot
from covm.federation.identity.cuts import Cut, place_in
from covm.federation.sync.frontier import Frontier
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.record import Auth, Hlc, Place, RecordHeader, SignedRecord, log_id
from covm.federation.wire.sync_frames import Tip

MAX_LOGS: Final = 256
"""Logs of one author and type: it begins another when its store is restored, or its member is admitted anew."""

MAX_TYPES_OF_AUTHOR: Final = 256
"""Types that one author's logs are of: as many as a charter can have rules for. Each is named to every peer."""


class Ended(NamedTuple):
    """The last record of a branch, as far as the next one has to follow it."""

    hlc: Hlc | None
    """None before the first record."""
    identity_seq: int | None
    """The highest number of an identity entry that the log has named up to here; None while one of them is not here."""


@dataclass(slots=True)
class Log:
    """One log: (type, author, incarnation)."""

    type: str
    author: str
    incarnation: Incarnation
    number: int | None = None
    """Its row; None before it has one."""
    branches: Branches = field(default_factory=Branches)
    ends: list[Ended] = field(default_factory=list)
    """Of each branch."""
    firsts: dict[int, Auth] = field(default_factory=dict)
    """By what the log began, on each branch that has a first record."""
    basis: bytes = b""
    """What its records were judged on; see `Authority.basis`."""
    link: _native.Link = field(init=False)
    """Its id."""

    def __post_init__(self) -> None:
        self.link = log_id(self.type, self.author, self.incarnation)

    def copy(self) -> Log:
        """One that can be changed by itself."""
        return Log(
            self.type,
            self.author,
            self.incarnation,
            self.number,
            Branches([self.branches[index] for index in range(len(self.branches))]),
            list(self.ends),
            dict(self.firsts),
            self.basis,
        )

    def take(self, record: SignedRecord, before: Spot | None) -> Spot:
        """Gives a record its place."""
        place, ended = self.branches.take(record.id, before), Ended(record.body.hlc, None)
        if place.branch == len(self.ends):
            self.ends.append(ended)
        self.ends[place.branch] = ended
        if before is None:
            self.firsts[place.branch] = record.body.auth
        return place

    def last(self) -> tuple[Spot, _native.Link, Ended] | None:
        """The record behind which its author goes on: the one with the highest number."""
        if not len(self.branches):
            return None
        index = max(range(len(self.branches)), key=lambda each: self.branches[each].tip_seq)
        branch = self.branches[index]
        return Spot(index, branch.tip_seq), branch.tip, self.ends[index]

    def ended_with(self, record: _native.Link) -> tuple[Spot, Ended] | None:
        """Where a record stands that is the last of a branch, and the end of that; None where it is of none."""
        for index in range(len(self.branches)):
            if self.branches[index].tip == record:
                return Spot(index, self.branches[index].tip_seq), self.ends[index]
        return None

    def first(self, branch: int) -> First:
        """What the first record behind a branch says of its log."""
        return First(self.link, self.author, self.firsts[self.branches.root_of(branch)])

    def beginnings(self) -> list[First]:
        """All that it has begun with: several where it was forked at its first record."""
        return [First(self.link, self.author, self.firsts[branch]) for branch in sorted(self.firsts)]

    def tips(self) -> tuple[Tip, ...]:
        """As the frontier has them."""
        return tuple(Tip(each.tip_seq, each.tip) for each in self.branches.tips())


class End(NamedTuple):
    """Where a record stands at which a cut ends a log."""

    log: _native.Link
    spot: Spot


class First(NamedTuple):
    """The first record of a log, as far as it says what the log is bound to."""

    log: _native.Link
    author: str
    auth: Auth


class Logs:
    """Every log, the frontier of each type, and how many of its records are void."""

    def __init__(self, logs: Iterable[Log] = (), void: Mapping[str, int] = MappingProxyType({})) -> None:
        self._logs: dict[_native.Link, Log] = {log.link: log for log in logs}
        by_type: dict[str, dict[_native.Link, tuple[Tip, ...]]] = {}
        for link, log in self._logs.items():
            by_type.setdefault(log.type, {})[link] = log.tips()
        self._frontiers = {name: Frontier.of(tips) for name, tips in by_type.items()}
        self._count_of: Counter[tuple[str, str]] = Counter((log.type, log.author) for log in self)
        self._types_of: Counter[str] = Counter(author for _, author in self._count_of)
        self._changed = set(self._frontiers)
        self.length = sum(map(_length, self))
        """Records of all logs, but for the shorter branches of forked ones."""
        self.void: Counter[str] = Counter(void)
        """Records that are void, by type."""

    def __len__(self) -> int:
        return len(self._logs)

    def __iter__(self) -> Iterator[Log]:
        return iter(self._logs.values())

    def get(self, log: _native.Link) -> Log | None:
        """A log by its id."""
        return self._logs.get(log)

    def count_of(self, type_name: str, author: str) -> int:
        """Logs of an author, of a type."""
        return self._count_of[type_name, author]

    def why_no_other(self, type_name: str, author: str, begun: Sequence[str]) -> str:
        """Why an author may not begin another log of a type; empty where it may.

        `begun` are the types of those that it begins already, beside these.
        """
        before = self._count_of[type_name, author] + begun.count(type_name)
        if before >= MAX_LOGS:
            return f"its author has begun {MAX_LOGS} logs of this type, and no more are taken"
        fresh = sum(not self._count_of[each, author] for each in set(begun))
        if not before and self._types_of[author] + fresh >= MAX_TYPES_OF_AUTHOR:
            return f"its author has written {MAX_TYPES_OF_AUTHOR} types, and no more are taken of one author"
        return ""

    def __contains__(self, type_name: str) -> bool:
        return type_name in self._frontiers

    def changed(self) -> set[str]:
        """The types of which something has come since this was asked last."""
        changed, self._changed = self._changed, set()
        return changed

    def types(self) -> list[str]:
        """The types of which there are records."""
        return sorted(self._frontiers)

    def frontier(self, type_name: str) -> Frontier:
        """What is held of a type. A value: it stays as it is while records come in."""
        return self._frontiers.get(type_name, _NOTHING)

    def goes_on(self, header: RecordHeader, fresh: Container[_native.Link]) -> bool:
        """Whether a record follows the end of a log, or one of these that does: then what it follows is here."""
        if header.prev in fresh:
            return True
        log = self._logs.get(header.log)
        if log is None:
            return header.prev is None
        return header.prev is not None and log.ended_with(header.prev) is not None

    def commit(self, changed: Iterable[Log], void: Mapping[str, int] = MappingProxyType({})) -> None:
        """Takes over what is on disk now; `void` says by how many the void ones of a type are more, or fewer."""
        self.void.update(void)
        by_type: dict[str, dict[_native.Link, tuple[Tip, ...]]] = {}
        for log in changed:
            before = self._logs.get(log.link)
            self._types_of[log.author] += not self._count_of[log.type, log.author]
            self._count_of[log.type, log.author] += before is None
            self.length += _length(log) - (0 if before is None else _length(before))
            self._logs[log.link] = log
            by_type.setdefault(log.type, {})[log.link] = log.tips()
        for name, tips in by_type.items():
            self._frontiers[name] = self.frontier(name).changed(tips)
        self._changed |= by_type.keys()


def _length(log: Log) -> int:
    return max((log.branches[index].tip_seq for index in range(len(log.branches))), default=0)


_NOTHING: Final = Frontier()


class Reach:
    """What lies within cuts, for the records of logs. It is a `cuts.Within`."""

    def __init__(self, listed: Container[_native.Link] = (), ends: Iterable[tuple[_native.Link, End]] = ()) -> None:
        """`listed` are the records that cuts end logs at; `ends` where those stand that are here."""
        self.branches: dict[_native.Link, Branches] = {}
        """Of the logs whose records are asked for."""
        self.ends = dict(ends)
        self._listed = listed
        self._spots: dict[_native.Link, Spot] = {}

    def note(self, record: _native.Link, log: _native.Link, spot: Spot) -> None:
        """A record that will be asked for."""
        self._spots[record] = spot
        if record in self._listed:
            self.ends[record] = End(log, spot)

    def within(self, cuts: Iterable[Cut], log: _native.Link, record: _native.Link) -> bool:
        """Whether a record of a log is within all of these cuts."""
        return all(self._within(place_in(cut, log), log, record) for cut in cuts)

    def _within(self, place: Place | None, log: _native.Link, record: _native.Link) -> bool:
        end = None if place is None else self.ends.get(place.id)
        if place is None or end is None or (end.log, end.spot.seq) != (log, place.seq):
            return False
        return self.branches[log].is_behind(self._spots[record], end.spot)
