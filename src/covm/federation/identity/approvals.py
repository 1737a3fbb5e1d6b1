"""Approvals: records in the logs `system.approval`, by which an elector's approver nodes approve credentials.

An approval is a put whose key is the id of the credential as text, based on nothing (no parents). Its body is for
people: no verdict depends on it, so it may be dropped. What is approved stays approved: there is no taking back, a
removal is the way. Anything else in such a log keeps its place and is void.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from covm import _native
from covm.federation.identity.authors import Beginning, beginning, judge_author
from covm.federation.identity.branches import Branches, Spot
from covm.federation.identity.chains import Chains, Placement
from covm.federation.identity.credentials import SignedCredential
from covm.federation.identity.cuts import CutIndex
from covm.federation.identity.identities import Identities
from covm.federation.identity.verdicts import Verdict, refused, short, void
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.record import Auth, Hlc, Place, RecordHeader, SignedRecord, why_not_after

APPROVAL_TYPE: Final = "system.approval"


def draft_approval(
    credential: SignedCredential,
    before: SignedRecord | None,
    *,
    author: str,
    incarnation: Incarnation,
    auth: Auth,
    hlc: Hlc,
    body: bytes,
) -> RecordHeader:
    """The header by which a node approves a credential, behind the last record of its approval log in this incarnation.

    `auth` names the head of its member's identity log and what lets its member in; `body` is an encoded record body.
    """
    return RecordHeader(
        federation=credential.body.federation,
        type=APPROVAL_TYPE,
        key=str(credential.id),
        author=author,
        incarnation=incarnation,
        seq=before.body.seq + 1 if before else 1,
        prev=before.id if before else None,
        parents=(),
        auth=auth,
        hlc=hlc,
        op="put",
        body=_native.cid(body),
        size=len(body),
        target=None,
    )


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A record of an approval log, judged by identity logs alone."""

    record: SignedRecord
    target: _native.Link | None
    """The credential that it approves; None when it approves nothing."""
    begun: Beginning
    verdict: Verdict

    @property
    def elector(self) -> _native.Link | None:
        """The member for which it speaks, if that one is an elector."""
        return self.begun.member


class ApprovalLogs:
    """The approval logs of all authors, each record behind the one before it; forks are kept, and so are both sides.

    Whose logs are taken is for the caller to say: only those of nodes that an elector has or had can matter.
    """

    def __init__(self, federation: _native.Link, records: Iterable[SignedRecord] = ()) -> None:
        self._federation = federation
        self._records: dict[_native.Link, SignedRecord] = {}
        self._branches: dict[_native.Link, Branches] = {}
        self._spots: dict[_native.Link, Spot] = {}
        self._chains: Chains[SignedRecord] = Chains(
            lambda record: record.body.prev, self._records.__contains__, self._place
        )
        for record in records:
            self.add(record)

    def add(self, record: SignedRecord) -> Placement[SignedRecord]:
        """Takes a record. `placed` of the answer is to be stored, in that order; `waiting` names what is missing."""
        header = record.body
        if header.type != APPROVAL_TYPE:
            return Placement(refused(f"it is no record of {APPROVAL_TYPE}"))
        if header.federation != self._federation:
            return Placement(refused("it is of another federation"))
        return self._chains.add(record)

    def get(self, record: _native.Link) -> SignedRecord | None:
        """A record that has its place; None when it has none here."""
        return self._records.get(record)

    def before(self, record: SignedRecord) -> SignedRecord | None:
        """The record before one that has its place; None for the first of its log."""
        return None if record.body.prev is None else self._records[record.body.prev]

    def back(self, place: Place) -> Iterator[_native.Link]:
        """The ids of the record at this place and of all that it reaches by `prev`; none when it is not there."""
        record = self._records.get(place.id)
        if record is None or record.body.seq != place.seq or record.body.log != place.log:
            return
        while record is not None:
            yield record.id
            record = self.before(record)

    def reaches(self, place: Place, record: _native.Link) -> bool:
        """Whether the record at this place is that one, or reaches it by `prev`; False when it is not there."""
        one, end, known = self._spots.get(record), self._spots.get(place.id), self._records.get(place.id)
        if one is None or end is None or known is None or (known.body.log, end.seq) != (place.log, place.seq):
            return False
        return self._records[record].body.log == place.log and self._branches[place.log].is_behind(one, end)

    def tips(self, authors: Iterable[str], until_ms: int | None = None) -> list[Place]:
        """The ends of all logs of these authors: what a removal's cut lists to keep all of it.

        Of a log with several ends the highest is taken, and of those the one with the lowest id: a cut names one. With
        a time the ends are where the clock of each log was not later yet; what is behind a later one is later.
        """
        ends: dict[_native.Link, SignedRecord] = {}
        wanted = set(authors)
        later: set[_native.Link] = set()
        for record in self._records.values():
            if record.body.author not in wanted:
                continue
            if until_ms is not None and (record.body.hlc.time_ms > until_ms or record.body.prev in later):
                later.add(record.id)
                continue
            end = ends.get(record.body.log)
            if end is None or (-record.body.seq, record.id.bytes) < (-end.body.seq, end.id.bytes):
                ends[record.body.log] = record
        return [Place(log, record.body.seq, record.id) for log, record in ends.items()]

    def missing(self) -> list[_native.Link]:
        """Ids of records that others wait for."""
        return self._chains.missing()

    def __iter__(self) -> Iterator[SignedRecord]:
        """Every record that has its place, behind the one before it."""
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def _place(self, record: SignedRecord) -> str | None:
        why = why_not_after(record.body, self.before(record))
        if why is None:
            self._records[record.id] = record
            before = None if record.body.prev is None else self._spots[record.body.prev]
            self._spots[record.id] = self._branches.setdefault(record.body.log, Branches()).take(record.id, before)
        return why


def judge_approvals(
    logs: ApprovalLogs, electors: frozenset[_native.Link], identities: Identities, cuts: CutIndex
) -> list[Approval]:
    """Every record of the logs: whether an approver node of an elector wrote it, by identity logs alone."""
    begun: dict[_native.Link, tuple[Beginning, int]] = {}
    judged: list[Approval] = []
    for record in logs:
        before = logs.before(record)
        start, seq = begun[before.id] if before else (beginning(record.body, identities), 0)
        written = judge_author(record, before.body.hlc if before else None, start, seq, identities, cuts)
        begun[record.id] = (start, written.seq)
        target = approved(record.body)
        why = None
        if written.verdict.holds and written.state is not None:
            is_approver = written.state.nodes[record.body.author].approver
            why = _no_approval(record.body, target, is_approver, start.member in electors)
        verdict = written.verdict if why is None else void(why)
        judged.append(Approval(record=record, target=target, begun=start, verdict=verdict))
    return judged


def approved(header: RecordHeader) -> _native.Link | None:
    """The credential that an approval names; None when it names nothing."""
    try:
        return _native.Link(header.key)
    except ValueError:
        return None


def _no_approval(header: RecordHeader, target: _native.Link | None, is_approver: bool, is_elector: bool) -> str | None:
    if not is_elector:
        return "its member is no elector"
    if not is_approver:
        return f"node {short(header.author)} is no approver of its member"
    if target is None:
        return "its key is not the id of a credential"
    if header.op != "put":
        return "what is approved stays approved; a removal takes it back"
    return "an approval is based on nothing, and it has parents" if header.parents else None
