"""A federation with members, told on made-up time: who is let in, who is kept out, and how everybody learns of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.unit.members_world import head_of, headed, in_time, new_node, sees, signed, valley
from tests.unit.membership_world import key_of
from tests.unit.outbox_world import virtually

from covm.federation.blobs.offer import OFFER_TYPE
from covm.federation.errors import NotAMember, NotAuthorized, PeerBanned, StoreError, StoreUnavailable, UnknownMember
from covm.federation.identity.drafts import draft_add_node, draft_rename
from covm.federation.identity.roles import Action, Role
from covm.federation.identity.update import SignedUpdate
from covm.federation.membership import tables
from covm.federation.membership.aside import item_id
from covm.federation.membership.founding import draft_charter, found
from covm.testing.disk import DiskFaults

NOTE = "notes.note"


@virtually
async def test_founders_know_each_other_and_may_do_everything() -> None:
    async with valley() as v:
        assert [each.name for each in v.desk("mill").listed()] == ["Farm", "Mill"]
        assert v.agree("mill", "farm")
        got: list[Any] = []
        v["farm"].service.subscribe(NOTE, lambda message: got.append(message.payload))
        await v["mill"].service.publish(NOTE, "to all")
        receipt = await v["mill"].service.send_direct(v["farm"].peer_id, NOTE, "to you")
        await receipt.handled()
        await in_time(lambda: sorted(got) == ["to all", "to you"])


@virtually
async def test_who_has_an_invite_is_let_in_and_all_others_hear_of_it() -> None:
    async with valley() as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.is_in("shop", seen_by="farm") and sees(v["shop"], v["farm"]))
        assert v.agree("mill", "farm", "shop")
        mine = v.desk("shop").own()
        assert mine is not None
        assert (mine.name, mine.roles, mine.is_founder) == ("Shop", ("member",), False)
        receipt = await v["shop"].service.send_direct(v["farm"].peer_id, NOTE, "hello")
        await receipt.stored()


@virtually
async def test_a_new_member_is_one_after_a_restart_too_and_needs_its_invite_no_more() -> None:
    async with valley() as v:
        await v.joined("shop", by="mill")
        await v["shop"].stop()
        await v["shop"].start()
        await in_time(lambda: sees(v["shop"], v["mill"]))
        assert v.is_in("shop")
        assert v["shop"].disk.query("SELECT * FROM covm_meta WHERE key = 'invite'") == []


@virtually
async def test_a_node_that_was_away_meets_a_member_that_it_never_heard_of() -> None:
    async with valley() as v:
        await v["farm"].stop()
        await v.joined("shop", by="mill")
        await v["mill"].stop()
        # Nobody else is there to tell it: the shop itself shows why it is a member.
        await v["farm"].start()
        await in_time(lambda: sees(v["farm"], v["shop"]))
        assert v.is_in("shop", seen_by="farm")


@virtually
async def test_without_an_invite_nobody_is_let_in_and_nobody_is_shown_anything() -> None:
    async with valley() as v:
        shop = await v["shop"].start()
        await v.world.sleep(timedelta(minutes=2))
        assert shop.connected_peers() == []
        assert v.desk("shop").listed() == []
        assert shop.status()["connected"] == 0


@virtually
async def test_a_removal_takes_effect_everywhere_and_the_removed_one_is_told_why() -> None:
    async with valley(("mill", "farm", "bank"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.is_in("shop", seen_by="farm") and v.is_in("shop", seen_by="bank"))
        asked = await v.desk("mill").remove("Shop", "has closed")
        assert (asked.status, asked.approved_by, asked.needed) == ("waiting", ("Mill",), 2)
        await in_time(lambda: len(v.desk("farm").requests()) == 1)
        done = await v.desk("farm").approve("Shop")
        assert done.status == "valid"
        await in_time(lambda: not any(v.is_in("shop", seen_by=each) for each in ("mill", "farm", "bank")))
        await in_time(lambda: not any(sees(v[each], v["shop"]) for each in ("mill", "farm", "bank")))
        with pytest.raises(NotAMember, match="has closed"):
            await v["mill"].service.send_direct(v["shop"].peer_id, NOTE, "still there?")
        await in_time(lambda: not v["shop"].service.connected_peers())
        await in_time(lambda: any("has closed" in peer.why for peer in v["shop"].service.peers()))


@virtually
async def test_who_was_removed_while_it_was_away_is_shown_that_at_the_door() -> None:
    """However much was approved in all, before and since."""
    async with valley(others=("shop", "inn")) as v:
        await v.joined("shop", by="mill")
        await v.approve_many("mill", 70)
        await v.joined("inn", by="mill")
        await in_time(lambda: v.is_in("inn", seen_by="shop"))
        await v["shop"].stop()
        await v.desk("mill").remove("Shop", "has closed")
        await in_time(lambda: bool(v.desk("farm").requests()))
        await v.desk("farm").approve("Shop")
        await v.approve_many("mill", 3)
        await v["shop"].start()
        await in_time(lambda: not v.is_in("shop"))
        assert v.desk("shop").show("Shop").reason == "the member was removed (has closed)"


@virtually
async def test_who_was_removed_can_be_invited_again() -> None:
    async with valley() as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: v.is_in("shop", seen_by="farm"))
        await v.desk("mill").remove("Shop", "a misunderstanding")
        await in_time(lambda: bool(v.desk("farm").requests()))
        await v.desk("farm").approve("Shop")
        await in_time(lambda: not v.is_in("shop", seen_by="mill"))
        await v["shop"].stop()
        await v.joined("shop", by="farm")
        await in_time(lambda: v.is_in("shop", seen_by="mill") and sees(v["shop"], v["mill"]))
        # Removed once more, it is out for the reason of this time.
        await v.desk("mill").remove("Shop", "has closed")
        await in_time(lambda: bool(v.desk("farm").requests()))
        await v.desk("farm").approve("Shop")
        await in_time(lambda: not v.is_in("shop", seen_by="mill") and not v.is_in("shop", seen_by="farm"))
        for name in ("mill", "farm"):
            assert v.desk(name).show("Shop").reason == "the member was removed (has closed)"
        await in_time(lambda: "has closed" in v.desk("shop").own_verdict.reason)


@virtually
async def test_with_k_of_two_an_invite_becomes_a_request_that_others_approve() -> None:
    async with valley(k=2) as v:
        link = await v.desk("mill").invite(v["mill"].service.addresses)
        await v.invited("shop", link)
        await in_time(lambda: len(v.desk("farm").requests()) == 1)
        (request,) = v.desk("farm").requests()
        assert (request.kind, request.name, request.approved_by, request.needed) == ("admission", "Shop", ("Mill",), 2)
        await in_time(lambda: any("waits for approval: 1 of 2" in peer.why for peer in v["shop"].service.peers()))
        await v.desk("farm").approve(request.id)
        await in_time(lambda: sees(v["shop"], v["mill"]) and v.is_in("shop"))


@virtually
async def test_an_invite_lets_in_once_and_only_where_and_while_it_is_good() -> None:
    async with valley(others=("shop", "smith", "baker")) as v:
        link = await v.desk("mill").invite(v["mill"].service.addresses)
        await v.invited("shop", link)
        await in_time(lambda: v.is_in("shop"))
        await v.invited("smith", link)
        await in_time(lambda: any("used up" in peer.why for peer in v["smith"].service.peers()))
        old = await v.desk("farm").invite(v["farm"].service.addresses, expires=timedelta(minutes=1))
        await v.world.sleep(timedelta(minutes=2))
        await v.invited("baker", old)
        await in_time(lambda: any("has expired" in peer.why for peer in v["baker"].service.peers()))
        assert not v.is_in("smith", seen_by="mill")
        assert not v.is_in("baker", seen_by="mill")


@virtually
async def test_an_invite_dies_with_the_incarnation_that_made_it() -> None:
    async with valley() as v:
        link = await v.desk("mill").invite(v["mill"].service.addresses)
        snapshot = v["mill"].disk.snapshot()
        await v["mill"].stop()
        v["mill"].disk.roll_back(snapshot, restored=True)
        await v["mill"].start()
        await v.invited("shop", link)
        await in_time(lambda: any("restored from a backup" in peer.why for peer in v["shop"].service.peers()))


@virtually
async def test_roles_decide_what_may_be_said_and_the_sender_is_told_before_anything_is_sent() -> None:
    roles = {
        "member": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
        "observer": Role(read=("notes.*",)),
    }
    async with valley(roles=roles) as v:
        await v.joined("shop", by="mill", roles=["observer"])
        shop = v["shop"].service
        with pytest.raises(NotAuthorized, match="the roles observer do not allow it: only member may publish"):
            await shop.publish(NOTE, "hello")
        with pytest.raises(NotAuthorized, match="only member may send"):
            await shop.send_direct(v["mill"].peer_id, NOTE, "hello")
        with pytest.raises(NotAuthorized, match="may not read it"):
            await v["mill"].service.send_direct(shop.peer_id, "accounts.entry", "secret")
        with pytest.raises(NotAuthorized, match="the roles observer allow it to send nothing"):
            await shop.send_file(v["mill"].peer_id, __file__)
        # Nor is an offer taken from one that did not ask itself.
        known = v["mill"].service._node.members
        assert known is not None
        assert not known.may(shop.peer_id, Action.SEND, OFFER_TYPE).holds


@virtually
async def test_what_only_some_may_read_reaches_them_and_touches_no_gossip() -> None:
    roles = {
        "member": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
        "observer": Role(read=("notes.*",)),
    }
    async with valley(roles=roles) as v:
        await v.joined("shop", by="mill", roles=["observer"])
        await in_time(lambda: sees(v["farm"], v["shop"]))
        got: dict[str, list[Any]] = {name: [] for name in ("mill", "farm", "shop")}
        for name, seen in got.items():
            v[name].service.subscribe("accounts.entry", lambda message, seen=seen: seen.append(message.payload))
        published = await v["mill"].service.publish("accounts.entry", {"amount": 5})
        assert published.peers == 1
        await in_time(lambda: got["farm"] == got["mill"] == [{"amount": 5}])
        await v.world.sleep(timedelta(seconds=30))
        assert got["shop"] == []
        assert not any(entry.type == "accounts.entry" for entry in v["shop"].service.gossip_log())


@virtually
async def test_a_message_can_be_sent_to_a_member_instead_of_a_node() -> None:
    async with valley() as v:
        farm = v.desk("mill").show("Farm")
        receipt = await v["mill"].service.send_direct(farm.id, NOTE, "hello")
        await receipt.stored()
        with pytest.raises(UnknownMember):
            await v["mill"].service.send_direct("bafyreib" + "a" * 51, NOTE, "hello")


@virtually
async def test_nobody_removes_itself_and_the_only_founder_stays() -> None:
    async with valley(("mill",)) as v:
        await v.joined("shop", by="mill")
        with pytest.raises(NotAuthorized, match="others decide that"):
            await v.desk("mill").remove("Mill", "tired")
        with pytest.raises(NotAuthorized, match="the only founder"):
            await v.desk("shop").remove("Mill", "we want it all")


@virtually
async def test_a_handler_is_told_which_member_wrote() -> None:
    async with valley() as v:
        got: list[str | None] = []
        v["farm"].service.subscribe(NOTE, lambda message: got.append(message.member))
        await v["mill"].service.publish(NOTE, "to all")
        receipt = await v["mill"].service.send_direct(v["farm"].peer_id, NOTE, "to you")
        await receipt.handled()
        await in_time(lambda: len(got) == 2)
        assert set(got) == {str(v.coops["mill"].member)}


@virtually
async def test_a_banned_member_is_banned_with_whatever_node_it_comes() -> None:
    async with valley() as v:
        farm, mill = v["farm"].service, v["mill"].service
        member = str(v.coops["mill"].member)
        await farm.ban_peer(member, reason="too loud")
        await in_time(lambda: not sees(v["farm"], v["mill"]))
        # A new node of the same member, added in its identity log, which the farm hears of from elsewhere.
        owner, fresh = v.coops["mill"], key_of("mill: another machine")
        added = signed(owner, draft_add_node(head_of(owner), new_node(owner, fresh)))
        members = farm._node.members
        assert members is not None
        members.take([added])
        assert members.member_of(fresh.peer_id) == member
        with pytest.raises(PeerBanned, match="too loud"):
            await farm.send_direct(fresh.peer_id, NOTE, "hello")
        with pytest.raises(NotAuthorized, match="banning this node"):
            await farm.ban_peer(str(v.coops["farm"].member))
        await farm.unban_peer(member)
        await mill.connect_peer(farm.addresses[0])
        await in_time(lambda: sees(v["farm"], v["mill"]))


@virtually
async def test_an_approval_that_the_store_took_without_saying_so_is_not_contradicted_later() -> None:
    async with valley(others=("shop", "smith")) as v:
        members = v["mill"].service._node.members
        assert members is not None
        write = members.store.write

        async def commits_and_fails(job: Any) -> Any:
            await write(job)
            raise StoreUnavailable("of the mill", "the connection was lost at COMMIT")

        link = await v.desk("mill").invite(v["mill"].service.addresses, uses=2)
        members.store.write = commits_and_fails  # type: ignore[method-assign]
        await v.invited("shop", link)
        await v.world.sleep(timedelta(seconds=10))
        members.store.write = write  # type: ignore[method-assign]
        await v.invited("smith", link)
        await in_time(lambda: v.is_in("shop", seen_by="farm") and v.is_in("smith", seen_by="farm"))
        rows = v["mill"].disk.query("SELECT count(*) FROM covm_membership WHERE kind = 3")
        assert rows == [(2,)], "one approval for each, and no fork"


@virtually
async def test_a_home_of_another_federation_does_not_start() -> None:
    async with valley() as v:
        await v["mill"].stop()
        other = draft_charter("Elsewhere", [head_of(v.coops["mill"])], salt=bytes(16))
        founded = found(other, [v.coops["mill"].key], [v.coops["mill"].inception])
        v["mill"].disk.query("DELETE FROM covm_membership WHERE kind = 0")
        await v.write("mill", partial(tables.save_charter, charter=founded))
        with pytest.raises(StoreError, match="set federation to the store's"):
            await v["mill"].start()


@virtually
async def test_what_a_transaction_sends_is_checked_as_well() -> None:
    roles = {
        "member": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
        "observer": Role(read=("notes.*",)),
    }
    async with valley(roles=roles) as v:
        await v.joined("shop", by="mill", roles=["observer"])
        mill, shop = v["mill"].service, v["shop"].service
        with pytest.raises(NotAuthorized, match="may not read it"):
            await mill.transaction(lambda tx: tx.send_direct(shop.peer_id, "accounts.entry", 1))
        with pytest.raises(NotAuthorized, match="may publish"):
            await shop.transaction(lambda tx: tx.publish(NOTE, 1))
        got: list[Any] = []
        v["farm"].service.subscribe("accounts.entry", lambda message: got.append(message.payload))
        await mill.transaction(lambda tx: tx.publish("accounts.entry", 7))
        await in_time(lambda: got == [7])


@pytest.mark.parametrize("turns", range(6))
@virtually
async def test_what_a_node_learned_in_its_last_moment_outlives_an_orderly_stop(turns: int) -> None:
    async with valley() as v:
        coop, members = v.coops["mill"], v["farm"].service._node.members
        assert members is not None
        v["farm"].disk.faults = DiskFaults(fastest_s=0.2, slowest_s=0.2)
        state, learned = head_of(coop), list[SignedUpdate]()
        for name in ("Old Mill", "New Mill"):
            learned.append(signed(coop, draft_rename(state, name)))
            members.take(learned[-1:])
            state = headed(coop, learned)
            for _ in range(turns):
                await asyncio.sleep(0)
        await v["farm"].stop()
        kept = v["farm"].disk.query("SELECT id FROM covm_membership")
        assert {(item_id(each),) for each in learned} <= set(kept)
