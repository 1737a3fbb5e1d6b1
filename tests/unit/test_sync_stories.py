"""Shared data between machines on made-up time: who was away, who wrote at the same time, who may read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.unit.members_world import in_time, sees, valley
from tests.unit.outbox_world import virtually

from covm.federation.errors import NotAMember, NotAuthorized, StoreError, UnknownEntry
from covm.federation.identity.roles import Role
from covm.federation.sync.collection import Collection
from covm.federation.sync.entries import Change
from covm.testing.disk import DiskFaults
from covm.testing.machine import Machine
from covm.testing.world import World

NOTE = "notes.note"


class Note(msgspec.Struct, frozen=True):
    """What one of them agreed on with itself."""

    text: str


def notes(machine: Machine, type_name: str = NOTE) -> Collection[Any]:
    return machine.service.collection(type_name)


async def value_of(machine: Machine, key: str, type_name: str = NOTE) -> Any:
    entry = await notes(machine, type_name).get(key)
    return None if entry is None else entry.value


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    """Looks ten times a second of the world's time."""
    for _ in range(6000):
        if await condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come true within ten minutes")


async def all_have(machines: Iterable[Machine], key: str, value: Any) -> bool:
    return all([await value_of(machine, key) == value for machine in machines])


def agree(*machines: Machine) -> bool:
    """Whether these hold the same records."""
    return len({machine.service._node.sync.keeper.logs.frontier(NOTE).root for machine in machines}) == 1


async def met(world: World) -> None:
    await world.start_all()
    await in_time(lambda: all(sees(one, other) for one in world.machines for other in world.machines if one != other))


@virtually
async def test_what_one_writes_is_there_for_everybody_and_for_who_was_away_when_it_comes_back() -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        await met(world)
        mill, farm, shop = world.machines
        await notes(mill).put("oven", {"hot": True})
        await eventually(lambda: all_have(world.machines, "oven", {"hot": True}))
        await shop.stop()
        await asyncio.gather(*(notes(farm).put(f"bread {number:02}", number) for number in range(30)))
        await mill.stop()
        await shop.start()
        await eventually(lambda: all_have([farm, shop], "bread 29", 29))
        assert [entry.value for entry in await notes(shop).list("bread")] == list(range(30))
        assert [entry.key for entry in await notes(shop).list("bread", after="bread 03", limit=2)] == [
            "bread 04",
            "bread 05",
        ]
        assert agree(farm, shop)


@virtually
async def test_two_that_edit_at_once_are_both_kept_until_one_person_decides() -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        await met(world)
        mill, farm, shop = world.machines
        first = await notes(mill).put("proposal", "draft")
        await eventually(lambda: all_have(world.machines, "proposal", "draft"))
        base = {machine.name: await notes(machine).get("proposal") for machine in (mill, farm)}
        await shop.stop()
        world.fabric.cut(mill.peer_id, farm.peer_id)
        await notes(mill).put("proposal", "the mill's", based_on=base["mill"])
        await notes(farm).put("proposal", "the farm's", based_on=base["farm"])
        world.fabric.heal()
        await shop.start()

        async def conflicts() -> bool:
            found = [await notes(machine).conflicts() for machine in world.machines]
            return all([head.value for head in entry.heads] for [*listed] in found for entry in listed) and all(
                len(listed) == 1 and len(listed[0].heads) == 2 for listed in found
            )

        await eventually(conflicts)
        shown = [await notes(machine).get("proposal") for machine in world.machines]
        assert all(entry is not None and entry.is_conflict for entry in shown)
        assert len({entry.value for entry in shown if entry is not None}) == 1, "everybody shows the same"
        await notes(shop).resolve("proposal", "both together")
        await eventually(lambda: all_have(world.machines, "proposal", "both together"))
        assert [await notes(machine).conflicts() for machine in world.machines] == [[], [], []]
        history = await notes(mill).history("proposal")
        assert history[0].value == "draft"
        assert {each.value for each in history} == {"draft", "the mill's", "the farm's", "both together"}
        assert history[0].id == first.id
        assert agree(*world.machines)


@virtually
async def test_what_was_deleted_stays_deleted_also_where_a_node_comes_back_that_had_it() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill).put("oven", 1)
        await eventually(lambda: all_have([farm], "oven", 1))
        await farm.stop()
        await notes(mill).delete("oven")
        await farm.start()
        await eventually(lambda: all_have([mill, farm], "oven", None))
        with pytest.raises(UnknownEntry, match="oven"):
            await notes(farm).delete("oven")
        assert [each.op for each in await notes(farm).history("oven")] == ["put", "delete"]


@virtually
async def test_two_that_delete_at_once_are_a_conflict_that_can_be_resolved() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill).put("oven", 1)
        await eventually(lambda: all_have([farm], "oven", 1))
        world.fabric.cut(mill.peer_id, farm.peer_id)
        await notes(mill).delete("oven")
        await notes(farm).delete("oven")
        world.fabric.heal()
        await eventually(lambda: asyncio.sleep(0, agree(mill, farm)))
        assert [entry.key for entry in await notes(mill).conflicts()] == ["oven"]
        await notes(mill).resolve("oven", 2)
        await eventually(lambda: all_have([mill, farm], "oven", 2))
        assert await notes(farm).conflicts() == []


