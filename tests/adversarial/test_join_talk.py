"""Strangers that talk before they are let in: bounded, and no way around the gate.

THREATS.md, rows *peers*. What single frames of the join exchange may be is the core's, tested there.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.adversarial.conftest import Scene
from tests.network.join_side import Sides, both_closed

from covm.federation.events import PeerRefused
from covm.federation.network.interface import JoinFailed, PeerAdmitted

KIB = 1024

WORDS: dict[str, list[bytes]] = {
    "one word": [b"let me in"],
    "the longest word": [b"w" * 4095],
    "all that is allowed": [b"w" * KIB] * 64,
    "more than is allowed": [b"w" * KIB] * 65,
    "a mebibyte": [b"w" * KIB] * KIB,
    "sixteen thousand tiny words": [b"w"] * 16_384,
}


@pytest.mark.parametrize("words", WORDS)
async def test_a_stranger_that_talks_instead_of_answering_is_sent_away_and_honest_traffic_goes_on(
    scene: Scene, words: str
) -> None:
    attacker = await scene.attacker()
    attacker.talks = WORDS[words]
    await attacker.dial(scene.victim)
    await attacker.take("closed")
    assert attacker.peer_id not in scene.victim.connected_peers()
    assert not [event for event in attacker.events if event[0] in ("admitted", "topic_joined", "stream_opened")]
    refusals = [event for event in scene.told if isinstance(event, PeerRefused) and event.peer == attacker.peer_id]
    assert len(refusals) <= 1
    await scene.honest_is_heard()


async def test_a_node_that_does_not_talk_says_so(scene: Scene) -> None:
    attacker = await scene.attacker()
    attacker.talks = WORDS["one word"]
    await attacker.dial(scene.victim)
    _, peer, reason = await attacker.take("refused")
    assert (peer, reason) == (scene.victim.peer_id, "this node does not talk before it admits")


async def test_a_stranger_is_heard_up_to_its_bound_and_no_further() -> None:
    async with Sides("libp2p") as sides:
        guest, ours, host, _ = await sides.greeted()
        guest.network.talk(ours, WORDS["a mebibyte"])
        assert "talked more than the 65536 bytes" in (await host.hears(JoinFailed)).reason
        await both_closed(guest, host)
        assert len(host.told) == 64 * KIB
        assert not host.heard(PeerAdmitted)


async def test_without_the_bound_a_stranger_is_heard_without_end(switch_off: Callable[[str], None]) -> None:
    switch_off("join_talk")
    async with Sides("libp2p") as sides:
        guest, ours, host, _ = await sides.greeted()
        for _ in range(3):
            await guest.says(ours, WORDS["a mebibyte"])
        await host.is_told(b"w" * (3 * KIB * KIB))
        assert not host.heard(JoinFailed)
