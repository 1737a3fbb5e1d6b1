"""A machine that slept, or has moved: what was connected is tested, what was sought is sought at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.service_world import Heard, LoopClock, both_see, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation import FederationService
from covm.federation.events import NetworkChanged, PeerLost
from covm.federation.network.simulated import LinkFaults
from covm.federation.peers.network_change import ANSWER_WITHIN_S, SLEPT_S, Change, NetworkWatch
from covm.federation.wire.multiaddr import hosts_of
from covm.testing import until

HOME = hosts_of(["/ip4/192.168.1.5/tcp/1", "/ip4/127.0.0.1/tcp/1"])
AWAY = hosts_of(["/ip4/10.7.0.9/tcp/1", "/ip4/127.0.0.1/tcp/1"])


def test_time_that_passed_while_the_machine_slept_is_noticed_once() -> None:
    watch = NetworkWatch()
    assert watch.look(0, 100.0, HOME) is None
    assert watch.look(1_000, 101.0, HOME) is None
    assert watch.look(int(2_000 + SLEPT_S * 1_000), 102.0, HOME) is None, "a clock that is set a little"
    slept = watch.look(int(3_003_000 + SLEPT_S * 1_000 + 600_000), 103.0, HOME)
    assert slept is not None
    assert (slept.is_loss, "went on by 3600 s" in slept.why) == (True, True)
    assert watch.look(int(3_004_000 + SLEPT_S * 1_000 + 600_000), 104.0, HOME) is None


def test_a_clock_that_is_set_back_and_a_loop_that_was_busy_are_no_sleep() -> None:
    watch = NetworkWatch()
    assert watch.look(10**9, 100.0, HOME) is None
    assert watch.look(0, 101.0, HOME) is None
    assert watch.look(600_000, 701.0, HOME) is None


def test_other_addresses_are_noticed_once_they_have_settled_and_the_first_are_no_change() -> None:
    watch, told = NetworkWatch(), list[Change | None]()
    looks = [frozenset(), HOME, HOME, HOME | AWAY, AWAY, AWAY, AWAY, HOME, HOME]
    for second, hosts in enumerate(looks):
        told.append(watch.look(second * 1_000, float(second), hosts))
    assert [bool(each) for each in told] == [False, False, False, False, False, True, False, False, True]


def test_a_further_address_costs_no_connection() -> None:
    watch = NetworkWatch()
    looks = [HOME, HOME, HOME | AWAY, HOME | AWAY, HOME, HOME]
    told = [watch.look(second * 1_000, float(second), hosts) for second, hosts in enumerate(looks)]
    assert [change.is_loss for change in told if change is not None] == [False, True]


def fall_asleep(clock: LoopClock) -> None:
    clock.ahead_ms += 3_600_000


def move(node: FederationService) -> None:
    network: Any = node._node.network
    network._addresses = tuple(address.replace("127.0.0.1", "127.0.0.9") for address in network._addresses)


@leaping
@pytest.mark.parametrize("what", ["sleep", "move"])
async def test_a_connection_that_died_meanwhile_is_given_up_within_seconds(what: str) -> None:
    async with world() as w:
        clock = LoopClock()
        ada = await w.start("ada", clock=clock, heartbeat_interval=timedelta(minutes=10))
        ben, cleo = [await w.start(name, heartbeat_interval=timedelta(minutes=10)) for name in ("ben", "cleo")]
        for other in (ben, cleo):
            await ada.connect_peer(other.addresses[0])
        await until(lambda: both_see(ada, ben) and both_see(ada, cleo))
        heard = Heard(ada)
        await asyncio.sleep(60)
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(hours=1)))
        if what == "sleep":
            fall_asleep(clock)
        else:
            move(ada)
        await asyncio.sleep(ANSWER_WITHIN_S + 4)
        assert [event.peer for event in heard.of(PeerLost)] == [ben.peer_id]
        assert both_see(ada, cleo)
        assert len(heard.of(NetworkChanged)) == 1


@leaping
async def test_what_waited_to_be_dialled_is_dialled_at_once() -> None:
    async with world() as w:
        clock = LoopClock()
        ada, ben = await w.start("ada", clock=clock), await w.start("ben")
        ada._node.peers._seeker._kept_wait = type(ada._node.peers._seeker._kept_wait)(1.0, 3_600.0)
        await ada.connect_peer(ben.addresses[0])
        w.fabric.cut(ada.peer_id, ben.peer_id)
        await in_the_end(lambda: (ada.get_peer_info(ben.peer_id).next_try_ms or 0) > clock.now_ms() + 600_000)
        w.fabric.heal()
        fall_asleep(clock)
        await in_the_end(lambda: both_see(ada, ben), timedelta(seconds=4))
