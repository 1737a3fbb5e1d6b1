"""Who is a member, in which roles, and which types there are: what follows from a set of credentials and approvals.

Nothing here depends on the order in which anything came, and nothing waits for a decision that could be missed:

1. Identity logs say which approvals an elector's approver nodes wrote (`approvals`).
2. A *removal* stands when over half of the founders except its subject approve it, founders that were removed
   themselves included. So removals depend on nothing else, and two members can remove each other.
3. An *admission* stands with the approvals of k electors, a *type* with those of over half of them, an *erasure* with
   those of as many as would remove who wrote the record, which has no say. Here an elector's approvals count while it
   is let in by what they were written under: by the charter, or by an admission of its own that stands. The removals
   that this does not name in `after` bind them: they count within their cuts. (Admissions that rest on each other alone
   do not stand: this is the least set in which each has its approvals.)
4. A standing removal *ends* every admission of its member, the charter's too, that does not name it in `after`. A
   member is in while an admission of it stands that is not ended; its roles are those of all of these.
5. Of several types of one name the one with the lowest id counts, and of erasures of one record.

A removal without effect now, of somebody who is no member, still ends later admissions that do not name it. An elector
can take back what its node approved by removing that node from its own identity log, with a cut that says so: everybody
sees it, and a k above 1 bounds what one elector can do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from covm import _native
from covm.federation.identity.approvals import ApprovalLogs, judge_approvals
from covm.federation.identity.authors import Beginning, Written
from covm.federation.identity.charter import Charter
from covm.federation.identity.credentials import (
    Admission,
    ErasureCredential,
    Removal,
    SignedCredential,
    TypeCredential,
)
from covm.federation.identity.cuts import Cut, CutIndex, Within
from covm.federation.identity.identities import Identities
from covm.federation.identity.roles import EVERY_TYPE, Action, TypeRule, decide, everyone_may_read
from covm.federation.identity.tally import Tally, why_removed
from covm.federation.identity.verdicts import Verdict, ended, refused, short, valid, void, waiting
from covm.federation.wire.record import SignedRecord

Ids = frozenset[_native.Link]

_MAX_DECIDED: Final = 4096
"""Decisions that a `Standing` remembers: every message asks, and the answers are few."""


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """What a member is in the federation."""

    member: _native.Link
    verdict: Verdict
    """`holds` for a member; ended for one that was removed."""
    roles: frozenset[str]
    """Those of all admissions that stand; empty for who is no member."""
    admissions: tuple[_native.Link, ...]
    """What lets it in, and is not ended: ids of credentials, or the federation's id for a founder."""
    removals: tuple[_native.Link, ...]
    """The removals of it that stand: what a re-admission lists in `after`."""


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """A credential that takes away what a record says, and stands."""

    id: _native.Link
    type: str
    member: _native.Link
    """Whose record of this type it takes away; another's it leaves."""
    author: str
    """The peer id of the node that proposed it."""
    reason: str
    approved_by: tuple[_native.Link, ...]
    """The electors whose approvals count, by id."""


