"""Cooperatives with keys that follow from their names, and what they sign."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from covm._native import Keypair, Link, cid
from covm.federation.identity.approvals import APPROVAL_TYPE, ApprovalLogs
from covm.federation.identity.charter import Charter, Founder, SignedCharter, open_charter, sign_charter
from covm.federation.identity.commitments import commitment
from covm.federation.identity.consent import seal_consent
from covm.federation.identity.credentials import (
    Admission,
    ErasureCredential,
    Removal,
    SignedCredential,
    TypeCredential,
    open_credentials,
    seal_credential,
)
from covm.federation.identity.cuts import make_cut
from covm.federation.identity.identities import Identities
from covm.federation.identity.roles import Grants, Resolver, Role, TypeRule
from covm.federation.identity.standing import Standing, judge
from covm.federation.identity.update import (
    AddNode,
    Inception,
    NodeEntry,
    Profile,
    Recover,
    RemoveNode,
    Rotate,
    SignedUpdate,
    Update,
    open_updates,
    seal_update,
)
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import (
    Auth,
    Hlc,
    Place,
    RecordHeader,
    SignedRecord,
    encode_record_body,
    open_records,
    place_of,
    seal_record,
)

T = TypeVar("T")

NOON_MS = 1_763_812_800_000
ROLES = {
    "member": Role(publish=("governance.*",), send=("*",), read=("governance.*", "notes.*"), write=("governance.*",)),
    "bookkeeper": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
}


def salt(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def key_of(text: str) -> Keypair:
    """The key that follows from a few words."""
    return Keypair.from_seed(hashlib.sha256(text.encode()).digest())


def opened(found: Sequence[T | Malformed]) -> T:
    [one] = found
    if isinstance(one, Malformed):
        raise one
    return one


class Coop:
    """A cooperative: keys `key(0)`, `key(1)` as it rotates, recovery keys, and nodes by number."""

    def __init__(self, name: str, *, approvers: Sequence[int] = (0,), others: Sequence[int] = ()) -> None:
        self.name = name
        nodes = sorted(
            [*(self.node_entry(each) for each in approvers), *(self.node_entry(each, False) for each in others)],
            key=lambda entry: entry.node,
        )
        self.inception = self.signed(
            Inception(
                author=self.key(0).peer_id,
                member=None,
                seq=1,
                prev=None,
                name=name,
                next=commitment(self.key(1).peer_id),
                recovery=commitment(self.recovery(0).peer_id),
                nodes=tuple(nodes),
            ),
            self.key(0),
        )
        self.member = self.inception.id

    def key(self, number: int) -> Keypair:
        return key_of(f"{self.name}: key {number}")

    def recovery(self, number: int) -> Keypair:
        return key_of(f"{self.name}: recovery key {number}")

    def node(self, number: int) -> Keypair:
        return key_of(f"{self.name}: node {number}")

    def node_entry(self, number: int, approver: bool = True, *, of: str | None = None) -> NodeEntry:
        """A node that has consented to be this cooperative's, or that of another first key."""
        consent = seal_consent(self.node(number), of or self.key(0).peer_id)
        return NodeEntry(node=self.node(number).peer_id, name=f"machine {number}", approver=approver, consent=consent)

    def signed(self, update: Update, key: Keypair) -> SignedUpdate:
        return opened(open_updates([seal_update(key, update)]))

    def _behind(self, before: SignedUpdate, key: Keypair) -> dict[str, Any]:
        return {"author": key.peer_id, "member": self.member, "seq": before.body.seq + 1, "prev": before.id}

    def profile(self, before: SignedUpdate, name: str, key: Keypair | None = None) -> SignedUpdate:
        key = key or self.key(0)
        return self.signed(Profile(**self._behind(before, key), name=name), key)

    def add_node(
        self, before: SignedUpdate, number: int, approver: bool = True, key: Keypair | None = None
    ) -> SignedUpdate:
        key = key or self.key(0)
        return self.signed(AddNode(**self._behind(before, key), node=self.node_entry(number, approver)), key)

    def remove_node(
        self, before: SignedUpdate, number: int, cut: Iterable[Place] = (), key: Keypair | None = None
    ) -> SignedUpdate:
        key, node = key or self.key(0), self.node(number).peer_id
        return self.signed(RemoveNode(**self._behind(before, key), node=node, cut=make_cut(cut)), key)

    def rotate(self, before: SignedUpdate, to: int, *, next: int | None = None) -> SignedUpdate:
        """Rotates to a key, committing to the one after it or to another."""
        hidden = commitment(self.key(next or to + 1).peer_id)
        return self.signed(Rotate(**self._behind(before, self.key(to)), next=hidden), self.key(to))

    def recover(self, before: SignedUpdate, by: int, to: int, *, next: int | None = None) -> SignedUpdate:
        """Recovers with a recovery key to a key, committing to the next of both."""
        return self.signed(
            Recover(
                **self._behind(before, self.recovery(by)),
                key=self.key(to).peer_id,
                next=commitment(self.key(next or to + 1).peer_id),
                recovery=commitment(self.recovery(by + 1).peer_id),
            ),
            self.recovery(by),
        )


