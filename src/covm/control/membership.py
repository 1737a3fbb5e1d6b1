"""The control API's requests and answers about who is a member, version 1; see `covm.control.schema`.

| request | body | answer |
|---|---|---|
| GET /v1/members | | `Members` |
| GET /v1/members/requests | | `Requests` |
| GET /v1/members/roles | | `Roles` |
| GET /v1/whoami | | `WhoAmI` |
| POST /v1/members/invite | `AskInvite` | `Invited` |
| POST /v1/members/approve | `Approve` | `Decided` |
| POST /v1/members/remove | `Remove` | `Decided` |
| POST /v1/members/types | `ProposeTypes` | `Requests` |
| GET /v1/identity | | `OwnIdentity` |
| POST /v1/identity | `IdentityEntries` | `IdentityEntries` |
| GET /v1/identity/written/{node}?until=MS | | `Written` |
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from covm.control.schema import BAN_MOST_MS, Versioned


class MemberNode(Struct, kw_only=True, frozen=True):
    """A node of a member."""

    peer_id: str
    name: str
    approver: bool
    connected: bool


class Member(Struct, kw_only=True, frozen=True):
    """A member, present or former."""

    id: str
    short_id: str
    """The part of the id that tells it from others; it stands for the id in commands."""
    name: str
    member: bool
    why: str
    founder: bool
    roles: list[str]
    nodes: list[MemberNode]
    contested: bool
    """Two hold its key, and say different things: its identity log ends until it recovers."""
    own: bool


class Members(Versioned, kw_only=True, frozen=True):
    """Everyone who is or was a member."""

    federation: str
    name: str
    members: list[Member]


class Role(Struct, kw_only=True, frozen=True):
    """What the members in a role may do, by type patterns."""

    name: str
    publish: list[str]
    send: list[str]
    read: list[str]
    write: list[str]


class TypeRules(Struct, kw_only=True, frozen=True):
    """What everyone has agreed on about a type; `*` stands for all that are not named."""

    name: str
    durable: bool
    writers: str
    size_limit_bytes: int
    resolver: str
    """Its name, with its version behind a slash where that is not 1."""
    grants: Role | None
    """The roles that may do each thing with the type, whatever their patterns say; None leaves it to the patterns."""


class Decision(Struct, kw_only=True, frozen=True):
    """An admission, a removal, a type or an erasure, and who has approved it."""

    id: str
    short_id: str
    kind: str
    subject: str
    """The id of the member that it is about (of an erasure, who wrote the record), or the type's name."""
    subject_short_id: str
    """The part of that id that tells it from others; empty for a type."""
    name: str
    roles: list[str]
    reason: str
    rule: TypeRules | None
    """What a type's rule is to be."""
    overrides: list[str]
    """Reasons of the removals that an admission sets aside."""
    takes_back: int
    """Approvals of the removed member's that would count no more."""
    proposed_by: str
    proposed_at: int
    approved_by: list[str]
    needed: int
    status: str
    why: str
    record: str = ""
    """The id of the record that is to be erased; empty for all others."""
    record_type: str = ""
    record_key: str = ""
    """That record's key; empty where it is not here."""


class Requests(Versioned, kw_only=True, frozen=True):
    """What waits for approvals, the oldest first."""

    requests: list[Decision]


class Decided(Versioned, kw_only=True, frozen=True):
    """How it stands now."""

    decision: Decision


class Roles(Versioned, kw_only=True, frozen=True):
    """The charter's roles, and the types that have rules of their own."""

    roles: list[Role]
    types: list[TypeRules]


class WhoAmI(Versioned, kw_only=True, frozen=True):
    """Whose this node is. `member` is None for a node that is nobody's here."""

    peer_id: str
    did_key: str
    node_name: str
    federation: str
    federation_name: str
    member: Member | None
    why: str


class AskInvite(Versioned, kw_only=True, frozen=True):
    """An invite that lets in `uses` members in these roles; how long and how many is the node's to say."""

    roles: Annotated[list[str], Meta(max_length=64)]
    expires_ms: Annotated[int, Meta(ge=1, le=BAN_MOST_MS)]
    uses: Annotated[int, Meta(ge=1)]


class Invited(Versioned, kw_only=True, frozen=True):
    """The link. Who has it can use it; `warning` says why perhaps nobody can now, and is empty otherwise."""

    link: str
    expires_at: int
    warning: str = ""

    def __repr__(self) -> str:
        return f"Invited(expires_at={self.expires_at})"


class Approve(Versioned, kw_only=True, frozen=True):
    """Approves what waits: its id or that of whom it is about, the beginning of one, or the name of that one."""

    request: str


class Remove(Versioned, kw_only=True, frozen=True):
    """Proposes to remove a member."""

    member: str
    reason: str


class ProposeTypes(Versioned, kw_only=True, frozen=True):
    """Proposes the types in a file of rules, which is TOML."""

    rules: str


class IdentityEntries(Versioned, kw_only=True, frozen=True):
    """Entries of the identity log of the node's member to be taken; of an answer, all of them."""

    entries: list[bytes]


class OwnIdentity(Versioned, kw_only=True, frozen=True):
    """The identity log of the node's member, signed entry by entry, and where that member takes part."""

    entries: list[bytes]
    charter: list[bytes]
    """The charter as each founder signed it; empty while it is not here."""
    addresses: list[str]
    """Where the node is reached."""


class Place(Struct, kw_only=True, frozen=True):
    """A record: its log, its number there and its id."""

    log: str
    seq: int
    id: str


class Approved(Struct, kw_only=True, frozen=True):
    """Something that a node has approved: an admission, a removal, a type or an erasure."""

    node: str
    kind: str
    """`admission`, `removal`, `type` or `erasure`; empty while what it approved is not here."""
    subject: str
    """The member's id, or the type's name."""
    name: str
    time: int
    """By the node's own clock: who has its key writes what time it likes."""
    counts: bool
    why: str


class Undone(Struct, kw_only=True, frozen=True):
    """Something that would be otherwise if a node were removed with a cut.

    `kind`: `member`, who would be none any more; `roles`, who would have fewer; `again`, who was removed and would be a
    member again; `removal`, that of somebody who is none anyhow; `type`, which would have another rule; `erasure`, of a
    record of this member's, whose value may come again; its `subject` is the record's id.
    """

    kind: str
    subject: str
    name: str


class Written(Versioned, kw_only=True, frozen=True):
    """What a node has written up to a time by its clock: all without one, nothing at -1."""

    places: list[Place]
    """The ends of its logs there: the cut of its removal."""
    approved: list[Approved]
    """All that it has approved, the oldest first."""
    undone: list[Undone]
    """What would be otherwise if it were removed with this cut."""
    records: int
    """Records of it that would count no more."""
