"""Rules that founders write in a file: read strictly, and told whole where they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covm.federation.identity.roles import DEFAULT_RULE, Action, Resolver, Role, TypeRule, everyone_may_read
from covm.federation.membership.founding import DEFAULT_ROLES
from covm.federation.membership.rules import MAX_RULES_FILE, BadRules, Rules, read_rules

EXAMPLE = Path(__file__).parents[2] / "examples" / "rules.toml"


def problems(text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(BadRules) as caught:
        read_rules(text.encode())
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    return [tuple(each) for each in caught.value.problems]  # type: ignore[misc]


def fields(text: str) -> list[str]:
    return sorted(field for field, _, _ in problems(text))


def test_the_example_says_who_may_read_the_accounts_and_what_is_durable() -> None:
    rules = read_rules(EXAMPLE.read_bytes())
    assert rules.founder_roles == ("bookkeeper", "member")
    accounts, prices = rules.types["accounts.entry"], rules.types["notes.price"]
    assert accounts.grants is not None
    assert (accounts.durable, accounts.writers, accounts.size_limit_bytes) == (True, "owner", 64 * 1024)
    assert accounts.grants.roles(Action.READ) == ("bookkeeper",)
    assert not everyone_may_read("accounts.entry", accounts, rules.roles)
    assert everyone_may_read("notes.price", prices, rules.roles)
    assert (prices.durable, prices.resolver, prices.grants) == (True, Resolver("last_writer_wins", 1), None)


def test_what_a_file_does_not_say_is_as_in_every_charter() -> None:
    assert read_rules(b"") == Rules() == Rules(roles=dict(DEFAULT_ROLES), founder_roles=("member",), types={})
    assert read_rules(b'[types."*"]').types == {"*": DEFAULT_RULE}
    some = read_rules(b'founders = ["chair"]\n[roles.chair]\nsend = ["governance.*", "*"]')
    assert some.roles == {"chair": Role(send=("governance.*", "*"))}


def test_everything_that_is_wrong_is_told_at_once_with_its_value_and_what_is_allowed() -> None:
    told = problems(
        """
        founder = ["member"]
        [roles.Boss]
        publish = "*"
        sent = ["*"]
        [roles.member]
        read = ["governance..vote", "*"]
        [types."system.file"]
        [types."accounts.entry"]
        durable = "yes"
        writers = "owners"
        size_limit = "2 MiB"
        resolver = "Merge"
        grants = { read = ["bookkeper"], wrote = [] }
        """
    )
    assert {field: value for field, value, _ in told} == {
        "founder": '["member"]',
        "roles.Boss": '"Boss"',
        "roles.Boss.publish": '"*"',
        "roles.Boss.sent": '["*"]',
        "roles.member.read[0]": '"governance..vote"',
        'types."system.file"': '"system.file"',
        'types."accounts.entry".durable': '"yes"',
        'types."accounts.entry".writers': '"owners"',
        'types."accounts.entry".size_limit': '"2 MiB"',
        'types."accounts.entry".resolver': '"Merge"',
        'types."accounts.entry".grants.read[0]': '"bookkeper"',
        'types."accounts.entry".grants.wrote': "[]",
    }
    allowed = {field: what for field, _, what in told}
    assert allowed["founder"].endswith("did you mean founders?")
    assert allowed['types."accounts.entry".writers'].endswith("did you mean owner?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("roles = 3", ["roles"]),
        ("[roles]", ["roles"]),
        ("roles.member = 3", ["roles.member"]),
        ("types = []", ["types"]),
        ('types."a.b" = 1', ['types."a.b"']),
        ('types."a.b".grants = 1', ['types."a.b".grants']),
        ('types."a.b".size_limit = 5', ['types."a.b".size_limit']),
        ('types."a.b".size_limit = "0 B"', ['types."a.b".size_limit']),
        ('types."a.b".resolver = "merge/65536"', ['types."a.b".resolver']),
        ('types."a.b".writers = ["any"]', ['types."a.b".writers']),
        ("types.a.b = {}", ['types."a"', 'types."a".b']),
        ("founders = []", ["founders"]),
        ('founders = ["member", "member"]', ["founders"]),
        ("founders = [[]]", ["founders"]),
        ('founders = ["chair"]\n[roles.member]', ["founders[0]"]),
        ("[roles.chair]", ["founders[0]"]),
        ('roles."\\u202e\\u001b[2J" = {}', ["founders[0]", "roles.\\u202e\\x1b[2J"]),
        ("= 3", ["the file"]),
        ("a = 1\n" * 50_000, ["the file"]),
    ],
)
def test_rules_that_are_none_are_told(text: str, expected: list[str]) -> None:
    assert fields(text) == expected


def test_more_than_a_charter_takes_is_told() -> None:
    assert fields("".join(f"[roles.r{number}]\n" for number in range(65))) == ["founders[0]", "roles"]
    assert fields("".join(f'[types."a.t{number}"]\n' for number in range(257))) == ["types"]
    assert fields("[roles.member]\nread = [" + '"*",' * 257 + "]") == ["roles.member.read"]
    assert fields("#" * (MAX_RULES_FILE + 1)) == ["the file"]


_NAMES = st.sampled_from(["member", "a.b", "*", "read", "grants", "resolver", "durable", "writers", "size_limit"])
_LEAVES: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 3, -1.5, "*", "member", "merge", "any", "64 KiB", "", []]
)
_LISTS = _LEAVES | st.lists(_LEAVES, max_size=2)
_TABLES = _LISTS | st.dictionaries(_NAMES, _LISTS | st.dictionaries(_NAMES, _LISTS, max_size=2), max_size=3)


@given(
    st.dictionaries(
        st.sampled_from(["roles", "types", "founders"]), _TABLES | st.dictionaries(_NAMES, _TABLES, max_size=3)
    )
)
def test_whatever_is_in_a_file_it_is_rules_or_told(table: dict[str, object]) -> None:
    from covm.federation.membership.rules import _Reader

    reader = _Reader()
    rules = reader.rules(table)
    if not reader.problems:
        assert all(isinstance(rule, TypeRule) for rule in rules.types.values())
