"""A node's life: started and stopped at awkward moments, by several, from inside; and nodes whose tasks were ended."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.service_world import Heard, connect, world
from tests.unit.simulated_world import leaping

from covm.federation import FederationService, Message
from covm.federation.errors import NodeFailed, NotStarted
from covm.federation.events import NodeFailed as NodeFailedEvent
from covm.federation.network.interface import PeerDiscovered, PeerIdentified, PingMeasured
from covm.federation.supervisor import Supervisor
from covm.testing import until

NOTE = "private.note"


def open_files(folder: Path) -> list[str]:
    held = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            held.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue
    return [path for path in held if path.startswith(str(folder))]


@leaping
@pytest.mark.parametrize("turns", range(6))
async def test_a_node_that_is_stopped_while_it_starts_says_so_to_whoever_starts_it(turns: int, tmp_path: Path) -> None:
    async with world() as w:
        ada = w.make("ada", home=str(tmp_path / "home"))
        starting = asyncio.create_task(ada.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(ada.stop(), 10)
        outcome = (await asyncio.wait_for(asyncio.gather(starting, return_exceptions=True), 10))[0]
        # Late enough, the start was over before.
        assert outcome is None or "not running" in str(outcome) or "already started" in str(outcome)
        assert ada.status()["running"] is False
        assert not open_files(tmp_path)


@leaping
async def test_a_start_that_is_stopped_before_its_tasks_run_raises_not_started() -> None:
    async with world() as w:
        ada = w.make("ada")
        starting = asyncio.create_task(ada.start())
        await asyncio.sleep(0)
        await ada.stop()
        with pytest.raises(NotStarted):
            await asyncio.wait_for(starting, 10)


@leaping
async def test_a_stop_goes_on_when_whoever_waits_for_it_is_cancelled(tmp_path: Path) -> None:
    async with world() as w:
        ada = await w.start("ada", home=str(tmp_path / "home"))
        first = asyncio.create_task(ada.stop())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await ada.stop()
        assert not open_files(tmp_path)


@leaping
async def test_a_second_stop_ends_when_the_first_does(tmp_path: Path) -> None:
    async with world() as w:
        ada, ben = await w.start("ada", home=str(tmp_path / "home")), await w.start("ben")
        await connect(ada, ben)
        gate, entered = asyncio.Event(), asyncio.Event()

        @ada.subscribe(NOTE)
        async def cleans_up(message: Message[Any]) -> None:
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                await gate.wait()

        await ada.publish(NOTE, 1)
        await entered.wait()
        stops = [asyncio.create_task(ada.stop()) for _ in range(3)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not any(stop.done() for stop in stops)
        assert open_files(tmp_path)
        gate.set()
        await asyncio.gather(*stops)
        assert not open_files(tmp_path)


@leaping
async def test_a_handler_may_stop_its_own_node(tmp_path: Path) -> None:
    async with world() as w:
        ada = await w.start("ada", home=str(tmp_path / "home"))

        @ada.subscribe(NOTE)
        async def stops(message: Message[Any]) -> None:
            await ada.stop()

        await ada.publish(NOTE, 1)
        await until(lambda: not open_files(tmp_path))
        assert ada.status()["running"] is False


def test_a_handler_that_ends_the_process_ends_it_and_the_node_says_that_it_failed() -> None:
    made: list[tuple[FederationService, Heard]] = []

    async def story() -> None:
        async with world() as w:
            ada = await w.start("ada")
            made.append((ada, Heard(ada)))

            @ada.subscribe(NOTE)
            async def leaves(message: Message[Any]) -> None:
                raise SystemExit(3)

            await ada.publish(NOTE, 1)
            await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(story())
        with pytest.raises(SystemExit) as ended:
            loop.run_until_complete(task)
        assert ended.value.code == 3
        ada, heard = made[0]

        async def look() -> None:
            await until(lambda: heard.of(NodeFailedEvent))
            assert "SystemExit" in heard.of(NodeFailedEvent)[0].reason
            assert ada.status()["running"] is False
            assert ada.stats()["handlers"] == {"interrupted": 1}
            with pytest.raises(NodeFailed, match="SystemExit"):
                await ada.publish(NOTE, 2)

        loop.run_until_complete(look())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.run_until_complete(asyncio.wait_for(ada.stop(), 10))
    finally:
        loop.close()


@leaping
async def test_a_node_whose_tasks_somebody_cancelled_says_that_it_failed() -> None:
    async with world() as w:
        ada = await w.start("ada")
        heard = Heard(ada)
        await asyncio.sleep(0)
        for task in asyncio.all_tasks():
            if task.get_name() == "node ada":
                task.cancel()
        await until(lambda: heard.of(NodeFailedEvent))
        with pytest.raises(NodeFailed, match="cancelled"):
            await ada.publish(NOTE, 1)
        assert ada.status()["running"] is False


@leaping
async def test_a_connect_that_waits_ends_when_the_node_stops() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        address = ben.addresses[0]
        await ben.stop()
        connecting = asyncio.create_task(ada.connect_peer(address))
        await asyncio.sleep(1)
        assert not connecting.done()
        await ada.stop()
        with pytest.raises(NotStarted):
            await asyncio.wait_for(connecting, 1)


@leaping
async def test_a_fault_in_taking_one_event_loses_none_of_its_neighbours(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        ada, ben = await w.pair()
        # No such event comes from a network: what is no peer id at all breaks whoever takes it.
        broken: Any = PeerIdentified(["unhashable"], "", (), (), "")  # type: ignore[arg-type]
        ada._node.router.on_network_events(
            [broken, PeerDiscovered(ben.peer_id, ("/ip4/127.0.0.9/tcp/9",), "mdns"), PingMeasured(ben.peer_id, 0.25)]
        )
        assert "/ip4/127.0.0.9/tcp/9" in " ".join(ada.get_peer_info(ben.peer_id).addresses)
        assert ada.stats()["faults"] == 1
        assert "unhashable" in caplog.text


async def test_what_is_given_to_a_node_that_does_not_run_is_refused_and_closed() -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    supervisor = Supervisor()
    with pytest.raises(NotStarted):
        supervisor.launch(work(), "work")
    with pytest.raises(NotStarted):
        supervisor.keep(work, "loop")
    ready = asyncio.get_running_loop().create_future()
    main = asyncio.create_task(supervisor.run(ready))
    await ready
    supervisor.launch(work(), "work")
    supervisor.keep(work, "loop")
    main.cancel()
    await asyncio.wait([main])
    gc.collect()  # a coroutine that was never awaited is a warning, and a warning an error
