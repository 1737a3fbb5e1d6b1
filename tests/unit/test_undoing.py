"""What would count no more if a member removed its node: told before it is so, and so once it is."""

from __future__ import annotations

from typing import Any

import pytest
from tests.adversarial.knocker import ledger_of
from tests.unit.members_world import Valley, headed, in_time, signed, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_erasure import is_gone
from tests.unit.test_sync_stories import NOTE, all_have, eventually, notes

from covm.cli.node_removal import undone_sentences
from covm.federation.identity.drafts import draft_remove_node
from covm.federation.identity.roles import DEFAULT_RULE
from covm.federation.membership.undoing import Writing


def undone(writing: Writing) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in writing.undone]


async def written(v: Valley, name: str, of: str, until_ms: int | None) -> Writing:
    return await v.desk(name).written_by(v[of].service.peer_id, until_ms)


async def take_away(v: Valley, of: str, writing: Writing) -> None:
    """The member removes its node with this cut, which is brought to the mill."""
    coop = v.coops[of]
    gone = signed(coop, draft_remove_node(headed(coop, ()), coop.node.peer_id, writing.places))
    members = v["mill"].service._node.members
    assert members is not None
    members.take([gone])


@pytest.mark.parametrize("keeps", ["nothing", "the first", "everything"])
@virtually
async def test_what_is_told_is_what_happens(keeps: str) -> None:
    async with valley(others=("shop", "smith")) as v:
        await v.joined("shop", by="farm")
        first_ms = max(each.body.hlc.time_ms for each in ledger_of(v).approvals)
        await v.joined("smith", by="farm")
        await in_time(lambda: v.agree("mill", "farm", "shop", "smith"))
        until_ms = {"nothing": -1, "the first": first_ms, "everything": None}[keeps]
        told = await written(v, "farm", "farm", until_ms)
        assert [(each.kind, each.name, each.counts) for each in told.approved] == [
            ("admission", "Shop", True),
            ("admission", "Smith", True),
        ]
        expected = {"nothing": ["Shop", "Smith"], "the first": ["Smith"], "everything": []}[keeps]
        assert undone(told) == [("member", name) for name in expected]
        await take_away(v, "farm", told)
        assert [name for name in ("shop", "smith") if not v.is_in(name, seen_by="mill")] == [
            name.lower() for name in expected
        ]


@virtually
async def test_removals_and_types_are_told_and_whom_a_newcomer_let_in_stays() -> None:
    founders = ("mill", "farm", "bank")
    async with valley(founders, others=("shop",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.agree(*founders, "shop"))
        asked = await v.desk("farm").remove("Shop", "has closed")
        await in_time(lambda: v.desk("mill").requests() != [])
        await v.desk("mill").approve(asked.id)
        await in_time(lambda: not v.is_in("shop", seen_by="farm"))
        node: Any = v["farm"].service._node
        ledger = ledger_of(v, "farm")
        kind = node.pen._sealed(_type(node, ledger))
        await node.members.commit([kind, node.pen.approval(ledger, ledger.standing, kind)])
        await in_time(lambda: v.agree("mill", "farm"))
        mill: Any = v["mill"].service._node
        approval = mill.pen.approval(ledger_of(v, "mill"), ledger_of(v, "mill").standing, kind)
        await mill.members.commit([approval])
        await in_time(lambda: v.agree("mill", "farm"))
        told = await written(v, "farm", "farm", -1)
        assert undone(told) == [("again", "Shop"), ("type", "notes.note")]


@virtually
async def test_what_would_not_be_erased_any_more_is_told() -> None:
    founders = ("mill", "farm", "bank")
    async with valley(founders, others=("shop",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.agree(*founders, "shop"))
        said = await notes(v["shop"]).put("flour", "it is mouldy")
        await eventually(lambda: all_have([v["farm"], v["mill"]], "flour", "it is mouldy"))
        asked = await v.desk("farm").erase(NOTE, said.id, "slander")
        await in_time(lambda: v.desk("mill").requests() != [])
        await v.desk("mill").approve(asked.id)
        await eventually(lambda: is_gone(said.id, v["farm"], v["shop"]))
        told = await written(v, "farm", "farm", -1)
        assert [(each.kind, each.name) for each in told.approved] == [("erasure", "Shop")]
        assert undone(told) == [("erasure", "Shop")]
        assert undone_sentences(told.undone) == [f"1 erased value might come again: Shop ({said.id[7:15]})"]
        await take_away(v, "farm", told)
        await in_time(lambda: [each.id for each in v.desk("bank").requests()] == [asked.id])

        async def is_erased() -> bool:
            [put] = await notes(v["bank"]).history("flour")
            return put.erased is not None

        assert not await is_erased()
        assert (await v.desk("bank").approve(asked.id)).status == "valid"
        await eventually(is_erased)


def _type(node: Any, ledger: Any) -> Any:
    from covm.federation.identity.credentials import TypeCredential

    return TypeCredential(**node.pen._common(ledger), name="notes.note", rule=DEFAULT_RULE)
