"""What a node has written for its member, and what would count no more if that member removed it. Rules: no I/O.

A member takes back what its node approved by removing that node with a cut. Where it is a founder that can make
members strangers: it is told first which, and sees what the node approved, with the times that the node gave.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from covm import _native
from covm.federation.identity.approvals import approved
from covm.federation.identity.credentials import ErasureCredential, Removal, TypeCredential
from covm.federation.identity.drafts import trial_removal
from covm.federation.identity.standing import Standing, judge
from covm.federation.membership.ledger import Ledger
from covm.federation.membership.proposals import kept_places
from covm.federation.membership.views import name_of, subject_of
from covm.federation.ports import Written
from covm.federation.wire.record import Place


class Approved(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a node has approved."""

    node: str
    kind: str
    """`admission`, `removal`, `type` or `erasure`; empty while the credential is not here."""
    subject: str
    """The member's id, or the type's name."""
    name: str
    time_ms: int
    """By the node's own clock: who has its key writes what time it likes."""
    counts: bool
    why: str


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """Something that would be otherwise without what is cut off.

    `kind`: `member`, who would be none any more; `roles`, who would have fewer; `again`, who was removed and would be a
    member again; `removal`, that of somebody who is none anyhow; `type`, which would have another rule; `erasure`, of a
    record of this member's, whose value may come again.
    """

    kind: str
    subject: str
    """The member's id, or the type's name; of an erasure the record's id."""
    name: str


class Writing(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has written."""

    places: tuple[Place, ...] = ()
    """The ends of its logs, as far as it is to count: the cut of its removal."""
    approved: tuple[Approved, ...] = ()
    """All that it approved, the oldest first."""
    undone: tuple[Undone, ...] = ()
    """What would be otherwise if it were removed with this cut."""
    records: int = 0
    """Records of it, of any type, that would count no more."""


def writing_of(
    ledger: Ledger,
    standing: Standing,
    node: str,
    ends: Collection[Written],
    kept: Collection[Written],
    until_ms: int | None,
) -> Writing:
    """What a node has written, to count up to a time by its clock; all of it without one.

    `ends` are those of its logs of records, `kept` where they ended at that time.
    """
    places = kept_places(ledger, standing, [node], kept, until_ms)
    found, seqs = standing.nodes.get(node), {place.log: place.seq for place in places}
    return Writing(
        records=sum(max(0, each.place.seq - seqs.get(each.place.log, 0)) for each in ends),
        places=tuple(places),
        approved=tuple(approvals_of(ledger, standing, [node])),
        undone=() if found is None else tuple(undone_by(ledger, standing, found.member, node, places)),
    )


def approvals_of(ledger: Ledger, standing: Standing, nodes: Collection[str]) -> list[Approved]:
    """What these nodes have approved, the oldest first by their clocks."""
    listed: list[Approved] = []
    for record in ledger.approvals:
        if record.body.author not in nodes or (target := approved(record.body)) is None:
            continue
        credential, verdict = ledger.credentials.get(target), standing.approval_verdict(record.id)
        kind, subject, name, *_ = ("", str(target), "") if credential is None else subject_of(ledger, credential)
        listed.append(
            Approved(
                node=record.body.author,
                kind=kind,
                subject=subject,
                name=name,
                time_ms=record.body.hlc.time_ms,
                counts=verdict.holds,
                why=verdict.reason,
            )
        )
    return sorted(listed, key=lambda each: each.time_ms)


def undone_by(
    ledger: Ledger, standing: Standing, member: _native.Link, node: str, cut: Iterable[Place]
) -> list[Undone]:
    """What would be otherwise if a member removed a node of its with this cut; nothing where it has no such node."""
    head = ledger.identities.head(member)
    if head is None or node not in head.nodes:
        return []
    identities = ledger.identities.with_entry(trial_removal(head, node, cut))
    after = judge(ledger.federation, ledger.charter.charter, identities, ledger.credentials.values(), ledger.approvals)
    return [*_members(ledger, standing, after), *_credentials(ledger, standing, after)]


def _members(ledger: Ledger, before: Standing, after: Standing) -> list[Undone]:
    listed: list[Undone] = []
    for each in before.memberships.values():
        now = after.membership(each.member)
        if each.verdict.holds != now.verdict.holds:
            kind = "member" if each.verdict.holds else "again"
        elif each.roles - now.roles:
            kind = "roles"
        else:
            continue
        listed.append(Undone(kind=kind, subject=str(each.member), name=name_of(ledger, each.member)))
    return sorted(listed, key=lambda each: (each.kind, each.name.casefold(), each.subject))


def _credentials(ledger: Ledger, before: Standing, after: Standing) -> list[Undone]:
    listed: dict[tuple[str, str], Undone] = {}
    for each in ledger.credentials.values():
        body = each.body
        if not before.verdict(each.id).holds or after.verdict(each.id).holds:
            continue
        if isinstance(body, TypeCredential):
            listed["type", body.name] = Undone(kind="type", subject=body.name, name=body.name)
        elif isinstance(body, ErasureCredential):
            record = str(body.record)
            listed["erasure", record] = Undone(kind="erasure", subject=record, name=name_of(ledger, body.member))
        elif isinstance(body, Removal) and after.membership(body.member).verdict.holds == (
            before.membership(body.member).verdict.holds
        ):
            name = name_of(ledger, body.member)
            listed["removal", str(body.member)] = Undone(kind="removal", subject=str(body.member), name=name)
    return [listed[key] for key in sorted(listed)]
