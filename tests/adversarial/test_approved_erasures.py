"""Nobody has erased what another member wrote but as many founders as would remove that one.

THREATS.md, rows *peers* (an approval by a removed one) and *sync* (the same everywhere).
"""

from __future__ import annotations

import pytest
from tests.adversarial.knocker import ledger_of
from tests.unit.members_world import in_time, sees, valley
from tests.unit.membership_world import Coop, Desk, World
from tests.unit.outbox_world import virtually
from tests.unit.test_erasure import is_gone
from tests.unit.test_sync_stories import NOTE, all_have, eventually, notes

from covm._native import Link, cid
from covm.federation.errors import NotAuthorized
from covm.federation.identity.charter import Charter
from covm.federation.identity.credentials import SignedCredential
from covm.federation.identity.tally import Tally
from covm.federation.identity.verdicts import Status, Verdict, valid
from covm.federation.membership.ledger import MAX_PROPOSALS, Ledger

ASH, BIRCH, CEDAR, DILL, ELM = (Coop(name) for name in ("Ash", "Birch", "Cedar", "Dill", "Elm"))
RECORD = cid(b"what Dill wrote")


def federation() -> World:
    """Of three founders, and two whom they let in."""
    world = World([ASH, BIRCH, CEDAR])
    world.admitted(DILL)
    world.admitted(ELM)
    return world


def erased(world: World) -> list[Link]:
    return [each.id for each in world.standing().erasures.get(RECORD, ())]


def stands(world: World, credential: SignedCredential) -> bool:
    return erased(world) == [credential.id] and world.standing().verdict(credential.id).holds


@pytest.mark.parametrize("defended", [True, False])
def test_one_founder_of_three_has_nothing_erased_however_many_of_its_nodes_approve(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = Coop("Fir", approvers=(0, 1))
    world = World([twice, BIRCH, CEDAR])
    world.admitted(DILL)
    credential = world.erasure(DILL, RECORD)
    if not defended:
        monkeypatch.setattr(Tally, "threshold", lambda _self, _credential: 1)
    world.approve(credential, 0, Desk(world.federation, twice.node(1), twice.inception))
    assert stands(world, credential) is not defended
    world.approve(credential, 2)
    assert stands(world, credential)


@pytest.mark.parametrize("defended", [True, False])
def test_members_that_are_no_founders_have_nothing_erased(defended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = federation()
    if not defended:
        monkeypatch.setattr(Charter, "electors", frozenset({ASH.member, BIRCH.member, CEDAR.member, ELM.member}))
    elm = Desk(world.federation, ELM.node(0), ELM.inception, under=world.credentials[1].id)
    credential = world.erasure(DILL, RECORD)
    world.approve(credential, 0, elm)
    assert len(world.standing().approvers(credential.id)) == (1 if defended else 2)
    assert erased(world) == []


@pytest.mark.parametrize("defended", [True, False])
def test_who_wrote_a_record_has_no_say_in_whether_others_erase_it(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World([ASH, BIRCH, CEDAR])
    credential = world.erasure(ASH, RECORD)
    if not defended:
        monkeypatch.setattr(Tally, "_weighed", lambda _self, _approval: valid("it counts"))
    world.approve(credential, 0, 1)
    assert stands(world, credential) is not defended
    world.approve(credential, 2)
    assert stands(world, credential), "of three founders the two others"


@pytest.mark.parametrize("defended", [True, False])
def test_a_removed_founders_approval_counts_within_the_cut_alone(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = federation()
    before, behind = world.erasure(DILL, RECORD), world.erasure(DILL, cid(b"another"))
    world.approve(before, 0)
    cut = [world.desks[0].tip]
    world.approve(behind, 0)
    world.removed(ASH, 1, 2, cut=cut)
    if not defended:
        monkeypatch.setattr(Tally, "cuts", lambda *_: ())
    world.approve(before, 1)
    world.approve(behind, 1)
    assert stands(world, before), "what it approved as a founder stays approved"
    assert world.standing().verdict(behind.id).holds is not defended


def test_what_was_erased_comes_back_where_a_cut_takes_back_the_approval_whichever_came_first() -> None:
    world = federation()
    credential = world.erasure(DILL, RECORD)
    world.approve(credential, 0, 1)
    assert stands(world, credential)
    world.removed(ASH, 1, 2, cut=())
    assert erased(world) == []
    world.approve(credential, 2)
    assert stands(world, credential)


def test_an_erasure_of_another_federation_and_of_the_only_founders_record_never_counts() -> None:
    world, other = federation(), World([ASH])
    foreign = other.erasure(DILL, RECORD)
    world.credentials.append(foreign)
    world.approve(foreign, 0, 1, 2)
    assert world.standing().verdict(foreign.id).status is Status.REFUSED
    assert erased(world) == []
    own = other.erasure(ASH, RECORD)
    other.approve(own, 0)
    assert other.standing().verdict(own.id) == Verdict(
        Status.REFUSED, "it erases what the only founder wrote, which that one does by itself"
    )


def test_who_proposes_without_end_fills_its_own_room_alone_and_names_nobody() -> None:
    world = federation()
    ledger = Ledger(world.signed)
    ledger.take([*world.updates, *world.credentials, *world.records])
    honest = len(ledger)
    stranger = Coop("Fir")
    flood = [world.erasure(stranger, cid(str(number).encode())) for number in range(MAX_PROPOSALS + 50)]
    ledger.take([*flood, stranger.inception])
    assert len(ledger) == honest + MAX_PROPOSALS
    [kept, *_] = (each for each in flood if each.id in ledger.credentials)
    ledger.take(world.approve(kept, 0))
    assert ledger.identities.log(stranger.member) is None, "to be named in an erasure makes nobody anybody"


@virtually
async def test_a_record_is_kept_by_everybody_whom_a_member_tells_by_itself_that_it_is_erased() -> None:
    async with valley(("mill", "farm", "hill"), ("shop", "lake")) as v:
        for name in ("shop", "lake"):
            await v.joined(name, by="mill")
        await in_time(lambda: all(sees(v["lake"], v[one]) for one in ("mill", "farm", "hill", "shop")))
        written = await notes(v["shop"]).put("flour", 250)
        await eventually(lambda: all_have(v.machines.values(), "flour", 250))
        asked = await v.desk("lake").erase(NOTE, written.id, "spite")
        with pytest.raises(NotAuthorized):
            await v.desk("lake").approve(asked.id)
        # The lake's node signs what only a founder's may, and one founder falls for it.
        node = v["lake"].service._node
        ledger = ledger_of(v, "lake")
        credential = next(each for each in ledger.credentials.values() if str(each.id) == asked.id)
        node.pen.is_elector = lambda *_: True  # type: ignore[method-assign]
        assert ledger.standing is not None
        assert node.members is not None
        await node.members.commit([node.pen.approval(ledger, ledger.standing, credential)])
        await in_time(lambda: all(v.desk(each).requests() for each in ("mill", "farm", "hill")))
        await v.desk("mill").approve(asked.id)
        await in_time(lambda: v.desk("hill").requests()[0].approved_by == ("Mill",))
        assert await all_have(v.machines.values(), "flour", 250)
        assert not await is_gone(written.id, v["shop"])
