"""By what a record is written: whether its node spoke for a member there, and which cuts of that member bind it.

A record's `auth` names a credential and an entry of an identity log. Along a log the credential stays the same and the
entry never goes back: who gets a new credential, or is added again after a removal, begins a new incarnation, and so a
new log. A node's removal binds the logs that it began before it, so what a thief of its key writes later, under
whatever entry, is beyond the cut.

These rules ask identity logs alone. What the members decided about the member comes on top (see `standing`).
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from covm import _native
from covm.federation.identity.cuts import Cut, Within
from covm.federation.identity.identities import Identities
from covm.federation.identity.log import IdentityLog
from covm.federation.identity.member import MemberState
from covm.federation.identity.verdicts import Status, Verdict, short, valid, void, waiting
from covm.federation.wire.record import Auth, Hlc, SignedRecord


class First(Protocol):
    """The first record of a log, as far as it says what the log is bound to. (RecordHeader)"""

    @property
    def log(self) -> _native.Link: ...

    @property
    def author(self) -> str: ...

    @property
    def auth(self) -> Auth: ...


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """What the first record of a log binds all of it to."""

    log: _native.Link
    credential: _native.Link
    member: _native.Link | None
    """None while the entry that the first record names is not here."""
    entry: _native.Link
    seq: int
    """Number of the identity entry by which the log began, or of the fork point that it counts as."""
    cuts: tuple[Cut, ...]
    """Of the removals of the node since."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """A record judged by identity logs."""

    verdict: Verdict
    seq: int
    """The highest number of an identity entry that the log has named up to here."""
    state: MemberState | None = None
    """The member by the entry that the record names; None when that entry is not here."""

    @property
    def is_unknown(self) -> bool:
        """Whether an identity entry is not here without which nothing behind the record can be judged."""
        return self.state is None and self.verdict.status is Status.WAITING


def beginning(first: First, identities: Identities) -> Beginning:
    """What a log is bound to that begins with this record."""
    auth, author = first.auth, first.author
    log = identities.log_of(auth.identity)
    state = log.at(auth.identity) if log else None
    if log is None or state is None:
        return Beginning(log=first.log, credential=auth.credential, member=None, entry=auth.identity, seq=0, cuts=())
    return Beginning(
        log=first.log,
        credential=auth.credential,
        member=log.member,
        entry=auth.identity,
        seq=state.seq,
        cuts=_node_cuts(log, author, state.seq),
    )


def judge_author(
    record: SignedRecord,
    before: Hlc | None,
    begun: Beginning,
    seq: int,
    identities: Identities,
    cuts: Within,
) -> Written:
    """Whether a record was written by a node of the member to which its log belongs, and within the node's cuts.

    `before` is the clock of the record before it in the log, and `seq` the highest number of an identity entry up to
    there.
    """
    auth = record.body.auth
    if begun.member is None:
        return Written(verdict=waiting("the identity entry that its log began with is not here", begun.entry), seq=seq)
    log = identities.log_of(auth.identity)
    state = log.at(auth.identity) if log else None
    if log is None or state is None:
        return Written(verdict=waiting("the identity entry that it names is not here", auth.identity), seq=seq)
    why = _misuse(record, before, begun, log, state, seq)
    if why is None and not cuts.within(begun.cuts, begun.log, record.id):
        why = f"its node was removed by member {short(begun.member)}, and it is beyond the cut"
    if why is not None:
        return Written(verdict=void(why), seq=max(seq, state.seq) if log.member == begun.member else seq, state=state)
    return Written(verdict=valid(f"written for member {short(begun.member)}"), seq=state.seq, state=state)


def _misuse(
    record: SignedRecord,
    before: Hlc | None,
    begun: Beginning,
    log: IdentityLog,
    state: MemberState,
    seq: int,
) -> str | None:
    header = record.body
    if log.member != begun.member:
        return "its log began for another member; a node that changes members begins a new incarnation"
    if header.auth.credential != begun.credential:
        return "its log began under another credential; a new credential begins a new incarnation"
    if state.seq < seq:
        return "it names an older identity entry than the records before it"
    if before is not None and header.hlc <= before:
        return "its clock is not ahead of the record before it"
    if header.author not in state.nodes:
        return f"its author is no node of member {short(log.member)} by the identity entry that it names"
    return None


def _node_cuts(log: IdentityLog, node: str, seq: int) -> tuple[Cut, ...]:
    head = log.head
    removals = head.removals if head else ()
    return tuple(removal.cut for removal in removals if removal.node == node and removal.seq > seq)
