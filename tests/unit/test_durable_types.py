"""Durable types: what is published reaches who was away, and each named handler gets it once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.unit.members_world import valley
from tests.unit.membership_world import plain_rule
from tests.unit.outbox_world import in_time, sees, virtually

from covm.federation import FederationService, Message
from covm.federation.dispatch.transaction import Tx
from covm.federation.wire.message_type import message_type
from covm.testing.machine import Machine
from covm.testing.world import World

NAMES = ("mill", "farm", "shop")


@message_type("notes.news", durable=True)
class News(msgspec.Struct, frozen=True):
    """What everybody is to hear."""

    text: str


@message_type("notes.price", durable=True, key="good")
class Price(msgspec.Struct, frozen=True):
    """What something costs."""

    good: str
    cents: int


class Reader:
    """A program on a machine: what its handler got, over all lives of the node."""

    def __init__(self, machine: Machine, type_name: str = "notes.news", name: str = "reader") -> None:
        self.messages: list[Message[Any]] = []
        self.handler: Callable[[Message[Any]], object] = self.messages.append
        self._type = type_name
        self._name = name
        machine.application = self.begin

    def begin(self, _machine: Machine, service: FederationService) -> None:
        service.subscribe(self._type, lambda message: self.handler(message), name=self._name)

    @property
    def texts(self) -> list[str]:
        return [message.payload.text for message in self.messages]


class Ledger:
    """A program on a machine with a table of its own, which its transactional handler fills."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.then: Callable[[Message[Any], Tx], object] = lambda _message, _tx: None
        machine.application = self.begin

    def begin(self, machine: Machine, service: FederationService) -> None:
        def make(tx: Tx) -> None:
            tx.execute("CREATE TABLE IF NOT EXISTS told (text TEXT)")

        async def when_running() -> None:
            await in_time(lambda: service._node.is_running)
            await service.transaction(make)
            service.subscribe(News, self.handle, name="ledger", transactional=True)

        self.task = machine.spawn(when_running())

    def handle(self, message: Message[News], tx: Tx) -> None:
        tx.execute("INSERT INTO told VALUES (:text)", {"text": message.payload.text})
        self.then(message, tx)

    async def texts(self) -> list[str]:
        return await self.machine.service.transaction(
            lambda tx: [row[0] for row in tx.execute("SELECT text FROM told ORDER BY rowid")]
        )


async def met(world: World) -> None:
    await world.start_all()
    await in_time(lambda: all(sees(one, other) for one in world.machines for other in world.machines if one != other))


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"{number:03}" for number in range(start, start + count)]


async def publish(machine: Machine, *texts: str) -> None:
    for text in texts:
        await machine.service.publish(News(text))


@virtually
async def test_who_was_away_gets_what_was_published_meanwhile_and_its_handler_each_once() -> None:
    async with World(names=NAMES, types=[News]) as world:
        mill, farm, shop = world.machines
        reader, at_farm = Reader(shop), Reader(farm)
        await met(world)
        await publish(mill, *numbered(3))
        await in_time(lambda: reader.texts == at_farm.texts == numbered(3))
        await shop.stop()
        await publish(mill, *numbered(40, start=3))
        await in_time(lambda: at_farm.texts == numbered(43))
        await mill.stop()
        await shop.start()
        await in_time(lambda: reader.texts == numbered(43))
        await shop.stop()
        await shop.start()
        await mill.start()
        await publish(mill, "last")
        await in_time(lambda: reader.texts == [*numbered(43), "last"])
        assert all(message.attempt == 1 for message in reader.messages)


@virtually
async def test_a_message_of_a_durable_type_says_who_wrote_it_and_when() -> None:
    async with World(names=("mill", "farm"), types=[News]) as world:
        mill, farm = world.machines
        at_mill, at_farm = Reader(mill), Reader(farm)
        await met(world)
        published = await mill.service.publish(News("bread"))
        assert published.peers == 1
        await in_time(lambda: at_mill.texts == at_farm.texts == ["bread"])
        [own], [theirs] = at_mill.messages, at_farm.messages
        assert own.id == theirs.id == published.id
        assert (own.via, theirs.via) == ("local", "sync")
        assert theirs.author == mill.peer_id
        assert theirs.to is None
        assert theirs.type == "notes.news"
        assert abs(theirs.sent_at_ms - mill.clock.now_ms()) < 60_000
        [entry] = await farm.service.collection(News).list()
        assert (entry.value, entry.heads[0].id) == (News("bread"), published.id)


