"""Credentials: what electors approve. An admission lets a member in, a removal ends admissions, a type adds a type,
an erasure takes away what a record of a member says.

A credential is a canonical DAG-CBOR map, sealed by the node that proposes it in an envelope of the kind
`/covm/credential`. Proposing takes no right and has no effect: approvals do (see `approvals` and `standing`).

    v           1
    op          admit, remove, type or erase
    federation  link: the federation's id
    author      text: the peer id of the node that proposes it
    salt        16 random bytes: two that say the same are two
    proposed_at integer: milliseconds since 1970-01-01 UTC, by the author's clock; shown, and proves nothing

and by `op`:

    admit       member: link · roles: sorted names of roles, at least one · after: sorted links of the removals that it
                overrides
    remove      member: link · reason: text · cut: up to where each log of the member's nodes still counts
    type        name: an exact type name · rule: as in a charter
    erase       type: the record's, an exact type name · record: link · member: link of who wrote it · reason: text
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from covm import _native
from covm.federation.identity.charter import Charter, roles_problem
from covm.federation.identity.cuts import Cut, cut_problem
from covm.federation.identity.roles import RoleName, TypeRule, grants_problem
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import (
    MAX_AFTER,
    MAX_CUT,
    MAX_REASON,
    MAX_ROLES,
    MAX_TIME_MS,
    MAX_TYPE_NAME,
    SALT_SIZE,
)
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.names import is_system_type, is_type_name
from covm.federation.wire.signed import PeerId, Signed, in_order, open_all, read_map, seal, write_map

CREDENTIAL_VERSION: Final = 1


class _Credential(msgspec.Struct, frozen=True, kw_only=True, tag_field="op"):
    """What every credential has."""

    federation: _native.Link
    author: PeerId
    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_SIZE, max_length=SALT_SIZE)]
    proposed_at: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]
    v: int = CREDENTIAL_VERSION


class Admission(_Credential, frozen=True, kw_only=True, tag="admit"):
    """Lets a member in, in these roles, whatever the removals in `after` say."""

    member: _native.Link
    roles: Annotated[tuple[RoleName, ...], msgspec.Meta(min_length=1, max_length=MAX_ROLES)]
    after: Annotated[tuple[_native.Link, ...], msgspec.Meta(max_length=MAX_AFTER)] = ()


class Removal(_Credential, frozen=True, kw_only=True, tag="remove"):
    """Ends every admission of a member that does not name this removal in `after`, and what it wrote beyond the cut."""

    member: _native.Link
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON)]
    """Shown through `covm.federation.wire.display.shown`."""
    cut: Annotated[Cut, msgspec.Meta(max_length=MAX_CUT)]


class TypeCredential(_Credential, frozen=True, kw_only=True, tag="type"):
    """Gives a type its rule, for good."""

    name: Annotated[str, msgspec.Meta(max_length=MAX_TYPE_NAME)]
    rule: TypeRule


class ErasureCredential(_Credential, frozen=True, kw_only=True, tag="erase"):
    """Takes away what a record says, whenever that arrives. Of another type, or member, it takes nothing away."""

    type: Annotated[str, msgspec.Meta(max_length=MAX_TYPE_NAME)]
    record: _native.Link
    member: _native.Link
    """Whose record it is."""
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON)]
    """Shown through `covm.federation.wire.display.shown`."""


Credential = Admission | Removal | TypeCredential | ErasureCredential
SignedCredential = Signed[Credential]


def encode_credential(credential: Credential) -> bytes:
    """The credential's bytes, ready to be sealed. Raises `ValueError` for what `decode_credential` would refuse."""
    data = write_map(credential)
    try:
        decode_credential(data)
    except Malformed as error:
        raise ValueError(error.reason) from None
    return data


def seal_credential(key: _native.Keypair, credential: Credential) -> bytes:
    """The credential's envelope. Raises `ValueError`, also for a key that is not the one that it names."""
    if key.peer_id != credential.author:
        raise ValueError(
            f"the credential names {credential.author} as its author, and the key is that of {key.peer_id}"
        )
    return seal(key, Kind.CREDENTIAL, encode_credential(credential))


def decode_credential(data: bytes) -> Credential:
    """The credential in these bytes. Raises `Malformed`."""
    credential: Credential = read_map(data, Credential, "the credential", CREDENTIAL_VERSION)
    if (problem := _contradiction(credential)) is not None:
        raise Malformed(f"the credential {problem}")
    return credential


def open_credentials(envelopes: Sequence[bytes]) -> list[SignedCredential | Malformed]:
    """The credential in each envelope, its author being the signer; `Malformed` in the place of one that is none."""
    return open_all(Kind.CREDENTIAL, envelopes, decode_credential, lambda credential: credential.author)


def misfit(credential: Credential, federation: _native.Link, charter: Charter) -> str | None:
    """Why a credential can never count in a federation, whoever approves it; None when it can."""
    if credential.federation != federation:
        return "it is of another federation"
    match credential:
        case Admission(roles=roles):
            return roles_problem(roles, charter.roles)
        case Removal(member=member):
            if charter.removal_threshold(member) is None:
                return "it removes the only founder, and nobody else could approve that"
            return None
        case TypeCredential(name=name, rule=rule):
            if name in charter.types:
                return f"the charter has a rule for {name}, and nothing changes a charter"
            return grants_problem(rule, charter.roles)
        case ErasureCredential(member=member):
            if charter.removal_threshold(member) is None:
                return "it erases what the only founder wrote, which that one does by itself"
            return None


def _contradiction(credential: Credential) -> str | None:
    match credential:
        case Admission(roles=roles, after=after):
            if not in_order(roles, lambda name: name):
                return "lists a role twice, or its roles are not in order"
            if not in_order(after, lambda removal: removal.bytes):
                return "lists a removal twice, or its removals are not in order"
        case Removal(cut=cut):
            problem = cut_problem(cut)
            return problem and f"has a cut that {problem}"
        case TypeCredential(name=name) | ErasureCredential(type=name):
            if not is_type_name(name) or is_system_type(name):
                return "is for what is no type name of an application"
    return None
