"""Invites: links by which one node lets somebody into the federation. Rules: no I/O.

A link is `covm-invite:` and the base64url, without padding, of a canonical DAG-CBOR map and the first four bytes of its
SHA-256, so that one which was not copied whole is told:

    v           1
    federation  link: the federation's id
    node        text: peer id of the node that made it, the only one that redeems it
    addresses   list of multiaddrs of that node
    id          16 bytes
    secret      32 bytes; the node keeps its hash alone
    expires_at  integer: milliseconds since 1970-01-01 UTC
    name        text: the federation's name, for people
    relay_pass  bytes: what relays are shown on the way to the node, see `passes`; empty where no address needs one

Who has the link is let in, so it is given to one person, over a channel that they trust.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec

from covm import _native
from covm.federation.identity.names import name_problem
from covm.federation.membership.tables import InviteRow
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.limits import MAX_ADDRESS, MAX_NAME, MAX_TIME_MS
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.membership import INVITE_ID_SIZE, MAX_PASS, SECRET_SIZE
from covm.federation.wire.signed import PeerId, is_peer_id, read_map, write_map

SCHEME: Final = "covm-invite:"

INVITE_VERSION: Final = 1

CHECK_SIZE: Final = 4
"""Bytes that tell whether a link is whole."""

MAX_LINK: Final = 4096
"""Characters of a link: with four addresses it has some 500, and with addresses through relays and a pass 1,200."""

MAX_LINK_ADDRESSES: Final = 8
"""Addresses in a link, which people carry about."""

MAX_USES: Final = 1000
"""Members that one invite lets in."""


class Invite(msgspec.Struct, frozen=True, kw_only=True):
    """What a link says."""

    federation: _native.Link
    node: PeerId
    addresses: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=MAX_ADDRESS)], ...],
        msgspec.Meta(max_length=MAX_LINK_ADDRESSES),
    ]
    id: Annotated[bytes, msgspec.Meta(min_length=INVITE_ID_SIZE, max_length=INVITE_ID_SIZE)]
    secret: Annotated[bytes, msgspec.Meta(min_length=SECRET_SIZE, max_length=SECRET_SIZE)]
    expires_at: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
    relay_pass: Annotated[bytes, msgspec.Meta(max_length=MAX_PASS)] = b""
    v: int = INVITE_VERSION

    def __repr__(self) -> str:
        return f"Invite({self.id.hex()} to {self.federation} by {self.node})"


def encode_invite(invite: Invite) -> str:
    """The link. Whoever reads it can use it."""
    data = write_map(invite)
    text = base64.urlsafe_b64encode(data + hashlib.sha256(data).digest()[:CHECK_SIZE]).decode()
    return SCHEME + text.rstrip("=")


def decode_invite(link: str) -> Invite:
    """The invite in a link. Raises `Malformed` with what is wrong; never repeats what is in the link."""
    text = "".join(link.split())
    if not text.startswith(SCHEME):
        raise Malformed(f"this is no invite: one begins with {SCHEME}")
    if len(text) > MAX_LINK:
        raise Malformed(f"an invite has at most {MAX_LINK:,} characters, this has {len(text):,}")
    text = text.removeprefix(SCHEME)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(_DAMAGED) from None
    body, check = data[:-CHECK_SIZE], data[-CHECK_SIZE:]
    if hashlib.sha256(body).digest()[:CHECK_SIZE] != check:
        raise Malformed(_DAMAGED)
    invite: Invite = read_map(body, Invite, "the invite", INVITE_VERSION)
    if not is_peer_id(invite.node):
        raise Malformed("the invite names no node that could redeem it")
    if (problem := name_problem(invite.name)) is not None:
        raise Malformed(f"the invite has a name of the federation that {problem}")
    return invite


_DAMAGED: Final = "the invite is damaged or not whole: copy all of the link, or ask for another"


UNKNOWN_INVITE: Final = "this node has no such invite: it was used up and forgotten, altered, or was never made here"


def hash_of(secret: bytes) -> bytes:
    """What a node keeps of a secret."""
    return hashlib.sha256(b"covm invite" + secret).digest()


def is_shown(row: InviteRow, secret: bytes) -> bool:
    """Whether this is the invite's secret."""
    return hmac.compare_digest(hash_of(secret), row.secret_hash)


def refusal(
    row: InviteRow | None, secret: bytes, member: str, incarnation: Incarnation, now_ms: int, removals: Iterable[str]
) -> str | None:
    """Why an invite is not redeemed for a member, as a sentence that it is told; None to redeem it.

    `removals` are those of the member that stand: who made the invite must have known of them. A secret that is wrong
    is told nothing about the invite.
    """
    if row is None or not is_shown(row, secret):
        return UNKNOWN_INVITE
    if (row.number, row.nonce) != (incarnation.number, incarnation.nonce):
        return "the invite was made before this node was restored from a backup; ask for another"
    if now_ms > row.expires_at_ms:
        return "the invite has expired; ask for another"
    if member not in row.used_by and len(row.used_by) >= row.uses:
        return "the invite is used up; ask for another"
    if not row.removals.issuperset(removals):
        return "the invite was made before you were removed; ask for another"
    return None


def invite_row(
    invite: Invite, roles: Sequence[str], uses: int, incarnation: Incarnation, now_ms: int, removals: Iterable[str]
) -> InviteRow:
    """What is kept of an invite. `removals` are all that stand as it is made."""
    return InviteRow(
        invite.id,
        hash_of(invite.secret),
        tuple(sorted(set(roles))),
        incarnation.number,
        incarnation.nonce,
        now_ms,
        invite.expires_at,
        uses,
        (),
        frozenset(removals),
    )
