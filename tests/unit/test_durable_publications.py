"""Who publishes a durable type, and how: keys, rights, transactions, and what else is called by its name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.members_world import in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.service_world import collect
from tests.unit.test_durable_types import NAMES, Ledger, News, Price, Reader, met, numbered, publish

from covm.federation.dispatch.transaction import Tx
from covm.federation.errors import InvalidMessage, MessageTooLarge, NotAuthorized
from covm.federation.identity.roles import Resolver, Role, TypeRule
from covm.testing.disk import DiskFaults
from covm.testing.machine import Machine
from covm.testing.world import World

EVERYTHING = Role(publish=("*",), send=("*",), read=("*",), write=("*",))


def rule(*, durable: bool = True, **changes: Any) -> TypeRule:
    fields: dict[str, Any] = {
        "writers": "any",
        "size_limit_bytes": 1000,
        "resolver": Resolver("keep_siblings", 1),
        "grants": None,
    }
    return TypeRule(durable=durable, **(fields | changes))


@virtually
async def test_what_a_transaction_publishes_is_a_record_with_it_or_nothing() -> None:
    async with World(names=("mill", "shop"), types=[News]) as world:
        mill, shop = world.machines
        reader = Reader(shop)
        await met(world)

        def work(tx: Tx) -> None:
            tx.publish("notes.news", News("both"))

        def fail(tx: Tx) -> None:
            tx.publish(News, News("neither"))
            raise LookupError

        await mill.service.transaction(work)
        with pytest.raises(LookupError):
            await mill.service.transaction(fail)
        await in_time(lambda: reader.texts == ["both"])
        assert (
            await mill.service._node.store.read(
                lambda tx: tx.execute("SELECT count(*) FROM covm_staged_records").scalar()
            )
            == 0
        )
        with pytest.raises(InvalidMessage, match=r"payload\.text"):
            await mill.service.transaction(lambda tx: tx.publish("notes.news", {"text": 7}))


@virtually
async def test_what_a_transactional_handler_publishes_arrives_once_whatever_the_disk_does() -> None:
    """A node that answers each record with another one crashes at every tenth commit, or hears of an error."""
    async with World(seed=3, names=("mill", "farm", "shop"), types=[News, Price]) as world:
        mill, farm, shop = world.machines
        ledger, reader = Ledger(shop), Reader(farm, "notes.price")
        ledger.then = lambda message, tx: tx.publish("notes.price", Price(message.payload.text, 100))
        await met(world)
        shop.disk.faults = DiskFaults(torn=0.1, errors=0.1, doubts=0.5)
        for text in numbered(30):
            await publish(mill, text)
            await asyncio.sleep(5)
            if not shop.is_up:
                await _tried(shop)
        shop.disk.faults = DiskFaults()
        if not shop.is_up:
            await shop.start()
        await in_time(lambda: len(reader.messages) >= 30)
        await asyncio.sleep(300)
        assert sorted(await ledger.texts()) == numbered(30)
        assert sorted(message.payload.good for message in reader.messages) == numbered(30)
        assert shop.lives > 3


async def _tried(machine: Machine) -> None:
    try:
        await machine.start()
    except Exception:  # noqa: BLE001 - the disk fails at the start too
        machine.crash()


@virtually
async def test_only_who_may_write_a_durable_type_publishes_it_and_the_charter_decides_what_is_durable() -> None:
    roles = {
        "member": Role(publish=("*",), send=("*",), read=("*",), write=("notes.price",)),
        "editor": EVERYTHING,
    }
    types = {"notes.news": rule(), "notes.price": rule(durable=False), "minutes.line": rule(writers="owner")}
    async with valley(("mill", "farm"), ("shop",), roles=roles, founder_roles=("editor",), types=types) as v:
        for machine in v.world.machines:
            machine._types = (Price,)
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        mill, shop = v["mill"].service, v["shop"].service
        with pytest.raises(NotAuthorized, match="only editor may write"):
            await shop.publish("notes.news", "mine")
        with pytest.raises(NotAuthorized, match="only editor may write"):
            await shop.transaction(lambda tx: tx.publish("notes.news", "mine"))
        assert await shop.collection("notes.news").list() == []
        got, prices, lines = (collect(shop, name) for name in ("notes.news", "notes.price", "minutes.line"))
        published = await mill.publish("notes.news", "ours")
        await mill.publish("minutes.line", "said")
        await mill.publish("notes.price", {"good": "bread", "cents": 250})
        await in_time(lambda: len(got) == len(prices) == len(lines) == 1)
        assert (got[0].id, got[0].via, got[0].member) == (published.id, "sync", str(v.coops["mill"].member))
        assert prices[0].via == "gossip", "the charter says that it is not durable, whatever was registered"
        [entry] = await shop.collection("minutes.line").list()
        assert entry.key.startswith(f"{v.coops['mill'].member}/")
        with pytest.raises(MessageTooLarge, match=r"1,\d\d\d bytes"):
            await mill.publish("notes.news", "x" * 1500)


@virtually
async def test_what_is_gossiped_of_a_durable_type_is_taken_by_nobody() -> None:
    """Who may publish and not write would reach the handlers that way."""
    roles = {"member": Role(publish=("*",), send=("*",), read=("*",)), "editor": EVERYTHING}
    types = {"notes.news": rule()}
    async with valley(("mill", "farm"), ("shop",), roles=roles, founder_roles=("editor",), types=types) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        got = collect(v["farm"].service, "notes.news")
        await v["shop"].service._node.gossip.publish("notes.news", "smuggled", 1000)
        await v["farm"].service.publish("notes.news", "written")
        await in_time(lambda: got and v["farm"].service.stats()["dropped"].get("durable_type"))
        assert [message.payload for message in got] == ["written"]


@virtually
async def test_a_direct_message_of_a_durable_type_goes_to_one_node_and_is_no_record() -> None:
    async with World(names=NAMES, types=[News]) as world:
        mill, farm, shop = world.machines
        at_farm, at_shop = Reader(farm), Reader(shop)
        await met(world)
        receipt = await mill.service.send_direct(farm.peer_id, News("for you"))
        await receipt.handled()
        await publish(mill, "for all")
        await in_time(lambda: at_shop.texts == ["for all"] and at_farm.texts == ["for you", "for all"])
        assert [message.via for message in at_farm.messages] == ["direct", "sync"]


@virtually
async def test_a_key_of_no_or_too_many_letters_is_refused_before_anything_is_written() -> None:
    async with World(names=("mill",), types=[Price]) as world:
        [mill] = world.machines
        await mill.start()
        for key in ("", "x" * 257):
            with pytest.raises(InvalidMessage, match=r"payload\.good"):
                await mill.service.publish(Price(key, 1))
        assert await mill.service.collection(Price).list() == []
