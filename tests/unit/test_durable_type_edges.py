"""Durable types where something is not as it should be: handlers that fail, records that stop counting, no right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.unit.members_world import in_time
from tests.unit.outbox_world import virtually
from tests.unit.service_world import Heard, collect, world
from tests.unit.test_durable_types import Ledger, News, Reader, met, numbered, publish

from covm.federation import FederationService, Message, Refusal
from covm.federation.dispatch.transaction import Tx
from covm.federation.events import HandlerFailed, MessageQuarantined
from covm.federation.identity.authors import Written
from covm.federation.identity.verdicts import void
from covm.federation.membership.authority import EveryonesAuthority
from covm.testing.machine import Machine
from covm.testing.world import World


class Strict:
    """An authority that can be told whose records do not count."""

    def __init__(self, machine: Machine) -> None:
        self._keeper = machine.service._node.sync.keeper
        self._everyone = EveryonesAuthority(machine.service.federation_id.cid)
        self._banned: set[str] = set()
        self._keeper.authority = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._everyone, name)

    async def ban(self, *peers: str) -> None:
        self._banned = set(peers)
        await self._keeper.reconsider()

    def basis(self, _type_name: str, first: Any) -> bytes:
        return b"no" if first.author in self._banned else b"yes"

    def written(self, record: Any, *others: Any) -> Any:
        written = self._everyone.written(record, *others)
        return Written(verdict=void("it may not"), seq=written.seq) if record.author in self._banned else written


@virtually
async def test_a_record_on_which_a_handler_fails_is_quarantined_for_that_one_and_can_be_tried_again() -> None:
    async with World(names=("mill", "shop"), types=[News]) as world:
        mill, shop = world.machines
        reader = Reader(shop, name="choosy")
        broken = True
        attempts: list[int] = []

        def choosy(message: Message[News]) -> None:
            if message.payload.text == "001":
                attempts.append(message.attempt)
                if broken:
                    raise RuntimeError
            reader.messages.append(message)

        reader.handler = choosy
        await met(world)
        other: list[str] = []
        shop.service.subscribe(News, lambda message: other.append(message.payload.text), name="other")
        heard = Heard(shop.service)
        published = [await mill.service.publish(News(text)) for text in numbered(3)]
        await in_time(lambda: reader.texts == ["000", "002"] and other == numbered(3))
        assert attempts == [1, 2, 3]
        assert [event.message_id for event in heard.of(HandlerFailed)] == [published[1].id] * 3
        [quarantined] = heard.of(MessageQuarantined)
        assert (quarantined.handler, quarantined.attempts) == ("choosy", 3)
        await shop.stop()
        await shop.start()
        desk = shop.service.inbox
        [entry] = await desk.listed(state="quarantined")
        assert (entry.id, entry.author, entry.type) == (quarantined.message_id, mill.peer_id, "notes.news")
        assert await desk.payload(entry.id) == {"text": "001"}
        other.clear()
        shop.service.subscribe(News, lambda message: other.append(message.payload.text), name="other")
        broken = False
        await desk.retry(entry.id)
        await in_time(lambda: reader.texts == ["000", "002", "001"])
        late = reader.messages[-1]
        assert (late.id, late.via, late.attempt, late.out_of_order) == (published[1].id, "sync", 4, True)
        assert other == [], "it is for one handler alone"
        assert await desk.listed() == []


@virtually
async def test_what_follows_a_record_that_was_tried_again_is_told_to_come_for_the_first_time() -> None:
    async with World(names=("shop",), types=[News]) as world:
        [shop] = world.machines
        attempts: list[tuple[str, int]] = []

        def once_more(message: Message[News]) -> None:
            attempts.append((message.payload.text, message.attempt))
            if message.payload.text == "000" and message.attempt == 1:
                raise RuntimeError

        await shop.start()
        shop.service.subscribe(News, once_more)
        await publish(shop, "000")
        await in_time(lambda: len(attempts) == 2)
        await publish(shop, "001")
        await in_time(lambda: attempts == [("000", 1), ("000", 2), ("001", 1)])


@virtually
async def test_what_was_quarantined_for_a_handler_that_is_gone_stays_in_quarantine() -> None:
    async with World(names=("shop",), types=[News]) as world:
        [shop] = world.machines
        await shop.start()

        def broken(_message: Message[News]) -> None:
            raise RuntimeError

        subscription = shop.service.subscribe(News, broken, name="broken")
        await publish(shop, "one")
        await asyncio.sleep(120)
        [entry] = await shop.service.inbox.listed(state="quarantined")
        shop.service.unsubscribe(subscription)
        got = collect(shop.service, "notes.news")
        await shop.service.inbox.retry(entry.id)
        await asyncio.sleep(120)
        [again] = await shop.service.inbox.listed(state="quarantined")
        assert (again.id, again.reason) == (entry.id, "there is no handler named broken now")
        assert [message.payload.text for message in got] == ["one"]
        await shop.service.inbox.discard(entry.id)
        assert await shop.service.inbox.listed() == []


@virtually
async def test_a_transactional_handler_that_fails_leaves_nothing_and_holds_up_nobody() -> None:
    async with World(names=("mill", "shop"), types=[News]) as world:
        mill, shop = world.machines
        ledger = Ledger(shop)

        def fail(message: Message[News], _tx: Tx) -> None:
            if message.payload.text in {"003", "004"}:
                raise RuntimeError

        ledger.then = fail
        await met(world)
        await asyncio.gather(*(publish(mill, text) for text in numbered(10)))
        await asyncio.sleep(300)
        assert sorted(await ledger.texts()) == [text for text in numbered(10) if text not in {"003", "004"}]
        assert len(await shop.service.inbox.listed(state="quarantined")) == 2


@virtually
async def test_what_a_handler_refuses_or_does_not_fit_the_type_is_passed_over() -> None:
    async with World(names=("mill", "shop"), types=[News]) as world:
        mill, shop = world.machines
        reader = Reader(shop)

        def refuse(message: Message[News]) -> None:
            if message.payload.text == "001":
                raise Refusal("no thanks")
            reader.messages.append(message)

        reader.handler = refuse
        await met(world)
        await publish(mill, "000", "001")
        mill.service._node.registry.__init__()  # type: ignore[misc]
        await mill.service.collection("notes.news").put("odd", {"text": 7})
        await mill.service.collection("notes.news").put("even", {"text": "002"})
        await in_time(lambda: reader.texts == ["000", "002"])
        assert await shop.service.inbox.listed() == []
        assert shop.service.stats()["dropped"]["payload_mismatch"] == 1


@virtually
async def test_what_does_not_count_is_not_handed_over_and_what_counts_again_is_not_handed_over_twice() -> None:
    async with World(names=("mill", "farm", "shop"), types=[News]) as world:
        mill, farm, shop = world.machines
        await met(world)
        judge = Strict(shop)
        before, after = collect(shop.service, "notes.news"), []
        await publish(mill, "from the mill")
        await publish(farm, "from the farm")
        await in_time(lambda: len(before) == 2)
        await judge.ban(mill.peer_id)
        shop.service.subscribe(News, lambda message: after.append(message.payload.text), name="later")
        await in_time(lambda: after == ["from the farm"])
        await publish(mill, "not counted")
        await publish(farm, "counted")
        await in_time(lambda: after == ["from the farm", "counted"])
        await judge.ban()
        await in_time(lambda: len(after) == 4)
        assert set(after[2:]) == {"from the mill", "not counted"}
        assert [message.payload.text for message in before[2:]] == ["counted", "not counted"]
        for peers in ([mill.peer_id], [], [mill.peer_id, farm.peer_id], []):
            await judge.ban(*peers)
            await asyncio.sleep(60)
        assert (len(before), len(after)) == (4, 4)
        assert [message.out_of_order for message in before] == [False] * 4


@virtually
async def test_what_was_passed_over_is_handed_over_after_a_restart_too() -> None:
    async with World(names=("mill", "shop"), types=[News]) as world:
        mill, shop = world.machines
        reader = Reader(shop)
        shop.application = lambda _machine, _service: None
        await met(world)
        judge = Strict(shop)
        await publish(mill, *numbered(100))
        await in_time(lambda: shop.service._node.sync.keeper.logs.types() == ["notes.news"])
        await asyncio.sleep(60)
        await judge.ban(mill.peer_id)
        reader.begin(shop, shop.service)
        await asyncio.sleep(60)
        assert reader.texts == []
        shop.application = reader.begin
        await shop.stop()
        await shop.start()
        await in_time(lambda: reader.texts == numbered(100))
        assert all(message.out_of_order for message in reader.messages)
        await publish(mill, "more")
        await in_time(lambda: reader.texts == [*numbered(100), "more"])


@virtually
async def test_a_handler_that_ends_its_own_task_is_given_what_follows_once_that_one_is_quarantined() -> None:
    async with World(names=("mill",), types=[News]) as world:
        [mill] = world.machines
        got: list[str] = []

        async def rude(message: Message[News]) -> None:
            if message.payload.text == "001":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(1)
            got.append(message.payload.text)

        await mill.start()
        mill.service.subscribe(News, rude)
        await publish(mill, *numbered(3))
        await in_time(lambda: got == ["000", "002"])
        [entry] = await mill.service.inbox.listed(state="quarantined")
        assert (entry.attempts, entry.reason) == (3, "its handler was interrupted")


async def _in_memory(check: Callable[[FederationService], Any]) -> None:
    async with world() as w:
        node = await w.start("ada", types=[News])
        await check(node)


@virtually
async def test_without_a_home_all_is_in_memory_and_many_records_are_few_commits() -> None:
    async def check(node: FederationService) -> None:
        await asyncio.gather(*(node.publish(News(text)) for text in numbered(1000)))
        before = node._node.store.stats()["transactions"]
        got = collect(node, "notes.news")
        await in_time(lambda: len(got) == 1000)
        assert [message.payload.text for message in got] == [entry.payload.text for entry in got]
        assert node._node.store.stats()["transactions"] - before < 40

    await _in_memory(check)


@virtually
async def test_an_asynchronous_handler_that_is_ended_with_its_node_is_told_that_it_had_begun() -> None:
    async with World(names=("mill",), types=[News]) as world:
        [mill] = world.machines
        attempts: list[tuple[str, int]] = []
        slow = True

        async def take_long(message: Message[News]) -> None:
            attempts.append((message.payload.text, message.attempt))
            if slow:
                await asyncio.sleep(10_000)

        def begin(_machine: Machine, service: FederationService) -> None:
            service.subscribe(News, take_long)

        mill.application = begin
        await mill.start()
        await publish(mill, "one", "two")
        await in_time(lambda: attempts == [("one", 1)])
        await mill.stop()
        slow = False
        await mill.start()
        await in_time(lambda: attempts == [("one", 1), ("one", 2), ("two", 1)])
