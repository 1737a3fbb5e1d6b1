"""What roles and type rules allow: patterns, grants, and nothing by default."""

from __future__ import annotations

import pytest
from tests.unit.membership_world import ROLES, plain_rule

from covm.federation.identity.names import role_name_problem
from covm.federation.identity.roles import (
    Action,
    Grants,
    Role,
    able_roles,
    decide,
    everyone_may_read,
    grants_problem,
    is_pattern,
    role_problem,
)
from covm.federation.identity.verdicts import Status
from covm.federation.wire.limits import MAX_ROLE_NAME


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("governance.vote", ["governance.vote"], ["governance.votes", "governance.vote.late", "governance"]),
        ("governance.*", ["governance.vote", "governance.vote.late"], ["governance", "governances.vote"]),
        ("a.b.*", ["a.b.c"], ["a.b", "a.bc.d"]),
        ("*", ["governance.vote", "x.y"], ["system.file", "system.approval"]),
        ("system.file", ["system.file"], ["system.files"]),
    ],
)
def test_a_pattern_covers_what_it_names(pattern: str, covered: list[str], not_covered: list[str]) -> None:
    assert is_pattern(pattern)
    role = Role(send=(pattern,))
    assert [name for name in covered if not role.covers(Action.SEND, name)] == []
    assert [name for name in not_covered if role.covers(Action.SEND, name)] == []
    assert not role.covers(Action.READ, covered[0])


@pytest.mark.parametrize("pattern", ["", "**", "*.vote", "governance.*.vote", "governance*", "Governance.*", ".*", "a"])
def test_what_is_no_pattern(pattern: str) -> None:
    assert not is_pattern(pattern)
    assert "pattern that is none" in str(role_problem("member", Role(read=(pattern,))))


def test_nothing_is_allowed_by_default() -> None:
    verdict = decide(Action.WRITE, "notes.page", plain_rule(), ["member"], ROLES)
    assert verdict.status is Status.REFUSED
    assert verdict.reason == "the roles member do not allow it: only bookkeeper may write notes.page"
    nobody = decide(Action.WRITE, "notes.page", plain_rule(), ["stranger"], ROLES)
    assert "there is no role that could allow it" in nobody.reason
    assert (
        "no role may write system.approval"
        in decide(Action.WRITE, "system.approval", plain_rule(), ROLES, ROLES).reason
    )


def test_one_role_of_several_is_enough() -> None:
    verdict = decide(Action.WRITE, "notes.page", plain_rule(), ["member", "bookkeeper"], ROLES)
    assert (verdict.holds, verdict.reason) == (True, "the role bookkeeper may write notes.page")


def test_grants_of_a_type_decide_alone() -> None:
    rule = plain_rule(grants=Grants(read=("member",)))
    assert decide(Action.READ, "a.b", rule, ["member"], ROLES).holds
    assert not decide(Action.READ, "a.b", rule, ["bookkeeper"], ROLES).holds
    assert not decide(Action.WRITE, "a.b", rule, ["bookkeeper", "member"], ROLES).holds


def test_what_not_every_role_may_read_is_not_for_everyone() -> None:
    assert everyone_may_read("governance.vote", plain_rule(), ROLES)
    assert not everyone_may_read("accounts.entry", plain_rule(), ROLES)
    assert everyone_may_read("accounts.entry", plain_rule(grants=Grants(read=("bookkeeper", "member"))), ROLES)
    assert able_roles(Action.READ, "accounts.entry", plain_rule(), ROLES) == {"bookkeeper"}


def test_a_role_that_does_not_exist_is_told_with_those_that_do() -> None:
    problem = grants_problem(plain_rule(grants=Grants(write=("\x1b[1m",))), ROLES)
    assert problem == r"the charter has no role '\x1b[1m'; its roles are bookkeeper, member"
    assert grants_problem(plain_rule(), ROLES) is None


@pytest.mark.parametrize("name", ["", "Member", "1st", "a b", "a/b", "\u202ea", "m" * (MAX_ROLE_NAME + 1), "é"])
def test_what_is_no_name_of_a_role(name: str) -> None:
    assert role_name_problem(name) is not None


def test_what_is_the_name_of_a_role() -> None:
    assert [name for name in ("member", "book-keeper", "a1_b", "m" * MAX_ROLE_NAME) if role_name_problem(name)] == []
