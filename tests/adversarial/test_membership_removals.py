"""Who was removed and goes on as if nothing had happened; two that remove each other; and whom some do not know yet.

THREATS.md, rows *peers* and *gossip*.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.adversarial.knocker import ledger_of
from tests.unit.members_world import Valley, in_time, sees, valley
from tests.unit.membership_world import key_of
from tests.unit.outbox_world import virtually

from covm.federation.errors import NotAMember
from covm.federation.gossip import held
from covm.federation.identity.drafts import draft_remove_node
from covm.federation.identity.update import open_updates, seal_update
from covm.federation.identity.verdicts import Verdict, ended, valid
from covm.federation.membership.members import Members
from covm.federation.wire.kinds import Kind
from covm.federation.wire.membership import MembersGive, MembersHave
from covm.federation.wire.message import MessageBody, encode_body

NOTE = "notes.note"


def members_of(v: Valley, name: str) -> Members:
    found = v[name].service._node.members
    assert found is not None
    return found


def collects(v: Valley, *names: str) -> dict[str, list[Any]]:
    """What each machine's handler gets."""
    got: dict[str, list[Any]] = {name: [] for name in names}
    for name, seen in got.items():
        v[name].service.subscribe(NOTE, lambda message, seen=seen: seen.append(message.payload))
    return got


def charges(v: Valley, name: str) -> list[str]:
    """Whom a machine charges, from now on."""
    charged: list[str] = []
    network = v[name].service._node.network
    charge = network.charge

    def note(peer: str, amount: float) -> None:
        charged.append(peer)
        charge(peer, amount)

    network.charge = note  # type: ignore[method-assign]
    return charged


def deaf(v: Valley, name: str, only: Callable[[Any], bool] = lambda frame: True) -> Callable[[], None]:
    """A machine that does not hear what is said about members, until what is returned is called."""
    members = members_of(v, name)
    received = members.received

    def ignore(peer: str, frame: Any) -> None:
        if not only(frame):
            received(peer, frame)

    members.received = ignore  # type: ignore[method-assign]

    def listen() -> None:
        members.received = received  # type: ignore[method-assign]

    return listen


async def everybody_is_in(v: Valley, *names: str) -> None:
    await in_time(lambda: v.agree(*names) and all(sees(v[a], v[b]) for a in names for b in names if a != b))


async def removed(v: Valley, name: str, by: str, and_by: str) -> None:
    """The last signature is made."""
    await v.desk(by).remove(name.title(), "steals")
    await in_time(lambda: bool(v.desk(and_by).requests()))
    await v.desk(and_by).approve(name.title())


@virtually
async def test_two_that_remove_each_other_on_two_sides_are_both_out_everywhere_once_the_sides_meet() -> None:
    everyone = ("mill", "farm", "bank", "barn")
    async with valley(everyone, ("shop",)) as v:
        await v.joined("shop", by="mill")
        await everybody_is_in(v, *everyone, "shop")
        peers = {name: v[name].peer_id for name in (*everyone, "shop")}
        v.world.fabric.partition([[peers["mill"], peers["barn"]], [peers["farm"], peers["bank"], peers["shop"]]])
        await in_time(lambda: not sees(v["barn"], v["bank"]))
        await removed(v, "farm", by="mill", and_by="barn")
        await removed(v, "mill", by="farm", and_by="bank")
        assert (v.is_in("mill", seen_by="barn"), v.is_in("farm", seen_by="barn")) == (True, False)
        assert (v.is_in("mill", seen_by="bank"), v.is_in("farm", seen_by="bank")) == (False, True)
        v.world.fabric.heal()
        await everybody_is_in(v, "bank", "barn", "shop")
        for name in ("bank", "barn", "shop"):
            assert [v.is_in(each, seen_by=name) for each in everyone] == [False, False, True, True]
        # Those who are out were shown why, at the door.
        await in_time(lambda: not v.is_in("mill") and not v.is_in("farm"))
        verdicts = {str(members_of(v, name).node_verdict(peers["mill"])) for name in everyone}
        assert len(verdicts) == 1


