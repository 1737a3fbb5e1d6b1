"""What a node keeps of its federation's membership, and the jobs that write and read it.

covm_membership   every item: charter signatures, identity entries, credentials, approvals
covm_invites      invites that this node made

Meta, in text: `federation` is the federation's id, `member` that of this node's member; `invite` the link that this
node was given and that is not redeemed yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text

from covm import _native
from covm.federation.identity.charter import SignedCharter
from covm.federation.identity.credentials import Credential
from covm.federation.membership.aside import Item, item_id
from covm.federation.store.schema import RowId, metadata
from covm.federation.store.tables import delete_meta, get_meta, put_meta
from covm.federation.wire.limits import DIGEST_SIZE
from covm.federation.wire.record import RecordHeader

if TYPE_CHECKING:
    from covm.federation.store.interface import Transaction

FEDERATION: Final = "federation"
MEMBER: Final = "member"
INVITE: Final = "invite"

CHARTER: Final = 0
ENTRY: Final = 1
CREDENTIAL: Final = 2
APPROVAL: Final = 3
ITEMS: Final = (ENTRY, CREDENTIAL, APPROVAL)

membership: Final = Table(
    "covm_membership",
    metadata,
    Column("number", RowId, primary_key=True),
    Column("id", LargeBinary, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Index("covm_membership_id", "id", unique=True),
)
"""Items in the order in which they got their places: read in it, each finds what it builds on.

`id` is the hash in the item's CID; of a signature of the charter, the hash of its envelope.
"""

invites: Final = Table(
    "covm_invites",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("roles", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("used_by", Text, nullable=False),
    Column("removals", Text, nullable=False),
)
"""Invites of this node. `number` and `nonce` are the incarnation that made one; no other redeems it.

`roles`, `used_by` (ids of members) and `removals` (ids of those that stood when it was made, which it overrides) are
JSON lists. The secret itself is not kept.
"""


class InviteRow(NamedTuple):
    """An invite as it is stored; times in milliseconds since 1970-01-01 UTC."""

    id: bytes
    secret_hash: bytes
    roles: tuple[str, ...]
    number: int
    nonce: bytes
    created_at_ms: int
    expires_at_ms: int
    uses: int
    used_by: tuple[str, ...]
    removals: frozenset[str]


def save_charter(tx: Transaction, charter: SignedCharter) -> None:
    """Makes it the charter of this node's federation."""
    put_meta(tx, FEDERATION, str(charter.id).encode())
    _insert(tx, [(_native.cid(each).bytes[-DIGEST_SIZE:], CHARTER, each) for each in charter.envelopes])


def save_founded(tx: Transaction, charter: SignedCharter, entries: Iterable[Item], own: _native.Link) -> None:
    """The beginning: a charter, its founders' identity logs, and which of them is this node's member."""
    save_charter(tx, charter)
    save_items(tx, entries)
    save_own(tx, own)


def save_invited(tx: Transaction, link: str, entries: Iterable[Item], own: _native.Link) -> None:
    """A member that has an invite, and is to be let in by it."""
    put_meta(tx, INVITE, link.encode())
    save_items(tx, entries)
    save_own(tx, own)


def load_link(tx: Transaction) -> str | None:
    """The invite that is not redeemed yet."""
    found = get_meta(tx, INVITE)
    return None if found is None else found.decode()


def forget_link(tx: Transaction) -> None:
    """It is redeemed."""
    delete_meta(tx, INVITE)


def load_federation(tx: Transaction) -> str | None:
    """The id of this node's federation, if it has one."""
    found = get_meta(tx, FEDERATION)
    return None if found is None else found.decode()


def load_own(tx: Transaction) -> _native.Link | None:
    """The id of this node's member, if it has one."""
    found = get_meta(tx, MEMBER)
    return None if found is None else _native.Link(found.decode())


def save_own(tx: Transaction, member: _native.Link) -> None:
    """Whose this node is."""
    put_meta(tx, MEMBER, str(member).encode())


def save_items(tx: Transaction, items: Iterable[Item], dropped: Sequence[bytes] = ()) -> None:
    """Keeps new items, in this order, and lets others go."""
    _insert(tx, [(item_id(item), _kind(item), item.envelope) for item in items])
    for each in dropped:
        tx.execute("DELETE FROM covm_membership WHERE id = :id", {"id": each})


def which_of(tx: Transaction, ids: Iterable[bytes]) -> set[bytes]:
    """Those of these items that are kept."""
    query = "SELECT 1 FROM covm_membership WHERE id = :id"
    return {each for each in ids if tx.execute(query, {"id": each}).first() is not None}


def load_items(tx: Transaction) -> list[tuple[int, bytes]]:
    """Kinds and envelopes, in the order in which they were kept."""
    rows = tx.execute("SELECT kind, envelope FROM covm_membership ORDER BY number").all()
    return [(kind, bytes(envelope)) for kind, envelope in rows]


def save_invite(tx: Transaction, row: InviteRow) -> None:
    """Keeps a new invite."""
    tx.execute(
        "INSERT INTO covm_invites (id, secret_hash, roles, number, nonce, created_at, expires_at, uses, used_by, "
        "removals) VALUES (:id, :hash, :roles, :number, :nonce, :created, :expires, :uses, :used_by, :removals)",
        {
            "id": row.id,
            "hash": row.secret_hash,
            "roles": json.dumps(row.roles),
            "number": row.number,
            "nonce": row.nonce,
            "created": row.created_at_ms,
            "expires": row.expires_at_ms,
            "uses": row.uses,
            "used_by": json.dumps(row.used_by),
            "removals": json.dumps(sorted(row.removals)),
        },
    )


def use_invite(tx: Transaction, invite: bytes, used_by: Sequence[str]) -> None:
    """An invite was used by these members."""
    tx.execute(
        "UPDATE covm_invites SET used_by = :used WHERE id = :id", {"used": json.dumps(list(used_by)), "id": invite}
    )


def load_invite(tx: Transaction, invite: bytes) -> InviteRow | None:
    """An invite of this node, by its id."""
    rows = _invites(tx, "WHERE id = :id", {"id": invite})
    return rows[0] if rows else None


def load_invites(tx: Transaction) -> list[InviteRow]:
    """Every invite, the newest first."""
    return _invites(tx, "ORDER BY created_at DESC", {})


def forget_invites(tx: Transaction, before_ms: int) -> None:
    """Invites that expired before this are of no use."""
    tx.execute("DELETE FROM covm_invites WHERE expires_at < :before", {"before": before_ms})


def _invites(tx: Transaction, where: str, fields: dict[str, object]) -> list[InviteRow]:
    rows = tx.execute(
        "SELECT id, secret_hash, roles, number, nonce, created_at, expires_at, uses, used_by, "  # noqa: S608 - own text
        f"removals FROM covm_invites {where}",
        fields,
    ).all()
    return [
        InviteRow(
            bytes(row[0]),
            bytes(row[1]),
            tuple(json.loads(row[2])),
            row[3],
            bytes(row[4]),
            row[5],
            row[6],
            row[7],
            tuple(json.loads(row[8])),
            frozenset(json.loads(row[9])),
        )
        for row in rows
    ]


def _insert(tx: Transaction, rows: Sequence[tuple[bytes, int, bytes]]) -> None:
    if rows:
        tx.insert(membership, ("id", "kind", "envelope"), rows, or_ignore=True)


def _kind(item: Item) -> int:
    if isinstance(item.body, RecordHeader):
        return APPROVAL
    return CREDENTIAL if isinstance(item.body, Credential) else ENTRY