class Standing:
    """What a set of credentials comes to. A value: `judge` makes one, and another when anything was added."""

    def __init__(self, federation: _native.Link, charter: Charter, identities: Identities, tally: Tally) -> None:
        self.federation = federation
        self.charter = charter
        self._tally = tally
        self._decided: dict[tuple[frozenset[str], Action, str], Verdict] = {}
        self.memberships: Mapping[_native.Link, Membership] = self._memberships()
        """Everyone who is or was let in, or was removed, by member."""
        self.nodes: Mapping[str, Membership] = {}
        """Whose each node is, by its peer id; those of members that were removed are among them.

        A node that has consented to be of several is that of a member rather than of one who was removed, and of
        several members that of the lowest id.
        """
        self.erasures: Mapping[_native.Link, Sequence[Erasure]] = self._erasures()
        """By the records that credentials name to be erased: what stands of these, that with the lowest id first."""
        self._removed_nodes: dict[str, _native.Link] = {}
        self._assign_nodes(identities)

    def verdict(self, credential: _native.Link) -> Verdict:
        """What becomes of a credential. An admission that a removal ended is ended."""
        known = self._tally.credentials.get(credential)
        if known is None:
            return waiting("the credential is not here", credential)
        return self._tally.verdict(known)

    def approval_verdict(self, record: _native.Link) -> Verdict:
        """What becomes of a record of an approval log."""
        found = self._tally.approvals.get(record)
        return found if found is not None else waiting("the record has no place here", record)

    def approvers(self, credential: _native.Link) -> Ids:
        """The electors whose approvals of a credential count."""
        return frozenset(self._tally.approved_by.get(credential, ()))

    def threshold(self, credential: _native.Link) -> int | None:
        """How many electors a credential takes; None when it is not here."""
        known = self._tally.credentials.get(credential)
        return None if known is None else self._tally.threshold(known.body)

    def membership(self, member: _native.Link) -> Membership:
        """What a member is in the federation; also of strangers."""
        known = self.memberships.get(member)
        return known if known is not None else self._membership(member, ())

    def _erasures(self) -> dict[_native.Link, list[Erasure]]:
        named: dict[_native.Link, list[Erasure]] = {}
        for each in self._tally.credentials.values():
            if isinstance(each.body, ErasureCredential):
                standing = named.setdefault(each.body.record, [])
                if each.id in self._tally.stands:
                    standing.append(self._erasure(each, each.body))
        return {record: sorted(standing, key=lambda each: each.id.bytes) for record, standing in named.items()}

    def _erasure(self, credential: SignedCredential, body: ErasureCredential) -> Erasure:
        return Erasure(
            id=credential.id,
            type=body.type,
            member=body.member,
            author=credential.author,
            reason=body.reason,
            approved_by=tuple(sorted(self.approvers(credential.id), key=lambda each: each.bytes)),
        )

    def _memberships(self) -> dict[_native.Link, Membership]:
        admitted: dict[_native.Link, list[tuple[_native.Link, Iterable[str]]]] = defaultdict(list)
        for founder in self.charter.founders:
            admitted[founder.member].append((self.federation, founder.roles))
        for credential in sorted(self._tally.stands, key=lambda each: each.bytes):
            body = self._tally.credentials[credential].body
            if isinstance(body, Admission):
                admitted[body.member].append((credential, body.roles))
        everyone = dict.fromkeys([*admitted, *self._tally.removals_of])
        return {member: self._membership(member, admitted.get(member, ())) for member in everyone}

    def _membership(self, member: _native.Link, admitted: Sequence[tuple[_native.Link, Iterable[str]]]) -> Membership:
        removals = self._tally.removals_of.get(member, [])
        stand = [(by, roles) for by, roles in admitted if not self._tally.open_removals(member, by)]
        if stand:
            verdict = valid("a founder" if stand[0][0] == self.federation else "admitted")
        elif removals:
            verdict = ended(why_removed(self._latest(member, removals)))
        else:
            verdict = refused("not a member of this federation")
        return Membership(
            member=member,
            verdict=verdict,
            roles=frozenset(role for _, roles in stand for role in roles),
            admissions=tuple(by for by, _ in stand),
            removals=tuple(removals),
        )

    def _latest(self, member: _native.Link, removals: Sequence[_native.Link]) -> Removal:
        """The removal that ended what there was last: one that no admission has set aside, and of those the newest."""
        admissions = (self._tally.credentials[each].body for each in self._tally.stands)
        aside = {
            removal
            for each in admissions
            if isinstance(each, Admission) and each.member == member
            for removal in each.after
        }
        left = [each for each in removals if each not in aside] or removals
        bodies = ((self._tally.credentials[each].body, each.bytes) for each in left)
        found = [(body.proposed_at, link, body) for body, link in bodies if isinstance(body, Removal)]
        return max(found, key=lambda each: each[:2])[2]

    def members(self) -> Iterator[Membership]:
        """Those who are in."""
        return (each for each in self.memberships.values() if each.verdict.holds)

    def _assign_nodes(self, identities: Identities) -> None:
        nodes: dict[str, Membership] = {}
        for each in sorted(self.memberships.values(), key=lambda each: (not each.verdict.holds, each.member.bytes)):
            head = identities.head(each.member)
            for node in head.nodes if head else ():
                nodes.setdefault(node, each)
            for removal in head.removals if head else ():
                self._removed_nodes.setdefault(removal.node, each.member)
        self.nodes = nodes

    def node_verdict(self, node: str) -> Verdict:
        """Whether a node is a member's, and may take part."""
        membership = self.nodes.get(node)
        if membership is not None:
            return membership.verdict
        if (member := self._removed_nodes.get(node)) is not None:
            return ended(f"node {short(node)} was removed by its member {short(member)}")
        return refused(f"node {short(node)} belongs to no member of this federation")

    def may(self, node: str, action: Action, type_name: str) -> Verdict:
        """Whether a node may do this with a type, by the roles of its member."""
        verdict = self.node_verdict(node)
        return self.member_may(self.nodes[node].member, action, type_name) if verdict.holds else verdict

    def member_may(self, member: _native.Link, action: Action, type_name: str) -> Verdict:
        """Whether a member may do this with a type."""
        membership = self.membership(member)
        if not membership.verdict.holds:
            return membership.verdict
        asked = (membership.roles, action, type_name)
        verdict = self._decided.get(asked)
        if verdict is None:
            if len(self._decided) >= _MAX_DECIDED:
                self._decided.clear()
            verdict = decide(action, type_name, self.type_rule(type_name), membership.roles, self.charter.roles)
            self._decided[asked] = verdict
        return verdict

    def may_send(self, node: str) -> Verdict:
        """Whether a node may send anything: then it may send files too, which are of no type of an application."""
        verdict = self.node_verdict(node)
        if not verdict.holds:
            return verdict
        held = self.nodes[node].roles
        names = {*self.charter.types, *self._tally.types}
        rules = [self.charter.default_rule, *map(self.type_rule, names)]
        able = {name for name, role in self.charter.roles.items() if role.send}
        able.update(*(rule.grants.send for rule in rules if rule.grants is not None))
        return verdict if held & able else refused(f"the roles {', '.join(sorted(held))} allow it to send nothing")

    def nodes_that_may(self, action: Action, type_name: str) -> list[str]:
        """The peer ids of all nodes that may do this with a type, sorted: to whom goes what only some may read."""
        able = {each.member for each in self.members() if self.member_may(each.member, action, type_name).holds}
        return sorted(node for node, each in self.nodes.items() if each.member in able)

    def credential_to_write(self, member: _native.Link, type_name: str) -> _native.Link | Verdict:
        """What a member's node names as its credential in a log of records of this type, or why it may not write them.

        Of several admissions the first whose roles suffice, the charter's before others: the roles of a record are
        those of one credential. An approval names the first of `Membership.admissions`.
        """
        verdict = self.member_may(member, Action.WRITE, type_name)
        if not verdict.holds:
            return verdict
        rule = self.type_rule(type_name)
        return next(
            by
            for by in self.memberships[member].admissions
            if decide(Action.WRITE, type_name, rule, self._roles_under(member, by), self.charter.roles).holds
        )

    def type_rule(self, type_name: str) -> TypeRule:
        """The rule of a type: the charter's, else that of the credential that counts, else the default."""
        stated = self.stated_rule(type_name)
        return self.charter.default_rule if stated is None else stated

    def stated_rule(self, type_name: str) -> TypeRule | None:
        """The rule that the charter or a credential has for a type, or the charter for every type; None without one."""
        if (rule := self.charter.types.get(type_name)) is not None:
            return rule
        winner = self._tally.types.get(type_name)
        if winner is not None:
            body = self._tally.credentials[winner].body
            if isinstance(body, TypeCredential):
                return body.rule
        return self.charter.types.get(EVERY_TYPE)

    def has_rule(self, type_name: str) -> bool:
        """Whether the charter or a credential has a rule of this type's own."""
        return type_name in self.charter.types or type_name in self._tally.types

    def type_rules(self) -> dict[str, TypeRule]:
        """The rules of all types that have one of their own, and under `*` that of all others."""
        named = {name: self.type_rule(name) for name in (*self.charter.types, *self._tally.types)}
        return {**named, EVERY_TYPE: self.charter.default_rule}

    def everyone_may_read(self, type_name: str) -> bool:
        """Whether every role may read the type, so that it may be gossiped."""
        return everyone_may_read(type_name, self.type_rule(type_name), self.charter.roles)

    def record_verdict(self, record: SignedRecord, begun: Beginning, written: Written, cuts: Within) -> Verdict:
        """What becomes of a record of any type of an application, in a log that began so and judged by `judge_author`.

        `cuts` knows the record's log. Its author has the roles of the credential that its log began under, for as long
        as the log goes on: another admission brings its roles to another log.
        """
        if not written.verdict.holds or begun.member is None:
            return written.verdict
        binding = self.binding_cuts(begun.member, begun.credential)
        if isinstance(binding, Verdict):
            return binding
        if not cuts.within(binding, begun.log, record.id):
            return void("its member was removed, and it is beyond the cut")
        header, rule = record.body, self.type_rule(record.body.type)
        verdict = decide(
            Action.WRITE, header.type, rule, self._roles_under(begun.member, begun.credential), self.charter.roles
        )
        if not verdict.holds:
            return void(verdict.reason)
        if rule.writers == "owner" and not header.key.startswith(str(begun.member)):
            return void(f"{header.type} is written by owners alone, under keys that begin with their member id")
        return verdict

    def binding_cuts(self, member: _native.Link, credential: _native.Link) -> tuple[Cut, ...] | Verdict:
        """The cuts that bind a log which a member's node began under a credential, or why nothing in it counts."""
        if (problem := self._tally.misuse(member, credential)) is not None:
            return problem
        if credential != self.federation and credential not in self._tally.stands:
            return waiting(f"the credential {short(credential)} does not stand yet", credential)
        return self._tally.cuts(member, credential)

    def _roles_under(self, member: _native.Link, credential: _native.Link) -> Sequence[str]:
        if credential == self.federation:
            founder = self.charter.founder(member)
            return founder.roles if founder else ()
        body = self._tally.credentials[credential].body
        return body.roles if isinstance(body, Admission) else ()


def judge(
    federation: _native.Link,
    charter: Charter,
    identities: Identities,
    credentials: Iterable[SignedCredential],
    approvals: ApprovalLogs,
) -> Standing:
    """What these credentials and approvals come to, in time linear in their number.

    The charter is one of which `charter_verdict` holds. Judge anew when anything was added.
    """
    tally = Tally(federation, charter, credentials, CutIndex(approvals))
    tally.count(judge_approvals(approvals, charter.electors, identities, tally.cut_index))
    return Standing(federation, charter, identities, tally)
