"""The charter: what a federation's founders agreed on. Its id is the federation's id.

A charter is a canonical DAG-CBOR map that each founder seals in an envelope of the kind `/covm/charter`:

    v         1
    name      text: the federation's name
    salt      16 bytes: tells two federations of one name and the same founders apart
    founders  list, sorted by member, 1 to 64: member (link), key (peer id of the member's key that signs the charter)
              and roles (names of roles, at least one)
    roles     map of role name to what it may publish, send, read and write: lists of type patterns
    k         integer: how many electors admit a member; 1 up to the number of founders
    types     map of type name, or *, to its rule

It counts when the key of every founder has signed the same bytes, and each of these keys is or was that member's by its
identity log. The founders are the electors, also those who were removed: a removal takes over half of the founders
except its subject, a new type over half of all. Nothing changes a charter; another charter is another federation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec

from covm import _native
from covm.federation.identity.identities import Identities
from covm.federation.identity.names import name_problem
from covm.federation.identity.roles import (
    DEFAULT_RULE,
    EVERY_TYPE,
    Role,
    RoleName,
    TypeRule,
    grants_problem,
    role_problem,
    unknown_role,
)
from covm.federation.identity.verdicts import Verdict, short, valid, waiting
from covm.federation.wire.kinds import Kind
from covm.federation.wire.limits import MAX_CHARTER_TYPES, MAX_FOUNDERS, MAX_NAME, MAX_ROLES, SALT_SIZE
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.names import is_system_type, is_type_name
from covm.federation.wire.signed import PeerId, Signed, in_order, is_peer_id, open_all, read_map, seal, write_map

CHARTER_VERSION: Final = 1


class Founder(msgspec.Struct, frozen=True, kw_only=True):
    """A member that the charter itself admits, and that is an elector."""

    member: _native.Link
    key: PeerId
    roles: Annotated[tuple[RoleName, ...], msgspec.Meta(min_length=1, max_length=MAX_ROLES)]


class Charter(msgspec.Struct, frozen=True, kw_only=True):
    """A charter as a value. The module's docstring has the format and the meaning of each field."""

    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_SIZE, max_length=SALT_SIZE)]
    founders: Annotated[tuple[Founder, ...], msgspec.Meta(min_length=1, max_length=MAX_FOUNDERS)]
    roles: Annotated[dict[RoleName, Role], msgspec.Meta(min_length=1, max_length=MAX_ROLES)]
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_FOUNDERS)]
    types: Annotated[dict[str, TypeRule], msgspec.Meta(max_length=MAX_CHARTER_TYPES)]
    v: int = CHARTER_VERSION

    @property
    def electors(self) -> frozenset[_native.Link]:
        """The members whose approvals count: the founders."""
        return frozenset(founder.member for founder in self.founders)

    @property
    def default_rule(self) -> TypeRule:
        """The rule of types that nothing names."""
        return self.types.get(EVERY_TYPE, DEFAULT_RULE)

    def founder(self, member: _native.Link) -> Founder | None:
        """The founder that a member is; None for others."""
        return next((founder for founder in self.founders if founder.member == member), None)

    def removal_threshold(self, subject: _native.Link) -> int | None:
        """How many electors remove a member: over half of them without it. None when nobody could: the sole founder."""
        others = len(self.electors - {subject})
        return others // 2 + 1 if others else None

    @property
    def type_threshold(self) -> int:
        """How many electors add a type: over half of them."""
        return len(self.founders) // 2 + 1


class SignedCharter(msgspec.Struct, frozen=True):
    """A charter with the signatures that hold, whoever made them."""

    id: _native.Link
    """The federation's id."""
    charter: Charter
    signers: frozenset[str]
    """Peer ids of the keys that signed it."""
    envelopes: tuple[bytes, ...]


def encode_charter(charter: Charter) -> bytes:
    """The charter's bytes, ready to be sealed by each founder. Raises `ValueError` for what others would refuse."""
    data = write_map(charter)
    try:
        decode_charter(data)
    except Malformed as error:
        raise ValueError(error.reason) from None
    return data


