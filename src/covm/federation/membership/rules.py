"""The rules of a charter as its founders write them, in TOML: roles, and types with rules of their own. No I/O.

    founders = ["member", "bookkeeper"]     the roles of the founders; member unless said otherwise
    [roles.member]                          publish, send, read, write: lists of type patterns
    [types."accounts.entry"]                durable, writers, size_limit, resolver, grants; or types."*", for all others

A file without roles has those of every charter, member and observer; one with roles has these alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec

from covm.federation.config.kinds import did_you_mean
from covm.federation.config.settings import value_shown
from covm.federation.identity.names import role_name_problem
from covm.federation.identity.roles import (
    DEFAULT_RULE,
    EVERY_TYPE,
    Action,
    Grants,
    Resolver,
    Role,
    TypeRule,
    is_pattern,
)
from covm.federation.membership.founding import DEFAULT_ROLES, MEMBER_ROLE
from covm.federation.wire.display import shown
from covm.federation.wire.limits import (
    MAX_CHARTER_TYPES,
    MAX_DIRECT_PAYLOAD,
    MAX_PATTERNS,
    MAX_RESOLVER_NAME,
    MAX_ROLES,
    MAX_TYPE_NAME,
)
from covm.federation.wire.names import is_system_type, is_type_name

MAX_RULES_FILE: Final = 256 * 1024
"""Bytes of a file of rules: the largest charter has some more, and nobody writes it by hand."""

_ACTIONS: Final = tuple(action.value for action in Action)
_RULE_FIELDS: Final = ("durable", "writers", "size_limit", "resolver", "grants")
_WRITERS: Final = ("any", "owner")
_SIZE: Final = re.compile(r"([0-9]{1,9}) ?(B|KiB|MiB)")
_UNITS: Final = {"B": 1, "KiB": 1024, "MiB": 1024 * 1024}
_RESOLVER: Final = re.compile(rf"([a-z][a-z0-9_]{{0,{MAX_RESOLVER_NAME - 1}}})(?:/([1-9][0-9]{{0,4}}))?")
_MAX_VERSION: Final = 65535
_PATTERN: Final = "a type name as in governance.vote, the beginning of several as in governance.*, or *"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What founders agree on beside who they are."""

    roles: Mapping[str, Role] = msgspec.field(default_factory=lambda: dict(DEFAULT_ROLES))
    founder_roles: tuple[str, ...] = (MEMBER_ROLE,)
    types: Mapping[str, TypeRule] = msgspec.field(default_factory=dict)


class Problem(NamedTuple):
    """One thing that is wrong: the field, its value, and what is allowed."""

    field: str
    value: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.field} = {self.value}: {self.allowed}"


