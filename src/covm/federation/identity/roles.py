"""Roles and types as charter data: who may do what with which type, denied unless something allows it.

A *pattern* is a type name (`governance.vote`), the beginning of several (`governance.*`), or `*` for every type of an
application. The federation's own types (`system.`) are covered only where a pattern names them.

A *role* lists patterns for each action. A *type rule* says what records and messages of one type must be; if it has
`grants`, they alone say which roles may do what with the type, so that a restricted type is not opened by a role that
covers `*`. What a rule leaves open, the roles decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from covm.federation.identity.names import role_name_problem
from covm.federation.identity.verdicts import Verdict, refused, valid
from covm.federation.wire.limits import (
    MAX_DIRECT_PAYLOAD,
    MAX_PATTERNS,
    MAX_RESOLVER_NAME,
    MAX_ROLE_NAME,
    MAX_ROLES,
    MAX_TYPE_NAME,
)
from covm.federation.wire.names import is_system_type, is_type_name

EVERY_TYPE: Final = "*"

_Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TYPE_NAME)]
_Patterns = Annotated[tuple[_Pattern, ...], msgspec.Meta(max_length=MAX_PATTERNS)]
RoleName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ROLE_NAME)]
_RoleNames = Annotated[tuple[RoleName, ...], msgspec.Meta(max_length=MAX_ROLES)]
_TOLD_ROLES: Final = 12
"""Roles that a sentence lists."""

_FAMILY: Final = re.compile(r"(?:[a-z][a-z0-9_]*\.)+\*")


class Action(StrEnum):
    """What may be done with a type."""

    PUBLISH = "publish"
    """Say it to everyone who may read it."""
    SEND = "send"
    """Say it to one node."""
    READ = "read"
    """Get it, published or as a record."""
    WRITE = "write"
    """Write records of it."""


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """What the members in this role may do, by type patterns."""

    publish: _Patterns = ()
    send: _Patterns = ()
    read: _Patterns = ()
    write: _Patterns = ()

    def covers(self, action: Action, type_name: str) -> bool:
        """Whether one of the patterns for the action covers the type."""
        patterns: tuple[str, ...] = getattr(self, action.value)
        return any(_covers(pattern, type_name) for pattern in patterns)


class Grants(msgspec.Struct, frozen=True, kw_only=True):
    """The roles that may do each thing with one type."""

    publish: _RoleNames = ()
    send: _RoleNames = ()
    read: _RoleNames = ()
    write: _RoleNames = ()

    def roles(self, action: Action) -> tuple[str, ...]:
        """The roles that may do this."""
        named: tuple[str, ...] = getattr(self, action.value)
        return named


class Resolver(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How concurrent records of a type are resolved; on the wire `[name, version]`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_RESOLVER_NAME)]
    version: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class TypeRule(msgspec.Struct, frozen=True, kw_only=True):
    """What everyone has to agree on about a type for its messages and records to be valid everywhere."""

    durable: bool
    """Whether publications are records, which reach those who were away."""
    writers: Literal["any", "owner"]
    """`owner`: the key of a record begins with the member id of who may write it."""
    size_limit_bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_DIRECT_PAYLOAD)]
    resolver: Resolver
    grants: Grants | None
    """Which roles may do what with the type; None leaves it to the roles' patterns."""


DEFAULT_RULE: Final = TypeRule(
    durable=False,
    writers="any",
    size_limit_bytes=MAX_DIRECT_PAYLOAD,
    resolver=Resolver("keep_siblings", 1),
    grants=None,
)
"""The rule of types that neither charter nor credential names, in a charter without a rule for `*`."""


def decide(action: Action, type_name: str, rule: TypeRule, held: Iterable[str], roles: Mapping[str, Role]) -> Verdict:
    """Whether who holds these roles may do this with a type of this rule. Denied unless a role allows it."""
    mine = sorted(set(held) & roles.keys())
    if rule.grants is not None:
        granted = rule.grants.roles(action)
        by = next((role for role in mine if role in granted), None)
    else:
        by = next((role for role in mine if roles[role].covers(action, type_name)), None)
    if by is not None:
        return valid(f"the role {by} may {action} {type_name}")
    able = sorted(able_roles(action, type_name, rule, roles))
    who = f"only {' and '.join(able)} may" if able else "no role may"
    have = f"the roles {', '.join(mine)} do not allow it" if mine else "there is no role that could allow it"
    return refused(f"{have}: {who} {action} {type_name}")


def able_roles(action: Action, type_name: str, rule: TypeRule, roles: Mapping[str, Role]) -> set[str]:
    """The roles that may do this with a type of this rule."""
    if rule.grants is not None:
        return set(rule.grants.roles(action)) & roles.keys()
    return {name for name, role in roles.items() if role.covers(action, type_name)}


def everyone_may_read(type_name: str, rule: TypeRule, roles: Mapping[str, Role]) -> bool:
    """Whether every role may read the type, so that it may be gossiped: each member has a role, and forwards it."""
    return able_roles(Action.READ, type_name, rule, roles) == roles.keys()


def role_problem(name: str, role: Role) -> str | None:
    """What is wrong with a role of a charter, as the end of a sentence; None when nothing is."""
    if problem := role_name_problem(name):
        return problem
    for action in Action:
        for pattern in getattr(role, action.value):
            if not is_pattern(pattern):
                return (
                    f"may {action} by a pattern that is none: a type name as in governance.vote, the beginning of "
                    "several as in governance.*, or *"
                )
    return None


def grants_problem(rule: TypeRule, roles: Mapping[str, Role]) -> str | None:
    """The role that a type rule names and that the charter does not have, in a sentence; None when all are there."""
    if rule.grants is None:
        return None
    named = {role for action in Action for role in rule.grants.roles(action)}
    unknown = sorted(named - roles.keys())
    return unknown_role(unknown[0], roles) if unknown else None


def unknown_role(name: str, roles: Mapping[str, Role]) -> str:
    """That a role does not exist, in a sentence."""
    shown = name if role_name_problem(name) is None else repr(name)
    others = sorted(roles)
    told = ", ".join(others[:_TOLD_ROLES]) + (" ..." if len(others) > _TOLD_ROLES else "")
    return f"the charter has no role {shown}; its roles are {told}"


def is_pattern(pattern: str) -> bool:
    """Whether this is a type pattern."""
    return pattern == EVERY_TYPE or is_type_name(pattern) or _FAMILY.fullmatch(pattern) is not None


def _covers(pattern: str, type_name: str) -> bool:
    if pattern == type_name:
        return True
    if pattern == EVERY_TYPE:
        return not is_system_type(type_name)
    return pattern.endswith(".*") and type_name.startswith(pattern[:-1])
