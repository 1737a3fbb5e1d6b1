"""THREATS.md, row *messages: a slow reader under a fast sender*: bounded; other peers unaffected."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.adversarial.attacker import NOTE, Attacker
from tests.adversarial.conftest import PATIENCE, Scene, SceneMaker

from covm.federation import Message
from covm.federation.errors import OutboxFull
from covm.federation.wire.frames import Messages

SLOW = "garden.slow"
TEXT = "w" * 8_000
MOST_IN_MEMORY = 20
MOST_STORED = 100
"""As if the bounds of a lane and of a sender, thousands and a hundred thousand, were these."""

CREDIT = (1024 + 2 * 256) * 1024 // 8_000
"""Messages that a stream's credit lets in beyond: what is under way when the inbox is found full."""

ONCE = 3 * (MOST_STORED + CREDIT)


class Blocked:
    """A handler of the victim that does not return until it is let go."""

    def __init__(self, scene: Scene, most_stored: int = MOST_STORED) -> None:
        self.scene = scene
        self.let_go = asyncio.Event()
        self.handled = 0
        self._dispatcher = scene.victim._node.dispatcher
        self._dispatcher.journal.holdings._max_messages = most_stored
        self._dispatcher._runner.backlogs._max_messages = MOST_IN_MEMORY
        scene.victim.subscribe(SLOW, self.handle)

    async def handle(self, message: Message[Any]) -> None:
        await self.let_go.wait()
        self.handled += 1

    @property
    def in_memory(self) -> int:
        """Messages that wait for the handler."""
        return self._dispatcher.queued()["messages"]

    @property
    def stored(self) -> int:
        """Messages that wait on disk."""
        return self._dispatcher.inbox()["pending"]


async def flood(attacker: Attacker, stream: int, to: str, count: int) -> None:
    for _ in range(count):
        await attacker.say(stream, Messages([attacker.sealed_note(TEXT, type=SLOW, to=to)]))


@pytest.mark.parametrize("times", [1, 2])
async def test_a_blocked_handler_holds_no_more_however_much_is_sent_and_holds_up_nobody_else(
    scene: Scene, times: int
) -> None:
    blocked = Blocked(scene)
    attacker = await scene.joined()
    stream = await attacker.open(scene.victim)
    flooding = asyncio.create_task(flood(attacker, stream, scene.victim.peer_id, ONCE * times))
    await scene.until(lambda: blocked.stored >= MOST_STORED, "the inbox being full")
    await scene.honest_is_heard()
    receipt = await scene.honest.send_direct(scene.victim.peer_id, SLOW, "from somebody else")
    await receipt.stored(PATIENCE)
    await attacker.publish([attacker.sealed_note("on another lane")])
    await scene.until(lambda: scene.heard_from(attacker) == ["on another lane"])
    assert blocked.stored <= MOST_STORED + CREDIT + 1
    assert blocked.in_memory <= MOST_IN_MEMORY + 1
    blocked.let_go.set()
    await flooding
    await scene.until(lambda: blocked.handled == ONCE * times + 1, "everything being handled once there is time")
    assert not scene.charged


async def test_without_that_bound_the_victim_would_store_whatever_is_sent(scene: Scene) -> None:
    blocked = Blocked(scene, most_stored=10**9)
    attacker = await scene.joined()
    await flood(attacker, await attacker.open(scene.victim), scene.victim.peer_id, ONCE)
    await scene.until(lambda: blocked.stored == ONCE)
    blocked.let_go.set()


# --- the other end of the same promise: a victim that sends to a peer which does not read

LARGE = "w" * 1_000_000
MOST_WAITING_BYTES = 16 * len(LARGE)


async def send_to_a_peer_that_does_not_read(scene: Scene) -> int:
    """How many large messages the victim takes in for it, of twice as many as there is room for."""
    attacker, _, _ = await scene.trusted()
    attacker.reads = False
    for count in range(32):
        try:
            await scene.victim.send_direct(attacker.peer_id, SLOW, LARGE)
        except OutboxFull:
            return count
    return 32


async def test_what_waits_for_a_peer_that_does_not_read_is_bounded_and_the_sender_is_told(
    make_scene: SceneMaker,
) -> None:
    scene = await make_scene(outbox_max_bytes=MOST_WAITING_BYTES)
    assert await send_to_a_peer_that_does_not_read(scene) < 16
    await scene.honest_is_heard()
    receipt = await scene.victim.send_direct(scene.honest.peer_id, NOTE, "to somebody who reads")
    await receipt.stored(PATIENCE)


async def test_without_that_bound_the_victim_would_hold_whatever_its_user_sends(make_scene: SceneMaker) -> None:
    scene = await make_scene(outbox_max_bytes=10 * MOST_WAITING_BYTES)
    assert await send_to_a_peer_that_does_not_read(scene) == 32
