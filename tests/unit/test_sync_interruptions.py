"""Sessions that were interrupted, by what nobody expected too: it is seen, and they go on by themselves."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.members_world import in_time
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import NOTE, all_have, eventually, met, notes

from covm.testing.machine import Machine
from covm.testing.world import World


class Spoilt:
    """A store whose driver raises what no store should at what a session asks, until it is told not to."""

    def __init__(self, machine: Machine) -> None:
        self.is_spoilt = True
        self.attempts = 0
        self._keeper = machine.service._node.sync.keeper
        self._store = self._keeper.store
        self._keeper.store = self

    async def read(self, job: Any) -> Any:
        task = asyncio.current_task()
        if self.is_spoilt and task is not None and task.get_name().startswith("sync of"):
            self.attempts += 1
            raise ZeroDivisionError("PostgreSQL text fields cannot contain\x00 this")
        return await self._store.read(job)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def error_of(machine: Machine, peer: Machine) -> str:
    [replica] = (await machine.service.get_sync_status(NOTE)).replicas
    [standing] = [each for each in replica.peers if each.peer == peer.peer_id]
    return standing.error


@virtually
async def test_what_nobody_expected_is_told_logged_once_and_tried_again_until_it_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        store = Spoilt(farm)
        with caplog.at_level(logging.ERROR):
            await notes(mill).put("oven", 1)
            await in_time(lambda: store.attempts)
            told = await error_of(farm, mill)
            assert "an unexpected error, which is in the log: ZeroDivisionError" in told
            assert "\x00" not in told
            before = store.attempts
            await world.sleep(timedelta(minutes=30))
            again = store.attempts - before
        assert 2 <= again <= 30, "it is tried again, ever less often"
        assert farm.service.stats()["faults"] == 1
        logged = [each for each in caplog.records if "sync of notes.note" in each.getMessage()]
        assert [bool(each.exc_info) for each in logged] == [True]
        store.is_spoilt = False
        await eventually(lambda: all_have([farm], "oven", 1))
        assert await error_of(farm, mill) == ""


@virtually
async def test_roots_are_told_again_so_that_a_session_that_died_unseen_is_begun_again() -> None:
    interval = {"sync_interval": timedelta(minutes=2)}
    async with World(names=["mill", "farm"], config=interval) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill).put("oven", 1)
        await eventually(lambda: all_have([farm], "oven", 1))
        fetcher = farm.service._node.sync._fetcher
        fetcher.is_stopped = True  # as if what begins sessions had been lost
        await notes(mill).put("oven", 2)
        await world.sleep(timedelta(minutes=1))
        fetcher.is_stopped = False
        assert not await all_have([farm], "oven", 2)
        await in_time(lambda: _agree(mill, farm), timedelta(minutes=3))


def _agree(*machines: Machine) -> bool:
    return len({each.service._node.sync.keeper.logs.frontier(NOTE).root for each in machines}) == 1