class BadRules(ValueError):
    """What is wrong with rules; every problem at once, a line for each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        head = "the rules have a problem:" if count == 1 else f"the rules have {count} problems:"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in problems)]))
        self.problems = problems


def read_rules(data: bytes) -> Rules:
    """The rules in a file. Raises `BadRules`."""
    reader = _Reader()
    rules = reader.rules(_table_in(data))
    if reader.problems:
        raise BadRules(reader.problems)
    return rules


def read_types(data: bytes, roles: Mapping[str, Role]) -> dict[str, TypeRule]:
    """The types in a file, to be added to a charter that has these roles. Raises `BadRules`."""
    reader = _Reader()
    types = reader.types(_table_in(data), roles)
    if reader.problems:
        raise BadRules(reader.problems)
    return types


def _table_in(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_RULES_FILE:
        raise BadRules([Problem("the file", f"{len(data):,} bytes", f"must have {MAX_RULES_FILE // 1024} KiB at most")])
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRules([Problem("the file", shown(str(error), limit=200), "must be TOML")]) from None


class _Reader:
    """Reads all of a file, and notes what is wrong on the way; what it could not read has its default."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def rules(self, table: Mapping[str, Any]) -> Rules:
        self._only(table, "", ("founders", "roles", "types"))
        given = self._table(table, "roles", "roles")
        if table.get("roles") == {}:
            self._wrong("roles", {}, "must have at least one role, or be left out for member and observer")
        if len(given) > MAX_ROLES:
            self._wrong("roles", len(given), f"must be at most {MAX_ROLES} roles")
        roles = {name: self._role(given, name) for name in given} or dict(DEFAULT_ROLES)
        founders = table.get("founders", [MEMBER_ROLE])
        return Rules(
            roles=roles,
            founder_roles=tuple(sorted(self._role_names("founders", founders, roles, least=1))),
            types=self._types(table, roles),
        )

    def types(self, table: Mapping[str, Any], roles: Mapping[str, Role]) -> dict[str, TypeRule]:
        self._only(table, "", ("types",))
        if not table.get("types"):
            self._wrong("types", table.get("types"), 'must have a type at least: [types."accounts.entry"]')
        if EVERY_TYPE in self._table(table, "types", "types"):
            self._wrong('types."*"', EVERY_TYPE, "must be the name of one type: nothing changes the rule of all others")
        return self._types(table, roles)

    def _types(self, table: Mapping[str, Any], roles: Mapping[str, Role]) -> dict[str, TypeRule]:
        types = self._table(table, "types", "types")
        if len(types) > MAX_CHARTER_TYPES:
            self._wrong("types", len(types), f"must be at most {MAX_CHARTER_TYPES} types")
        return {name: self._type(types, name, roles) for name in types}

    def _role(self, roles: Mapping[str, Any], name: str) -> Role:
        field = f"roles.{_shown(name)}"
        if role_name_problem(name):
            self._wrong(field, name, "must be a small letter followed by small letters, digits, - or _, 32 at most")
        table = self._table(roles, name, field)
        self._only(table, field, _ACTIONS)
        return Role(**{each: self._patterns(f"{field}.{each}", table[each]) for each in _ACTIONS if each in table})

    def _patterns(self, field: str, value: Any) -> tuple[str, ...]:
        found = self._texts(field, value, f"must be a list of type patterns, each {_PATTERN}")
        for index, each in enumerate(found):
            if len(each) > MAX_TYPE_NAME or not is_pattern(each):
                self._wrong(f"{field}[{index}]", each, f"must be {_PATTERN}")
        if len(found) > MAX_PATTERNS:
            self._wrong(field, len(found), f"must be at most {MAX_PATTERNS} patterns")
        return found

    def _type(self, types: Mapping[str, Any], name: str, roles: Mapping[str, Role]) -> TypeRule:
        field = f'types."{_shown(name)}"'
        if name != EVERY_TYPE and (not is_type_name(name) or is_system_type(name)):
            self._wrong(field, name, "must be the name of one type of an application, as in accounts.entry, or *")
        table = self._table(types, name, field)
        self._only(table, field, _RULE_FIELDS)
        durable = table.get("durable", DEFAULT_RULE.durable)
        if not isinstance(durable, bool):
            self._wrong(f"{field}.durable", durable, "must be true or false")
        writers = table.get("writers", DEFAULT_RULE.writers)
        if writers not in _WRITERS:
            self._wrong(f"{field}.writers", writers, f"must be any or owner{did_you_mean(writers, _WRITERS)}")
        grants = self._grants(f"{field}.grants", table, roles) if "grants" in table else None
        return TypeRule(
            durable=cast("bool", durable),
            writers=cast("Any", writers),
            size_limit_bytes=self._size(f"{field}.size_limit", table.get("size_limit")),
            resolver=self._resolver(f"{field}.resolver", table.get("resolver")),
            grants=grants,
        )

    def _size(self, field: str, value: Any) -> int:
        if value is None:
            return DEFAULT_RULE.size_limit_bytes
        found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        size_bytes = int(found[1]) * _UNITS[found[2]] if found else 0
        if not 1 <= size_bytes <= MAX_DIRECT_PAYLOAD:
            self._wrong(field, value, 'must be text with a unit, B, KiB or MiB, from "1 B" to "1 MiB", as in "64 KiB"')
            return DEFAULT_RULE.size_limit_bytes
        return size_bytes

    def _resolver(self, field: str, value: Any) -> Resolver:
        if value is None:
            return DEFAULT_RULE.resolver
        found = _RESOLVER.fullmatch(value) if isinstance(value, str) else None
        version = int(found[2] or 1) if found else 0
        if found is None or version > _MAX_VERSION:
            self._wrong(
                field,
                value,
                "must be keep_siblings, last_writer_wins, merge, or the name of an application's own, with its version "
                "where that is not 1, as in prices/2",
            )
            return DEFAULT_RULE.resolver
        return Resolver(found[1], version)

    def _grants(self, field: str, rule: Mapping[str, Any], roles: Mapping[str, Role]) -> Grants:
        table = self._table(rule, "grants", field)
        self._only(table, field, _ACTIONS)
        return Grants(
            **{each: self._role_names(f"{field}.{each}", table[each], roles) for each in _ACTIONS if each in table}
        )

    def _role_names(self, field: str, value: Any, roles: Mapping[str, Role], least: int = 0) -> tuple[str, ...]:
        allowed = f"must be of the roles {', '.join(map(shown, sorted(roles)[:12]))}"
        found = self._texts(field, value, f"must be a list, and its parts {allowed}")
        for index, each in enumerate(found):
            if each not in roles:
                self._wrong(f"{field}[{index}]", each, f"{allowed}{did_you_mean(each, roles)}")
        is_read = isinstance(value, list) and len(found) == len(value)
        if is_read and (len(found) < least or len(set(found)) < len(found)):
            self._wrong(field, value, "must name each role once" + (", and one at least" if least else ""))
        return found

    def _texts(self, field: str, value: Any, allowed: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            self._wrong(field, value, allowed)
            return ()
        return tuple(value)

    def _table(self, table: Mapping[str, Any], name: str, field: str) -> Mapping[str, Any]:
        value = table.get(name, {})
        if isinstance(value, dict):
            return value
        self._wrong(field, value, f"must be a table: [{field}]")
        return {}

    def _only(self, table: Mapping[str, Any], field: str, known: Iterable[str]) -> None:
        for name in table.keys() - set(known):
            where = f"{field}.{_shown(name)}" if field else _shown(name)
            self._wrong(where, table[name], f"must be one of {', '.join(known)}{did_you_mean(name, known)}")

    def _wrong(self, field: str, value: Any, allowed: str) -> None:
        self.problems.append(Problem(field, value_shown(value), allowed))


def _shown(name: str) -> str:
    return shown(name, limit=64)
