"""Approvals counted, credential by credential. `standing` says by which rules, and is what to ask.

Removals are counted first, as they depend on nothing else; then all others, where an approval that rests on an
admission is counted when that one stands. Each approval is weighed at most twice, so it ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from covm import _native
from covm.federation.identity.approvals import Approval
from covm.federation.identity.charter import Charter
from covm.federation.identity.credentials import (
    Admission,
    Credential,
    ErasureCredential,
    Removal,
    SignedCredential,
    TypeCredential,
    misfit,
)
from covm.federation.identity.cuts import Cut, CutIndex
from covm.federation.identity.verdicts import Verdict, ended, refused, short, valid, void, waiting
from covm.federation.wire.display import shown


class Tally:
    """Approvals counted, credential by credential; what `Standing` answers from."""

    def __init__(
        self, federation: _native.Link, charter: Charter, credentials: Iterable[SignedCredential], cut_index: CutIndex
    ) -> None:
        self._federation = federation
        self._charter = charter
        self.cut_index = cut_index
        self.credentials = {each.id: each for each in credentials}
        self._misfits = {
            each.id: why for each in self.credentials.values() if (why := misfit(each.body, federation, charter))
        }
        self.approved_by: dict[_native.Link, set[_native.Link]] = defaultdict(set)
        self.approvals: dict[_native.Link, Verdict] = {}
        self.stands: set[_native.Link] = set()
        self.removals_of: dict[_native.Link, list[_native.Link]] = {}
        self.types: dict[str, _native.Link] = {}
        self._waiting_under: dict[_native.Link, list[Approval]] = defaultdict(list)

    def count(self, approvals: Iterable[Approval]) -> None:
        """Counts all approvals: those of removals first, since the others depend on which removals stand."""
        others: list[Approval] = []
        for approval in approvals:
            body = self._target(approval)
            if body is None:
                continue
            if isinstance(body, Removal):
                self._count_removal(approval, body)
            else:
                others.append(approval)
        for standing in sorted(self.stands, key=lambda each: each.bytes):
            removed = self.credentials[standing].body
            if isinstance(removed, Removal):
                self.removals_of.setdefault(removed.member, []).append(standing)
        for approval in others:
            self._count_other(approval)
        for standing in sorted(self.stands, key=lambda each: each.bytes):
            body = self.credentials[standing].body
            if isinstance(body, TypeCredential):
                self.types.setdefault(body.name, standing)

    def _target(self, approval: Approval) -> Credential | None:
        """The credential that an approval is to be counted for; None when it counts for nothing."""
        verdict, target = approval.verdict, approval.target
        known = None if target is None else self.credentials.get(target)
        if verdict.holds and target is not None:
            if known is None:
                verdict = waiting("the credential that it approves is not here", target)
            elif target in self._misfits:
                verdict = void(f"what it approves can never count: {self._misfits[target]}")
        self.approvals[approval.record.id] = verdict
        return known.body if known is not None and verdict.holds else None

    def _count_removal(self, approval: Approval, removal: Removal) -> None:
        elector, target = _speaks(approval)
        if elector == removal.member:
            self.approvals[approval.record.id] = void("nobody has a say in its own removal")
            return
        self.approvals[approval.record.id] = valid("it counts, whatever becomes of the elector")
        self._tick(target, elector)

    def _count_other(self, approval: Approval) -> None:
        """Counts one approval, and all those that rest on an admission which stands by it."""
        pending = [approval]
        while pending:
            each = pending.pop()
            verdict = self.approvals[each.record.id] = self._weighed(each)
            elector, target = _speaks(each)
            if verdict.holds and self._tick(target, elector):
                pending += self._waiting_under.pop(target, ())

    def _weighed(self, approval: Approval) -> Verdict:
        elector, target = _speaks(approval)
        under, body = approval.begun.credential, self.credentials[target].body
        if isinstance(body, ErasureCredential) and body.member == elector:
            return void("its elector wrote that record, and erases it by itself")
        if (problem := self.misuse(elector, under)) is not None:
            return problem
        cuts = self.cuts(elector, under)
        if not self.cut_index.within(cuts, approval.begun.log, approval.record.id):
            return void("its elector was removed, and it is beyond the cut")
        if under != self._federation and under not in self.stands:
            self._waiting_under[under].append(approval)
            return waiting(f"the admission of its elector, {short(under)}, does not stand yet", under)
        return valid("it counts")

    def misuse(self, member: _native.Link, credential: _native.Link) -> Verdict | None:
        """Why a member cannot write under a credential, standing or not; None when it can."""
        if credential == self._federation:
            if member in self._charter.electors:
                return None
            return void("it names the charter as what lets its member in, and that is no founder")
        known = self.credentials.get(credential)
        if known is None:
            return waiting("the credential by which it is written is not here", credential)
        if not isinstance(known.body, Admission) or known.body.member != member:
            return void("the credential by which it is written is no admission of its member")
        why = self._misfits.get(credential)
        return None if why is None else void(f"the credential by which it is written can never count: {why}")

    def cuts(self, member: _native.Link, credential: _native.Link) -> tuple[Cut, ...]:
        """The cuts of the standing removals of a member that an admission, or the charter, does not override."""
        return tuple(
            removal.cut
            for standing in self.open_removals(member, credential)
            if isinstance(removal := self.credentials[standing].body, Removal)
        )

    def open_removals(self, member: _native.Link, credential: _native.Link) -> list[_native.Link]:
        """The standing removals of a member that a credential does not name in `after`."""
        known = self.credentials.get(credential)
        after = known.body.after if known and isinstance(known.body, Admission) else ()
        return [removal for removal in self.removals_of.get(member, ()) if removal not in after]

    def verdict(self, signed: SignedCredential) -> Verdict:
        """What becomes of a credential that is here."""
        credential, body = signed.id, signed.body
        if (why := self._misfits.get(credential)) is not None:
            return refused(why)
        needed, count = self.threshold(body), len(self.approved_by.get(credential, ()))
        if credential not in self.stands:
            return waiting(f"it has {count} of the {needed} approvals that it takes")
        if isinstance(body, Admission) and (by := self.open_removals(body.member, credential)):
            return ended(why_removed(self.credentials[by[0]].body))
        if isinstance(body, TypeCredential) and self.types[body.name] != credential:
            return void(f"another credential has given {body.name} a rule: {short(self.types[body.name])}")
        return valid(f"it has {count} of the {needed} approvals that it takes")

    def _tick(self, target: _native.Link, elector: _native.Link) -> bool:
        """Adds an elector to those who approve; whether the credential stands by it and did not before."""
        by = self.approved_by[target]
        by.add(elector)
        if target in self.stands or len(by) < self.threshold(self.credentials[target].body):
            return False
        self.stands.add(target)
        return True

    def threshold(self, credential: Credential) -> int:
        """How many electors a credential takes."""
        match credential:
            case Admission():
                return self._charter.k
            case Removal(member=member) | ErasureCredential(member=member):
                return self._charter.removal_threshold(member) or len(self._charter.founders)
            case TypeCredential():
                return self._charter.type_threshold


def why_removed(removal: Credential | None) -> str:
    """What a removal says of itself, safe to show."""
    reason = removal.reason if isinstance(removal, Removal) else ""
    return f"the member was removed ({shown(reason)})" if reason else "the member was removed"


def _speaks(approval: Approval) -> tuple[_native.Link, _native.Link]:
    """The elector and the credential of an approval that was found to have both."""
    if approval.elector is None or approval.target is None:
        raise ValueError("an approval that speaks for nobody, or of nothing, is not counted")
    return approval.elector, approval.target
