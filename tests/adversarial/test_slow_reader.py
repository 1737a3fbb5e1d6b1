"""THREATS.md, row *messages: a slow reader under a fast sender*: bounded by credit; other peers unaffected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.adversarial.attacker import NOTE, Attacker
from tests.adversarial.conftest import PATIENCE, Scene

from covm.federation import Message
from covm.federation.dispatch import direct, outbox
from covm.federation.errors import OutboxFull
from covm.federation.wire.frames import Messages

SLOW = "garden.slow"
TEXT = "w" * 8_000
ENVELOPE = 8_400
"""Bytes of one of the attacker's envelopes, at most."""

CREDIT = 1024 * 1024
"""What a stream hands out before it is given back; beyond it one batch of a quarter of a megabyte may have begun."""

MOST_HELD = (CREDIT + 256 * 1024) // 8_000 + 1
ONCE = 3 * MOST_HELD


class Blocked:
    """A handler of the victim that does not return until it is let go."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.let_go = asyncio.Event()
        self.handled = 0
        scene.victim.subscribe(SLOW, self.handle)

    async def handle(self, message: Message[Any]) -> None:
        await self.let_go.wait()
        self.handled += 1

    @property
    def held(self) -> int:
        """Messages that wait for the handler."""
        return int(self.scene.victim.stats()["queues"]["handlers"]["messages"])


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
    await scene.until(lambda: blocked.held >= CREDIT // ENVELOPE - 1, "the victim's credit being used up")
    await scene.honest_is_heard()
    receipt = await scene.honest.send_direct(scene.victim.peer_id, SLOW, "from somebody else")
    await receipt.stored(PATIENCE)
    await attacker.publish([attacker.sealed_note("on another lane")])
    await scene.until(lambda: scene.heard_from(attacker) == ["on another lane"])
    assert blocked.held <= MOST_HELD
    blocked.let_go.set()
    await flooding
    await scene.until(lambda: blocked.handled == ONCE * times + 1, "everything being handled once there is time")
    assert not scene.charged


async def test_without_credit_the_victim_would_hold_whatever_is_sent(
    scene: Scene, switch_off: Callable[[str], None]
) -> None:
    switch_off("stream_credit")
    blocked = Blocked(scene)
    attacker = await scene.joined()
    await flood(attacker, await attacker.open(scene.victim), scene.victim.peer_id, 2 * MOST_HELD)
    await scene.until(lambda: blocked.held > MOST_HELD + 1)
    blocked.let_go.set()


# --- the other end of the same promise: a victim that sends to a peer which does not read

LARGE = "w" * 1_000_000
MOST_WAITING = outbox.MAX_WAITING_BYTES // len(LARGE)


async def send_to_a_peer_that_does_not_read(scene: Scene) -> int:
    """How many large messages the victim takes in for it, of twice as many as there is room for."""
    attacker, _, _ = await scene.trusted()
    attacker.reads = False
    for count in range(2 * MOST_WAITING):
        try:
            await scene.victim.send_direct(attacker.peer_id, SLOW, LARGE)
        except OutboxFull:
            return count
    return 2 * MOST_WAITING


async def test_what_waits_for_a_peer_that_does_not_read_is_bounded_and_the_sender_is_told(scene: Scene) -> None:
    assert await send_to_a_peer_that_does_not_read(scene) <= MOST_WAITING
    assert scene.victim.stats()["queues"]["outbox"]["bytes"] <= outbox.MAX_WAITING_BYTES
    await scene.honest_is_heard()
    receipt = await scene.victim.send_direct(scene.honest.peer_id, NOTE, "to somebody who reads")
    await receipt.stored(PATIENCE)


async def test_without_that_bound_the_victim_would_hold_whatever_its_user_sends(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "MAX_WAITING_BYTES", 10 * outbox.MAX_WAITING_BYTES)
    assert await send_to_a_peer_that_does_not_read(scene) == 2 * MOST_WAITING
