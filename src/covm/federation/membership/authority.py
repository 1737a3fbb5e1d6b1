"""By what authors write records: what the members' logs and credentials say of it, now."""

# ruff: noqa: ARG002 - in `open` mode it answers without looking
from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from covm import _native
from covm.federation.identity.authors import Beginning, First, Written, beginning, judge_author
from covm.federation.identity.cuts import Cut, Within, place_in
from covm.federation.identity.roles import DEFAULT_RULE, TypeRule
from covm.federation.identity.standing import Erasure
from covm.federation.identity.verdicts import Verdict, valid, void, waiting
from covm.federation.membership.members import NOT_FOUNDED, Members
from covm.federation.wire.record import Auth, Hlc, Place, SignedRecord

_NOT_YET: Final = waiting("this node does not know yet who is a member")


class MembersAuthority:
    """Asks the membership, as it is when it is asked."""

    def __init__(self, members: Members) -> None:
        self._members = members

    def beginning(self, first: First) -> Beginning:
        """What a log is bound to that begins like this."""
        ledger = self._members.ledger
        if ledger is None:
            auth = first.auth
            return Beginning(
                log=first.log, credential=auth.credential, member=None, entry=auth.identity, seq=0, cuts=()
            )
        return beginning(first, ledger.identities)

    def written(self, record: SignedRecord, before: Hlc | None, begun: Beginning, seq: int, cuts: Within) -> Written:
        """Whether its author may write a record: by its member's identity log, credential and roles, and the cuts."""
        ledger, standing = self._members.ledger, self._members.standing
        if ledger is None or standing is None:
            return Written(verdict=_NOT_YET, seq=seq)
        written = judge_author(record, before, begun, seq, ledger.identities, cuts)
        verdict = standing.record_verdict(record, begun, written, cuts)
        return Written(verdict=verdict, seq=written.seq, state=written.state)

    def knows(self, auth: Auth) -> bool:
        """Whether by what an author writes is here."""
        ledger = self._members.ledger
        log = ledger.identities.log_of(auth.identity) if ledger is not None else None
        return log is not None and log.at(auth.identity) is not None

    def rule(self, type_name: str) -> TypeRule:
        """What everyone has agreed on about a type."""
        standing = self._members.standing
        return DEFAULT_RULE if standing is None else standing.type_rule(type_name)

    def auth(self, type_name: str) -> Auth | Verdict:
        """By what this node writes records of a type, or why it may not."""
        ledger, standing = self._members.ledger, self._members.standing
        if ledger is None or standing is None:
            return NOT_FOUNDED
        verdict = standing.node_verdict(self._members.peer_id)
        if not verdict.holds:
            return verdict
        member = standing.nodes[self._members.peer_id].member
        credential, head = standing.credential_to_write(member, type_name), ledger.identities.head(member)
        if isinstance(credential, Verdict) or head is None:
            return credential if isinstance(credential, Verdict) else NOT_FOUNDED
        return Auth(credential, head.entry)

    def basis(self, type_name: str, first: First) -> bytes:
        """All that verdicts on a log's records depend on, beside the records: equal bases, equal verdicts."""
        standing = self._members.standing
        begun = self.beginning(first)
        told: list[object] = [str(begun.member), _ends(begun.cuts, first)]
        if standing is not None and begun.member is not None and self._members.ledger is not None:
            binding = standing.binding_cuts(begun.member, begun.credential)
            told.append(str(binding.status) if isinstance(binding, Verdict) else _ends(binding, first))
            told.append(msgspec.to_builtins(standing.type_rule(type_name)))
            log = self._members.ledger.identities.log(begun.member)
            told.append(sorted(update.id.bytes for update in log.held()) if log is not None else [])
        return hashlib.sha256(msgspec.msgpack.encode(told)).digest()

    def ends(self, first: First) -> Iterable[Place]:
        """Where cuts end a log that begins like this."""
        begun, standing = self.beginning(first), self._members.standing
        cuts: list[Cut] = list(begun.cuts)
        if standing is not None and begun.member is not None:
            binding = standing.binding_cuts(begun.member, begun.credential)
            cuts += () if isinstance(binding, Verdict) else binding
        return [place for cut in cuts if (place := place_in(cut, first.log)) is not None]

    def owner(self, first: First) -> str | None:
        """The member whose a log is that begins like this; None while the entry that it begins with is not here."""
        member = self.beginning(first).member
        return None if member is None else str(member)

    def erasures(self) -> Mapping[_native.Link, Sequence[Erasure]]:
        """By the records that members would have erased: the erasures that stand."""
        standing = self._members.standing
        return {} if standing is None else standing.erasures

    def payer(self, first: First) -> str | None:
        """The member whose node its author is by the entry that it begins with; None for a node of nobody's."""
        ledger = self._members.ledger
        log = ledger.identities.log_of(first.auth.identity) if ledger is not None else None
        state = log.at(first.auth.identity) if log is not None else None
        return str(state.member) if state is not None and first.author in state.nodes else None


def _ends(cuts: Iterable[Cut], first: First) -> list[bytes | None]:
    places = [place_in(cut, first.log) for cut in cuts]
    return [None if place is None else place.id.bytes for place in places]


_OPEN: Final = valid("membership is open")


class EveryonesAuthority:
    """`open` mode: whoever takes part writes what it likes."""

    def __init__(self, federation: _native.Link) -> None:
        self._auth = Auth(federation, federation)

    def beginning(self, first: First) -> Beginning:
        """Bound to nothing."""
        auth = first.auth
        return Beginning(log=first.log, credential=auth.credential, member=None, entry=auth.identity, seq=0, cuts=())

    def written(self, record: SignedRecord, before: Hlc | None, begun: Beginning, seq: int, cuts: Within) -> Written:
        """Whoever takes part, as long as its clock goes forward."""
        if before is not None and record.body.hlc <= before:
            return Written(verdict=void("its clock is not ahead of the record before it"), seq=seq)
        return Written(verdict=_OPEN, seq=seq)

    def knows(self, auth: Auth) -> bool:
        """There is nothing to know."""
        return True

    def rule(self, type_name: str) -> TypeRule:
        """The rule of every type."""
        return DEFAULT_RULE

    def auth(self, type_name: str) -> Auth | Verdict:
        """The federation's id, twice."""
        return self._auth

    def basis(self, type_name: str, first: First) -> bytes:
        """Always the same."""
        return b"open"

    def ends(self, first: First) -> Iterable[Place]:
        """Nobody is removed."""
        return ()

    def owner(self, first: First) -> str | None:
        """Its author."""
        return first.author

    def erasures(self) -> Mapping[_native.Link, Sequence[Erasure]]:
        """Nobody approves anything."""
        return {}

    def payer(self, first: First) -> str | None:
        """Its author."""
        return first.author
