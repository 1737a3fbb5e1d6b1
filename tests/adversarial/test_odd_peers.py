"""Peers that answer and are of no use: silent ones, mute ones, and one that never stops saying where it is.

THREATS.md, rows *peers* and *messages*: each costs a bounded time, place and memory, and others go on.
"""

from __future__ import annotations

import asyncio

import pytest
from tests.adversarial.attacker import PATIENCE_S, Attacker
from tests.adversarial.conftest import Scene, SceneMaker

from covm import _native
from covm.federation import ConnectionRetry
from covm.federation.errors import ConnectionFailed
from covm.federation.peers.book import MAX_ADDRESSES
from covm.federation.peers.health import INFOS_AT_ONCE, INFOS_PER_S, Allowance
from covm.federation.wire.hints import PeerHint, PeerHints
from covm.federation.wire.system import PeerInfo

NOBODY = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
ONCE = ConnectionRetry(max_retries=0)


async def test_who_accepts_and_says_nothing_is_told_with_its_address_and_held_up_nobody(make_scene: SceneMaker) -> None:
    """A socket that takes connections: a port that was forwarded to something else, or a program that hangs."""
    scene = await make_scene(connection_retry=ONCE)
    accepted: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0)
    async with server:
        address = f"/ip4/127.0.0.1/tcp/{server.sockets[0].getsockname()[1]}"
        dialling = asyncio.create_task(scene.victim.connect_peer(f"{address}/p2p/{NOBODY}"))
        await scene.honest_is_heard()
        async with asyncio.timeout(2 * PATIENCE_S):
            with pytest.raises(ConnectionFailed) as failed:
                await dialling
        assert address in str(failed.value)
        assert len(accepted) == 1, "one try was asked for"
        for writer in accepted:
            writer.close()
    await scene.honest_is_heard()


async def test_who_proves_its_key_and_never_answers_hello_is_let_go(make_scene: SceneMaker) -> None:
    scene = await make_scene(connection_retry=ONCE)
    mute = await scene.attacker()
    mute.is_mute = True
    await mute.listen()
    with pytest.raises(ConnectionFailed, match="join failed"):
        await scene.victim.connect_peer(mute.address)
    await mute.dial(scene.victim)
    await mute.take("closed")
    assert mute.peer_id not in scene.victim.connected_peers()
    await scene.honest_is_heard()


def info(number: int) -> PeerInfo:
    """A peer that is somewhere else each time."""
    addresses = [f"/ip4/198.51.100.{number % 250 + 1}/tcp/{1024 + number + port}" for port in range(MAX_ADDRESSES)]
    return PeerInfo(name="m", version="1", addresses=addresses, capabilities=[], types_digest=bytes(32))


async def flood(scene: Scene, times: int = 1) -> Attacker:
    """Says where it is as often as the victim reads it, over as many streams as it takes."""
    peer, stream, _ = await scene.trusted("restless")
    await peer.say(stream, *(info(number) for number in range(times * 4 * INFOS_AT_ONCE)))
    return peer


@pytest.mark.parametrize("times", [1, 2])
async def test_a_flood_of_peer_info_is_cut_off_charged_and_pushes_nothing_out_of_the_book(
    scene: Scene, times: int
) -> None:
    peer = await flood(scene, times)
    await scene.until_dropped("too_much_peer_info")
    assert scene.charged[peer.peer_id] >= 1
    assert len(scene.victim.get_peer_info(peer.peer_id).addresses) <= MAX_ADDRESSES
    assert scene.victim.get_peer_info(scene.honest.peer_id).addresses
    await scene.honest_is_heard()


async def test_without_the_defence_a_flood_of_peer_info_is_read_to_its_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Allowance, "take", lambda *_: True)
    peer = await flood(scene)
    last = info(4 * INFOS_AT_ONCE - 1).addresses[0]
    record = scene.victim._node.peers._roster.obtain(peer.peer_id)
    await scene.until(lambda: record.info is not None and record.info.addresses[0] == last)
    assert not scene.dropped("too_much_peer_info")


def test_a_peer_may_say_what_it_is_many_times_at_once_and_then_now_and_then() -> None:
    allowance = Allowance(1_000.0, INFOS_AT_ONCE)

    def take(now_s: float) -> bool:
        return allowance.take(now_s, INFOS_PER_S, INFOS_AT_ONCE)

    assert all(take(1_000.0) for _ in range(INFOS_AT_ONCE))
    assert not take(1_000.0)
    later_s = 1_000.0 + 1 / INFOS_PER_S
    assert take(later_s)
    assert not take(later_s)
    assert sum(take(1e9) for _ in range(10 * INFOS_AT_ONCE)) == INFOS_AT_ONCE, "what is not used is not saved for ever"


async def test_a_hint_that_names_a_peer_and_no_place_spoils_no_address_of_it(scene: Scene) -> None:
    known = scene.honest.peer_id
    liar, stream, _ = await scene.trusted("liar")
    await scene.honest.disconnect_peer(scene.victim.peer_id)
    await scene.until(lambda: known not in scene.victim.connected_peers())
    last = PeerHint(peer=NOBODY, addresses=["/ip4/127.0.0.1/tcp/1"])
    await liar.say(stream, PeerHints([PeerHint(peer=known, addresses=[f"/p2p/{known}"]), last]))
    await scene.until(lambda: NOBODY in {peer.peer_id for peer in scene.victim.peers()})
    assert await scene.victim.connect_peer(known) == known


async def test_hints_of_what_can_be_no_peer_are_refused_and_make_no_fault(scene: Scene) -> None:
    liar, stream, _ = await scene.trusted("liar")
    nobodies = [{"peer": f"x{number}\x1b[31m\n", "addresses": ["/ip4/127.0.0.1/tcp/1"]} for number in range(30)]
    await liar.say(stream, _native.encode({"t": "peer_hints", "peers": nobodies}))
    await scene.until_dropped("malformed_frame")
    assert scene.charged[liar.peer_id] >= 1
    await scene.honest_is_heard()
    assert scene.victim.stats()["faults"] == 0
    assert not [peer for peer in scene.victim.peers() if peer.peer_id.startswith("x")]
