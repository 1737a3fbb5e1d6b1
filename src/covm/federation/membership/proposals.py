"""Which of what others have proposed says just what this node would: approvals gather there. Rules: no I/O.

Any member may propose, so what is found here by its subject alone may give other roles, override removals that nobody
meant to, or take back what a founder has approved. That is for people to approve, who see it, by its id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from covm import _native
from covm.federation.identity.approvals import approved
from covm.federation.identity.credentials import (
    Admission,
    ErasureCredential,
    Removal,
    SignedCredential,
    TypeCredential,
)
from covm.federation.identity.roles import TypeRule
from covm.federation.identity.standing import Standing
from covm.federation.identity.verdicts import Status
from covm.federation.membership.ledger import Ledger
from covm.federation.ports import Written
from covm.federation.wire.limits import MAX_CUT
from covm.federation.wire.record import Place


def waiting_admission(
    ledger: Ledger, member: _native.Link, roles: Iterable[str], removals: Iterable[_native.Link]
) -> SignedCredential | None:
    """An admission of a member in these roles that overrides these removals; nothing else, and nothing less."""
    wanted = (frozenset(roles), frozenset(removals))
    for each in ledger.credentials.values():
        if isinstance(each.body, Admission) and each.body.member == member and says_the_same(each.body, *wanted):
            return each
    return None


def says_the_same(admission: Admission, roles: frozenset[str], removals: frozenset[_native.Link]) -> bool:
    """Whether an admission gives these roles and overrides these removals."""
    return frozenset(admission.roles) == roles and frozenset(admission.after) == removals


def waiting_removal(
    ledger: Ledger, standing: Standing, member: _native.Link, proposer: str, written: Collection[Written]
) -> SignedCredential | None:
    """A removal of a member that waits, made by this proposer, or approved by a founder with a cut that keeps all.

    `written` are the ends of the records that the member's nodes have written.
    """
    open_ones = [
        each
        for each in ledger.credentials.values()
        if isinstance(each.body, Removal)
        and each.body.member == member
        and not standing.verdict(each.id).holds
        and (each.author == proposer or (standing.approvers(each.id) and keeps(ledger, each.body, written)))
    ]
    return max(open_ones, key=lambda each: len(standing.approvers(each.id)), default=None)


def waiting_type(ledger: Ledger, standing: Standing, name: str, rule: TypeRule) -> SignedCredential | None:
    """A type with just this rule that waits, the one with the most approvals."""
    waiting = [
        each
        for each in ledger.credentials.values()
        if isinstance(each.body, TypeCredential)
        and (each.body.name, each.body.rule) == (name, rule)
        and standing.verdict(each.id).status is Status.WAITING
    ]
    return max(waiting, key=lambda each: len(standing.approvers(each.id)), default=None)


def waiting_erasure(
    ledger: Ledger, standing: Standing, record: _native.Link, type_name: str, member: _native.Link, proposer: str
) -> SignedCredential | None:
    """An erasure of a member's record, made by this proposer or approved by a founder, the one with most approvals."""
    found = [
        each
        for each in ledger.credentials.values()
        if isinstance(each.body, ErasureCredential)
        and (each.body.record, each.body.type, each.body.member) == (record, type_name, member)
        and (each.author == proposer or standing.approvers(each.id))
    ]
    return max(found, key=lambda each: len(standing.approvers(each.id)), default=None)


def keeps(ledger: Ledger, removal: Removal, written: Collection[Written]) -> bool:
    """Whether a removal takes back no approval, and no record that was written before it was proposed."""
    ends = {place.log: place.seq for place in removal.cut}
    cuts_off = any(
        ends.get(each.place.log, 0) < each.place.seq for each in written if each.time_ms <= removal.proposed_at
    )
    return not cuts_off and takes_back(ledger, removal) == 0


def takes_back(ledger: Ledger, removal: Removal) -> int:
    """How many approvals of its subject that are here count no more by a removal's cut.

    Those of removals count whatever a cut says, and void ones count for nothing anyhow.
    """
    standing = ledger.standing
    if standing is None or removal.member not in ledger.charter.charter.electors:
        return 0
    kept = {record for place in removal.cut for record in ledger.approvals.back(place)}
    return sum(
        record not in kept and _may_be_cut_off(ledger, standing, record)
        for place in written_by(ledger, removal.member)
        for record in ledger.approvals.back(place)
    )


def _may_be_cut_off(ledger: Ledger, standing: Standing, record: _native.Link) -> bool:
    known = ledger.approvals.get(record)
    target = None if known is None else approved(known.body)
    credential = None if target is None else ledger.credentials.get(target)
    if credential is not None and isinstance(credential.body, Removal):
        return False
    return standing.approval_verdict(record).status not in (Status.VOID, Status.REFUSED)


def kept_places(
    ledger: Ledger,
    standing: Standing,
    nodes: Collection[str],
    written: Collection[Written],
    until_ms: int | None = None,
) -> list[Place]:
    """What a removal's cut lists to keep what these nodes have written: all of it, if a cut takes so many logs.

    With a time, only what they approved up to it by their clocks; `written` are the ends of their records up to there.

    If not: the logs first in which it approved what is in force, then those of its records, each the oldest first.
    Whoever writes with a stolen key in ever new logs ends up outside, and cannot make its removal impossible.
    """
    in_force = {
        each.body.log
        for each in ledger.approvals
        if standing.approval_verdict(each.id).holds
        and (target := approved(each.body)) is not None
        and standing.verdict(target).holds
    }
    approvals = ledger.approvals.tips(nodes, until_ms)
    approvals.sort(key=lambda place: (place.log not in in_force, _time_ms(ledger, place), place.log.bytes))
    records = sorted(written, key=lambda each: (each.time_ms, each.place.log.bytes))
    first = [place for place in approvals if place.log in in_force]
    return [*first, *(each.place for each in records), *approvals[len(first) :]][:MAX_CUT]


def _time_ms(ledger: Ledger, place: Place) -> int:
    record = ledger.approvals.get(place.id)
    return record.body.hlc.time_ms if record is not None else 0


def written_by(ledger: Ledger, member: _native.Link) -> list[Place]:
    """The ends of all that a member's nodes have approved, as far as it is here.

    With those of their records they are the cut that keeps everything.
    """
    return ledger.approvals.tips(nodes_of(ledger, member))


def nodes_of(ledger: Ledger, member: _native.Link) -> set[str]:
    """All nodes that a member has or had."""
    head = ledger.identities.head(member)
    return {*head.nodes, *(each.node for each in head.removals)} if head else set()
