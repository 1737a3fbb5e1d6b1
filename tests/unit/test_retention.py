"""Old values go once their time has passed and everybody has what replaced them. Headers stay, nothing comes back."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.unit.members_world import Valley, in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_erasure import bodies_of
from tests.unit.test_sync_stories import agree, all_have, eventually, met, notes

from covm.federation.sync.entries import Version
from covm.testing.machine import Machine
from covm.testing.world import World

KEPT = timedelta(minutes=20)
A_MINUTE = 60.0
SETTINGS = {"record_retention": KEPT}


async def values(machine: Machine, key: str) -> list[object]:
    return [each.value for each in await notes(machine).history(key)]


async def all_in(v: Valley) -> None:
    await v.joined("shop", by="mill")
    await in_time(lambda: sees(v["shop"], v["farm"]))


async def held(version: Version[object], *machines: Machine) -> list[bool]:
    return [(await bodies_of(machine))[version.id] is not None for machine in machines]


@virtually
async def test_what_was_replaced_or_deleted_is_dropped_after_its_time_and_the_history_says_so() -> None:
    async with valley(settings=SETTINGS) as v:
        await all_in(v)
        machines = [v["mill"], v["farm"], v["shop"]]
        first = await notes(v["mill"]).put("oven", "cold")
        await notes(v["mill"]).put("oven", "hot")
        gone = await notes(v["mill"]).put("van", "blue")
        await notes(v["mill"]).delete("van")
        await eventually(lambda: all_have(machines, "oven", "hot"))
        await asyncio.sleep(KEPT.total_seconds() - 3 * A_MINUTE)
        assert await held(first, *machines) == [True] * 3, "not before its time"
        await asyncio.sleep(6 * A_MINUTE)
        for old in (first, gone):
            assert await held(old, *machines) == [False] * 3
        for machine in machines:
            assert await values(machine, "oven") == [None, "hot"]
            [put, _] = await notes(machine).history("oven")
            assert (put.state, put.lacks_value, put.reason) == (
                "valid",
                True,
                "it was replaced, and its value is not kept any longer",
            )
        assert agree(*machines)


@virtually
async def test_nothing_is_dropped_that_a_members_node_may_have_missed_and_all_of_it_once_that_is_removed() -> None:
    async with valley(settings=SETTINGS) as v:
        await all_in(v)
        first = await notes(v["mill"]).put("oven", "cold")
        await eventually(lambda: all_have([v["farm"], v["shop"]], "oven", "cold"))
        await v["shop"].stop()
        await notes(v["farm"]).put("oven", "hot", based_on=await notes(v["farm"]).get("oven"))
        await asyncio.sleep(3 * KEPT.total_seconds())
        assert await held(first, v["mill"], v["farm"]) == [True, True]
        await v["mill"].stop()
        await v["mill"].start()
        await asyncio.sleep(5 * A_MINUTE)
        assert await held(first, v["mill"]) == [True]
        await v.desk("mill").remove("Shop", "has closed")
        await in_time(lambda: v.desk("farm").requests() or not v.is_in("shop", seen_by="farm"))
        if v.desk("farm").requests():
            await v.desk("farm").approve("Shop")
        await in_time(lambda: not v.is_in("shop", seen_by="mill") and not v.is_in("shop", seen_by="farm"))
        await asyncio.sleep(5 * A_MINUTE)
        assert await held(first, v["mill"], v["farm"]) == [False, False]
        assert await values(v["mill"], "oven") == [None, "hot"]


@virtually
async def test_a_node_that_was_away_brings_nothing_back_and_drops_what_the_others_drop() -> None:
    async with valley(settings=SETTINGS) as v:
        await all_in(v)
        machines = [v["mill"], v["farm"], v["shop"]]
        van = await notes(v["mill"]).put("van", "blue")
        guest = await notes(v["mill"]).put("guest", "Ada")
        await eventually(lambda: all_have(machines, "guest", "Ada"))
        await v["shop"].stop()
        await notes(v["farm"]).delete("van")
        await notes(v["mill"]).erase(guest, "she asked for it")
        await notes(v["mill"]).delete("guest")
        await asyncio.sleep(2 * KEPT.total_seconds())
        assert await held(guest, v["mill"], v["farm"]) == [False, False], "what is erased waits for nobody"
        assert await held(van, v["mill"], v["farm"]) == [True, True]
        await v["shop"].start()
        await eventually(lambda: all_have(machines, "van", None))
        await asyncio.sleep(5 * A_MINUTE)
        assert await held(van, v["mill"], v["farm"]) == [False, False]
        await asyncio.sleep(KEPT.total_seconds())
        for machine in machines:
            assert await held(van, machine) == await held(guest, machine) == [False]
            assert await notes(machine).list() == []
            assert await values(machine, "van") == [None, None]
        assert agree(*machines)


@virtually
async def test_in_open_mode_nobody_knows_who_has_what_and_nothing_is_dropped() -> None:
    async with World(names=["mill", "farm"], config=SETTINGS) as world:
        await met(world)
        mill, farm = world.machines
        first = await notes(mill).put("oven", "cold")
        await notes(mill).put("oven", "hot")
        await eventually(lambda: all_have([mill, farm], "oven", "hot"))
        await asyncio.sleep(2 * KEPT.total_seconds())
        assert await held(first, mill, farm) == [True, True]
