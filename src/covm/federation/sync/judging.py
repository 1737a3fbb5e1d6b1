"""Whether a record counts: the one rule of acceptance, the same in every order of arrival. Rules: no I/O.

What follows from it depends on the records before it in its log, on where its parents stand, and on what is known of
members: on none of the verdicts on other logs' records. So a record is judged once those before it name identity
entries that are known, and its parents are here, judged or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from covm import _native
from covm.federation.identity.authors import Beginning, First, Written
from covm.federation.identity.branches import Branches, Spot
from covm.federation.identity.cuts import Within
from covm.federation.identity.roles import TypeRule
from covm.federation.identity.standing import Erasure
from covm.federation.identity.verdicts import Status, Verdict, void, waiting
from covm.federation.wire.record import Auth, Hlc, Op, Place, RecordHeader, SignedRecord

MAX_OPEN: Final = 16
"""Versions of one key that a log may leave open: as many windows may be open on one entry."""

MAX_AHEAD_MS: Final = 10 * 60 * 1000
"""How far ahead of this node's clock a record's may be before the record waits."""

MAX_ERASE_BODY: Final = 2048
"""Bytes of an erase's body: a sentence or two, for people."""

_WAITS_BEFORE: Final = waiting("what the records before it were written by is not here yet")
_EARLY: Final = waiting("its clock is minutes ahead of this node's")


class Authority(Protocol):
    """By what authors write, as far as it is known here. (Members; Everyone in `open` mode)"""

    def beginning(self, first: First) -> Beginning:
        """What a log is bound to that begins like this."""

    def written(self, record: SignedRecord, before: Hlc | None, begun: Beginning, seq: int, cuts: Within) -> Written:
        """Whether its author may write a record, behind one of this clock and this number of an identity entry."""

    def knows(self, auth: Auth) -> bool:
        """Whether by what an author writes is here: one that is made up would be waited for without end."""

    def rule(self, type_name: str) -> TypeRule:
        """What everyone has agreed on about a type."""

    def basis(self, type_name: str, first: First) -> bytes:
        """All that verdicts on a log's records depend on, beside the records: equal bases, equal verdicts."""

    def ends(self, first: First) -> Iterable[Place]:
        """Where cuts end a log that begins like this."""

    def owner(self, first: First) -> str | None:
        """Whose a log is that begins like this: a member's, in `open` mode its author's; None while that is not known.

        Once it is known it stays the same. Who owns a log may erase what is in it.
        """

    def erasures(self) -> Mapping[_native.Link, Sequence[Erasure]]:
        """By the records that members would have erased: the erasures that stand, the one with the lowest id first."""

    def payer(self, first: First) -> str | None:
        """In whose quota a log counts that begins like this: a member's whose node its author is, in `open` mode its
        author's; None while that is not known.

        Once it is known it stays the same. Who names another's member fills nobody's quota but its own.
        """

    def auth(self, type_name: str) -> Auth | Verdict:
        """By what this node writes records of a type, or why it may not."""


class Known(NamedTuple):
    """A record that has its place here, as far as others that build on it have to know it."""

    id: _native.Link
    log: _native.Link
    spot: Spot
    type: str
    key: str
    hlc: Hlc
    parents: tuple[_native.Link, ...]
    is_judged: bool = False
    counts: bool = False
    """Whether it is valid, and a put or a delete."""
    superseded: bool = False
    """Whether a record that counts reaches it."""
    identity_seq: int | None = None
    """The highest number of an identity entry that its log has named up to it; None while one of them is not here."""
    closers: tuple[Spot, ...] = ()
    """Where in its log records name it as a parent, whatever became of them: the first of each branch."""
    is_aside: bool = False
    """Whether it never was open and closes nothing: an erase, or one version too many."""
    target: _native.Link | None = None
    """What it erases, if it is an erase."""
    erases: bool = False
    """Whether it is a valid erase."""

    @property
    def is_void(self) -> bool:
        """Whether it was judged, and does not hold."""
        return self.is_judged and not (self.counts or self.erases)

    @property
    def place(self) -> Place:
        """Where it stands, as parents name it."""
        return Place(self.log, self.spot.seq, self.id)

    def judged(self, op: Op, verdict: Verdict, identity_seq: int | None) -> Known:
        """The same, behind a judgement. Every record asks for it, so it is no `_replace`."""
        holds = verdict.holds
        return Known(
            *self[:7],
            verdict.status is not Status.WAITING,
            holds and op != "erase",
            self.superseded,
            identity_seq,
            *self[11:14],
            holds and self.target is not None,
        )


