"""`covm federation charter show`: what a charter says, all of it, before somebody signs."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from covm.cli import paper_files
from covm.cli.founding import Founded, founder_name, lacking_of
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rules_shown import show_rules
from covm.control.membership import Role, TypeRules


class CharterFounder(Struct, kw_only=True, frozen=True):
    """A founder that a charter names."""

    member: str
    name: str
    roles: list[str]
    signed: bool


class Charter(Founded, kw_only=True, frozen=True):
    """Everything that a charter says. `member` and `member_id` are empty: it is nobody's alone."""

    k: int
    founders: list[CharterFounder]
    roles: list[Role]
    types: list[TypeRules]


def show(file: Path, /, *, common: Common = DEFAULT) -> None:
    """Show all that a charter says, and who has signed it; changes nothing.

    Parameters
    ----------
    file
        The charter.
    """
    from covm.daemon.rules import told_rules
    from covm.federation.identity.roles import EVERY_TYPE
    from covm.federation.membership.papers import read_charter

    opened = paper_files.read(file, read_charter)
    charter, signers = opened.charter, opened.signed.signers if opened.signed is not None else frozenset()
    rules = told_rules(charter.roles, {EVERY_TYPE: charter.default_rule, **charter.types})
    founders = [
        CharterFounder(
            member=str(each.member),
            name=founder_name(opened, each.member),
            roles=list(each.roles),
            signed=each.key in signers,
        )
        for each in charter.founders
    ]
    if common.json:
        say_json(
            Charter(
                name=charter.name,
                federation="",
                member="",
                member_id="",
                charter=str(file),
                lacking=lacking_of(opened),
                k=charter.k,
                founders=founders,
                roles=rules.roles,
                types=rules.types,
            )
        )
        return
    say(f"federation   {safe(charter.name)}")
    for each in founders:
        state = "signed" if each.signed else "has not signed"
        say(f"founder      {safe(each.name)}  {each.member}  {state}  as {', '.join(each.roles)}")
    say(f"admission    {charter.k} of {len(charter.founders)} founders admit a member")
    say("")
    show_rules(rules)