class Desk:
    """One approver node at work: it writes an approval log of its own incarnation."""

    def __init__(
        self, federation: Link, node: Keypair, identity: SignedUpdate, *, under: Link | None = None, life: int = 1
    ) -> None:
        self.federation = federation
        self.node = node
        self.identity = identity.id
        self.under = under or federation
        self.incarnation = Incarnation(life, b"nonce %02d" % (life % 100))
        self.written: list[SignedRecord] = []

    def approve(self, credential: SignedCredential | Link, **changes: Any) -> SignedRecord:
        """Approves behind what was written last; `changes` spoil the header."""
        target = credential if isinstance(credential, Link) else credential.id
        before = self.written[-1] if self.written else None
        body = encode_record_body(salt(f"{target} {len(self.written)}"), None)
        fields: dict[str, Any] = {
            "federation": self.federation,
            "type": APPROVAL_TYPE,
            "key": str(target),
            "author": self.node.peer_id,
            "incarnation": self.incarnation,
            "seq": before.body.seq + 1 if before else 1,
            "prev": before.id if before else None,
            "parents": (),
            "auth": Auth(self.under, self.identity),
            "hlc": Hlc(NOON_MS, len(self.written)),
            "op": "put",
            "body": cid(body),
            "size": len(body),
            "target": None,
        }
        record = signed_record(self.node, RecordHeader(**(fields | changes)))
        self.written.append(record)
        return record

    @property
    def tip(self) -> Place:
        return place_of(self.written[-1])


def signed_record(node: Keypair, header: RecordHeader) -> SignedRecord:
    return opened(open_records([seal_record(node, header)]))


def plain_rule(**changes: Any) -> TypeRule:
    fields: dict[str, Any] = {
        "durable": True,
        "writers": "any",
        "size_limit_bytes": 4096,
        "resolver": Resolver("keep_siblings", 1),
        "grants": None,
    }
    return TypeRule(**(fields | changes))


def charter_of(founders: Sequence[Coop], k: int = 1, /, **changes: Any) -> Charter:
    fields: dict[str, Any] = {
        "name": "Three valleys",
        "salt": salt("three valleys"),
        "founders": tuple(
            sorted(
                (Founder(member=each.member, key=each.key(0).peer_id, roles=("member",)) for each in founders),
                key=lambda founder: founder.member.bytes,
            )
        ),
        "roles": ROLES,
        "k": k,
        "types": {"accounts.entry": plain_rule(grants=Grants(read=("bookkeeper",), write=("bookkeeper",)))},
    }
    return Charter(**(fields | changes))


class World:
    """A federation: its founders, what was proposed, and what was approved."""

    def __init__(self, founders: Sequence[Coop], k: int = 1) -> None:
        self.founders = list(founders)
        charter = charter_of(founders, k)
        self.signed: SignedCharter = open_charter([sign_charter(each.key(0), charter) for each in founders])
        self.federation = self.signed.id
        self.desks = [Desk(self.federation, each.node(0), each.inception) for each in founders]
        self.updates = [each.inception for each in founders]
        self.credentials: list[SignedCredential] = []
        self.records: list[SignedRecord] = []

    def know(self, *updates: SignedUpdate) -> None:
        self.updates += updates

    def _common(self) -> dict[str, Any]:
        number = len(self.credentials)
        author = self.desks[0].node.peer_id
        return {
            "federation": self.federation,
            "author": author,
            "salt": salt(f"credential {number}"),
            "proposed_at": NOON_MS + number,
        }

    def propose(self, credential: Any) -> SignedCredential:
        found = opened(open_credentials([seal_credential(self.desks[0].node, credential)]))
        self.credentials.append(found)
        return found

    def admission(
        self, coop: Coop, roles: Sequence[str] = ("member",), after: Iterable[SignedCredential] = ()
    ) -> SignedCredential:
        links = tuple(sorted((each.id for each in after), key=lambda link: link.bytes))
        return self.propose(Admission(**self._common(), member=coop.member, roles=tuple(sorted(roles)), after=links))

    def removal(self, coop: Coop, cut: Iterable[Place] = (), reason: str = "has closed") -> SignedCredential:
        return self.propose(Removal(**self._common(), member=coop.member, reason=reason, cut=make_cut(cut)))

    def type(self, name: str, rule: TypeRule) -> SignedCredential:
        return self.propose(TypeCredential(**self._common(), name=name, rule=rule))

    def erasure(self, coop: Coop, record: Link, type_name: str = "notes.note") -> SignedCredential:
        """What a cooperative has written in a record is to be erased."""
        why = "it names a child"
        return self.propose(
            ErasureCredential(**self._common(), type=type_name, record=record, member=coop.member, reason=why)
        )

    def approve(self, credential: SignedCredential, *by: int | Desk) -> list[SignedRecord]:
        """Founders by number, or desks, approve."""
        desks = [self.desks[each] if isinstance(each, int) else each for each in by]
        written = [desk.approve(credential) for desk in desks]
        self.records += written
        return written

    def admitted(self, coop: Coop, roles: Sequence[str] = ("member",), by: Sequence[int] = (0,)) -> SignedCredential:
        credential = self.admission(coop, roles)
        self.approve(credential, *by)
        self.know(coop.inception)
        return credential

    def removed(self, coop: Coop, *by: int, cut: Iterable[Place] = ()) -> SignedCredential:
        credential = self.removal(coop, cut)
        self.approve(credential, *by)
        return credential

    def standing(self) -> Standing:
        """What everything together comes to."""
        return judge(
            self.federation,
            self.signed.charter,
            Identities(self.updates),
            self.credentials,
            ApprovalLogs(self.federation, self.records),
        )

    def is_in(self, coop: Coop) -> bool:
        return self.standing().membership(coop.member).verdict.holds
