"""This node's own side of the membership: whose it is, and the approvals that it writes for its member."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from covm import _native
from covm.federation.clock import Clock, Random
from covm.federation.errors import NotAuthorized
from covm.federation.identity.approvals import APPROVAL_TYPE, draft_approval
from covm.federation.identity.credentials import (
    Admission,
    Credential,
    ErasureCredential,
    Removal,
    SignedCredential,
    TypeCredential,
    open_credentials,
    seal_credential,
)
from covm.federation.identity.cuts import make_cut
from covm.federation.identity.roles import TypeRule
from covm.federation.identity.standing import Membership, Standing
from covm.federation.membership.ledger import Ledger
from covm.federation.membership.passes import CIRCUITS_PER_USE, seal_pass
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import SALT_SIZE, clamped_ms
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import (
    Auth,
    Hlc,
    Place,
    SignedRecord,
    encode_record_body,
    log_id,
    open_records,
    seal_record,
)


class Pen:
    """Signs what this node proposes and approves. Nothing here is committed: the caller does that before it tells."""

    def __init__(self, keypair: _native.Keypair, clock: Clock, random: Random) -> None:
        self._keypair = keypair
        self._clock = clock
        self._random = random
        self.incarnation: Incarnation | None = None

    @property
    def peer_id(self) -> str:
        return self._keypair.peer_id

    def own(self, standing: Standing) -> Membership:
        """The membership of this node's member. Raises `NotAuthorized` when it has none that stands."""
        found = standing.nodes.get(self.peer_id)
        if found is None or not found.verdict.holds:
            raise NotAuthorized("acting for a member", standing.node_verdict(self.peer_id).reason)
        return found

    def is_elector(self, ledger: Ledger, standing: Standing) -> bool:
        """Whether this node may approve for its member."""
        found = standing.nodes.get(self.peer_id)
        if found is None or not found.verdict.holds or found.member not in ledger.charter.charter.electors:
            return False
        head = ledger.identities.head(found.member)
        return head is not None and head.nodes[self.peer_id].approver

    def admission(
        self, ledger: Ledger, member: _native.Link, roles: Iterable[str], after: Iterable[_native.Link]
    ) -> SignedCredential:
        """An admission to be approved. Raises `ValueError` for roles that do not fit."""
        listed = tuple(sorted(set(after), key=lambda link: link.bytes))
        return self._sealed(
            Admission(**self._common(ledger), member=member, roles=tuple(sorted(set(roles))), after=listed)
        )

    def removal(self, ledger: Ledger, member: _native.Link, reason: str, written: Iterable[Place]) -> SignedCredential:
        """A removal to be approved; what the member has written up to these places stays."""
        return self._sealed(Removal(**self._common(ledger), member=member, reason=reason, cut=make_cut(written)))

    def type_rule(self, ledger: Ledger, name: str, rule: TypeRule) -> SignedCredential:
        """A type with its rule, to be approved. Raises `ValueError` for what can be no such type."""
        return self._sealed(TypeCredential(**self._common(ledger), name=name, rule=rule))

    def erasure(
        self, ledger: Ledger, record: _native.Link, type_name: str, member: _native.Link, reason: str
    ) -> SignedCredential:
        """An erasure of what a member's record of a type says, to be approved."""
        return self._sealed(
            ErasureCredential(**self._common(ledger), record=record, type=type_name, member=member, reason=reason)
        )

    def relay_pass(self, federation: _native.Link, secret: bytes, uses: int, expires_at_ms: int) -> bytes:
        """What relays are shown by whoever holds the invite with this secret."""
        return seal_pass(self._keypair, federation, secret, CIRCUITS_PER_USE * uses, expires_at_ms)

    def approval(self, ledger: Ledger, standing: Standing, credential: SignedCredential) -> SignedRecord:
        """The record by which this node's member approves a credential. Raises `NotAuthorized`."""
        mine = self.own(standing)
        if not self.is_elector(ledger, standing):
            raise NotAuthorized(
                "approving",
                "only approver nodes of founders approve; ask one of "
                + ", ".join(sorted(_name(ledger, member) for member in ledger.charter.charter.electors)),
            )
        if not ledger.may_approve_more(mine.member):
            raise NotAuthorized(
                "approving", "the federation's membership has no room for more approvals of your member; ask a founder"
            )
        head = ledger.identities.head(mine.member)
        assert head is not None  # noqa: S101 - it is a member
        under = mine.admissions[0]
        incarnation, before = self._log(ledger, under)
        now_ms = clamped_ms(self._clock.now_ms())
        hlc = Hlc(now_ms, 0)
        if before is not None and before.body.hlc >= hlc:
            hlc = before.body.hlc.following
        body = encode_record_body(self._random.bytes(SALT_SIZE), None)
        header = draft_approval(
            credential,
            before,
            author=self.peer_id,
            incarnation=incarnation,
            auth=Auth(under, head.entry),
            hlc=hlc,
            body=body,
        )
        [record] = open_records([seal_record(self._keypair, header)])
        if isinstance(record, Malformed):
            raise ValueError(record.reason)  # noqa: TRY004 - it is no question of types
        return record

    def _log(self, ledger: Ledger, under: _native.Link) -> tuple[Incarnation, SignedRecord | None]:
        """The approval log to go on with, and its last record: a new one where the last began under something else."""
        if self.incarnation is None:
            raise NotAuthorized("approving", "the node has not started")
        incarnation = self.incarnation
        while True:
            log = log_id(APPROVAL_TYPE, self.peer_id, incarnation)
            mine = [each for each in ledger.approvals if each.body.log == log]
            if not mine:
                return incarnation, None
            last = max(mine, key=lambda each: each.body.seq)
            if last.body.auth.credential == under:
                return incarnation, last
            incarnation = Incarnation(incarnation.number + 1, incarnation.nonce)

    def _common(self, ledger: Ledger) -> dict[str, Any]:
        return {
            "federation": ledger.federation,
            "author": self.peer_id,
            "salt": self._random.bytes(SALT_SIZE),
            "proposed_at": clamped_ms(self._clock.now_ms()),
        }

    def _sealed(self, credential: Credential) -> SignedCredential:
        [found] = open_credentials([seal_credential(self._keypair, credential)])
        if isinstance(found, Malformed):
            raise ValueError(found.reason)  # noqa: TRY004 - it is no question of types
        return found


def _name(ledger: Ledger, member: _native.Link) -> str:
    head = ledger.identities.head(member)
    return head.name if head is not None else str(member)
