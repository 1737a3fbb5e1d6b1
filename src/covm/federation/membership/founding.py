"""Before there is a federation: a member that begins, and a charter that its founders sign. Rules: no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from covm import _native
from covm.federation.identity.charter import (
    Charter,
    Founder,
    SignedCharter,
    charter_verdict,
    encode_charter,
    open_charter,
    sign_charter,
)
from covm.federation.identity.consent import seal_consent
from covm.federation.identity.drafts import draft_inception
from covm.federation.identity.identities import Identities
from covm.federation.identity.member import MemberState
from covm.federation.identity.names import check_name
from covm.federation.identity.roles import Role, TypeRule
from covm.federation.identity.update import NodeEntry, SignedUpdate, open_updates, seal_update
from covm.federation.wire.malformed import Malformed

MEMBER_ROLE: Final = "member"
OBSERVER_ROLE: Final = "observer"

DEFAULT_ROLES: Final[Mapping[str, Role]] = {
    MEMBER_ROLE: Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
    OBSERVER_ROLE: Role(read=("*",)),
}
"""The roles of a charter whose founders did not say others: members do everything, observers read."""


def begin_member(
    name: str, key: _native.Keypair, *, next_key: str, recovery_key: str, node: _native.Keypair, node_name: str
) -> SignedUpdate:
    """The inception of a member with one node, which is its approver. Keys to come are given by their peer ids.

    Raises `ValueError`, saying what is wrong.
    """
    consent = seal_consent(node, key.peer_id)
    entry = NodeEntry(node=node.peer_id, name=check_name(node_name, "the node's name"), approver=True, consent=consent)
    draft = draft_inception(
        check_name(name, "the member's name"), key.peer_id, next_key=next_key, recovery_key=recovery_key, nodes=[entry]
    )
    return _opened(seal_update(key, draft))


def draft_charter(
    name: str,
    founders: Iterable[MemberState],
    *,
    salt: bytes,
    k: int = 1,
    roles: Mapping[str, Role] = DEFAULT_ROLES,
    founder_roles: Sequence[str] = (MEMBER_ROLE,),
    types: Mapping[str, TypeRule] | None = None,
) -> Charter:
    """A charter for its founders to sign. Raises `ValueError`, saying what is wrong."""
    listed = tuple(
        sorted(
            (Founder(member=each.member, key=each.key, roles=tuple(sorted(founder_roles))) for each in founders),
            key=lambda founder: founder.member.bytes,
        )
    )
    charter = Charter(
        name=check_name(name, "the federation's name"),
        salt=salt,
        founders=listed,
        roles=dict(roles),
        k=k,
        types=dict(types or {}),
    )
    encode_charter(charter)
    return charter


def found(charter: Charter, keys: Iterable[_native.Keypair], logs: Iterable[SignedUpdate]) -> SignedCharter:
    """The charter with the signatures of these founders' keys. Raises `ValueError` where that does not suffice."""
    signed = open_charter([sign_charter(key, charter) for key in keys])
    verdict = charter_verdict(signed, Identities(logs))
    if not verdict.holds:
        raise ValueError(verdict.reason)
    return signed


def _opened(envelope: bytes) -> SignedUpdate:
    [opened] = open_updates([envelope])
    if isinstance(opened, Malformed):
        raise ValueError(opened.reason)  # noqa: TRY004 - it is no question of types
    return opened
