"""The loop on made-up time: an hour takes a moment, nothing waits for ever, and the order is always the same."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from covm.testing import Deadlock, LoopClock, TimeStandsStill, VirtualTimeLoop, loop, run_in_virtual_time


def test_a_year_takes_a_moment() -> None:
    async def story() -> float:
        for _ in range(12):
            await asyncio.sleep(30 * 86_400)
        return asyncio.get_running_loop().time()

    began_s = time.monotonic()
    assert run_in_virtual_time(story()) == 360 * 86_400
    assert time.monotonic() - began_s < 60


def test_who_waits_for_nothing_is_told_so_and_named() -> None:
    async def story() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match=r"nothing will ever happen again: Task-\d+ in .*story"):
        run_in_virtual_time(story())


def test_a_program_that_goes_round_in_circles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        while True:  # noqa: ASYNC110 - that is the fault
            await asyncio.sleep(0)

    monkeypatch.setattr(loop, "STEPS_AT_ONE_MOMENT", 1_000)
    with pytest.raises(TimeStandsStill):
        run_in_virtual_time(story())


def test_timers_of_one_moment_come_in_the_order_in_which_they_were_set() -> None:
    async def story() -> list[int]:
        came: list[int] = []
        running = asyncio.get_running_loop()
        for number in (3, 1, 2):
            running.call_at(5.0, came.append, number)
        cancelled = running.call_at(1.0, came.append, 9)
        cancelled.cancel()
        await asyncio.sleep(5.0)
        await asyncio.sleep(0)
        return came

    assert run_in_virtual_time(story()) == [3, 1, 2]


def test_a_set_of_tasks_has_the_order_in_which_they_were_made() -> None:
    async def story() -> list[str]:
        async def wait() -> None:
            await asyncio.sleep(1)

        tasks = {asyncio.create_task(wait(), name=str(number)) for number in range(50)}
        await asyncio.wait(tasks)
        return [task.get_name() for task in tasks]

    assert run_in_virtual_time(story()) == run_in_virtual_time(story())


def test_there_is_no_executor() -> None:
    async def story() -> None:
        await asyncio.to_thread(time.sleep, 0)

    with pytest.raises(RuntimeError, match="virtual time has no threads"):
        run_in_virtual_time(story())


def test_an_interruption_comes_between_any_two_steps() -> None:
    async def story(after: int) -> list[str]:
        came: list[str] = []

        async def walk(name: str) -> None:
            for _ in range(2):
                came.append(name)
                await asyncio.sleep(0)

        running = asyncio.get_running_loop()
        assert isinstance(running, VirtualTimeLoop)
        walks = [asyncio.create_task(walk(name)) for name in "ab"]
        running.interrupt_after(after, lambda: came.append("!"))
        await asyncio.gather(*walks)
        return came

    stories = ["".join(run_in_virtual_time(story(after))) for after in range(4)]
    assert stories == ["!abab", "a!bab", "ab!ab", "aba!b"]


def test_tasks_belong_to_whoever_started_them() -> None:
    async def story() -> list[str]:
        running = asyncio.get_running_loop()
        assert isinstance(running, VirtualTimeLoop)

        async def grow() -> None:
            leaf = asyncio.create_task(asyncio.sleep(9), name="leaf")
            await leaf

        loop.owner.set("ada")
        grown = asyncio.create_task(grow(), name="stem")
        loop.owner.set("ben")
        other = asyncio.create_task(grow(), name="other")
        await asyncio.sleep(1)
        mine = [task.get_name() for task in running.tasks_of("ada")]
        await asyncio.gather(grown, other)
        return mine

    assert run_in_virtual_time(story()) == ["stem", "leaf"]


def test_a_clock_on_made_up_time_can_be_set() -> None:
    async def story() -> None:
        clock = LoopClock(1_000)
        assert clock.now_ms() == 1_000
        await asyncio.sleep(2)
        clock.jump(timedelta(hours=-1))
        assert clock.now_ms() == 3_000 - 3_600_000
        assert clock.monotonic_s() == 2.0

    run_in_virtual_time(story())
