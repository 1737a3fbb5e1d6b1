"""What is shown of a membership to people. Rules: no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from covm import _native
from covm.federation.identity.credentials import (
    Admission,
    Credential,
    ErasureCredential,
    Removal,
    SignedCredential,
    TypeCredential,
)
from covm.federation.identity.roles import TypeRule
from covm.federation.identity.standing import Standing
from covm.federation.identity.verdicts import Status
from covm.federation.membership.ledger import Ledger
from covm.federation.membership.proposals import takes_back
from covm.federation.wire.member_id import distinct

SHOWN_ID: Final = 8
"""Characters of an id that are shown beside a name."""


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a member."""

    peer_id: str
    name: str
    approver: bool
    """Whether it may approve for its member, where that one is a founder."""


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """A member, present or former. Show names through `covm.federation.wire.display.shown`.

    `name` is what it calls itself, not unique; `is_member` whether it is in; `is_founder` whether the charter names it;
    `roles` those that it has now, `nodes` its machines now.
    """

    id: str
    """The CID of its inception."""
    name: str
    is_member: bool
    reason: str
    """Why it is one, or why not any more."""
    is_founder: bool
    roles: tuple[str, ...]
    nodes: tuple[NodeView, ...]
    is_contested: bool
    """Whether its identity log ends at a fork that nothing decides: two hold its key."""
    is_own: bool
    """Whether this node is one of its."""


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """Something that waits for approvals, or has them: an admission, a removal, a type, an erasure.

    `roles` are those that an admission gives, `overrides` the reasons of removals that it sets aside; `why` is the
    verdict's reason.
    """

    id: str
    """The credential's id."""
    kind: str
    """`admission`, `removal`, `type` or `erasure`."""
    subject: str
    """The member's id, or the type's name; of an erasure the id of who wrote the record."""
    name: str
    """The member's name, or the type's."""
    roles: tuple[str, ...]
    reason: str
    """Why it is to be removed, or erased, in its proposer's words."""
    rule: TypeRule | None
    """What a type's rule is to be."""
    overrides: tuple[str, ...]
    """What the removals that an admission sets aside say; also of those that nobody has approved yet."""
    takes_back: int
    """Approvals of the member's that count no more once it is removed like this; 0 keeps all that it has approved."""
    proposed_by: str
    """Peer id of the node that proposed it."""
    proposed_at_ms: int
    """Milliseconds since 1970-01-01 UTC, by the proposer's clock."""
    approved_by: tuple[str, ...]
    """Names of the founders who approved it."""
    needed: int
    """How many approvals it takes."""
    status: str
    """`waiting`, `valid`, `ended` or `refused`."""
    why: str
    record: str = ""
    """The id of the record that is to be erased; empty for all others."""
    record_type: str = ""
    """That one's type."""


def members_of(ledger: Ledger, own: _native.Link | None) -> list[MemberView]:
    """Everyone who is or was a member: those who are in first, by name."""
    standing = ledger.standing
    if standing is None:
        return []
    shown = []
    for each in standing.memberships.values():
        log = ledger.identities.log(each.member)
        head = log.head if log is not None else None
        nodes = head.nodes.items() if head is not None else ()
        shown.append(
            MemberView(
                id=str(each.member),
                name=head.name if head is not None else "",
                is_member=each.verdict.holds,
                reason=each.verdict.reason,
                is_founder=each.member in ledger.charter.charter.electors,
                roles=tuple(sorted(each.roles)),
                nodes=tuple(NodeView(peer_id=peer, name=node.name, approver=node.approver) for peer, node in nodes),
                is_contested=log is not None and log.is_contested,
                is_own=each.member == own,
            )
        )
    return sorted(shown, key=lambda view: (not view.is_member, view.name.casefold(), view.id))


