"""A machine and its node: it crashes in the middle of anything, says nothing more, and starts again on what it held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from covm.federation import FederationService, Message
from covm.testing import Machine, World, run_in_virtual_time, until

TYPE = "private.message"
LONG = timedelta(minutes=10)


def told(story: Callable[[World, Machine, Machine], Coroutine[Any, Any, None]], seed: int = 1) -> str:
    async def whole() -> str:
        async with World(seed=seed) as world:
            ada, ben = world.machines
            await world.start_all()
            await until(lambda: all(machine.service.connected_peers() for machine in world.machines))
            await story(world, ada, ben)
        return world.trace.hash

    return run_in_virtual_time(whole())


def test_what_was_taken_is_delivered_though_both_crash() -> None:
    async def story(world: World, ada: Machine, ben: Machine) -> None:
        received: list[Message[Any]] = []

        def listen(machine: Machine, service: FederationService) -> None:
            service.subscribe(TYPE, received.append)

        ben.application = listen
        world.fabric.cut(ada.peer_id, ben.peer_id)
        receipt = await ada.spawn(ada.service.send_direct(ben.peer_id, TYPE, "through fire"))
        ada.crash()
        ben.crash()
        world.fabric.heal()
        await world.start_all()
        again = await ada.service.receipt(receipt.id)
        await again.handled(LONG)
        assert [message.payload for message in received] == ["through fire"]

    told(story)


def test_nothing_that_a_crashed_node_still_does_is_heard() -> None:
    async def story(world: World, ada: Machine, ben: Machine) -> None:
        heard: list[Message[Any]] = []
        ben.service.subscribe(TYPE, heard.append)
        service = ada.service

        async def last_words() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await service.send_direct(ben.peer_id, TYPE, "farewell")

        speaking = ada.spawn(last_words())
        await asyncio.sleep(1)
        ada.crash()
        assert not ada.is_up
        await asyncio.sleep(60)
        assert speaking.done()
        assert heard == []
        assert ada.disk.query("SELECT count(*) FROM covm_outbox") == [(0,)]

    told(story)


@pytest.mark.parametrize(("silent", "least_s", "most_s"), [(False, 0.0, 1.0), (True, 10.0, 60.0)])
def test_peers_notice_a_killed_process_at_once_and_a_dead_machine_by_its_silence(
    silent: bool, least_s: float, most_s: float
) -> None:
    async def story(world: World, ada: Machine, ben: Machine) -> None:
        began_s = world.loop.time()
        ada.crash(silent=silent)
        await until(lambda: not ben.service.connected_peers(), timeout=LONG)
        assert least_s <= world.loop.time() - began_s <= most_s

    told(story)


def test_a_machine_crashes_at_any_step_and_comes_back() -> None:
    async def story(world: World, ada: Machine, ben: Machine) -> None:
        for steps in range(0, 300, 7):
            world.loop.interrupt_after(steps, ada.crash)
            while ada.is_up:  # noqa: ASYNC110 - time is made up
                await asyncio.sleep(0.1)
            await ada.start()
        await until(lambda: ada.service.connected_peers(), timeout=LONG)

    told(story)


def test_the_same_seed_tells_the_same_story() -> None:
    async def story(world: World, ada: Machine, ben: Machine) -> None:
        for steps in (3, 50, 111):
            await ada.spawn(ada.service.send_direct(ben.peer_id, TYPE, steps))
            world.loop.interrupt_after(steps, ben.crash)
            await asyncio.sleep(5)
            await world.start_all()
        await asyncio.sleep(30)

    assert told(story) == told(story)
    assert told(story) != told(story, seed=2)
