"""Large values of durable types that were replaced before they came: handlers are given them all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from tests.unit.members_world import Valley, in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_bodies import drop_bodies
from tests.unit.test_erasure import bodies_of
from tests.unit.test_later_bodies import Closed
from tests.unit.test_sync_stories import eventually, met, notes

from covm.federation import FederationService, Message, message_type
from covm.federation.sync.entries import Version
from covm.testing.machine import Machine
from covm.testing.world import World

PLANS = "notes.plan"
KEPT = timedelta(minutes=20)
A_MINUTE = 60.0


@message_type(PLANS, durable=True, key="place")
class Plan(msgspec.Struct, frozen=True):
    """What is drawn anew again and again, and is large."""

    place: str
    drawing: str


FIRST, SECOND, LAST = (Plan("mill", letter * 70_000) for letter in "abc")


class Reader:
    """The program of a machine, over all lives of its node: a handler of plans."""

    def __init__(self, machine: Machine, *, transactional: bool = False) -> None:
        self.got: list[Message[Any]] = []
        self._transactional = transactional
        machine.application = self._begin

    def _begin(self, _machine: Machine, service: FederationService) -> None:
        handler = (lambda message, _tx: self.got.append(message)) if self._transactional else self.got.append
        service.subscribe(Plan, handler, name="reader", transactional=self._transactional)

    @property
    def drawings(self) -> list[str]:
        """The first letters of what it was given, in the order of the alphabet."""
        return sorted(message.payload.drawing[0] for message in self.got)


async def publish(machine: Machine, *plans: Plan) -> None:
    for plan in plans:
        await machine.service.publish(plan)


async def same(*machines: Machine) -> bool:
    """Whether these hold the same records of plans."""
    return len({machine.service._node.sync.keeper.logs.frontier(PLANS).root for machine in machines}) == 1


async def of_plans(machine: Machine) -> Sequence[Version[Any]]:
    return await notes(machine, PLANS).history("mill")


async def keeps(count: int, *machines: Machine) -> bool:
    """Whether each of these has so many values of the plan."""
    for machine in machines:
        bodies = await bodies_of(machine)
        if sum(bodies[each.id] is not None for each in await of_plans(machine)) != count:
            return False
    return True


@pytest.mark.parametrize("transactional", [False, True])
@virtually
async def test_what_was_replaced_while_its_reader_was_away_reaches_its_handler_once(transactional: bool) -> None:
    async with World(names=["mill", "farm", "shop"], types=[Plan]) as world:
        await met(world)
        mill, farm, shop = world.machines
        reader = Reader(farm, transactional=transactional)
        await farm.stop()
        await farm.start()
        await farm.stop()
        await publish(mill, FIRST, SECOND, LAST)
        await farm.start()
        await in_time(lambda: reader.drawings == ["a", "b", "c"])
        await farm.stop()
        await farm.start()
        await world.sleep(timedelta(minutes=2))
        assert reader.drawings == ["a", "b", "c"]
        assert await keeps(1, shop), "who hands them to nobody does not fetch what was replaced"


@virtually
async def test_a_handler_that_comes_later_is_given_what_others_still_have() -> None:
    async with World(names=["mill", "farm"], types=[Plan]) as world:
        mill, farm = world.machines
        await mill.start()
        await publish(mill, FIRST, LAST)
        await farm.start()
        await eventually(lambda: same(mill, farm))
        await world.sleep(timedelta(minutes=2))
        assert await keeps(1, farm)
        got: list[str] = []
        farm.service.subscribe(Plan, lambda message: got.append(message.payload.drawing[0]), name="late")
        await in_time(lambda: sorted(got) == ["a", "c"])


@virtually
async def test_what_was_replaced_on_its_way_comes_all_the_same_and_after_a_crash() -> None:
    async with World(names=["mill", "farm"], types=[Plan]) as world:
        mill, farm = world.machines
        reader = Reader(farm)
        await met(world)
        closed = Closed(mill)
        await publish(mill, FIRST)
        await eventually(lambda: same(mill, farm))
        await publish(mill, LAST)
        await eventually(lambda: same(mill, farm))
        farm.crash()
        closed.open()
        await farm.start()
        await in_time(lambda: reader.drawings == ["a", "c"])


# --- among members, where old values are dropped


async def away(v: Valley) -> tuple[Reader, Closed, Closed]:
    """The shop was away while the plan was drawn anew; it is back, and nobody gives it values."""
    await v.joined("shop", by="mill")
    await in_time(lambda: sees(v["shop"], v["farm"]))
    reader = Reader(v["shop"])
    await v["shop"].stop()
    await v["shop"].start()
    await in_time(lambda: sees(v["shop"], v["farm"]) and sees(v["shop"], v["mill"]))
    await v["shop"].stop()
    await publish(v["mill"], FIRST, LAST)
    await eventually(lambda: keeps(2, v["mill"]))
    await eventually(lambda: same(v["mill"], v["farm"]))
    await asyncio.sleep(3 * KEPT.total_seconds())
    assert await keeps(2, v["mill"]), "who is away may want it"
    closed = Closed(v["mill"]), Closed(v["farm"])
    await v["shop"].start()
    await eventually(lambda: same(v["mill"], v["shop"]))
    return reader, *closed


members = partial(valley, settings={"record_retention": KEPT}, registered=[Plan])


@virtually
async def test_who_has_heard_of_a_value_and_lacks_it_keeps_the_others_from_dropping_it() -> None:
    async with members() as v:
        reader, *_ = await away(v)
        await asyncio.sleep(KEPT.total_seconds() - 5 * A_MINUTE)
        assert await keeps(2, v["mill"])
        assert reader.drawings == []
        await v["mill"].stop()
        await v["mill"].start()
        await in_time(lambda: reader.drawings == ["a", "c"])
        await asyncio.sleep(5 * A_MINUTE)
        assert await keeps(1, v["mill"]), "now everybody has had it"
        await asyncio.sleep(KEPT.total_seconds())
        assert await keeps(1, v["mill"], v["farm"], v["shop"])


@virtually
async def test_what_nobody_has_any_more_is_given_up_after_its_time_and_holds_up_nothing() -> None:
    async with members() as v:
        reader, *closed = await away(v)
        for machine in (v["mill"], v["farm"]):
            await drop_bodies(machine)
        await publish(v["mill"], Plan("mill", "d"))
        for each in closed:
            each.open()
        await in_time(lambda: reader.drawings == ["d"])
        dropped = v["shop"].service._node.counters.dropped
        assert dropped["record_value_gone"] == 0
        await asyncio.sleep(KEPT.total_seconds() + 5 * A_MINUTE)
        assert dropped["record_value_gone"] == 2
        asked = list(closed[0].asked)
        await publish(v["mill"], Plan("mill", "e"))
        await in_time(lambda: reader.drawings == ["d", "e"])
        await asyncio.sleep(KEPT.total_seconds() + 5 * A_MINUTE)
        assert closed[0].asked == asked
        assert await keeps(1, v["mill"], v["farm"], v["shop"]), "and the others drop what they have"


@virtually
async def test_what_is_erased_before_it_came_is_handed_to_nobody_and_counted() -> None:
    async with World(names=["mill", "farm"], types=[Plan]) as world:
        mill, farm = world.machines
        reader = Reader(farm)
        await met(world)
        closed = Closed(mill)
        await publish(mill, FIRST, LAST)
        await eventually(lambda: same(mill, farm))
        [first, _] = await of_plans(mill)
        await notes(mill, PLANS).erase(first, "it was a mistake")
        await eventually(lambda: same(mill, farm))
        closed.open()
        await in_time(lambda: reader.drawings == ["c"])
        await world.sleep(timedelta(hours=2))
        assert reader.drawings == ["c"]
        assert farm.service.stats()["dropped"]["record_value_erased"] == 1