def node_names(views: Iterable[MemberView]) -> dict[str, str]:
    """What each member's node is called, by peer id: see `MembershipDesk.node_names`."""
    members = [each for each in views if each.is_member]
    taken = Counter(each.name.casefold() for each in members)
    names: dict[str, str] = {}
    for view in members:
        name = view.name if taken[view.name.casefold()] == 1 else f"{view.name} {distinct(view.id)[:SHOWN_ID]}"
        for node in view.nodes:
            names[node.peer_id] = name if len(view.nodes) == 1 else f"{name}/{node.name}"
    # Somebody may have called itself just so.
    alike = Counter(name.casefold() for name in names.values())
    return {peer: name if alike[name.casefold()] == 1 else f"{name} {peer}" for peer, name in names.items()}


def requests_of(ledger: Ledger, credentials: Iterable[SignedCredential] | None = None) -> list[RequestView]:
    """Credentials that wait for approvals, the oldest first; or these, however they stand.

    What is so already does not wait: the removal of who is no member, the admission of who is one in these roles, an
    erasure beside another of the same record that stands.
    """
    standing = ledger.standing
    if standing is None:
        return []
    listed = []
    for each in ledger.credentials.values() if credentials is None else credentials:
        verdict = standing.verdict(each.id)
        if credentials is None and (verdict.status is not Status.WAITING or _is_so(standing, each.body)):
            continue
        kind, subject, name, roles, reason = subject_of(ledger, each)
        listed.append(
            RequestView(
                id=str(each.id),
                kind=kind,
                subject=subject,
                name=name,
                roles=roles,
                reason=reason,
                rule=each.body.rule if isinstance(each.body, TypeCredential) else None,
                overrides=_overridden(ledger, each.body),
                takes_back=takes_back(ledger, each.body) if isinstance(each.body, Removal) else 0,
                proposed_by=each.author,
                proposed_at_ms=each.body.proposed_at,
                approved_by=tuple(sorted(name_of(ledger, member) for member in standing.approvers(each.id))),
                needed=standing.threshold(each.id) or 0,
                status=verdict.status.value,
                why=verdict.reason,
                record=str(each.body.record) if isinstance(each.body, ErasureCredential) else "",
                record_type=each.body.type if isinstance(each.body, ErasureCredential) else "",
            )
        )
    return sorted(listed, key=lambda view: (view.proposed_at_ms, view.id))


def name_of(ledger: Ledger, member: _native.Link) -> str:
    """A member's name; its id's beginning when there is none."""
    head = ledger.identities.head(member)
    return head.name if head is not None else str(member)[:16]


def subject_of(ledger: Ledger, credential: SignedCredential) -> tuple[str, str, str, tuple[str, ...], str]:
    """Of a credential its kind, the id of whom it is about (or the type's name) and the name; the roles, the reason."""
    body = credential.body
    match body:
        case Admission(member=member, roles=roles):
            return "admission", str(member), name_of(ledger, member), roles, ""
        case Removal(member=member, reason=reason):
            return "removal", str(member), name_of(ledger, member), (), reason
        case TypeCredential(name=name):
            return "type", name, name, (), ""
        case ErasureCredential(member=member, reason=reason):
            return "erasure", str(member), name_of(ledger, member), (), reason


def _is_so(standing: Standing, body: Credential) -> bool:
    if isinstance(body, TypeCredential):
        return False
    if isinstance(body, ErasureCredential):
        same = (body.type, body.member)
        return any((each.type, each.member) == same for each in standing.erasures.get(body.record, ()))
    membership = standing.membership(body.member)
    if isinstance(body, Removal):
        return not membership.verdict.holds
    # One that sets a removal aside that waits as well does something.
    is_in = membership.verdict.holds and membership.roles.issuperset(body.roles)
    return is_in and set(body.after).issubset(membership.removals)


def _overridden(ledger: Ledger, body: Credential) -> tuple[str, ...]:
    if not isinstance(body, Admission):
        return ()
    found = [(each, ledger.credentials.get(each)) for each in body.after]
    return tuple(
        known.body.reason if known is not None and isinstance(known.body, Removal) else str(each)
        for each, known in found
    )
