"""Measuring the way to a peer, on the simulated network."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.service_world import world
from tests.unit.simulated_world import leaping

from covm.federation.errors import PeerNotConnected, UnknownPeer
from covm.federation.network.simulated import LinkFaults
from covm.federation.peers.health import ANSWERS_AT_ONCE, Allowance
from covm.testing import until


@leaping
async def test_a_ping_measures_each_way_there_and_back() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(milliseconds=40)))
        for _ in range(2):
            ping = await ada.ping_peer(ben.peer_id, 5)
            assert ping.round_trips_ms == pytest.approx((80, 80, 80, 80, 80), abs=1)
            assert (ping.lost, ping.relayed, ping.relayed_why) == (0, False, "")


@leaping
async def test_what_is_not_answered_in_time_is_counted_as_lost() -> None:
    async with world() as w:
        ada, ben = await w.pair(heartbeat_interval=timedelta(hours=1))
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(seconds=10)))
        ping = await ada.ping_peer(ben.peer_id, 2)
        assert (ping.round_trips_ms, ping.lost) == ((), 2)


@leaping
async def test_only_who_is_connected_can_be_measured_and_no_more_often_than_is_answered() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        with pytest.raises(UnknownPeer):
            await ada.ping_peer("nobody")
        with pytest.raises(ValueError, match="1 to 16"):
            await ada.ping_peer(ben.peer_id, ANSWERS_AT_ONCE + 1)
        w.fabric.cut(ada.peer_id, ben.peer_id)
        await until(lambda: not ada.connected_peers())
        with pytest.raises(PeerNotConnected, match="the connection was closed"):
            await ada.ping_peer(ben.peer_id)


def test_who_asks_without_a_pause_is_answered_now_and_then() -> None:
    allowance = Allowance(0.0, ANSWERS_AT_ONCE)
    given = sum(allowance.take(second / 100, 1.0, ANSWERS_AT_ONCE) for second in range(100 * 60))
    assert ANSWERS_AT_ONCE + 58 <= given <= ANSWERS_AT_ONCE + 60