class Facts(NamedTuple):
    """What there is to know about the record that is judged."""

    spot: Spot
    branches: Branches
    before: Hlc | None
    """The clock of the record before it; None for the first."""
    identity_seq: int | None
    """As `Known.identity_seq`, of the record before it; 0 for the first."""
    begun: Beginning
    parents: Mapping[_native.Link, Known]
    """Those that are here."""
    is_aside: bool
    """As `Known.is_aside`."""


class Judgement(NamedTuple):
    """What becomes of a record: it holds, or is void, or waits."""

    verdict: Verdict
    identity_seq: int | None
    """To be `Known.identity_seq`."""


def judge(record: SignedRecord, facts: Facts, authority: Authority, cuts: Within, now_ms: int) -> Judgement:
    """The verdict on a record that has its place."""
    header = record.body
    if facts.identity_seq is None:
        return Judgement(_WAITS_BEFORE, None)
    written = authority.written(record, facts.before, facts.begun, facts.identity_seq, cuts)
    verdict, seq = written.verdict, None if written.is_unknown else written.seq
    if missing := [place.id for place in header.parents if place.id not in facts.parents]:
        return Judgement(waiting("what it is based on is not here yet", *missing), seq)
    if verdict.status is Status.WAITING:
        return Judgement(verdict, seq)
    if counts_from(header, now_ms) is not None:
        return Judgement(_EARLY, seq)
    if verdict.holds and (why := _problem(header, facts, authority.rule(header.type))) is not None:
        return Judgement(void(why), seq)
    return Judgement(verdict, seq)


def waits_for(header: RecordHeader, facts: Facts) -> tuple[_native.Link, ...]:
    """Records without news of which the verdict stays waiting: parents that are not here, and the record before it."""
    missing = dict.fromkeys(place.id for place in header.parents if place.id not in facts.parents)
    return (*missing, header.prev) if header.prev is not None and facts.identity_seq is None else tuple(missing)


def counts_from(header: RecordHeader, now_ms: int) -> int | None:
    """From when a record's clock lets it count; None for one that need not wait for that."""
    from_ms = header.hlc.time_ms - MAX_AHEAD_MS
    return from_ms if from_ms > now_ms else None


def _problem(header: RecordHeader, facts: Facts, rule: TypeRule) -> str | None:
    if header.op == "erase":
        if header.size > MAX_ERASE_BODY:
            return f"it has {header.size:,} bytes, and why something is erased is said in {MAX_ERASE_BODY:,}"
        return "an erase is based on nothing, and it has parents" if header.parents else None
    if header.size > rule.size_limit_bytes:
        return f"it has {header.size:,} bytes, and {header.type} is limited to {rule.size_limit_bytes:,}"
    for place in header.parents:
        parent = facts.parents[place.id]
        if (parent.log, parent.spot.seq) != (place.log, place.seq):
            return "it names a parent at another place than where that one stands"
        if (parent.type, parent.key) != (header.type, header.key):
            return "it is based on a record of another key"
        if header.hlc <= parent.hlc:
            return "its clock is not ahead of what it is based on"
    if facts.is_aside:
        return f"its log has left {MAX_OPEN} versions of this key side by side already"
    return None


def eraser(
    known: Known, erases: Iterable[Known], approved: Iterable[Erasure], owner_of: Callable[[Known], str | None]
) -> _native.Link | None:
    """What takes away what a record says: of erases of the same key, by its owner, the first by its clock.

    Where there is none it is the first of the erasures that members have approved for just such a record.
    """
    owner = owner_of(known)
    if owner is None:
        return None
    wanted = known.type, known.key, owner
    able = [each for each in erases if each.erases and (each.type, each.key, owner_of(each)) == wanted]
    if able:
        return min(able, key=lambda each: (each.hlc, each.id.bytes)).id
    return next((each.id for each in approved if (each.type, str(each.member)) == (known.type, owner)), None)


def is_one_too_many(header: RecordHeader, at: Spot, branches: Branches, own: Iterable[Known]) -> bool:
    """Whether a record leaves more versions of its key open in its log than it may.

    `own` are records of the same log and key: all that nothing closes, and maybe others. This depends on the headers
    before it in its log alone: on no verdict, so on no order of arrival and on nothing that may change.
    """
    named = {place.id for place in header.parents}
    return sum(one.id not in named and is_open(one, at, branches) for one in own) >= MAX_OPEN


def is_open(one: Known, at: Spot, branches: Branches) -> bool:
    """Whether a record stands before a place in its log, and is named as a parent by nothing up to there."""
    if one.is_aside or not branches.is_behind(one.spot, at):
        return False
    return not any(branches.is_behind(closer, at) for closer in one.closers)
