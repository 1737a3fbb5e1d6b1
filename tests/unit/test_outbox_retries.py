"""Refusals that are final only when they should be, and messages that are sent inside a transaction."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from tests.unit.outbox_world import LONG, NOTE, Post, in_time, violations, virtually

from covm.federation import FederationService, Message, message_type
from covm.federation.dispatch import tables
from covm.federation.errors import MessageRefused
from covm.federation.wire.registry import TypeRegistry
from covm.testing.machine import Machine
from covm.testing.world import World


@message_type("garden.note")
class Old(msgspec.Struct):
    """What Ben's program knew at first."""

    title: str
    beds: list[int]


@message_type("garden.note")
class New(msgspec.Struct):
    """What Ada's program sends."""

    title: str
    bed: int


def knows(machine: Any, struct: type[msgspec.Struct]) -> None:
    """From its next start on, the machine's program knows this type."""
    machine._types = [struct]


class Gardeners:
    """Ada knows the new type; Ben learns it later, or never."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ada, self.ben = world.machines
        self.received: list[Any] = []
        self.ben.application = self._subscribe
        knows(self.ada, New)

    def _subscribe(self, machine: Machine, service: FederationService) -> None:
        service.subscribe("garden.note", self._take, name="take")

    def _take(self, message: Message[Any]) -> None:
        self.received.append(message.payload)

    async def meet(self) -> None:
        await self.world.start_all()
        await Post.connected(self)  # type: ignore[arg-type]


@virtually
async def test_a_payload_that_does_not_fit_at_a_node_with_another_version_is_tried_until_that_knows_better() -> None:
    async with World(seed=4, names=["ada", "ben"]) as world:
        g = Gardeners(world)
        knows(g.ben, Old)
        await g.meet()
        receipt = await g.ada.service.send_direct(g.ben.peer_id, New("weeds", 3))
        await in_time(lambda: receipt.reason)
        assert receipt.state == "queued", "it is not final"
        assert g.received == []
        await asyncio.sleep(60)
        assert receipt.state == "queued"
        await g.ben.stop()
        knows(g.ben, New)
        await g.ben.start()
        await receipt.handled(LONG)
        assert g.received == [New("weeds", 3)]
        assert violations(g.ada) == {}


@virtually
async def test_a_payload_that_was_refused_for_now_is_tried_again_after_a_restart_of_its_sender() -> None:
    async with World(seed=4, names=["ada", "ben"]) as world:
        g = Gardeners(world)
        knows(g.ben, Old)
        await g.meet()
        receipt = await g.ada.service.send_direct(g.ben.peer_id, New("weeds", 3))
        await in_time(lambda: receipt.reason)
        await asyncio.sleep(1)
        g.ada.crash()
        await g.ben.stop()
        knows(g.ben, New)
        await g.meet()
        await in_time(lambda: g.received == [New("weeds", 3)])


@virtually
async def test_a_payload_that_is_refused_for_now_until_its_time_is_over_is_refused() -> None:
    async with World(seed=4, names=["ada", "ben"]) as world:
        g = Gardeners(world)
        knows(g.ben, Old)
        await g.meet()
        to = g.ben.peer_id
        receipt = await g.ada.service.send_direct(to, New("weeds", 3), time_to_live=timedelta(minutes=1))
        with pytest.raises(MessageRefused):
            await receipt.handled(LONG)


@virtually
async def test_a_payload_that_does_not_fit_the_very_type_is_refused_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(seed=4, names=["ada", "ben"]) as world:
        g = Gardeners(world)
        knows(g.ben, New)
        await g.meet()
        # What Ada's program should have found itself.
        monkeypatch.setattr(TypeRegistry, "to_payload", lambda *_: ("garden.note", {"title": 7}))
        receipt = await g.ada.service.send_direct(g.ben.peer_id, New("weeds", 3))
        with pytest.raises(MessageRefused):
            await receipt.handled(LONG)
        await asyncio.sleep(60)
        assert g.ada.disk.query("SELECT state FROM covm_outbox") == [(tables.REFUSED,)]


@virtually
async def test_what_is_sent_inside_a_transaction_arrives_once_and_in_order() -> None:
    async with World(seed=5, names=["ada", "ben"]) as world:
        ada, ben = world.machines
        answers: list[Any] = []

        def answer(machine: Any, service: Any) -> None:
            def handle(message: Message[Any], tx: Any) -> None:
                for each in (1, 2):
                    tx.send_direct(message.author, "note.answer", [message.payload, each])

            service.subscribe(NOTE, handle, name="answer", transactional=True)

        def hear(machine: Any, service: Any) -> None:
            service.subscribe("note.answer", lambda message: answers.append(message.payload), name="hear")

        ben.application, ada.application = answer, hear
        await world.start_all()
        await Post.connected(_Pair(ada, ben))  # type: ignore[arg-type]
        receipts = [await ada.service.send_direct(ben.peer_id, NOTE, each) for each in range(50)]
        for receipt in receipts:
            await receipt.handled(LONG)
        await in_time(lambda: len(answers) == 100)
        assert answers == [[each, part] for each in range(50) for part in (1, 2)]
        await in_time(lambda: ben.disk.query("SELECT count(*) FROM covm_staged") == [(0,)])


class _Pair:
    def __init__(self, ada: Any, ben: Any) -> None:
        self.ada, self.ben = ada, ben
