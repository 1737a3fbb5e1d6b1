"""Whom the operator sends away, by disconnecting or banning, and how such a peer comes back."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.service_world import Heard, LoopClock, both_see, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation import FederationService, Identity
from covm.federation.errors import (
    ConnectionFailed,
    NotAuthorized,
    PeerBanned,
    PeerNotConnected,
    StoreUnavailable,
    UnknownPeer,
)
from covm.federation.events import PeerConnected, PeerDisconnected, PeerWasUnbanned
from covm.federation.network.interface import ConnectionClosed, PeerDiscovered, TopicJoined
from covm.federation.network.simulated import LinkFaults
from covm.federation.peers.bans import Ban
from covm.federation.peers.book import Source
from covm.testing import until


def hint(to: FederationService, about: FederationService) -> None:
    """What Kademlia or mDNS tells a node about another."""
    to._node.router.on_network_events([PeerDiscovered(about.peer_id, about.addresses, "kademlia")])


def plain(node: FederationService) -> str:
    return node.addresses[0].partition("/p2p/")[0]


async def two_hours_without(node: FederationService, other: FederationService) -> None:
    """Two hours pass, with a hint every minute, and nothing is tried."""
    for _ in range(2 * 60):
        hint(node, other)
        await asyncio.sleep(60)
        assert node.get_peer_info(other.peer_id).state == "known"


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
        await until(lambda: len(heard.events) >= 2)
        assert [type(event) for event in heard.events] == [PeerDisconnected, PeerConnected]
        assert (await ada.publish("a.note", 1)).peers == 1


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
async def test_a_node_does_not_ban_itself() -> None:
    async with world() as w:
        ada = await w.start("ada")
        with pytest.raises(NotAuthorized):
            await ada.ban_peer(ada.peer_id)


@leaping
async def test_a_ban_ends_and_everything_else_goes_on_although_the_home_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        ada, ben, cleo = await w.start("ada", home=str(tmp_path)), await w.start("ben"), await w.start("cleo")
        await ada.ban_peer(ben.peer_id, timedelta(seconds=2))
        trouble = StoreUnavailable(str(tmp_path), "a test is in the way")
        write = ada._node.store.write

        async def refuse(job: Any) -> Any:
            raise trouble

        monkeypatch.setattr(ada._node.store, "write", refuse)
        with caplog.at_level(logging.WARNING):
            await asyncio.sleep(60)
        assert ada.bans() == []
        assert [record.message for record in caplog.records if "bans are over" in record.message] != []
        said = [record for record in caplog.records if record.name == "covm.federation.peers"]
        assert len(said) == 1, "it is said once"
        await connect(ben, ada)
        hint(ada, cleo)
        await in_the_end(lambda: both_see(ada, cleo))
        monkeypatch.setattr(ada._node.store, "write", write)
        await asyncio.sleep(5)
        await ada.stop()
        again = await w.start("ada", home=str(tmp_path))
        assert again.bans() == []


@leaping
async def test_a_fault_in_one_part_of_the_upkeep_leaves_the_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        bans = ada._node.peers._bans

        def fault(now_ms: int) -> list[Ban]:
            raise RuntimeError("a fault")

        monkeypatch.setattr(bans, "expired", fault)
        await asyncio.sleep(10)
        record = ada._node.peers._roster.obtain(ben.peer_id)
        record.deadline_s = 0.0
        ada._node.peers._roster.book.add(ben.peer_id, [plain(ben)], Source.KADEMLIA, ada._node.clock.now_ms())
        await in_the_end(lambda: record.deadline_s is None)
        await in_the_end(lambda: both_see(ada, ben))


@leaping
async def test_a_wall_clock_set_back_prolongs_no_ban() -> None:
    async with world() as w:
        clock = LoopClock()
        ada, ben = await w.start("ada", clock=clock), await w.start("ben")
        await ada.ban_peer(ben.peer_id, timedelta(seconds=2))
        clock.ahead_ms = -365 * 24 * 3600 * 1000
        await asyncio.sleep(5)
        assert ada.bans() == []


@leaping
async def test_a_ban_of_an_earlier_life_ends_in_time_when_the_wall_clock_is_set_back_after_the_start(
    tmp_path: Path,
) -> None:
    async with world() as w:
        first, clock = await w.start("ada", home=str(tmp_path)), LoopClock()
        gone = Identity.generate().peer_id
        await first.ban_peer(gone, timedelta(seconds=20))
        await first.stop()
        again = await w.start("ada", home=str(tmp_path), clock=clock)
        clock.ahead_ms = -365 * 24 * 3600 * 1000
        await asyncio.sleep(10)
        assert [ban.peer for ban in again.bans()] == [gone]
        await asyncio.sleep(15)
        assert again.bans() == []


@leaping
async def test_a_new_ban_replaces_the_end_of_the_one_before() -> None:
    async with world() as w:
        ada, gone = await w.start("ada"), Identity.generate().peer_id
        await ada.ban_peer(gone, timedelta(seconds=2))
        await ada.ban_peer(gone)
        await asyncio.sleep(60)
        assert [ban.peer for ban in ada.bans()] == [gone]


@leaping
async def test_a_reason_that_is_no_text_is_kept_in_a_form_that_can_be_written(tmp_path: Path) -> None:
    async with world() as w:
        ada, gone = await w.start("ada", home=str(tmp_path)), Identity.generate().peer_id
        ban = await ada.ban_peer(gone, reason="spam \ud800" + "x" * 1000)
        assert ban.reason.startswith("spam \\ud800")
        await ada.stop()
        again = await w.start("ada", home=str(tmp_path))
        assert again.bans() == [ban]
