"""What is erased, or not kept any longer, is gone from quarantine too: a handler that failed on it keeps no copy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.unit.members_world import in_time, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_durable_types import Price, met
from tests.unit.test_retention import KEPT, SETTINGS, all_in
from tests.unit.test_sync_stories import eventually

from covm.federation import FederationService, Message
from covm.federation.dispatch.inbox_queries import InboxEntry
from covm.federation.errors import BodyUnavailable
from covm.federation.store.interface import Transaction
from covm.testing.machine import Machine
from covm.testing.world import World

SECRET = "Ada, aged 7"
WHY = "it names a child"


async def stored(machine: Machine) -> bytes:
    """Every byte of a message or of a record's body that a machine has in its tables."""

    def job(tx: Transaction) -> bytes:
        tables = ("covm_inbox", "covm_records", "covm_staged_records", "covm_outbox")
        rows = [row for name in tables for row in tx.execute(f"SELECT * FROM {name}").all()]
        return b"".join(bytes(cell) for row in rows for cell in row if isinstance(cell, bytes | memoryview))

    return await machine.service._node.sync.keeper.store.read(job)


def handled(machine: Machine, handler: Callable[[Message[Price]], object], name: str) -> None:
    """From its next start on."""

    def begin(_machine: Machine, service: FederationService) -> None:
        service.subscribe(Price, handler, name=name)

    machine.application = begin


async def quarantined(machine: Machine, count: int = 1) -> list[InboxEntry]:
    async def there() -> bool:
        return len(await machine.service.inbox.listed(state="quarantined")) == count

    await eventually(there)
    return await machine.service.inbox.listed(state="quarantined")


@virtually
async def test_what_is_erased_is_gone_from_quarantine_which_says_so_and_hands_over_the_others() -> None:
    async with World(names=("mill", "shop"), types=[Price]) as world:
        mill, shop = world.machines
        given: list[str] = []
        broken = True

        def choosy(message: Message[Price]) -> None:
            if broken:
                raise RuntimeError
            given.append(message.payload.good)

        handled(shop, choosy, "choosy")
        await met(world)
        for good in (SECRET, "flour"):
            await mill.service.publish(Price(good, 12))
        [flour, ada] = await quarantined(shop, 2)
        assert await shop.service.inbox.payload(ada.id) == {"good": SECRET, "cents": 12}
        prices = mill.service.collection(Price)
        [version] = await prices.history(SECRET)
        await prices.erase(version, WHY)

        async def said() -> bool:
            return WHY in (await shop.service.inbox.show(ada.id)).reason

        await eventually(said)
        [_, listed] = await quarantined(shop, 2)
        assert listed.reason.endswith(f"; its value was erased by {mill.peer_id}: {WHY}")
        for use in (shop.service.inbox.payload, shop.service.inbox.retry):
            with pytest.raises(BodyUnavailable, match=WHY):
                await use(ada.id)
        broken = False
        await shop.service.inbox.retry(flour.id)
        await in_time(lambda: given == ["flour"])
        await shop.service.inbox.discard(ada.id)
        assert await shop.service.inbox.listed() == []


@virtually
async def test_no_byte_of_what_is_erased_is_left_in_the_tables_of_a_node_whose_handler_failed_on_it() -> None:
    async with World(names=("mill", "shop"), types=[Price]) as world:
        mill, shop = world.machines

        def broken(_message: Message[Price]) -> None:
            raise RuntimeError

        handled(shop, broken, "broken")
        await met(world)
        prices = mill.service.collection(Price)
        await mill.service.publish(Price("room 1", 123_456_789))
        [entry] = await quarantined(shop)
        secret = (123_456_789).to_bytes(4, "big")
        assert secret in await stored(shop)
        [version] = await prices.history("room 1")
        await prices.erase(version, WHY)

        async def gone() -> bool:
            return secret not in await stored(shop)

        await eventually(gone)
        assert [each.id for each in await quarantined(shop)] == [entry.id]


@virtually
async def test_what_is_erased_while_it_waits_to_be_tried_again_is_back_in_quarantine_and_handed_to_nobody() -> None:
    async with World(names=("mill", "shop"), types=[Price]) as world:
        mill, shop = world.machines
        await met(world)

        def broken(_message: Message[Price]) -> None:
            raise RuntimeError

        subscription = shop.service.subscribe(Price, broken, name="choosy")
        await mill.service.publish(Price(SECRET, 12))
        [entry] = await quarantined(shop)
        shop.service.unsubscribe(subscription)
        await shop.service.inbox.retry(entry.id)
        prices = mill.service.collection(Price)
        [version] = await prices.history(SECRET)
        await prices.erase(version, WHY)

        async def erased() -> bool:
            [put, *_] = await shop.service.collection(Price).history(SECRET)
            return put.value is None

        await eventually(erased)
        [waits] = await shop.service.inbox.listed()
        assert (waits.id, waits.state != "quarantined") == (entry.id, True)
        given: list[Message[Price]] = []
        shop.service.subscribe(Price, given.append, name="choosy")
        [left] = await quarantined(shop)
        assert (left.id, given) == (entry.id, [])
        assert WHY in left.reason


@virtually
async def test_what_is_not_kept_any_longer_is_not_kept_in_quarantine_either() -> None:
    async with valley(settings=SETTINGS) as v:
        await all_in(v)
        mill, farm = v["mill"], v["farm"]
        for machine in (mill, farm, v["shop"]):
            machine.service._node.registry.register(Price)

        def broken(_message: Message[Price]) -> None:
            raise RuntimeError

        farm.service.subscribe(Price, broken, name="broken")
        await mill.service.publish(Price("oven", 1))
        [entry] = await quarantined(farm)
        await mill.service.publish(Price("oven", 2))
        await quarantined(farm, 2)
        await asyncio.sleep((KEPT + timedelta(minutes=5)).total_seconds())
        assert "is not kept any longer" in (await farm.service.inbox.show(entry.id)).reason
        with pytest.raises(BodyUnavailable, match="not kept any longer"):
            await farm.service.inbox.retry(entry.id)
