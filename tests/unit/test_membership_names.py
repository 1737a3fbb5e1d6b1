"""Members and nodes by name: how they are found, and how those of one name are told apart."""

from __future__ import annotations

import pytest
from tests.unit.members_world import in_time, signed, valley
from tests.unit.outbox_world import virtually

from covm.federation.errors import UnknownMember
from covm.federation.identity.drafts import draft_rename


@virtually
async def test_members_are_found_by_name_and_by_the_beginning_of_their_ids() -> None:
    async with valley() as v:
        desk = v.desk("mill")
        farm = desk.show("farm")
        assert desk.show(farm.id) == desk.show(farm.id[7:14]) == desk.show(farm.id[:20]) == farm
        for unknown in ("nobody", "baf", "bafyrei"):
            with pytest.raises(UnknownMember):
                desk.show(unknown)


@virtually
async def test_two_members_of_one_name_are_told_apart() -> None:
    async with valley(others=("shop", "SHOP")) as v:
        await v.joined("shop", by="mill")
        assert v.desk("mill").node_names()[v["shop"].peer_id] == "Shop"
        await v.joined("SHOP", by="mill")
        await in_time(lambda: v.is_in("SHOP", seen_by="mill"))
        names = v.desk("mill").node_names()
        both = {names[v["shop"].peer_id], names[v["SHOP"].peer_id]}
        assert len(both) == 2
        assert all(name.startswith("Shop ") for name in both)
        with pytest.raises(UnknownMember, match="2 of them fit 'shop'"):
            v.desk("mill").show("shop")
        assert v.desk("mill").show(str(v.coops["SHOP"].member)[7:15]).id == str(v.coops["SHOP"].member)


@virtually
async def test_who_calls_itself_by_the_beginning_of_anothers_id_is_not_taken_for_it() -> None:
    async with valley(others=("shop", "SHOP", "liar")) as v:
        for name in ("shop", "SHOP", "liar"):
            await v.joined(name, by="mill")
        desk, members = v.desk("mill"), v["mill"].service._node.members
        assert members is not None
        await in_time(lambda: v.is_in("liar") and v.is_in("SHOP"))
        farm = desk.show("Farm")
        liar = v.coops["liar"]

        def called(name: str) -> None:
            head = members.ledger and members.ledger.identities.head(liar.member)
            assert head
            members.take([signed(liar, draft_rename(head, name))])

        called(farm.id[7:15])
        with pytest.raises(UnknownMember, match="2 of them fit"):
            desk.show(farm.id[7:15])
        assert desk.show(farm.id[7:16]) == desk.show(farm.id) == farm
        shop = desk.node_names()[v["shop"].peer_id]
        called(shop.upper())
        names = desk.node_names()
        assert len({name.casefold() for name in names.values()}) == len(names)
        assert all(name.casefold() != shop.casefold() for name in names.values())


@virtually
async def test_requests_about_two_of_one_name_are_told_apart_by_whom_they_are_about() -> None:
    async with valley(others=("shop", "SHOP"), k=2) as v:
        desk = v.desk("farm")
        for name in ("shop", "SHOP"):
            await v.invited(name, await v.desk("mill").invite(v["mill"].service.addresses))
        await in_time(lambda: len(desk.requests()) == 2)
        ids = {each.subject for each in desk.requests()}
        assert ids == {str(v.coops[name].member) for name in ("shop", "SHOP")}
        with pytest.raises(UnknownMember, match="2 of them fit 'shop'"):
            await desk.approve("shop")
        first = await desk.approve(str(v.coops["SHOP"].member)[7:15])
        assert (first.subject, first.status) == (str(v.coops["SHOP"].member), "valid")
        second = await desk.approve(str(v.coops["shop"].member))
        assert (second.subject, second.status) == (str(v.coops["shop"].member), "valid")


@virtually
async def test_the_only_beginning_of_a_name_is_enough_and_nobody_takes_it_over() -> None:
    async with valley(others=("hill farm", "hill", "liar")) as v:
        await v.joined("hill farm", by="mill")
        desk, members = v.desk("mill"), v["mill"].service._node.members
        assert members is not None
        hill = desk.show("hill farm")
        assert desk.show("hil") == desk.show("HILL F") == hill
        for unknown in ("hi", "", "farms", "ill farm"):
            with pytest.raises(UnknownMember):
                desk.show(unknown)
        # Whoever calls itself by what people type is not sent what is for another.
        await v.joined("hill", by="mill")
        for several in ("hil", "hill"):
            with pytest.raises(UnknownMember, match="2 of them fit"):
                desk.show(several)
        assert desk.show("hill f") == hill
        assert desk.show(str(v.coops["hill"].member)[7:15]).name == "Hill"


@virtually
async def test_who_was_removed_does_not_block_its_name_for_who_is_in() -> None:
    async with valley(others=("shop", "SHOP")) as v:
        await v.joined("shop", by="mill")
        desk, gone = v.desk("mill"), str(v.coops["shop"].member)
        asked = await desk.remove("Shop", "has closed")
        await in_time(lambda: v.desk("farm").requests() != [])
        await v.desk("farm").approve(asked.id)
        await in_time(lambda: not v.is_in("shop", seen_by="mill"))
        assert desk.show("shop").id == gone, "it is the only one of that name"
        await v.joined("SHOP", by="mill")
        assert desk.show("shop").id == str(v.coops["SHOP"].member)
        assert desk.show(gone[7:15]).id == gone
        # But not what is the beginning of its id.
        members, head = v["mill"].service._node.members, None
        assert members is not None
        head = members.ledger and members.ledger.identities.head(v.coops["SHOP"].member)
        assert head
        members.take([signed(v.coops["SHOP"], draft_rename(head, gone[7:15]))])
        with pytest.raises(UnknownMember, match="2 of them fit"):
            desk.show(gone[7:15])