@virtually
async def test_a_removed_member_that_goes_on_is_refused_at_once_and_what_it_sent_before_stays() -> None:
    async with valley(("mill", "farm", "bank"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await everybody_is_in(v, "mill", "farm", "bank", "shop")
        got = collects(v, "mill", "farm", "bank")
        shop = v["shop"].service
        await shop.publish(NOTE, "before")
        await (await shop.send_direct(v["mill"].peer_id, NOTE, "in person")).handled()
        await in_time(lambda: got["farm"] == got["bank"] == ["before"] and len(got["mill"]) == 2)
        deaf(v, "shop")
        members_of(v, "shop").take = nothing  # type: ignore[method-assign]
        await removed(v, "shop", by="mill", and_by="farm")
        await v.world.sleep(timedelta(seconds=1))
        await shop.publish(NOTE, "after")
        receipt = await shop.send_direct(v["bank"].peer_id, NOTE, "after, in person")
        await v.world.sleep(timedelta(minutes=10))
        assert receipt.state != "stored"
        assert v.is_in("shop"), "it does not believe it"
        assert not any(sees(v[name], v["shop"]) for name in ("mill", "farm", "bank"))
        assert {name: len(seen) for name, seen in got.items()} == {"mill": 2, "farm": 1, "bank": 1}


def nothing(*_: Any, **__: Any) -> Any:
    from covm.federation.membership.ledger import Taken

    return Taken()


@virtually
async def test_an_accomplice_passes_on_nothing_of_who_was_removed_and_an_honest_forwarder_is_not_charged() -> None:
    async with valley(("mill", "farm"), ("shop", "smith")) as v:
        await v.joined("shop", by="mill")
        await v.joined("smith", by="mill")
        await everybody_is_in(v, "mill", "farm", "shop", "smith")
        for accomplice in ("shop", "smith"):
            deaf(v, accomplice)
            members_of(v, accomplice).take = nothing  # type: ignore[method-assign]
        charged = charges(v, "mill")
        got = collects(v, "mill", "farm", "smith")
        await removed(v, "shop", by="mill", and_by="farm")
        await v.world.sleep(timedelta(seconds=5))
        await v["shop"].service.publish(NOTE, "by way of the smith")
        await in_time(lambda: got["smith"] == ["by way of the smith"])
        await v.world.sleep(timedelta(minutes=2))
        assert got["mill"] == got["farm"] == []
        assert v["mill"].service.stats()["dropped"]["removed_member"] >= 1
        assert charged == []
        assert sees(v["mill"], v["smith"])


@virtually
async def test_a_removed_node_that_comes_back_with_an_old_store_is_shown_that_it_is_out() -> None:
    async with valley(("mill", "farm"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await everybody_is_in(v, "mill", "farm", "shop")
        old = v["shop"].disk.snapshot()
        await removed(v, "shop", by="mill", and_by="farm")
        await in_time(lambda: not v.is_in("shop"))
        await v["shop"].stop()
        v["shop"].disk.roll_back(old, restored=False)
        await v["shop"].start()
        assert v.is_in("shop")
        await in_time(lambda: not v.is_in("shop"))
        assert not sees(v["mill"], v["shop"])
        with pytest.raises(NotAMember, match="steals"):
            await v["shop"].service.publish(NOTE, "after")


@virtually
async def test_a_node_that_its_member_removed_is_sent_away_everywhere() -> None:
    async with valley(("mill", "farm"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await everybody_is_in(v, "mill", "farm", "shop")
        coop = v.coops["shop"]
        head = ledger_of(v).identities.head(coop.member)
        assert head is not None
        [update] = open_updates([seal_update(coop.key, draft_remove_node(head, v["shop"].peer_id, ()))])
        members_of(v, "farm").take([update])  # type: ignore[list-item]
        await in_time(lambda: not sees(v["mill"], v["shop"]) and not sees(v["farm"], v["shop"]))
        assert v.is_in("shop", seen_by="mill"), "the member itself is in"
        await in_time(lambda: "was removed by its member" in v.desk("shop").own_verdict.reason)
        with pytest.raises(NotAMember, match="was removed by its member"):
            await v["mill"].service.send_direct(v["shop"].peer_id, NOTE, "still there?")
        await v.world.sleep(timedelta(minutes=10))
        assert not sees(v["mill"], v["shop"])


@virtually
async def test_gossip_of_a_member_that_some_do_not_know_yet_waits_and_is_delivered() -> None:
    async with valley(("mill", "farm"), ("shop", "smith")) as v:
        await v.joined("smith", by="mill")
        await everybody_is_in(v, "mill", "farm", "smith")
        v.world.fabric.cut(v["farm"].peer_id, v["shop"].peer_id)
        asked = deaf(v, "farm", lambda frame: isinstance(frame, MembersGive | MembersHave))
        await v.joined("shop", by="mill")
        assert not v.is_in("shop", seen_by="farm")
        got, charged = collects(v, "farm"), charges(v, "farm")
        wanted = members_of(v, "farm").wanted

        def ask(peer: str) -> None:
            asked()
            members_of(v, "farm").exchange._askers.clear()
            wanted(peer)

        members_of(v, "farm").wanted = ask  # type: ignore[method-assign]
        await v["shop"].service.publish(NOTE, "from somebody new")
        await in_time(lambda: got["farm"] == ["from somebody new"], timedelta(seconds=10))
        assert v.is_in("shop", seen_by="farm")
        assert charged == []


@virtually
async def test_gossip_of_who_nobody_knows_is_ignored_and_nobody_is_charged() -> None:
    async with valley(("mill", "farm"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await everybody_is_in(v, "mill", "farm", "shop")
        got, charged = collects(v, "mill"), charges(v, "mill")
        await floods(v, 5)
        await v.world.sleep(timedelta(seconds=10))
        assert got["mill"] == charged == []
        assert v["mill"].service.stats()["dropped"]["unknown_member"] == 5


@pytest.mark.parametrize("defended", [True, False])
@virtually
async def test_a_flood_of_strangers_gossip_leaves_room_for_who_is_merely_new(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_HELD", 40)
    monkeypatch.setattr(held, "MAX_HELD_OF_ONE", 10 if defended else 40)
    async with valley(("mill", "farm"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await everybody_is_in(v, "mill", "farm", "shop")
        waiting = v["mill"].service._node.gossip._held
        asks: list[str] = []
        exchange = members_of(v, "mill").exchange
        ask = exchange.ask

        def note(peer: str, digest: bytes = b"") -> None:
            asks.append(peer)
            ask(peer, digest)

        exchange.ask = note  # type: ignore[method-assign]
        await floods(v, 200)
        await v.world.sleep(timedelta(milliseconds=500))
        assert len(waiting._waiting) == (10 if defended else 40)
        await v.world.sleep(timedelta(seconds=10))
        assert len(waiting._waiting) == waiting._size_bytes == len(waiting._brought) == 0
        assert len(asks) <= 3
        got = collects(v, "mill")
        await v["farm"].service.publish(NOTE, "all is well")
        await in_time(lambda: got["mill"] == ["all is well"])


async def floods(v: Valley, count: int) -> None:
    """The shop passes on what somebody published whom nobody knows."""
    node, stranger = v["shop"].service._node, key_of("a stranger")
    bodies = [
        encode_body(
            MessageBody(
                federation=node.federation.cid,
                type=NOTE,
                author=stranger.peer_id,
                incarnation=node.post.own_incarnation,
                seq=number + 1,
                mid=number.to_bytes(16, "big"),
                to=None,
                sent_at=0,
                expires_at=None,
                payload=number,
            )
        )
        for number in range(count)
    ]
    await node.network.publish(node.federation.topic, stranger.seal(Kind.MESSAGE, bodies))


@virtually
async def test_who_is_removed_while_it_is_being_let_in_is_sent_away_as_soon_as_it_is_in() -> None:
    async with valley(others=("shop",)) as v:
        await v.joined("shop", by="mill")
        await everybody_is_in(v, "mill", "farm", "shop")
        await v["shop"].stop()
        network, shop = v["farm"].service._node.network, v["shop"].peer_id
        admit, members = network.admit, members_of(v, "farm")

        def removed_meanwhile(connection: int) -> None:
            admit(connection)
            members.node_verdict = judge  # type: ignore[method-assign]

        def judge(peer: str) -> Verdict:
            return ended("the member was removed") if peer == shop else valid("a member")

        network.admit = removed_meanwhile  # type: ignore[method-assign]
        await v["shop"].start()
        await in_time(lambda: sees(v["shop"], v["mill"]))
        await v.world.sleep(timedelta(seconds=30))
        assert not sees(v["farm"], v["shop"])
