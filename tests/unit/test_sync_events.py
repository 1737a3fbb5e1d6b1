"""What a program hears of shared data: conflicts that begin and end, and records that count no more."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.unit.members_world import in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import NOTE, all_have, eventually, met, notes

from covm.federation import EventStream
from covm.federation.events import Conflict, EventHub, RecordVoided
from covm.federation.sync.announcing import ONE_BY_ONE, PERIOD_S, Announcer
from covm.federation.sync.taken import Taken
from covm.testing.world import World


def heard(stream: EventStream, *kinds: type) -> list[Any]:
    """What waits, of some kinds."""
    return [each for each in stream._items if isinstance(each, kinds)]


@virtually
async def test_a_conflict_is_told_once_when_it_begins_and_once_when_somebody_has_decided() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill).put("price", 1)
        await eventually(lambda: all_have([farm], "price", 1))
        base = {machine.name: await notes(machine).get("price") for machine in world.machines}
        events = {machine.name: machine.service.events() for machine in world.machines}
        world.fabric.cut(mill.peer_id, farm.peer_id)
        await notes(mill).put("price", 2, based_on=base["mill"])
        await notes(farm).put("price", 3, based_on=base["farm"])
        world.fabric.heal()
        for machine in world.machines:
            stream = events[machine.name]
            await in_time(lambda: heard(stream, Conflict))  # noqa: B023
            assert heard(stream, Conflict) == [Conflict(NOTE, "price", is_open=True)]
        await notes(farm).resolve("price", 4)
        await eventually(lambda: all_have(world.machines, "price", 4))
        over = [Conflict(NOTE, "price", is_open=True), Conflict(NOTE, "price", is_open=False)]
        assert [heard(stream, Conflict) for stream in events.values()] == [over, over]


@virtually
async def test_a_record_that_counted_and_does_no_more_is_told_with_its_author_and_why() -> None:
    async with valley(("mill", "farm"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        v.world.fabric.cut(v["farm"].peer_id, v["mill"].peer_id)
        request = await v.desk("mill").remove("Shop", "has closed")
        v.world.fabric.cut(v["mill"].peer_id, v["shop"].peer_id)
        written = await notes(v["shop"]).put("shelf", "mine")
        await eventually(lambda: all_have([v["farm"]], "shelf", "mine"))
        events = v["farm"].service.events()
        v.world.fabric.heal()
        await in_time(lambda: v.desk("farm").requests() or request.status == "done")
        if v.desk("farm").requests():
            await v.desk("farm").approve("Shop")
        await in_time(lambda: heard(events, RecordVoided))
        [voided] = heard(events, RecordVoided)
        assert (voided.type, voided.key, voided.record_id) == (NOTE, "shelf", written.id)
        assert (voided.author, voided.count) == (v["shop"].peer_id, 1)
        assert voided.reason
        assert v["farm"].service.status()["void"] == {NOTE: 1}
        await v["farm"].stop()
        await v["farm"].start()
        assert v["farm"].service.status()["void"] == {NOTE: 1}, "also after a restart"


@virtually
async def test_very_many_at_once_are_summed_up_and_push_nothing_else_out() -> None:
    hub = EventHub()
    stream, announcer = hub.listen(), Announcer(hub)
    announcer.tell(Taken(conflicts=tuple((NOTE, str(number), True) for number in range(5000))))
    assert len(heard(stream, Conflict)) == ONE_BY_ONE
    await asyncio.sleep(PERIOD_S + 0.1)
    assert heard(stream, Conflict)[ONE_BY_ONE:] == [Conflict(NOTE, "", is_open=True, count=5000 - ONE_BY_ONE)]
    announcer.tell(Taken(conflicts=((NOTE, "price", False),)))
    assert heard(stream, Conflict)[-1] == Conflict(NOTE, "price", is_open=False)
