"""A peer that says again what it said before the victim's restart, and one that asks and confirms what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.adversarial.gullible import forget_ids, take_everything
from tests.unit.service_world import World, in_the_end, world
from tests.unit.simulated_world import leaping
from tests.unit.test_service_adversary import LIFE, NOTE, Mallory, attacked

from covm.federation import FederationService, Message
from covm.federation.dispatch import receiving
from covm.federation.wire.frames import Confirm, Messages, Prove
from covm.federation.wire.incarnation import Incarnation
from covm.testing import until

ANOTHER_LIFE = Incarnation(LIFE.number + 1, LIFE.nonce)


async def restarted(w: World, victim: FederationService, home: Path) -> FederationService:
    await victim.stop()
    return await w.start("victim", home=str(home))


@pytest.mark.parametrize("life", [LIFE, ANOTHER_LIFE])
@pytest.mark.parametrize("defended", [True, False])
def test_yesterdays_frames_after_a_restart_have_no_second_effect(
    life: Incarnation, defended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @leaping
    async def story() -> None:
        async with world() as w:
            received: list[Message[Any]] = []
            victim = await w.start("victim", home=str(tmp_path))
            victim.subscribe(NOTE, received.append)
            mallory = await Mallory.join(w, victim)
            await mallory.open()
            mallory.send(Messages([mallory.envelope(1), mallory.envelope(2)]))
            await until(lambda: len(received) == 2)
            victim = await restarted(w, victim, tmp_path)
            await mallory.network.stop()
            if not defended:
                take_everything(monkeypatch)
                forget_ids(monkeypatch)
            victim.subscribe(NOTE, received.append)
            mallory = await Mallory.join(w, victim)
            await mallory.open(incarnation=life)
            mallory.send(Messages([mallory.envelope(seq, incarnation=life) for seq in (1, 2, 3)]))
            await until(lambda: received[-1].seq == 3)
            assert [message.seq for message in received] == ([1, 2, 3] if defended else [1, 2, 1, 2, 3])
            await mallory.network.stop()

    story()


@attacked
async def test_a_peer_that_asks_for_proofs_without_end_is_cut_off(
    mallory: Mallory, victim: FederationService, received: list[Message[Any]]
) -> None:
    mallory.send(*[Prove(incarnation=LIFE)] * (receiving.MAX_PROOFS + 1))
    await until(lambda: victim.stats()["dropped"].get("too_many_proofs"))


@attacked
async def test_a_confirmation_from_the_future_is_counted_and_charged(
    mallory: Mallory, victim: FederationService, received: list[Message[Any]]
) -> None:
    mallory.send(Confirm(2**40))
    await in_the_end(lambda: victim.stats()["dropped"].get("confirm_of_untold"))
    assert received == []
