"""What the people at a node see of its peers: connected, suspect, lost, banned, refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.service_world import Heard, LoopClock, both_see, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation.errors import (
    AlreadyStarted,
    ConnectionFailed,
    ConnectionLimitReached,
    HomeInUse,
    InvalidAddress,
    NodeFailed,
    NotAdmitted,
    NotStarted,
    PeerBanned,
)
from covm.federation.events import (
    EventsDropped,
    PeerConnected,
    PeerDisconnected,
    PeerLost,
    PeerRecovered,
    PeerRefused,
    PeerSuspected,
)
from covm.federation.events import NodeFailed as NodeFailedEvent
from covm.federation.network.interface import PingMeasured
from covm.federation.network.simulated import LinkFaults
from covm.testing import until

BEAT = timedelta(seconds=5)
SILENCE = LinkFaults(latency=timedelta(hours=1))


@leaping
async def test_a_connected_peer_is_reached_by_what_is_published_next() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        heard = Heard(ada)
        assert await ada.connect_peer(ben.addresses[0]) == ben.peer_id
        assert (await ada.publish("a.note", 1)).peers == 1
        status = ada.get_peer_info(ben.peer_id)
        assert (status.state, status.direction, status.kept) == ("connected", "outbound", True)
        await until(lambda: ada.get_peer_info(ben.peer_id).version)
        assert ada.get_peer_info(ben.peer_id).name == "ben"
        assert heard.of(PeerConnected)[0].peer == ben.peer_id


@leaping
async def test_connecting_twice_is_connecting_once() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        assert await ada.connect_peer(ben.peer_id) == ben.peer_id
        assert ada.connected_peers() == [ben.peer_id]


@leaping
async def test_round_trip_and_clock_offset_are_measured_by_heartbeats() -> None:
    async with world() as w:
        w.fabric._faults = LinkFaults(latency=timedelta(milliseconds=40))
        ada, ben = await w.start("ada"), await w.start("ben", clock=LoopClock(ahead_ms=90_000))
        await connect(ada, ben)
        await until(lambda: ada.get_peer_info(ben.peer_id).clock_offset_ms is not None)
        status = ada.get_peer_info(ben.peer_id)
        assert status.round_trip_ms == pytest.approx(80, abs=3)
        assert status.clock_offset_ms == pytest.approx(90_000, abs=3)


@leaping
async def test_a_silent_peer_is_suspected_then_lost_and_dialled_again() -> None:
    async with world() as w:
        ada, ben = await w.pair(heartbeat_interval=BEAT)
        heard = Heard(ada)
        w.fabric.set_faults(ada.peer_id, ben.peer_id, SILENCE)
        await in_the_end(lambda: heard.of(PeerSuspected))
        assert ada.get_peer_info(ben.peer_id).state == "suspect"
        assert ben.peer_id in ada.connected_peers()
        await in_the_end(lambda: heard.of(PeerDisconnected))
        assert heard.of(PeerLost)[0].silent_s == pytest.approx(25, abs=6)
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults())
        await in_the_end(lambda: both_see(ada, ben))


@leaping
async def test_a_suspect_that_is_heard_again_is_connected_again() -> None:
    async with world() as w:
        ada, ben = await w.pair(heartbeat_interval=BEAT)
        heard = Heard(ada)
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(seconds=16)))
        await in_the_end(lambda: heard.of(PeerSuspected))
        await in_the_end(lambda: heard.of(PeerRecovered))
        assert not heard.of(PeerLost)


@leaping
async def test_healthy_peers_stay_healthy_for_an_hour() -> None:
    async with world() as w:
        ada, ben = await w.pair(heartbeat_interval=BEAT)
        heard = Heard(ada)
        await asyncio.sleep(3600)
        assert heard.events == []
        assert both_see(ada, ben)


@leaping
async def test_nodes_of_two_networks_refuse_each_other_and_both_ids_are_told() -> None:
    async with world() as w:
        ada, ben = await w.start("ada", network="bakers"), await w.start("ben", network="millers")
        heard = Heard(ben)
        with pytest.raises(NotAdmitted) as refused:
            await ada.connect_peer(ben.addresses[0])
        assert str(ada.federation_id.cid) in str(refused.value)
        assert str(ben.federation_id.cid) in str(refused.value)
        await until(lambda: heard.of(PeerRefused))
        assert ada.connected_peers() == ben.connected_peers() == []


@leaping
async def test_measurements_end_with_the_connection() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        cleo = await w.start("cleo")
        await connect(ada, cleo)
        await until(lambda: all(peer.clock_offset_ms is not None for peer in ada.peers()))
        for other in (ben, cleo):
            ada._node.router.on_network_events([PingMeasured(other.peer_id, 0.5)])
        await ada.ban_peer(ben.peer_id)
        await ada.disconnect_peer(cleo.peer_id)
        for other in (ben, cleo):
            status = ada.get_peer_info(other.peer_id)
            assert (status.round_trip_ms, status.clock_offset_ms) == (None, None)
        await until(lambda: not cleo.connected_peers())
        w.fabric.set_faults(ada.peer_id, cleo.peer_id, LinkFaults(latency=timedelta(milliseconds=40)))
        await ada.connect_peer(cleo.addresses[0])
        assert ada.get_peer_info(cleo.peer_id).round_trip_ms is None, "nothing of this connection was measured yet"


@leaping
async def test_a_full_node_refuses_strangers_with_the_reason() -> None:
    async with world() as w:
        ada, ben = await w.pair(max_connections=1)
        cleo = await w.start("cleo")
        with pytest.raises(NotAdmitted, match="all 1 connections are in use"):
            await cleo.connect_peer(ada.addresses[0])
        with pytest.raises(ConnectionLimitReached):
            await ada.connect_peer(cleo.addresses[0])
        assert both_see(ada, ben)


@leaping
async def test_bans_and_the_incarnation_outlive_a_restart(tmp_path: Path) -> None:
    async with world() as w:
        _, ben = await w.pair()
        home = str(tmp_path / "home")
        first = await w.start("cleo", home=home)
        await first.ban_peer(ben.peer_id, reason="spam")
        received: list[Any] = []
        first.subscribe("a.note", received.append)
        await first.publish("a.note", 1)
        await until(lambda: received)
        await first.stop()
        second = await w.start("cleo", home=home, clock=LoopClock(ahead_ms=-1_000_000_000))
        assert [ban.peer for ban in second.bans()] == [ben.peer_id]
        with pytest.raises(PeerBanned):
            await second.connect_peer(ben.addresses[0])
        with pytest.raises((NotAdmitted, ConnectionFailed)):
            await ben.connect_peer(second.addresses[0])
        again: list[Any] = []
        second.subscribe("a.note", again.append)
        await second.publish("a.note", 2)
        await until(lambda: again)
        assert again[0].incarnation == received[0].incarnation, "what was said is remembered, so it goes on"
        assert again[0].seq > received[0].seq


@leaping
async def test_a_second_node_on_one_home_is_told(tmp_path: Path) -> None:
    async with world() as w:
        await w.start("ada", home=str(tmp_path))
        with pytest.raises(HomeInUse):
            await w.make("ben", home=str(tmp_path)).start()


@leaping
async def test_a_service_is_started_once_and_stopped_as_often_as_one_likes() -> None:
    async with world() as w:
        ada = w.make("ada")
        with pytest.raises(NotStarted):
            await ada.publish("a.note", 1)
        await ada.start()
        with pytest.raises(AlreadyStarted):
            await ada.start()
        await ada.stop()
        await ada.stop()
        with pytest.raises(NotStarted):
            await ada.publish("a.note", 1)
        with pytest.raises(AlreadyStarted):
            await ada.start()
        assert len(asyncio.all_tasks()) == 1


@leaping
async def test_a_start_that_fails_half_way_leaves_nothing_running(tmp_path: Path) -> None:
    async with world() as w:
        broken = w.make("ada", home=str(tmp_path))
        broken._node.network._listen = ("/nonsense",)  # type: ignore[attr-defined]
        with pytest.raises(InvalidAddress):
            await broken.start()
        assert len(asyncio.all_tasks()) == 1
        await w.start("ada", home=str(tmp_path))


@leaping
async def test_a_core_that_failed_is_told_to_who_listens_and_who_calls() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        stream = ada.events()
        receipt = await ada.send_direct(ben.peer_id, "a.note", 1)
        ada._node.network.fail("a panic")  # type: ignore[attr-defined]
        told = [event async for event in stream if isinstance(event, NodeFailedEvent)]
        assert told == [NodeFailedEvent("a panic")]
        assert receipt.state == "cancelled"
        with pytest.raises(NodeFailed, match="a panic"):
            await ada.publish("a.note", 1)
        await ada.stop()


@leaping
async def test_a_listener_that_does_not_keep_up_is_told_how_much_it_missed() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        stream = ada.events()
        for _ in range(600):
            await ada.ban_peer(ben.peer_id)
            await ada.unban_peer(ben.peer_id)
        first = await anext(stream)
        assert isinstance(first, EventsDropped)
        assert first.count >= 200


@leaping
async def test_status_says_that_anyone_of_the_network_may_take_part() -> None:
    async with world() as w:
        ada, _ = await w.pair()
        status = ada.status()
        assert (status["membership"], status["network"], status["connected"]) == ("open", "covm", 1)
        assert "any node" in status["warning"]
        assert status["addresses"] == list(ada.addresses)
        stats = ada.stats()
        assert {"uptime_s", "versions", "messages", "peers", "queues", "dropped"} <= stats.keys()
