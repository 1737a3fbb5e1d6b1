"""Founders give a type its rule, which the charter does not name: by a majority, for good."""

from __future__ import annotations

import pytest
from tests.unit.members_world import in_time, valley
from tests.unit.outbox_world import virtually

from covm.cli.members import what_for
from covm.daemon.membership_routes import told_decision
from covm.federation.errors import NotAuthorized
from covm.federation.membership.founding import DEFAULT_ROLES
from covm.federation.membership.rules import BadRules, read_types

FILE = b"""
[types."accounts.entry"]
durable = true
size_limit = "64 KiB"
grants = { publish = ["member"], send = ["member"], write = ["member"], read = ["member"] }
"""
[(NAME, RULE)] = read_types(FILE, DEFAULT_ROLES).items()


@virtually
async def test_a_type_has_its_rule_once_a_majority_has_approved_it_and_nothing_changes_it() -> None:
    async with valley() as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.agree("mill", "farm", "shop"))
        asked = await v.desk("mill").propose_type(NAME, RULE)
        assert (asked.status, asked.needed, asked.approved_by) == ("waiting", 2, ("Mill",))
        assert await v.desk("mill").propose_type(NAME, RULE) == asked, "said again, it is the same"
        await in_time(lambda: [each.id for each in v.desk("farm").requests()] == [asked.id])
        assert what_for(told_decision(v.desk("farm").requests()[0])) == (
            "durable, writers: any, up to 64.0 KiB, keep_siblings; "
            "publish: member; send: member; read: member; write: member"
        )
        assert NAME not in v.desk("farm").types()
        done = await v.desk("farm").propose_type(NAME, RULE)
        assert (done.id, done.status) == (asked.id, "valid")
        await in_time(lambda: v.desk("shop").types().get(NAME) == RULE)
        with pytest.raises(NotAuthorized, match="nothing changes it"):
            await v.desk("mill").propose_type(NAME, RULE)
        members = v["shop"].service._node.members
        assert members is not None
        assert not members.everyone_may_read(NAME), "an observer may not"


@virtually
async def test_who_is_no_founder_proposes_and_another_rule_is_another_request() -> None:
    async with valley() as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.agree("mill", "farm", "shop"))
        theirs = await v.desk("shop").propose_type(NAME, RULE)
        assert theirs.approved_by == ()
        await in_time(lambda: v.desk("mill").requests() != [])
        other = read_types(b'[types."accounts.entry"]', DEFAULT_ROLES)[NAME]
        mine = await v.desk("mill").propose_type(NAME, other)
        assert mine.id != theirs.id
        for unfit in ("accounts", "system.file", "*"):
            with pytest.raises((ValueError, NotAuthorized)):
                await v.desk("mill").propose_type(unfit, RULE)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"", "types"),
        (b'[types."*"]', 'types."*"'),
        (b'[types."a.b"]\n[roles.boss]', "roles"),
        (b'[types."a.b"]\ngrants = { read = ["boss"] }', 'types."a.b".grants.read[0]'),
    ],
)
def test_a_file_that_is_none_is_told(text: bytes, field: str) -> None:
    with pytest.raises(BadRules) as caught:
        read_types(text, DEFAULT_ROLES)
    assert [each.field for each in caught.value.problems] == [field]
