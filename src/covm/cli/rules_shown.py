"""Roles, and types that have rules of their own, as tables."""

from __future__ import annotations

from covm.cli.output import say
from covm.cli.rendering import size, table
from covm.control.membership import Role, Roles, TypeRules


def show_rules(rules: Roles) -> None:
    """What each role may do, and what is agreed on about types; `*` is every type that is not named."""
    rows = [(each.name, *_allowed(each)) for each in rules.roles]
    table(("ROLE", "PUBLISH", "SEND", "READ", "WRITE"), rows, empty="there is no charter here yet")
    if not rules.types:
        return
    say("")
    listed = [
        (
            each.name,
            "yes" if each.durable else "no",
            each.writers,
            size(each.size_limit_bytes),
            each.resolver,
            *(("by role",) * 4 if each.grants is None else _allowed(each.grants)),
        )
        for each in rules.types
    ]
    table(
        ("TYPE", "DURABLE", "WRITERS", "SIZE", "RESOLVER", "PUBLISH", "SEND", "READ", "WRITE"),
        listed,
        empty="no type has a rule of its own",
    )


def rule_in_words(rule: TypeRules) -> str:
    """What a type's rule is to be, in a line."""
    granted = "by role"
    if rule.grants is not None:
        actions = ("publish", "send", "read", "write")
        who = zip(actions, _allowed(rule.grants), strict=True)
        granted = "; ".join(f"{action}: {'nobody' if roles == '-' else roles}" for action, roles in who)
    durable = "durable" if rule.durable else "not durable"
    return f"{durable}, writers: {rule.writers}, up to {size(rule.size_limit_bytes)}, {rule.resolver}; {granted}"


def _allowed(role: Role) -> list[str]:
    return [", ".join(patterns) or "-" for patterns in (role.publish, role.send, role.read, role.write)]
