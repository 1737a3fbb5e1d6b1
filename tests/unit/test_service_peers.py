"""What the people at a node see of its peers: connected, suspect, lost, banned, refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.service_world import Heard, LoopClock, both_see, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation import FederationService, Identity
from covm.federation.errors import (
    AlreadyStarted,
    ConnectionFailed,
    ConnectionLimitReached,
    HomeInUse,
    InvalidAddress,
    NodeFailed,
    NotAdmitted,
    NotAuthorized,
    NotStarted,
    PeerBanned,
    PeerNotConnected,
    StateDamaged,
    UnknownPeer,
    WrongPeer,
)
from covm.federation.events import (
    EventsDropped,
    PeerConnected,
    PeerDisconnected,
    PeerLost,
    PeerRecovered,
    PeerRefused,
    PeerSuspected,
    PeerWasUnbanned,
)
from covm.federation.events import (
    NodeFailed as NodeFailedEvent,
)
from covm.federation.network.interface import (
    ConnectionClosed,
    ConnectionOpened,
    PeerDiscovered,
    PingMeasured,
    TopicJoined,
)
from covm.federation.network.simulated import LinkFaults
from covm.testing import until

BEAT = timedelta(seconds=5)
SILENCE = LinkFaults(latency=timedelta(hours=1))


def hint(to: FederationService, about: FederationService) -> None:
    """What Kademlia or mDNS tells a node about another."""
    to._node.router.on_network_events([PeerDiscovered(about.peer_id, about.addresses, "kademlia")])


async def two_hours_without(node: FederationService, other: FederationService) -> None:
    """Two hours pass, with a hint every minute, and nothing is tried."""
    for _ in range(2 * 60):
        hint(node, other)
        await asyncio.sleep(60)
        assert node.get_peer_info(other.peer_id).state == "known"


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
async def test_a_peer_that_was_lost_is_dialled_again_until_it_is_back() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        w.fabric.cut(ada.peer_id, ben.peer_id)
        await until(lambda: not ada.connected_peers())
        await asyncio.sleep(600)
        assert ada.get_peer_info(ben.peer_id).state in ("backing off", "dialling")
        w.fabric.heal()
        await in_the_end(lambda: both_see(ada, ben))


@leaping
async def test_a_bootstrap_peer_is_found_when_it_comes_up_late() -> None:
    async with world() as w:
        ben = await w.start("ben")
        address = ben.addresses[0]
        await ben.stop()
        ada = await w.start("ada", bootstrap_peers=[address])
        await asyncio.sleep(300)
        late = w.make("ben")
        late._node.network._listen = (address.partition("/p2p/")[0],)  # type: ignore[attr-defined]
        async with late:
            await in_the_end(lambda: both_see(ada, late))


@leaping
async def test_a_peer_that_the_operator_disconnected_stays_away() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await ada.disconnect_peer(ben.peer_id)
        await until(lambda: not ben.connected_peers())
        await asyncio.sleep(600)
        assert ada.connected_peers() == []
        assert ada.get_peer_info(ben.peer_id).why == "disconnected by the operator"
        with pytest.raises(PeerNotConnected):
            await ada.disconnect_peer(ben.peer_id)


@leaping
async def test_a_connect_right_after_a_disconnect_connects_anew() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        heard = Heard(ada)
        await ada.disconnect_peer(ben.peer_id)
        await ada.connect_peer(ben.peer_id)
        await in_the_end(lambda: both_see(ada, ben))
        assert [type(event) for event in heard.events] == [PeerDisconnected, PeerConnected]
        assert (await ada.publish("a.note", 1)).peers == 1


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
async def test_an_address_at_which_nobody_listens_is_tried_as_configured_and_then_told() -> None:
    async with world() as w:
        ada = await w.start("ada")
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(ConnectionFailed) as failed:
            await ada.connect_peer("/ip4/127.0.0.1/tcp/999")
        assert "/ip4/127.0.0.1/tcp/999" in str(failed.value)
        assert asyncio.get_running_loop().time() > began_s, "it was tried again"


@leaping
async def test_another_peer_at_the_address_is_told_and_not_tried_again() -> None:
    async with world() as w:
        ada, ben, cleo = await w.start("ada"), await w.start("ben"), await w.start("cleo")
        wrong = ben.addresses[0].replace(ben.peer_id, cleo.peer_id)
        with pytest.raises(WrongPeer) as found:
            await ada.connect_peer(wrong)
        assert (found.value.expected, found.value.found) == (cleo.peer_id, ben.peer_id)


@leaping
async def test_what_is_no_address_is_told() -> None:
    async with world() as w:
        ada = await w.start("ada")
        with pytest.raises(InvalidAddress):
            await ada.connect_peer("/nonsense")
        with pytest.raises(InvalidAddress):
            await ada.connect_peer("nonsense")
        with pytest.raises(InvalidAddress, match="this node itself"):
            await ada.connect_peer(ada.addresses[0])
        with pytest.raises(UnknownPeer):
            ada.get_peer_info("nonsense")


@leaping
async def test_a_banned_peer_is_cut_off_until_the_ban_is_over() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        heard = Heard(ada)
        await ada.ban_peer(ben.peer_id, timedelta(minutes=5), reason="spam")
        await until(lambda: not ben.connected_peers())
        with pytest.raises(PeerBanned, match="spam"):
            await ada.connect_peer(ben.addresses[0])
        with pytest.raises(PeerBanned):
            await ada.send_direct(ben.peer_id, "a.note", 1)
        assert ada.get_peer_info(ben.peer_id).state == "banned"
        assert [ban.reason for ban in ada.bans()] == ["spam"]
        await in_the_end(lambda: heard.of(PeerWasUnbanned))
        assert ada.bans() == []
        await connect(ben, ada)


@leaping
async def test_a_lifted_ban_lets_the_peer_back() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await ada.ban_peer(ben.peer_id)
        await ada.unban_peer(ben.peer_id)
        with pytest.raises(UnknownPeer):
            await ada.unban_peer(ben.peer_id)
        await connect(ada, ben)


@leaping
async def test_the_far_end_of_a_connection_that_the_peer_opened_is_no_address_of_it() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        heard = Heard(ben)
        await connect(ada, ben)
        await until(lambda: ben.get_peer_info(ada.peer_id).addresses)
        assert set(ben.get_peer_info(ada.peer_id).addresses) <= set(ada.addresses), "as it says of itself"
        await until(lambda: heard.of(PeerConnected))
        assert not heard.of(PeerConnected)[0].outbound
        assert heard.of(PeerConnected)[0].address in ada.addresses
        await ada.disconnect_peer(ben.peer_id)
        await until(lambda: not ben.connected_peers())
        assert set(ben.get_peer_info(ada.peer_id).addresses) <= set(ada.addresses)
        assert await ben.connect_peer(ada.peer_id) == ada.peer_id


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
async def test_hints_bring_nobody_back_whom_the_operator_disconnected() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await ada.disconnect_peer(ben.peer_id)
        await two_hours_without(ada, ben)


@leaping
@pytest.mark.parametrize("duration", [None, timedelta(minutes=1)])
async def test_hints_bring_nobody_back_after_a_ban(duration: timedelta | None) -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await ada.ban_peer(ben.peer_id, duration)
        if duration is None:
            await ada.unban_peer(ben.peer_id)
        await in_the_end(lambda: not ada.bans())
        await two_hours_without(ada, ben)
        await connect(ada, ben)


@leaping
async def test_a_peer_disconnected_in_the_moment_of_its_loss_can_be_kept_again() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        (connection,) = ada._node.peers._roster.obtain(ben.peer_id).connections
        ada._node.router.on_network_events([ConnectionClosed(connection, ben.peer_id, "gone", 0)])
        await ada.disconnect_peer(ben.peer_id)
        await until(lambda: not ben.connected_peers())
        await connect(ada, ben)
        w.fabric.cut(ada.peer_id, ben.peer_id)
        await until(lambda: not ada.connected_peers())
        w.fabric.heal()
        await in_the_end(lambda: both_see(ada, ben))


@leaping
async def test_a_disconnect_ends_a_dial_that_is_under_way() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        w.fabric.cut(ada.peer_id, ben.peer_id)
        await until(lambda: ada.get_peer_info(ben.peer_id).state == "backing off")
        w.fabric.heal()
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(seconds=2)))
        await in_the_end(lambda: ada.get_peer_info(ben.peer_id).state == "dialling")
        await ada.disconnect_peer(ben.peer_id)
        await asyncio.sleep(600)
        assert ada.get_peer_info(ben.peer_id).state == "known"


@leaping
async def test_a_peer_that_answers_and_breaks_off_at_once_is_not_waited_for() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        opened = ConnectionOpened(7_000, ben.peer_id, ben.addresses[0], outbound=True)
        ada._node.router.on_network_events([opened, ConnectionClosed(7_000, ben.peer_id, "no room", 0)])
        record = ada._node.peers._roster.obtain(ben.peer_id)
        with pytest.raises(ConnectionFailed, match="no room"):
            await ada._node.peers._dialler._until_connected(record, [ben.addresses[0]])


@leaping
async def test_a_peer_that_came_back_by_itself_is_sought_like_any_other() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await ada.disconnect_peer(ben.peer_id)
        await connect(ben, ada)
        await ben.disconnect_peer(ada.peer_id)
        await until(lambda: not ada.connected_peers())
        hint(ada, ben)
        await in_the_end(lambda: both_see(ada, ben))


@leaping
async def test_ten_thousand_strangers_do_not_wash_away_whom_the_operator_disconnected() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await ada.disconnect_peer(ben.peer_id)
        await until(lambda: ada.get_peer_info(ben.peer_id).direction == "")
        for number in range(10_000):
            ada._node.router.on_network_events([TopicJoined(f"stranger-{number}", "/covm/none")])
            ada._node.router.on_network_events([ConnectionClosed(number, f"stranger-{number}", "gone", 0)])
        hint(ada, ben)
        await asyncio.sleep(600)
        assert ada.connected_peers() == []


@leaping
async def test_a_ban_stands_whatever_was_still_under_way() -> None:
    async with world() as w:
        w.fabric._faults = LinkFaults(latency=timedelta(milliseconds=40))
        ada, ben = await w.start("ada"), await w.start("ben")
        heard = Heard(ben)
        joining = asyncio.create_task(ada.connect_peer(ben.addresses[0]))
        await until(lambda: ben.peers() and ben.get_peer_info(ada.peer_id).direction)
        record = ben._node.peers._roster.get(ada.peer_id)
        assert record is not None
        await until(lambda: record.admitted)
        await ben.ban_peer(ada.peer_id)
        for _ in range(2):
            ben._node.router.on_network_events([TopicJoined(ada.peer_id, ben.federation_id.topic)])
            ben._node.peers.direct_ready(ada.peer_id)
        assert ben.get_peer_info(ada.peer_id).state == "banned"
        with pytest.raises(PeerNotConnected):
            await ben.disconnect_peer(ada.peer_id)
        with pytest.raises(ConnectionFailed):
            await joining
        assert ben.get_peer_info(ada.peer_id).state == "banned"
        assert not heard.of(PeerConnected)


@leaping
@pytest.mark.parametrize("state", ["dialling", "backing off"])
async def test_a_ban_ends_a_connect_that_is_still_trying(state: str) -> None:
    async with world() as w:
        ada, gone = await w.start("ada"), Identity.generate().peer_id
        trying = asyncio.create_task(ada.connect_peer(f"/ip4/127.0.0.1/tcp/9/p2p/{gone}"))
        await until(lambda: [peer.state for peer in ada.peers()] == [state])
        await ada.ban_peer(gone, reason="spam")
        states: set[str] = set()
        while not trying.done():
            states.add(ada.get_peer_info(gone).state)
            await asyncio.sleep(0.001)
        assert states == {"banned"}
        with pytest.raises(PeerBanned, match="spam"):
            await trying
        assert ada.get_peer_info(gone).state == "banned"


@leaping
async def test_a_bootstrap_peer_that_is_banned_is_not_dialled(tmp_path: Path) -> None:
    async with world() as w:
        ben = await w.start("ben")
        first = await w.start("ada", home=str(tmp_path), bootstrap_peers=[ben.addresses[0]])
        await until(lambda: both_see(first, ben))
        await first.ban_peer(ben.peer_id, timedelta(hours=2))
        await first.stop()
        again = await w.start("ada", home=str(tmp_path), bootstrap_peers=[ben.addresses[0]])
        await asyncio.sleep(3600)
        assert again.get_peer_info(ben.peer_id).state == "banned"
        await in_the_end(lambda: not again.bans(), timeout=timedelta(hours=3))
        await asyncio.sleep(3600)
        assert again.connected_peers() == []


@leaping
async def test_an_address_at_which_somebody_else_answered_is_forgotten() -> None:
    async with world() as w:
        ada, ben, cleo = await w.start("ada"), await w.start("ben"), await w.start("cleo")
        wrong = ben.addresses[0].replace(ben.peer_id, cleo.peer_id)
        with pytest.raises(WrongPeer):
            await ada.connect_peer(wrong)
        status = ada.get_peer_info(cleo.peer_id)
        assert status.addresses == ()
        assert f"answered as {ben.peer_id}" in status.why
        with pytest.raises(UnknownPeer):
            await ada.connect_peer(cleo.peer_id)


@leaping
async def test_a_bootstrap_peers_address_is_kept_although_somebody_else_answers_there() -> None:
    async with world() as w:
        ben, cleo = await w.start("ben"), w.make("cleo")
        taken = ben.addresses[0].replace(ben.peer_id, cleo.peer_id)
        ada = await w.start("ada", bootstrap_peers=[taken])
        await asyncio.sleep(600)
        assert ada.get_peer_info(cleo.peer_id).addresses == (taken,)
        await ben.stop()
        cleo._node.network._listen = (taken.partition("/p2p/")[0],)  # type: ignore[attr-defined]
        async with cleo:
            await in_the_end(lambda: both_see(ada, cleo))


@leaping
async def test_a_node_does_not_ban_itself() -> None:
    async with world() as w:
        ada = await w.start("ada")
        with pytest.raises(NotAuthorized):
            await ada.ban_peer(ada.peer_id)


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
        assert again[0].incarnation > received[0].incarnation, "a clock set back does not go back"


@leaping
async def test_a_second_node_on_one_home_is_told(tmp_path: Path) -> None:
    async with world() as w:
        await w.start("ada", home=str(tmp_path))
        with pytest.raises(HomeInUse):
            await w.make("ben", home=str(tmp_path)).start()


@leaping
async def test_a_damaged_state_file_is_told_and_never_replaced(tmp_path: Path) -> None:
    async with world() as w:
        (tmp_path / "node-state.json").write_text('{"incarnation": "no"')
        with pytest.raises(StateDamaged):
            await w.make("ada", home=str(tmp_path)).start()
        assert (tmp_path / "node-state.json").read_text() == '{"incarnation": "no"'
        (tmp_path / "node-state.json").unlink()
        await w.start("ada", home=str(tmp_path))


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
        await w.start("ben", home=str(tmp_path))


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
