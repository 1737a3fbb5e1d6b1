"""Roles and rules of types as the schema has them: of a charter that is looked at, or of this node's federation."""

from __future__ import annotations

from collections.abc import Mapping

from covm.control import membership as said
from covm.federation.identity.roles import Grants, Resolver, Role, TypeRule


def told_rules(roles: Mapping[str, Role], types: Mapping[str, TypeRule]) -> said.Roles:
    """All of them, by name."""
    return said.Roles(
        roles=[_role(name, role) for name, role in sorted(roles.items())],
        types=[told_rule(name, rule) for name, rule in sorted(types.items())],
    )


def told_rule(name: str, rule: TypeRule) -> said.TypeRules:
    """That of one type."""
    return said.TypeRules(
        name=name,
        durable=rule.durable,
        writers=rule.writers,
        size_limit_bytes=rule.size_limit_bytes,
        resolver=_resolver(rule.resolver),
        grants=None if rule.grants is None else _role(name, rule.grants),
    )


def _role(name: str, role: Role | Grants) -> said.Role:
    return said.Role(
        name=name, publish=list(role.publish), send=list(role.send), read=list(role.read), write=list(role.write)
    )


def _resolver(resolver: Resolver) -> str:
    return resolver.name if resolver.version == 1 else f"{resolver.name}/{resolver.version}"
