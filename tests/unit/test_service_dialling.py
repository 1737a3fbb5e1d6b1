"""What comes of dialling an address: who answers there, who does not, and what is remembered of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.unit.service_world import Heard, both_see, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation import ConnectionRetry, Identity
from covm.federation.errors import ConnectionFailed, InvalidAddress, NotStarted, UnknownPeer, WrongPeer
from covm.federation.events import PeerConnected
from covm.federation.network.interface import ConnectionClosed, ConnectionOpened, PeerDiscovered
from covm.federation.network.simulated import LinkFaults
from covm.testing import until


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
async def test_a_peer_that_answers_and_breaks_off_at_once_is_not_waited_for() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        opened = ConnectionOpened(7_000, ben.peer_id, ben.addresses[0], outbound=True)
        ada._node.router.on_network_events([opened, ConnectionClosed(7_000, ben.peer_id, "no room", 0)])
        record = ada._node.peers._roster.obtain(ben.peer_id)
        with pytest.raises(ConnectionFailed, match="no room"):
            await ada._node.peers._dialler._until_connected(record, [ben.addresses[0]])


@leaping
async def test_what_became_of_an_earlier_connection_does_not_end_the_wait_for_a_newer_one() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        for connection in (7_000, 7_001):
            opened = ConnectionOpened(connection, ben.peer_id, ben.addresses[0], outbound=connection == 7_001)
            ada._node.router.on_network_events([opened])
            if not opened.outbound:
                ada._node.router.on_network_events([ConnectionClosed(connection, ben.peer_id, "gone", 0)])
        record = ada._node.peers._roster.obtain(ben.peer_id)
        waiting = asyncio.create_task(ada._node.peers._dialler._until_connected(record, [ben.addresses[0]]))
        await until(lambda: record.waiters)
        ada._node.router.on_network_events([ConnectionClosed(7_001, ben.peer_id, "no room", 0)])
        with pytest.raises(ConnectionFailed, match="no room"):
            await waiting


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
async def test_a_connect_that_its_caller_gave_up_leaves_the_peer_to_be_found_by_hints() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(seconds=5)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ada.connect_peer(ben.addresses[0]), 0.3)
        assert ada.get_peer_info(ben.peer_id).state == "known"
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults())
        ada._node.router.on_network_events([PeerDiscovered(ben.peer_id, ben.addresses, "kademlia")])
        await in_the_end(lambda: both_see(ada, ben))


@leaping
async def test_two_that_hear_of_each_other_in_one_moment_do_not_both_dial() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(milliseconds=50)))
        for one, other in ((ada, ben), (ben, ada)):
            one._node.router.on_network_events([PeerDiscovered(other.peer_id, other.addresses, "mdns")])
        await in_the_end(lambda: both_see(ada, ben), timedelta(seconds=10))
        await asyncio.sleep(60)
        assert {ada.get_peer_info(ben.peer_id).direction, ben.get_peer_info(ada.peer_id).direction} == {
            "inbound",
            "outbound",
        }


@leaping
async def test_who_hears_of_a_peer_that_cannot_dial_dials_it_a_moment_later() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        late, early = sorted((ada, ben), key=lambda node: node.peer_id, reverse=True)
        late._node.router.on_network_events([PeerDiscovered(early.peer_id, early.addresses, "mdns")])
        await in_the_end(lambda: both_see(ada, ben), timedelta(seconds=10))


@leaping
async def test_a_connect_given_up_between_two_tries_is_not_said_to_go_on() -> None:
    async with world() as w:
        ada, gone = await w.start("ada"), Identity.generate().peer_id
        trying = asyncio.create_task(ada.connect_peer(f"/ip4/127.0.0.1/tcp/9/p2p/{gone}"))
        await until(lambda: ada.peers() and ada.get_peer_info(gone).state == "backing off")
        trying.cancel()
        await asyncio.wait([trying])
        assert ada.get_peer_info(gone).state == "known"
        assert "the next is in" not in ada.get_peer_info(gone).why


@leaping
async def test_one_of_two_who_connect_to_a_peer_may_give_up_and_it_is_still_dialled() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(seconds=5)))
        one, other = (asyncio.create_task(ada.connect_peer(ben.addresses[0])) for _ in range(2))
        await until(lambda: ada.peers() and ada.get_peer_info(ben.peer_id).state == "dialling")
        one.cancel()
        await asyncio.wait([one])
        assert ada.get_peer_info(ben.peer_id).state == "dialling"
        other.cancel()
        await asyncio.wait([other])
        assert ada.get_peer_info(ben.peer_id).state == "known"


@leaping
@pytest.mark.parametrize("state", ["dialling", "backing off"])
async def test_whoever_waits_for_a_connect_is_told_at_once_that_the_node_stops(state: str) -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(seconds=20)))
        gone = f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.generate().peer_id}"
        trying = asyncio.create_task(ada.connect_peer(ben.addresses[0] if state == "dialling" else gone))
        await until(lambda: [peer.state for peer in ada.peers()] == [state])
        began_s = asyncio.get_running_loop().time()
        ada._node.peers.stop()
        with pytest.raises(NotStarted):
            await trying
        assert asyncio.get_running_loop().time() == began_s


@leaping
async def test_whoever_waits_for_a_peer_that_answered_is_told_at_once_that_the_node_stops() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        w.fabric.set_faults(ada.peer_id, ben.peer_id, LinkFaults(latency=timedelta(seconds=1)))
        trying = asyncio.create_task(ada.connect_peer(ben.addresses[0]))
        await in_the_end(lambda: ada.peers() and ada.get_peer_info(ben.peer_id).direction)
        assert not ada.connected_peers()
        ada._node.peers.stop()
        with pytest.raises(NotStarted):
            await trying


@leaping
async def test_who_comes_by_itself_while_it_is_tried_in_vain_is_connected_and_kept() -> None:
    async with world() as w:
        slow = ConnectionRetry(base_delay=timedelta(hours=1), max_delay=timedelta(hours=1))
        ada, ben = await w.start("ada", connection_retry=slow), await w.start("ben")
        connecting = asyncio.create_task(ada.connect_peer(f"/ip4/127.0.0.1/tcp/999/p2p/{ben.peer_id}"))
        await until(lambda: [peer.state for peer in ada.peers()] == ["backing off"])
        await connect(ben, ada)
        async with asyncio.timeout(60):
            assert await connecting == ben.peer_id
        assert ada.get_peer_info(ben.peer_id).kept


@leaping
async def test_a_peer_id_alone_is_no_place_and_spoils_no_other() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        await connect(ada, ben)
        with pytest.raises(InvalidAddress, match="names a peer and no place"):
            await ada.connect_peer(f"/p2p/{ben.peer_id}")
        assert all(way.address.startswith("/ip4/") for way in ada.get_peer_info(ben.peer_id).ways)
