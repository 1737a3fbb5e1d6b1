"""Who lies about where peers are, and who takes all places: hints by the hundred thousand, eclipse, false `PeerInfo`.

Each attack is told twice: with the defence, and with it switched off, where it succeeds.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.service_world import World, both_see, connect, in_the_end, world
from tests.unit.simulated_world import leaping

from covm.federation import FederationService, Identity
from covm.federation.errors import ConnectionFailed, NotAdmitted
from covm.federation.network.interface import PeerDiscovered
from covm.federation.peers import connections
from covm.federation.peers.book import MAX_ADDRESSES, MAX_PEERS, AddressBook, Entry, Shelf
from covm.federation.peers.roster import Roster
from covm.federation.peers.trimming import Standing
from covm.federation.wire.system import PeerInfo
from covm.testing import until

FLOOD = 100_000
ENOUGH = 10_000
"""Hints that succeed where nothing is done against them."""
SHORT = timedelta(minutes=1)
DEFENDED = pytest.mark.parametrize("defended", [True, False], ids=["defended", "switched off"])


def flood(victim: FederationService, source: str, count: int) -> None:
    """Peers that do not exist, at addresses at which nobody listens."""
    take = victim._node.router.on_network_events
    for number in range(count):
        take([PeerDiscovered(f"{source}-{number}", (f"/ip4/127.0.0.1/tcp/{number % 60_000 + 1}/ws",), source)])


def restarted(w: World, name: str, home: Path) -> Any:
    return w.start(name, home=str(home))


# --- mDNS or DHT answers with hostile addresses, 100,000 of them


@DEFENDED
@leaping
async def test_a_hundred_thousand_hostile_hints_push_out_nobody_whom_the_node_knows_better(
    defended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(Entry, "best_shelf", lambda _: Shelf.MDNS)
        monkeypatch.setattr(AddressBook, "_is_spent", lambda *_: True)
    async with world() as w:
        honest = await w.start("honest")
        victim = await w.start("victim", home=str(tmp_path))
        victim._node.router.on_network_events([PeerDiscovered(honest.peer_id, honest.addresses, "mdns")])
        await until(lambda: both_see(victim, honest))
        w.fabric.cut(victim.peer_id, honest.peer_id)
        await until(lambda: not victim.connected_peers())
        for source in ("mdns", "kademlia"):
            flood(victim, source, (FLOOD if defended else ENOUGH) // 2)
        assert len(victim._node.peers._roster.book) <= MAX_PEERS
        await victim.stop()
        w.fabric.heal()
        again = await restarted(w, "victim", tmp_path)
        if defended:
            await in_the_end(lambda: both_see(again, honest), SHORT)
        else:
            await asyncio.sleep(60)
            assert not again.connected_peers()


@DEFENDED
@leaping
async def test_a_good_peer_among_hostile_hints_is_found_nevertheless(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        # A hint that came to nothing keeps its place, as if it might be good some day.
        monkeypatch.setattr(AddressBook, "note_failed", lambda *_: None)
    async with world() as w:
        victim, honest = await w.start("victim"), await w.start("honest")
        flood(victim, "mdns", FLOOD if defended else ENOUGH)
        for _ in range(5 * 60):
            # As nodes on a local network do, it says again and again that it is there.
            victim._node.router.on_network_events([PeerDiscovered(honest.peer_id, honest.addresses, "mdns")])
            await asyncio.sleep(1)
        assert both_see(victim, honest) is defended


# --- eclipse of the DHT


@DEFENDED
@leaping
async def test_where_attackers_have_all_places_bootstrap_and_pinned_peers_suffice(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(Roster, "standing", lambda *_: Standing.OTHER)
        monkeypatch.setattr(Roster, "places_reserved", 0)
    async with world() as w:
        bootstrap, pinned = await w.start("bootstrap"), w.make("pinned")
        address = bootstrap.addresses[0]
        w.fabric.cut(bootstrap.peer_id, w.make("victim").peer_id)
        victim = await w.start("victim", max_connections=4, bootstrap_peers=[address], pinned_peers=[pinned.peer_id])
        for number in range(8):
            attacker = await w.start(f"attacker-{number}")
            await _try_to_connect(attacker, victim)
        await asyncio.sleep(30)
        w.fabric.heal()
        async with pinned:
            await _try_to_connect(pinned, victim)
            await asyncio.sleep(60)
            assert (bootstrap.peer_id in victim.connected_peers()) is defended
            assert (pinned.peer_id in victim.connected_peers()) is defended


async def _try_to_connect(one: FederationService, other: FederationService) -> None:
    with suppress(NotAdmitted, ConnectionFailed):
        await one.connect_peer(other.addresses[0])


# --- a peer lies in `PeerInfo`


def lie(liar: FederationService, addresses: list[str]) -> None:
    info = liar._node.peers._describe()
    false = PeerInfo(name=info.name, version=info.version, addresses=addresses, capabilities=[], types_digest=bytes(32))
    liar._node.peers._describe = lambda: false
    liar._node.peers.announce()


@DEFENDED
@leaping
async def test_addresses_of_other_peers_in_a_peer_info_lead_nobody_astray(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        # The end of an address is cut off unread.
        monkeypatch.setattr(connections, "parse_address", lambda text: (text.partition("/p2p/")[0], None))
    async with world() as w:
        victim, honest, liar = await w.start("victim"), await w.start("honest"), await w.start("liar")
        await connect(victim, honest)
        await connect(liar, victim)
        await until(lambda: victim.get_peer_info(liar.peer_id).version)
        own = {way.address for way in victim.get_peer_info(liar.peer_id).ways}
        lie(liar, [honest.addresses[0], f"/ip4/127.0.0.1/tcp/9/p2p/{Identity.generate().peer_id}"])
        await asyncio.sleep(1)
        after = {way.address for way in victim.get_peer_info(liar.peer_id).ways}
        assert (after == own) is defended
        assert victim.stats()["dropped"].get("address_of_another_peer", 0) == (2 if defended else 0)


@leaping
async def test_a_peer_that_gives_anothers_address_as_its_own_gains_a_dial_and_loses_the_address() -> None:
    async with world() as w:
        victim, honest, liar = await w.start("victim"), await w.start("honest"), await w.start("liar")
        await connect(victim, honest)
        await connect(victim, liar)
        stolen = honest.addresses[0].partition("/p2p/")[0]
        lie(liar, [stolen, *(f"/ip4/198.51.100.7/tcp/{port}" for port in range(1, 32))])
        await until(lambda: any(way.address.startswith(stolen) for way in victim.get_peer_info(liar.peer_id).ways))
        assert len(victim.get_peer_info(liar.peer_id).ways) <= MAX_ADDRESSES
        await liar.stop()
        await asyncio.sleep(120)
        assert not any(way.address.startswith(stolen) for way in victim.get_peer_info(liar.peer_id).ways)
        assert both_see(victim, honest)
        assert any(way.address.startswith(stolen) for way in victim.get_peer_info(honest.peer_id).ways)