@virtually
async def test_a_value_that_fits_no_type_here_keeps_nobody_from_reading_the_others() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        mill.service._node.registry.register(Note, NOTE)
        await notes(mill).put("good", Note("fine"))
        await notes(farm).put("bad", {"text": 7})
        await eventually(lambda: asyncio.sleep(0, agree(mill, farm)))
        listed = {entry.key: entry for entry in await notes(mill).list()}
        assert listed["good"].value == Note("fine")
        assert listed["bad"].value is None
        assert "does not fit" in listed["bad"].trouble
        [version] = await notes(mill).history("bad")
        assert (version.value, version.state) == (None, "valid")
        assert "does not fit" in version.reason


@virtually
async def test_who_follows_changes_goes_on_where_it_was_and_sees_each_once() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        seen: list[Change[Any]] = []

        async def follow(after: int, count: int) -> None:
            async for change in notes(farm).changes(after=after):
                seen.append(change)
                if len(seen) == count:
                    return

        task = asyncio.create_task(follow(0, 3))
        for number in range(3):
            await notes(mill).put("oven", number)
        await asyncio.wait_for(task, 600)
        assert [change.version.value for change in seen] == [0, 1, 2]
        await farm.stop()
        await notes(mill).put("oven", 3)
        await farm.start()
        await asyncio.wait_for(follow(seen[-1].cursor, 4), 600)
        assert seen[-1].version.value == 3


@virtually
async def test_a_thousand_records_come_in_batches_after_an_interruption_too() -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        mill, farm, shop = world.machines
        await mill.start()
        for start in range(0, 3000, 500):
            await asyncio.gather(*(notes(mill).put(f"{number:04}", number) for number in range(start, start + 500)))
        await farm.start()
        await eventually(lambda: all_have([farm], "0100", 100))
        farm.crash()
        await farm.start()
        await shop.start()
        await eventually(lambda: all_have([farm, shop], "2999", 2999))
        await eventually(lambda: asyncio.sleep(0, agree(mill, farm, shop)))


@virtually
async def test_only_members_whose_roles_allow_it_write_and_what_others_may_not_read_is_not_named_to_them() -> None:
    books = {
        "member": Role(publish=("*",), send=("*",), read=("notes.*",), write=("notes.*",)),
        "bookkeeper": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
    }
    async with valley(("mill", "farm"), ("shop",), roles=books, founder_roles=("bookkeeper",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        await notes(v["mill"], "accounts.entry").put("1", 100)
        await notes(v["mill"]).put("oven", "hot")
        await eventually(lambda: all_have([v["farm"], v["shop"]], "oven", "hot"))
        assert await value_of(v["farm"], "1", "accounts.entry") == 100
        assert await value_of(v["shop"], "1", "accounts.entry") is None
        assert v["shop"].service._node.sync.standings("accounts.entry") == {}
        with pytest.raises(NotAuthorized, match="only bookkeeper may write"):
            await notes(v["shop"], "accounts.entry").put("2", 5)
        written = await notes(v["shop"]).put("shelf", "empty")
        await eventually(lambda: all_have([v["mill"], v["farm"]], "shelf", "empty"))
        assert written.member == str(v.coops["shop"].member)


@virtually
async def test_what_a_removed_member_writes_later_is_void_everywhere_and_what_it_wrote_before_stays() -> None:
    async with valley(("mill", "farm"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        await notes(v["shop"]).put("shelf", "full")
        await eventually(lambda: all_have([v["mill"], v["farm"]], "shelf", "full"))
        v.world.fabric.cut(v["shop"].peer_id, v["mill"].peer_id)
        v.world.fabric.cut(v["shop"].peer_id, v["farm"].peer_id)
        request = await v.desk("mill").remove("Shop", "has closed")
        await in_time(lambda: v.desk("farm").requests() or request.status == "done")
        if v.desk("farm").requests():
            await v.desk("farm").approve("Shop")
        await notes(v["shop"]).put("shelf", "mine")
        v.world.fabric.heal()
        await in_time(lambda: not v.is_in("shop"))
        with pytest.raises(NotAMember):
            await notes(v["shop"]).put("shelf", "still mine")
        assert await all_have([v["mill"], v["farm"]], "shelf", "full")


@virtually
async def test_what_the_disk_took_without_saying_so_is_not_contradicted_by_the_next_write() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill).put("oven", 0)
        mill.disk.faults = DiskFaults(errors=1.0, doubts=1.0)
        with pytest.raises(StoreError):
            await notes(mill).put("oven", 1)
        mill.disk.faults = DiskFaults()
        await eventually(lambda: all_have([mill, farm], "oven", 1))
        await notes(mill).put("oven", 2)
        await eventually(lambda: all_have([mill, farm], "oven", 2))
        assert agree(mill, farm)
        for machine in (mill, farm):
            [log] = machine.service._node.sync.keeper.logs
            assert len(log.branches) == 1, "an honest node says one thing at each place of its log"
            assert [each.value for each in await notes(machine).history("oven")] == [0, 1, 2]


@virtually
async def test_a_node_whose_clock_was_ahead_goes_on_writing_and_its_records_count_when_their_time_has_come() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        mill.clock.jump(timedelta(hours=1))
        await notes(mill).put("oven", 1)
        mill.clock.jump(-timedelta(hours=1))
        written = await notes(mill).put("oven", 2)
        assert written.value == 2
        await eventually(lambda: asyncio.sleep(0, agree(mill, farm)))
        assert await value_of(farm, "oven") is None
        await asyncio.sleep(3600)
        await eventually(lambda: all_have([mill, farm], "oven", 2))
        assert await notes(farm).conflicts() == []