@virtually
async def test_what_a_transactional_handler_writes_is_there_once_whenever_the_node_crashes() -> None:
    async with World(names=("mill", "shop"), types=[News]) as world:
        mill, shop = world.machines
        ledger = Ledger(shop)
        await met(world)
        crashes = 0

        def crash_now_and_then(message: Message[News], _tx: Tx) -> None:
            nonlocal crashes
            if int(message.payload.text) % 7 == 3 and crashes <= int(message.payload.text) // 7:
                crashes += 1
                shop.crash()

        ledger.then = crash_now_and_then
        await asyncio.gather(*(publish(mill, text) for text in numbered(40)))
        for _ in range(20):
            await asyncio.sleep(30)
            if not shop.is_up:
                await shop.start()
        assert crashes == 6
        assert sorted(await ledger.texts()) == numbered(40)


@virtually
async def test_after_a_crash_a_plain_handler_is_told_that_it_may_have_seen_a_message() -> None:
    async with World(names=("mill", "shop"), types=[News]) as world:
        mill, shop = world.machines
        reader = Reader(shop)
        await met(world)

        def crash_at_five(message: Message[News]) -> None:
            reader.messages.append(message)
            if message.payload.text == "005" and message.attempt == 1:
                shop.crash()

        reader.handler = crash_at_five
        await asyncio.gather(*(publish(mill, text) for text in numbered(20)))
        await in_time(lambda: not shop.is_up)
        await shop.start()
        await in_time(lambda: set(reader.texts) == set(numbered(20)))
        seen: set[str] = set()
        for message in reader.messages:
            assert message.payload.text not in seen or message.attempt > 1
            seen.add(message.payload.text)
        await shop.stop()
        count = len(reader.messages)
        await shop.start()
        await publish(mill, "last")
        await in_time(lambda: reader.texts[count:] == ["last"])
        assert reader.messages[-1].attempt == 1


@virtually
async def test_a_new_name_begins_at_the_beginning_and_an_old_one_goes_on() -> None:
    async with World(names=("mill",), types=[News]) as world:
        [mill] = world.machines
        await mill.start()
        await publish(mill, *numbered(5))
        first, second = [], []
        subscription = mill.service.subscribe(News, lambda message: first.append(message.payload.text), name="first")
        await in_time(lambda: first == numbered(5))
        mill.service.unsubscribe(subscription)
        await publish(mill, "more")
        await asyncio.sleep(60)
        assert first == numbered(5)
        mill.service.subscribe(News, lambda message: second.append(message.payload.text), name="second")
        await in_time(lambda: second == [*numbered(5), "more"])
        mill.service.subscribe(News, lambda message: first.append(message.payload.text), name="first")
        await in_time(lambda: first == [*numbered(5), "more"])


@virtually
async def test_the_key_of_a_type_is_the_text_of_its_field() -> None:
    async with World(names=("mill", "farm"), types=[Price]) as world:
        mill, farm = world.machines
        reader = Reader(farm, "notes.price")
        await met(world)
        for cents in (250, 300):
            await mill.service.publish(Price("bread", cents))
        await in_time(lambda: [message.payload.cents for message in reader.messages] == [250, 300])
        entry = await farm.service.collection(Price).get("bread")
        assert entry is not None
        assert (entry.value, entry.is_conflict) == (Price("bread", 300), False)


@pytest.mark.parametrize("given", [{"durable": True, "key": "nothing"}, {"key": "cents"}])
def test_a_key_is_a_field_with_text(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="key"):
        message_type("notes.other", **given)(Price)


@virtually
async def test_types_say_which_are_durable_by_the_members_word_before_the_programs() -> None:
    rules = {"notes.price": plain_rule(durable=False), "notes.list": plain_rule(durable=True)}
    async with valley(("mill",), (), types=rules) as v:
        registry = v["mill"].service._node.registry
        for struct in (News, Price):
            registry.register(struct)
        for name in ("notes.list", "notes.loan"):
            registry.register(msgspec.defstruct(name.title().replace(".", ""), [("text", str)]), name)
        told = {each.name: each.durable for each in v["mill"].service.types()}
        told = {name: durable for name, durable in told.items() if name.startswith("notes.")}
        assert told == {"notes.list": True, "notes.loan": False, "notes.news": True, "notes.price": False}