def decode_charter(data: bytes) -> Charter:
    """The charter in these bytes. Raises `Malformed`. Whether it counts is for `charter_verdict` to say."""
    charter: Charter = read_map(data, Charter, "the charter", CHARTER_VERSION)
    if (problem := _contradiction(charter)) is not None:
        raise Malformed(f"the charter {problem}")
    return charter


def sign_charter(key: _native.Keypair, charter: Charter) -> bytes:
    """One founder's envelope. Raises `ValueError` for a key that is no founder's."""
    if all(founder.key != key.peer_id for founder in charter.founders):
        raise ValueError(f"the charter names no founder with the key {key.peer_id}")
    return seal(key, Kind.CHARTER, encode_charter(charter))


def open_charter(envelopes: Sequence[bytes]) -> SignedCharter:
    """The charter that all of these envelopes hold. Raises `Malformed` when one is none, or holds another charter."""
    opened: list[Signed[Charter]] = []
    for each in open_all(Kind.CHARTER, envelopes, decode_charter, lambda _: None):
        if isinstance(each, Malformed):
            raise each
        opened.append(each)
    if len({each.id for each in opened}) != 1:
        raise Malformed("the signatures are of different charters" if opened else "a charter without a signature")
    return SignedCharter(
        opened[0].id, opened[0].body, frozenset(each.author for each in opened), tuple(each.envelope for each in opened)
    )


def unsigned(signed: SignedCharter) -> list[Founder]:
    """The founders whose signature is not there yet."""
    return [founder for founder in signed.charter.founders if founder.key not in signed.signers]


def charter_verdict(signed: SignedCharter, identities: Identities) -> Verdict:
    """Whether a charter counts: signed by all founders, with keys that are or were theirs.

    A key that its member has rotated away since still counts: it was the member's when it signed.
    """
    if lacking := unsigned(signed):
        names = ", ".join(short(founder.member) for founder in lacking)
        return waiting(f"{len(lacking)} of {len(signed.charter.founders)} founders have not signed: {names}")
    unknown: list[_native.Link] = []
    for founder in signed.charter.founders:
        log = identities.log(founder.member)
        if log is None or log.head is None:
            unknown.append(founder.member)
        elif not log.had_key(founder.key):
            reason = f"by its identity log founder {short(founder.member)} has never had the key that signed for it"
            return waiting(f"{reason}; entries of the log may be missing", founder.member)
    if unknown:
        return waiting(f"the identity logs of {len(unknown)} founders are not here", *unknown)
    return valid("all founders have signed")


def _contradiction(charter: Charter) -> str | None:
    if problem := name_problem(charter.name):
        return f"has a name that {problem}"
    for name, role in charter.roles.items():
        if problem := role_problem(name, role):
            return f"has a role {name!r:.40} that {problem}"
    if not in_order(charter.founders, lambda founder: founder.member.bytes):
        return "names a founder twice, or its founders are not in order"
    if not all(is_peer_id(founder.key) for founder in charter.founders):
        return "names a key that is no peer id"
    if len({founder.key for founder in charter.founders}) != len(charter.founders):
        return "gives two founders one key"
    if (why := _roles_problem(charter)) is not None:
        return f"gives a founder roles that do not fit: {why}"
    if charter.k > len(charter.founders):
        return f"asks for {charter.k} electors to admit a member, and has {len(charter.founders)}"
    return _types_problem(charter)


def _roles_problem(charter: Charter) -> str | None:
    return next((why for founder in charter.founders if (why := roles_problem(founder.roles, charter.roles))), None)


def roles_problem(named: Iterable[str], roles: dict[str, Role]) -> str | None:
    """What is wrong with a list of roles to be given to a member; None when nothing is."""
    listed = list(named)
    if not in_order(listed, lambda name: name):
        return "a role is listed twice, or they are not in order"
    return next((unknown_role(name, roles) for name in listed if name not in roles), None)


def _types_problem(charter: Charter) -> str | None:
    for name, rule in charter.types.items():
        if name != EVERY_TYPE and (not is_type_name(name) or is_system_type(name)):
            return "has a rule for what is no type name of an application"
        if why := grants_problem(rule, charter.roles):
            return f"has a type {name} with grants that do not fit: {why}"
    return None
