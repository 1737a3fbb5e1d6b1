"""Peers that a node finds again by itself: after a loss, after a restart, after hours."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.service_world import World, both_see, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation import ConnectionRetry, FederationService, Identity
from covm.federation.errors import InvalidAddress, NotAdmitted, PeerNotConnected
from covm.federation.network.interface import PeerDiscovered
from covm.testing import until

SHORT = timedelta(seconds=30)


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Dials:
    """When a node dialled a peer; what it dials with goes on as it was."""

    def __init__(self, node: FederationService, peer: str) -> None:
        self.at_s: list[float] = []
        dial = node._node.network.dial

        async def noted(whom: str | None, addresses: Any) -> str:
            if whom == peer:
                self.at_s.append(now_s())
            return await dial(whom, addresses)

        node._node.network.dial = noted  # type: ignore[method-assign,assignment]


async def again(w: World, name: str, before: FederationService, **changes: Any) -> FederationService:
    """The node at its former address, once it has stopped."""
    addresses = before.addresses
    await before.stop()
    node = w.make(name, **changes)
    node._node.network._listen = tuple(address.partition("/p2p/")[0] for address in addresses)  # type: ignore[attr-defined]
    return await w._stack.enter_async_context(node)


@leaping
async def test_a_restarted_node_finds_its_peers_although_its_bootstrap_is_gone(tmp_path: Path) -> None:
    async with world() as w:
        hub, ben = await w.start("hub"), await w.start("ben")
        ada = await w.start("ada", home=str(tmp_path), bootstrap_peers=[hub.addresses[0]])
        await until(lambda: both_see(ada, hub))
        ada._node.router.on_network_events([PeerDiscovered(ben.peer_id, ben.addresses, "kademlia")])
        await until(lambda: both_see(ada, ben))
        await hub.stop()
        ada = await again(w, "ada", ada, home=str(tmp_path))
        await in_the_end(lambda: both_see(ada, ben), SHORT)


@leaping
async def test_a_restarted_node_dials_also_those_who_had_come_to_it(tmp_path: Path) -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben", home=str(tmp_path))
        await connect(ada, ben)
        await until(lambda: ben.get_peer_info(ada.peer_id).addresses)
        ada = await again(w, "ada", ada)
        ben = await again(w, "ben", ben, home=str(tmp_path))
        await in_the_end(lambda: both_see(ada, ben), SHORT)
        assert ben.get_peer_info(ada.peer_id).direction == "outbound"


@leaping
async def test_what_a_node_knew_when_it_was_killed_is_known_after_seconds_already(tmp_path: Path) -> None:
    async with world() as w:
        ada, ben = await w.start("ada", home=str(tmp_path)), await w.start("ben")
        await connect(ada, ben)
        await asyncio.sleep(11)
        ada._node.book_journal.save = lambda: asyncio.sleep(0)  # type: ignore[method-assign]
        ada = await again(w, "ada", ada, home=str(tmp_path))
        await in_the_end(lambda: both_see(ada, ben), SHORT)


@leaping
async def test_a_kept_connection_that_dies_is_there_again_at_once() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await asyncio.sleep(20)
        w.fabric.cut(ada.peer_id, ben.peer_id)
        w.fabric.heal()
        began_s = now_s()
        await until(lambda: both_see(ada, ben))
        assert now_s() - began_s < 1


@leaping
async def test_a_restarted_peer_is_there_again_within_a_second_of_its_return() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await asyncio.sleep(20)
        ben = await again(w, "ben", ben)
        began_s = now_s()
        await until(lambda: both_see(ada, ben))
        assert now_s() - began_s < 1


@leaping
async def test_a_peer_that_answers_and_breaks_off_again_and_again_is_not_hammered() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        dials = Dials(ada, ben.peer_id)
        for _ in range(600):
            if both_see(ada, ben):
                w.fabric.cut(ada.peer_id, ben.peer_id)
                w.fabric.heal()
            await asyncio.sleep(1)
        at_once = [later for before, later in zip(dials.at_s, dials.at_s[1:], strict=False) if later - before < 0.5]
        assert len(dials.at_s) < 600
        assert len(at_once) <= 600 / 10 + 1


@leaping
async def test_a_peer_that_refuses_is_asked_now_and_then_and_no_more() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        dials = Dials(ada, ben.peer_id)
        await ben.ban_peer(ada.peer_id)
        await asyncio.sleep(3600)
        assert 12 <= len(dials.at_s) <= 3600 / 4, "the longest wait is 5 s here"


@leaping
async def test_a_remembered_peer_is_sought_for_ever_at_growing_waits_up_to_a_quarter_of_an_hour() -> None:
    async with world() as w:
        ada, ben = [await w.start(name, heartbeat_interval=timedelta(hours=1)) for name in ("ada", "ben")]
        ada._node.router.on_network_events([PeerDiscovered(ben.peer_id, ben.addresses, "mdns")])
        await until(lambda: both_see(ada, ben))
        dials = Dials(ada, ben.peer_id)
        w.fabric.cut(ada.peer_id, ben.peer_id)
        await asyncio.sleep(6 * 3600)
        waits_s = [later - before for before, later in zip(dials.at_s, dials.at_s[1:], strict=False)]
        assert 6 * 4 <= len(dials.at_s) < 6 * 4 * 6
        assert max(waits_s) <= 15 * 60 + 2
        assert max(waits_s[:3]) < 30
        status = ada.get_peer_info(ben.peer_id)
        assert status.next_try_ms is not None
        assert status.ways[0].error
        w.fabric.heal()
        await in_the_end(lambda: both_see(ada, ben), timedelta(minutes=16))


@leaping
async def test_a_connect_clears_the_backoff() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        w.fabric.cut(ada.peer_id, ben.peer_id)
        await asyncio.sleep(3600)
        assert ada.get_peer_info(ben.peer_id).state == "backing off"
        w.fabric.heal()
        began_s = now_s()
        await ada.connect_peer(ben.peer_id)
        assert now_s() - began_s < 1
        w.fabric.cut(ada.peer_id, ben.peer_id)
        w.fabric.heal()
        await until(lambda: both_see(ada, ben))
        assert now_s() - began_s < 1


@leaping
async def test_an_address_without_hope_is_refused_with_the_reason() -> None:
    async with world() as w:
        ada, ben = await w.start("ada"), await w.start("ben")
        for address, why in (
            (f"/ip4/127.0.0.1/tcp/0/p2p/{ben.peer_id}", "port 0"),
            (f"/ip4/0.0.0.0/tcp/9/p2p/{ben.peer_id}", "every address"),
            (f"/ip4/127.0.0.1/sctp/9/p2p/{ben.peer_id}", "transport"),
        ):
            with pytest.raises(InvalidAddress, match=why):
                await ada.connect_peer(address)
        assert ada.peers() == []


# --- who has a place ---


@leaping
async def test_a_kept_peer_takes_the_place_of_one_that_only_came() -> None:
    async with world() as w:
        ada = await w.start("ada", max_connections=1)
        ben, cleo = await w.start("ben"), await w.start("cleo")
        await connect(ben, ada)
        await asyncio.sleep(20)
        await ada.connect_peer(cleo.addresses[0])
        await in_the_end(lambda: both_see(ada, cleo) and not ben.connected_peers(), SHORT)
        await in_the_end(lambda: "all 1 connections are in use" in ben.get_peer_info(ada.peer_id).last_error, SHORT)
        await asyncio.sleep(600)
        assert ada.connected_peers() == [cleo.peer_id], "nobody is pushed out in turn"


@leaping
async def test_a_pinned_peer_gets_in_at_once_where_everybody_else_is_refused() -> None:
    async with world() as w:
        pinned = w.make("pinned")
        ada = await w.start("ada", max_connections=2, pinned_peers=[pinned.peer_id])
        ben, cleo = await w.start("ben"), await w.start("cleo")
        await connect(ben, ada)
        with pytest.raises(NotAdmitted, match="all 2 connections are in use"):
            await cleo.connect_peer(ada.addresses[0])  # one place is the pinned peer's
        await until(lambda: not ada.get_peer_info(cleo.peer_id).direction)
        await connect(ada, cleo)
        async with pinned:
            await pinned.connect_peer(ada.addresses[0])
            await in_the_end(lambda: both_see(ada, pinned) and not ben.connected_peers(), SHORT)
            status = ada.get_peer_info(pinned.peer_id)
            assert (status.pinned, status.kept) == (True, True)


@leaping
async def test_a_pinned_peer_that_is_banned_keeps_nobody_out() -> None:
    async with world() as w:
        pinned = Identity.generate().peer_id
        ada = await w.start("ada", max_connections=2, pinned_peers=[pinned])
        await ada.ban_peer(pinned)
        for name in ("ben", "cleo"):
            await (await w.start(name)).connect_peer(ada.addresses[0])
        assert len(ada.connected_peers()) == 2


@leaping
async def test_a_remembered_peer_that_is_sought_can_be_left_in_peace() -> None:
    async with world() as w:
        ada, ben = await w.pair()
        await ben.stop()
        await until(lambda: not ada.connected_peers())
        await ada.disconnect_peer(ben.peer_id)
        await asyncio.sleep(3600)
        assert (ada.get_peer_info(ben.peer_id).state, ada.get_peer_info(ben.peer_id).kept) == ("known", False)
        with pytest.raises(PeerNotConnected):
            await ada.disconnect_peer(ben.peer_id)


@leaping
async def test_a_pinned_address_is_dialled_for_ever_as_a_bootstrap_peer_is() -> None:
    async with world() as w:
        ben = await w.start("ben")
        ada = await w.start("ada", pinned_peers=[ben.addresses[0]])
        await until(lambda: both_see(ada, ben))
        w.fabric.cut(ada.peer_id, ben.peer_id)
        await asyncio.sleep(3600)
        w.fabric.heal()
        await in_the_end(lambda: both_see(ada, ben), SHORT)


@leaping
async def test_a_peer_that_is_pinned_by_its_id_alone_is_dialled_as_soon_as_it_is_heard_of() -> None:
    async with world() as w:
        ben = await w.start("ben")
        slow = ConnectionRetry(base_delay=timedelta(hours=1), max_delay=timedelta(hours=1))
        ada = await w.start("ada", pinned_peers=[ben.peer_id], connection_retry=slow)
        await in_the_end(lambda: "no address is known" in ada.get_peer_info(ben.peer_id).last_error, SHORT)
        ada._node.router.on_network_events([PeerDiscovered(ben.peer_id, ben.addresses, "mdns")])
        await in_the_end(lambda: both_see(ada, ben), SHORT)


@leaping
async def test_hints_leave_a_place_for_those_who_come() -> None:
    async with world() as w:
        ada = await w.start("ada", max_connections=8)
        others = [await w.start(f"other-{number}") for number in range(8)]
        for other in others:
            ada._node.router.on_network_events([PeerDiscovered(other.peer_id, other.addresses, "mdns")])
        await in_the_end(lambda: len(ada.connected_peers()) == 7, SHORT)
        await asyncio.sleep(600)
        assert len(ada.connected_peers()) == 7
        (left,) = [other for other in others if not other.connected_peers()]
        await connect(left, ada)
