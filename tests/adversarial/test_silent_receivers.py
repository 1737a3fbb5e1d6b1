"""A peer that takes messages and never says that it has them, or says what became of them for ever.

THREATS.md, rows *messages*: "flat" means that twice the attack costs no more memory than once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.adversarial.attacker import NOTE, Attacker
from tests.adversarial.conftest import PATIENCE, Scene, SceneMaker

from covm.federation.dispatch import outbox
from covm.federation.wire.frames import Ack, Outcome, Position
from covm.federation.wire.message import MessageBody

MOST = 64
"""As if the bounds of what is sent ahead and of what is kept after its commit, thousands, were this."""


@pytest.fixture
async def scene(make_scene: SceneMaker, tmp_path: Path) -> Scene:
    return await make_scene(home=str(tmp_path / "home"))


async def silent(scene: Scene) -> tuple[Attacker, int]:
    """A peer that reads, and the victim's stream to it."""
    one, _, stream = await scene.trusted()
    return one, stream


async def send(scene: Scene, peer: Attacker, count: int) -> None:
    await asyncio.gather(*(scene.victim.send_direct(peer.peer_id, NOTE, "w" * 200) for _ in range(count)))


async def received(peer: Attacker, stream: int, count: int) -> list[MessageBody]:
    bodies: list[MessageBody] = []
    while len(bodies) < count:
        bodies += await peer.received(stream)
    return bodies


def in_memory(scene: Scene, peer: Attacker) -> int:
    """Messages to the peer of which the victim knows more than what is on its disk."""
    line = scene.victim._node.direct._book.get(peer.peer_id)
    assert line is not None
    assert line.sender is not None
    assert line.sender._hearing is not None
    return len(line.outgoing.window) + len(line.sender._hearing.flight._places) + len(line.outgoing.live)


@pytest.mark.parametrize("times", [1, 2])
async def test_a_peer_that_never_acknowledges_costs_no_more_memory_however_much_is_sent_to_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(outbox, "FLIGHT_MESSAGES", MOST)
    monkeypatch.setattr(outbox, "WINDOW_MESSAGES", MOST)
    peer, stream = await silent(scene)
    await send(scene, peer, 5 * MOST * times)
    bodies = await received(peer, stream, MOST)
    await scene.honest_is_heard()
    assert len(bodies) == MOST, "no more is sent ahead"
    assert in_memory(scene, peer) <= 2 * MOST
    await peer.say(stream, Ack(upto=Position(bodies[-1].seq, bodies[-1].mid)))
    bodies = await received(peer, stream, MOST)
    assert bodies[0].seq == MOST + 1, "it goes on where it was"
    assert not scene.charged


async def test_without_that_bound_everything_would_be_held_that_was_sent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "FLIGHT_MESSAGES", 10**9)
    monkeypatch.setattr(outbox, "WINDOW_MESSAGES", MOST)
    peer, stream = await silent(scene)
    await send(scene, peer, 10 * MOST)
    await received(peer, stream, 10 * MOST)
    assert in_memory(scene, peer) >= 10 * MOST


async def name_for_ever(scene: Scene, monkeypatch: pytest.MonkeyPatch, at_first: int) -> Attacker:
    """A peer that says of two messages, again and again under new numbers, what became of them."""
    monkeypatch.setattr(outbox, "NAMED_AT_FIRST", at_first)
    peer, stream = await silent(scene)
    receipts = [await scene.victim.send_direct(peer.peer_id, NOTE, text) for text in ("first", "second")]
    bodies = await received(peer, stream, 2)
    await peer.say(stream, Ack(upto=Position(bodies[1].seq, bodies[1].mid)))
    for start in range(1, 100, 10):
        outcomes = [Outcome(number, 1, 2, bodies[1].mid, "failed") for number in range(start, start + 10)]
        await peer.say(stream, Ack(outcomes=outcomes))
    await receipts[1].stored(PATIENCE)
    return peer


async def test_a_peer_that_names_outcomes_for_ever_is_charged(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = await name_for_ever(scene, monkeypatch, 20)
    await scene.until_dropped("outcomes_without_end")
    assert scene.charged[peer.peer_id] > 0
    await scene.honest_is_heard()


async def test_without_that_bound_it_could_go_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = await name_for_ever(scene, monkeypatch, 10**9)
    line = scene.victim._node.direct._book.get(peer.peer_id)
    assert line is not None
    await scene.until(lambda: line.outgoing.outcomes_seen == 100)
    assert not scene.charged


async def test_a_peer_that_connected_anew_and_lost_its_stream_unseen_is_spoken_to_on_another(scene: Scene) -> None:
    """It opens another stream while the old one seems to stand: what the victim says may be lost in the same way."""
    before, _, stream = await scene.trusted("once more")
    anew = await scene.attacker("once more")
    await anew.dial(scene.victim)
    await anew.take("admitted")
    await anew.open(scene.victim)
    renewed = await before.stream_from(scene.victim)
    assert renewed != stream
    await scene.victim.send_direct(before.peer_id, NOTE, "weeds")
    assert [body.payload for body in await received(before, renewed, 1)] == ["weeds"]
    await scene.honest_is_heard()
