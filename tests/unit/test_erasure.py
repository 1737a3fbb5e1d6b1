"""Erasing: who may, what stays, that it does not depend on what came first, and that nothing erased comes back."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.members_world import in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.records_world import TYPE, Author, Shelf
from tests.unit.test_sync_stories import agree, all_have, eventually, met, notes

from covm._native import Link
from covm.federation.errors import InvalidMessage, NotAuthorized, UnknownEntry
from covm.federation.sync import reading
from covm.federation.wire.record import SignedRecord
from covm.testing.machine import Machine
from covm.testing.world import World

WHY = "it names a child"


async def bodies_of(machine: Machine) -> dict[str, bytes | None]:
    """What the disk holds of each record."""
    query = "SELECT id, body FROM covm_records"
    keeper = machine.service._node.sync.keeper
    rows = await keeper.store.read(lambda tx: tx.execute(query).all())
    return {str(Link(bytes(row[0]))): row[1] for row in rows}


async def is_gone(version: str, *machines: Machine) -> bool:
    held = [await bodies_of(machine) for machine in machines]
    return all(version in each and each[version] is None for each in held)


@virtually
async def test_what_is_erased_is_gone_everywhere_also_where_the_machine_was_away_and_everybody_sees_why() -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        await met(world)
        mill, farm, shop = world.machines
        written = await notes(mill).put("guest", {"name": "Ada"})
        await eventually(lambda: all_have(world.machines, "guest", {"name": "Ada"}))
        await shop.stop()
        erase = await notes(mill).erase(written, WHY)
        assert (erase.op, erase.value, erase.reason) == ("erase", None, WHY)
        await eventually(lambda: is_gone(written.id, mill, farm))
        await mill.stop()
        await shop.start()
        await eventually(lambda: is_gone(written.id, shop))
        await mill.start()
        for machine in world.machines:
            entry = await notes(machine).get("guest")
            assert entry is not None
            assert (entry.value, entry.is_conflict) == (None, False)
            assert entry.trouble == f"its value was erased by {mill.peer_id}: {WHY}"
            put, said = await notes(machine).history("guest")
            assert (put.id, put.value, put.state) == (written.id, None, "valid")
            assert put.erased is not None
            assert (put.erased.author, put.erased.reason, put.erased.id) == (mill.peer_id, WHY, said.id)
        await notes(farm).put("guest", "nobody", based_on=await notes(farm).get("guest"))
        await eventually(lambda: all_have(world.machines, "guest", "nobody"))
        assert agree(*world.machines)


@virtually
async def test_a_version_that_was_replaced_is_erased_in_the_history_and_what_stands_is_untouched() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        first = await notes(mill).put("guest", "Ada, aged 7")
        await notes(mill).put("guest", "a guest")
        await notes(mill).erase(first.id, WHY)
        await eventually(lambda: is_gone(first.id, mill, farm))
        assert await all_have([mill, farm], "guest", "a guest")
        assert [each.value for each in await notes(farm).history("guest")] == [None, "a guest", None]


@virtually
async def test_why_something_was_erased_can_be_erased_too() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        written = await notes(mill).put("guest", "Ada")
        erase = await notes(mill).erase(written, "Ada asked for it")
        await notes(mill).erase(erase, "")
        await eventually(lambda: is_gone(erase.id, mill, farm))
        [put, *_] = await notes(farm).history("guest")
        assert put.erased is not None
        assert (put.erased.reason, put.reason) == ("", f"its value was erased by {mill.peer_id}")


@virtually
async def test_only_who_wrote_it_erases_and_only_what_has_a_value() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        written = await notes(mill).put("guest", "Ada")
        await eventually(lambda: all_have([farm], "guest", "Ada"))
        with pytest.raises(NotAuthorized, match="only who wrote"):
            await notes(farm).erase(written, WHY)
        deleted = await notes(mill).delete("guest")
        with pytest.raises(InvalidMessage, match="nothing to erase"):
            await notes(mill).erase(deleted, WHY)
        for nothing in ("bafy", str(Link(written.place.log.bytes))):
            with pytest.raises(UnknownEntry):
                await notes(mill).erase(nothing, WHY)
        with pytest.raises(UnknownEntry):
            await notes(mill, "shop.note").erase(written.id, WHY)
        with pytest.raises(Exception, match="limit"):
            await notes(mill).erase(written, "x" * 4000)


@virtually
async def test_another_node_of_the_member_erases_and_no_other_member_does() -> None:
    async with valley(("mill", "farm"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        written = await notes(v["shop"]).put("guest", "Ada")
        await eventually(lambda: all_have([v["mill"], v["farm"]], "guest", "Ada"))
        with pytest.raises(NotAuthorized, match="only who wrote"):
            await notes(v["mill"]).erase(written, WHY)
        await notes(v["shop"]).erase(written, WHY)
        await eventually(lambda: is_gone(written.id, v["mill"], v["farm"], v["shop"]))
        [put, _] = await notes(v["farm"]).history("guest")
        assert put.erased is not None
        assert put.erased.member == str(v.coops["shop"].member)


@virtually
async def test_of_versions_side_by_side_the_others_stand_when_one_is_erased() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        world.fabric.cut(mill.peer_id, farm.peer_id)
        mine = await notes(mill).put("guest", "Ada")
        await notes(farm).put("guest", "a guest")
        world.fabric.heal()
        await eventually(lambda: asyncio.sleep(0, agree(mill, farm)))
        await notes(mill).erase(mine, WHY)
        await eventually(lambda: is_gone(mine.id, mill, farm))
        for machine in world.machines:
            entry = await notes(machine).get("guest")
            assert entry is not None
            assert (entry.value, len(entry.heads), entry.is_conflict) == ("a guest", 2, True)
            assert WHY in entry.trouble
        await notes(farm).resolve("guest", "somebody")
        await eventually(lambda: all_have(world.machines, "guest", "somebody"))
        assert [await notes(machine).conflicts() for machine in world.machines] == [[], []]


# --- in every order

ASH, BIRCH, CEDAR = Author("ash"), Author("birch"), Author("cedar")


def erased_twice() -> dict[str, SignedRecord]:
    """Ash's value is erased by ash's other node, wrongly by cedar, and for another key by ash itself."""
    put = ASH.write("guest", "Ada")
    return {
        "put": put,
        "its own erase": BIRCH.write("guest", WHY, op="erase", target=put.id),
        "another's": CEDAR.write("guest", "spite", op="erase", target=put.id),
        "another key's": ASH.write("other", "wrong", after=put, op="erase", target=put.id),
    }


async def shelf_of_ash() -> Shelf:
    shelf = Shelf()
    shelf.authority.owners = {ASH.key.peer_id: "ash", BIRCH.key.peer_id: "ash"}
    return await shelf.open()


async def guest(shelf: Shelf) -> dict[str, Any]:
    found = await shelf.store.read(lambda tx: reading.history(tx, TYPE, "guest", None, 100))
    return {each.record.body.op: each for each in found if each.record.author != CEDAR.key.peer_id}


def body_of(record: SignedRecord) -> bytes | None:
    return next(each.bodies[record.id] for each in (ASH, BIRCH, CEDAR) if record.id in each.bodies)


@pytest.mark.parametrize("order", list(itertools.permutations(erased_twice())), ids=", ".join)
async def test_whichever_comes_first_the_body_goes_and_by_the_erase_of_its_owner_alone(order: tuple[str, ...]) -> None:
    records = erased_twice()
    shelf = await shelf_of_ash()
    for name in order:
        await shelf.take(records[name], bodies=[body_of(records[name])])
        came = order[: order.index(name) + 1]
        if "put" in came and "its own erase" not in came:
            assert (await guest(shelf))["put"].value == "Ada"
    read = (await guest(shelf))["put"]
    assert (read.value, read.lacks_body, read.why) == (None, True, WHY)
    assert read.erase is not None
    assert read.erase.id == records["its own erase"].id
    await shelf.take(*records.values(), bodies=[body_of(each) for each in records.values()])
    assert (await guest(shelf))["put"].value is None, "nobody brings it back"
    await shelf.store.close()


async def test_an_erase_that_does_not_count_any_more_lets_the_value_come_again_and_one_that_counts_takes_it() -> None:
    records = erased_twice()
    shelf = await shelf_of_ash()
    put, erase = records["put"], records["its own erase"]
    await shelf.take(put, bodies=[body_of(put)])
    await shelf.take(erase, bodies=[body_of(erase)])
    shelf.authority.banned = {BIRCH.key.peer_id}
    await shelf.keeper.reconsider()
    read = (await guest(shelf))["put"]
    assert (read.erase, read.lacks_body) == (None, True), "dropped is dropped here"
    shelf.authority.banned = set()
    await shelf.keeper.reconsider()
    assert (await guest(shelf))["put"].why == WHY
    await shelf.store.close()


@virtually
async def test_an_erase_that_waits_for_its_time_is_no_version_that_a_write_replaces() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        mill.clock.jump(timedelta(hours=1))
        written = await notes(mill).put("guest", "Ada")
        mill.clock.jump(-timedelta(hours=1))
        erase, put = await asyncio.gather(notes(mill).erase(written, WHY), notes(mill).put("guest", "a guest"))
        assert (erase.state, put.state) == ("held", "held")
        again = await notes(mill).put("guest", "somebody")
        await asyncio.sleep(3600)
        await eventually(lambda: all_have([mill, farm], "guest", "somebody"))
        await eventually(lambda: is_gone(written.id, mill, farm))
        assert agree(mill, farm)
        query = "SELECT superseded FROM covm_records WHERE op = 2"
        store = farm.service._node.sync.keeper.store
        assert (await store.read(lambda tx: tx.execute(query).scalars())) == [0]
        assert again.state == "held"
