"""Founders have erased what another member wrote: as many as would remove it, before or after the record is there."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.unit.members_world import in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.records_world import FEDERATION, TYPE, Author, Shelf
from tests.unit.test_erasure import WHY, bodies_of, is_gone
from tests.unit.test_sync_stories import NOTE, agree, all_have, eventually, notes

from covm.cli.members import told, what_for
from covm.daemon.membership_routes import told_decision
from covm.federation.errors import InvalidMessage, NotAuthorized, UnknownEntry
from covm.federation.identity.standing import Erasure
from covm.federation.sync import reading
from covm.federation.sync.erasures import Erasures
from covm.federation.wire.record import SignedRecord

SLANDER = "the farm's flour is mouldy"


@virtually
async def test_what_a_member_wrote_is_gone_everywhere_once_enough_founders_approve_also_where_it_was_away() -> None:
    async with valley(("mill", "farm", "hill"), ("shop", "lake")) as v:
        for name in ("shop", "lake"):
            await v.joined(name, by="mill")
        await in_time(lambda: all(sees(v[one], v["shop"]) for one in ("mill", "farm", "hill", "lake")))
        written = await notes(v["shop"]).put("flour", SLANDER)
        await eventually(lambda: all_have(v.machines.values(), "flour", SLANDER))
        await v["lake"].stop()
        asked = await v.desk("mill").erase(NOTE, written.id, WHY)
        assert (asked.kind, asked.name, asked.status, asked.approved_by) == ("erasure", "Shop", "waiting", ("Mill",))
        assert (asked.record, asked.record_type, asked.needed) == (written.id, NOTE, 2)
        assert "1 of 2, Mill. The others: covm federation approve" in told(told_decision(asked))
        assert await v.desk("mill").erase(NOTE, written.id, WHY) == asked, "said again, it is the same"
        await in_time(lambda: [each.id for each in v.desk("hill").requests()] == [asked.id])
        about = f"version {written.id[7:15]} of {NOTE} flour: {WHY}"
        assert what_for(told_decision(v.desk("hill").requests()[0], "flour")) == about
        assert await all_have([v["mill"], v["farm"]], "flour", SLANDER), "one of two is not enough"
        # The second says it in its own words, and approves what the first has asked for.
        done = await v.desk("hill").erase(NOTE, written.id, "slander")
        assert (done.id, done.status, done.approved_by) == (asked.id, "valid", ("Hill", "Mill"))
        assert told(told_decision(done, "flour")).endswith("by Shop is erased: approved by Hill, Mill")
        await eventually(lambda: is_gone(written.id, *(v[each] for each in ("mill", "farm", "hill", "shop"))))
        # Who was away has the value still, and what it brings is taken by nobody.
        await v["lake"].start()
        await eventually(lambda: is_gone(written.id, *v.machines.values()))
        assert agree(*v.machines.values())
        for machine in v.machines.values():
            entry = await notes(machine).get("flour")
            assert entry is not None
            assert (entry.value, entry.is_conflict) == (None, False)
            [put] = await notes(machine).history("flour")
            assert put.erased is not None
            assert (put.state, put.erased.id, put.erased.reason) == ("valid", asked.id, WHY)
            assert set(put.erased.approved_by) == {str(v.coops[each].member) for each in ("mill", "hill")}
            assert (put.erased.author, put.erased.member) == (v["mill"].peer_id, str(v.coops["mill"].member))
            assert all(each in entry.trouble for each in put.erased.approved_by)
            assert v.desk(machine.name).requests() == []
        await notes(v["farm"]).put("flour", "it is fine", based_on=await notes(v["farm"]).get("flour"))
        await eventually(lambda: all_have(v.machines.values(), "flour", "it is fine"))


@virtually
async def test_a_record_that_comes_after_it_was_erased_comes_without_what_it_says() -> None:
    async with valley(("mill", "farm"), ("shop", "lake")) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        written = await notes(v["shop"]).put("flour", SLANDER)
        await eventually(lambda: all_have([v["mill"], v["farm"]], "flour", SLANDER))
        await v["shop"].stop()
        await v.desk("mill").erase(NOTE, written.id, WHY)
        await in_time(lambda: v.desk("farm").requests() != [])
        assert (await v.desk("farm").approve(written.id)).status == "valid"
        await eventually(lambda: is_gone(written.id, v["mill"], v["farm"]))
        await v.joined("lake", by="farm")
        await v["shop"].start()
        await eventually(lambda: is_gone(written.id, *v.machines.values()))
        [put] = await notes(v["lake"]).history("flour")
        assert put.erased is not None
        assert put.erased.reason == WHY
        for name in ("shop", "lake"):
            await v[name].stop()
            await v[name].start()
            assert (await bodies_of(v[name]))[written.id] is None, "also after a restart"


@virtually
async def test_who_follows_changes_is_told_that_a_value_is_gone() -> None:
    async with valley() as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        written = await notes(v["shop"]).put("flour", SLANDER)
        changes = notes(v["farm"]).changes()
        assert (await anext(changes)).version.value == SLANDER
        await v.desk("mill").erase(NOTE, written.id, WHY)
        await in_time(lambda: v.desk("farm").requests() != [])
        await v.desk("farm").erase(NOTE, written.id, WHY)
        change = await anext(changes)
        assert (change.key, change.version.value, change.version.id) == ("flour", None, written.id)
        assert change.version.erased is not None


@virtually
async def test_who_may_not_and_what_cannot_be_erased_is_told_so() -> None:
    async with valley() as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        theirs = await notes(v["shop"]).put("flour", SLANDER)
        gone = await notes(v["shop"]).delete("flour")
        mine = await notes(v["mill"]).put("oven", 250)
        await eventually(lambda: all_have([v["shop"], v["farm"], v["mill"]], "oven", 250))
        await eventually(lambda: all_have([v["shop"], v["farm"], v["mill"]], "flour", None))
        with pytest.raises(NotAuthorized, match="erases it by itself"):
            await v.desk("mill").erase(NOTE, mine.id, WHY)
        with pytest.raises(NotAuthorized, match="the founders can approve it"):
            await notes(v["mill"]).erase(theirs, WHY)
        with pytest.raises(InvalidMessage, match="nothing to erase"):
            await v.desk("mill").erase(NOTE, gone.id, WHY)
        for type_name, name in ((NOTE, "bafy"), ("shop.note", theirs.id), (NOTE, str(FEDERATION))):
            with pytest.raises(UnknownEntry):
                await v.desk("mill").erase(type_name, name, WHY)
        with pytest.raises(ValueError, match="at most 256"):
            await v.desk("mill").erase(NOTE, theirs.id, "x" * 257)
        # Any member may propose it; only what founders approve counts, and of one's own nobody approves it.
        asked = await v.desk("shop").erase(NOTE, mine.id, "spite")
        assert (asked.approved_by, asked.needed) == ((), 1), "of two founders the other one is enough"
        await in_time(lambda: v.desk("mill").requests() != [])
        with pytest.raises(NotAuthorized, match="erases it by itself"):
            await v.desk("mill").approve(asked.id)
        with pytest.raises(NotAuthorized, match="only approver nodes of founders"):
            await v.desk("shop").approve(asked.id)
        assert (await notes(v["farm"]).get("oven")) is not None
        assert await all_have(v.machines.values(), "oven", 250)


@virtually
async def test_nobody_erases_what_the_only_founder_wrote() -> None:
    async with valley(("mill",), ("shop",)) as v:
        await v.joined("shop", by="mill")
        mine = await notes(v["mill"]).put("oven", 250)
        await eventually(lambda: all_have([v["shop"]], "oven", 250))
        with pytest.raises(NotAuthorized, match="the only founder"):
            await v.desk("shop").erase(NOTE, mine.id, "spite")


# --- in every order

ASH, BIRCH, CEDAR = Author("ash"), Author("birch"), Author("cedar")
PUT = ASH.write("guest", "Ada")
OWN = ASH.write("guest", WHY, after=PUT, op="erase", target=PUT.id)


def erasure(record: SignedRecord, of: str = "", type_name: str = TYPE, number: int = 0) -> Erasure:
    """What founders have approved for a record; `of` is another member than who wrote it."""
    [by] = [each for each in (ASH, BIRCH, CEDAR) if each.key.peer_id == record.author]
    return Erasure(
        id=CEDAR.write("the founders", number).id,
        type=type_name,
        member=Author(of).key_id if of else by.key_id,
        author=CEDAR.key.peer_id,
        reason=WHY,
        approved_by=(CEDAR.key_id,),
    )


class Hall(Shelf):
    """A keeper beside what founders approve."""

    def __init__(self) -> None:
        super().__init__()
        self.authority.owners = {each.key.peer_id: str(each.key_id) for each in (ASH, BIRCH, CEDAR)}
        self.erasures = Erasures(self.keeper)

    async def approve(self, *erasures: Erasure, of: SignedRecord = PUT) -> None:
        self.authority.approved = {of.id: list(erasures)}
        await self.erasures.obey()

    async def read(self, record: SignedRecord = PUT) -> reading.Read | None:
        return await self.store.read(lambda tx: reading.with_id(tx, TYPE, record.id.bytes))

    async def bring(self, *records: SignedRecord) -> None:
        await self.take(*records, bodies=[ASH.bodies[each.id] for each in records])


@pytest.mark.parametrize("order", list(itertools.permutations(["put", "approved", "own", "again"])), ids=", ".join)
async def test_in_every_order_the_body_goes_and_who_wrote_it_goes_before_the_founders(order: tuple[str, ...]) -> None:
    hall = Hall()
    await hall.open()
    steps: dict[str, Any] = {
        "put": lambda: hall.bring(PUT),
        "approved": lambda: hall.approve(erasure(PUT)),
        "own": lambda: hall.bring(OWN),
        "again": lambda: hall.bring(PUT, OWN),
    }
    for step in order:
        await steps[step]()
    assert await hall.erased() == {PUT.id: OWN.id}
    await hall.bring(PUT)
    assert await hall.erased() == {PUT.id: OWN.id}
    await hall.store.close()


@pytest.mark.parametrize("first", ["put", "approved"])
async def test_of_several_erasures_the_lowest_id_counts_and_one_that_counts_no_more_lets_the_value_come_again(
    first: str,
) -> None:
    several = sorted((erasure(PUT, number=number) for number in range(3)), key=lambda each: each.id.bytes)
    hall = Hall()
    await hall.open()
    if first == "put":
        await hall.bring(PUT)
    await hall.approve(*several)
    await hall.bring(PUT)
    assert await hall.erased() == {PUT.id: several[0].id}
    before = hall.keeper.judged
    again = Erasures(hall.keeper)
    await again.obey()
    hall.told.clear()
    await again.obey()
    assert (hall.told, await hall.erased()) == ([], {PUT.id: several[0].id}), "what was obeyed is no news"
    await hall.approve(*several[1:])
    assert await hall.erased() == {PUT.id: several[1].id}
    await hall.approve()
    assert await hall.erased() == {}
    read = await hall.read()
    assert read is not None
    assert (read.lacks_body, read.is_coming) == (True, True), "dropped is dropped here"
    assert hall.keeper.judged > before
    await hall.approve(several[2])
    assert await hall.erased() == {PUT.id: several[2].id}
    await hall.store.close()


@pytest.mark.parametrize("first", ["put", "approved"])
@pytest.mark.parametrize("wrong", [{"of": "birch"}, {"type_name": "shop.note"}], ids=["another's", "another type's"])
async def test_an_erasure_that_says_something_untrue_of_a_record_takes_nothing(
    first: str, wrong: dict[str, Any]
) -> None:
    hall = Hall()
    await hall.open()
    if first == "put":
        await hall.bring(PUT)
    await hall.approve(erasure(PUT, **wrong))
    await hall.bring(PUT)
    read = await hall.read()
    assert read is not None
    assert (read.value, await hall.erased()) == ("Ada", {})
    await hall.store.close()
