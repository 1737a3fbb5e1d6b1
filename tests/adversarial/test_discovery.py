"""Who answers where nodes look for each other, and lies: hints that lead to silence, a table full of one attacker.

Each attack is told twice: with the defence, and with it switched off, where it succeeds.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.adversarial.attacker import NOTE
from tests.adversarial.conftest import LOOPBACK, Scene, SceneMaker

from covm.federation import FederationConfig, FederationService, Identity
from covm.federation.peers import seeker
from covm.federation.peers.book import MAX_PER_GIVER, Source
from covm.federation.peers.health import Allowance
from covm.federation.peers.hints import BURST
from covm.federation.wire.hints import MAX_HINTS, PeerHint, PeerHints

DEFENDED = pytest.mark.parametrize("defended", [True, False], ids=["defended", "switched off"])

MOST_AT_ONCE = 8
"""Dials of hints that are under way at once."""


def invented(number: int) -> str:
    return Identity.from_seed(number.to_bytes(32, "big")).peer_id


class Silence:
    """A port that takes connections and says nothing; counts those that are open."""

    def __init__(self) -> None:
        self.open = self.most = self.taken = 0
        self.address = ""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.taken += 1
        self.most = max(self.most, self.open)
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def silence() -> AsyncIterator[Silence]:
    silent = Silence()
    server = await asyncio.start_server(silent.take, "127.0.0.1", 0)
    silent.address = f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}"
    async with server:
        yield silent


def lies(silent: Silence, start: int, count: int) -> list[PeerHints]:
    """Frames that name peers who do not exist, at an address that takes every connection."""
    hints = [PeerHint(peer=invented(start + number), addresses=[silent.address]) for number in range(count)]
    return [PeerHints(hints[begin : begin + MAX_HINTS]) for begin in range(0, count, MAX_HINTS)]


async def attacked_by_a_giver(make_scene: SceneMaker, silent: Silence, frames: int) -> Scene:
    """A peer that counts as connected tells a victim of hundreds of others that do not exist."""
    scene = await make_scene()
    attacker, stream, _ = await scene.trusted()
    await attacker.say(stream, *lies(silent, 0, frames * MAX_HINTS))
    return scene


# --- mDNS or DHT answers with hostile addresses, 100,000 of them: what peers tell of peers is no better


@DEFENDED
async def test_hints_that_lead_to_silence_keep_few_sockets_busy_and_good_peers_are_found(
    defended: bool, make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(seeker, "MAX_DIALS", 1_000)
    async with silence() as silent:
        scene = await attacked_by_a_giver(make_scene, silent, frames=4)
        await scene.until(lambda: silent.most >= MOST_AT_ONCE)
        if not defended:
            await scene.until(lambda: silent.most > 2 * MOST_AT_ONCE)
            return
        async with node("garden", bootstrap_peers=[scene.honest.addresses[0]]) as garden:
            # The honest node tells of it, and it calls too.
            await scene.until(lambda: garden.peer_id in scene.victim.connected_peers())
        assert silent.most <= MOST_AT_ONCE
        await scene.honest_is_heard()


@DEFENDED
async def test_of_what_one_peer_tells_little_is_kept_and_a_flood_is_charged(
    defended: bool, make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not defended:
        monkeypatch.setattr(Allowance, "take", lambda *_: True)
    async with silence() as silent:
        scene = await attacked_by_a_giver(make_scene, silent, frames=BURST + 8)
        book = scene.victim._node.peers._roster.book
        await scene.until(lambda: len(book) >= MAX_PER_GIVER)
        await scene.honest_is_heard()
        named = [
            peer for peer in book.peers() if Source.EXCHANGE in {each.source for each in book.known(peer).values()}
        ]
        assert len(named) <= MAX_PER_GIVER
        if defended:
            await scene.until_dropped("too_many_hints")
            assert sum(scene.charged.values()) == scene.dropped("too_many_hints") <= 8
        else:
            assert scene.dropped("too_many_hints") == 0


# --- eclipse of the DHT


def free_port() -> int:
    """A port at which nobody listens yet."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
    return port


@asynccontextmanager
async def node(name: str, **changes: Any) -> AsyncIterator[FederationService]:
    seed = name.encode().ljust(32, b".")
    fields = {"membership": "open", "name": name, "network": "attacked", "listen_addresses": LOOPBACK, **changes}
    async with FederationService(Identity.from_seed(seed), FederationConfig.preset("local", **fields)) as service:
        yield service


async def surrounded(scene: Scene, count: int) -> None:
    """Nodes of one attacker take what places there are, and fill the victim's table."""
    sybils = [await scene.attacker(kademlia=True) for _ in range(count)]
    for sybil in sybils:
        await sybil.listen()
        await sybil.join(scene.victim)
    book = scene.victim._node.peers._roster.book
    for sybil in sybils:
        await scene.until(lambda sybil=sybil: any(known.is_found for known in book.known(sybil.peer_id).values()))  # type: ignore[misc]


@DEFENDED
async def test_in_a_table_full_of_one_attacker_the_bootstrap_suffices_to_find_the_others(
    defended: bool, make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    lighthouse_id = Identity.from_seed(b"lighthouse".ljust(32, b".")).peer_id
    address = f"/ip4/127.0.0.1/tcp/{free_port()}"
    with monkeypatch.context() as patch:
        if not defended:
            patch.setattr(seeker.Seeker, "keep", lambda *_: None)
        scene = await make_scene(max_connections=8, bootstrap_peers=[f"{address}/p2p/{lighthouse_id}"])
    # With the honest node, which knows nobody else, they take all places.
    await surrounded(scene, 7)
    async with (
        node("lighthouse", listen_addresses=[address]) as lighthouse,
        node("garden", bootstrap_peers=lighthouse.addresses) as garden,
    ):
        await scene.until(lambda: garden.connected_peers())
        if not defended:
            for _ in range(100):
                scene.victim._node.peers._seeker.consider_all()
                await asyncio.sleep(0)
            assert scene.victim._node.peers._roster.get(lighthouse_id) is None
            return
        await scene.until(lambda: lighthouse_id in scene.victim.connected_peers())
        await garden.publish(NOTE, "the way is free")
        await scene.until(lambda: scene.heard_from(garden.peer_id))
