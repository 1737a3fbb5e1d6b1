"""THREATS.md, row *messages: yesterday's envelope again, after a restart*: with a store in a home, over real libp2p.

The victim has two starts in one home. What it knew in the first, it knows in the second: sequences, message ids, the
windows of gossip, and what it sent itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.adversarial.attacker import NOTE, Attacker
from tests.adversarial.conftest import LOOPBACK, PATIENCE
from tests.adversarial.gullible import believe_proofs, forget_ids, take_everything

from covm.federation import FederationConfig, FederationService, Identity
from covm.federation.events import RolledBack
from covm.federation.gossip.replay import ReplayWindows, Seen
from covm.federation.wire.frames import Messages, Position, Proof, Prove, decode_frame
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import MessageBody, encode_body
from covm.testing import until

IN_THE_PAST = 1
YEAR_9999 = 253_402_300_799_999
DAY_MS = 86_400_000


class Victim:
    """One node over several starts in one home; `heard` is over all of them."""

    def __init__(self, stack: AsyncExitStack, home: Path) -> None:
        self._stack = stack
        self._home = home
        self.heard: list[Any] = []
        self.told: list[Any] = []
        self.service: FederationService

    async def start(self, **changes: Any) -> FederationService:
        config = FederationConfig.preset(
            "local",
            membership="open",
            name="victim",
            network="attacked",
            listen_addresses=LOOPBACK,
            home=str(self._home),
            **changes,
        )
        self.service = FederationService(Identity.from_seed(b"victim".ljust(32, b".")), config)
        self.service.subscribe(NOTE, lambda message: self.heard.append(message.payload))
        emit = self.service._node.hub.emit

        def note(event: Any) -> None:
            self.told.append(event)
            emit(event)

        self.service._node.hub.emit = note  # type: ignore[method-assign]
        await self._stack.enter_async_context(self.service)
        return self.service

    async def restart(self) -> FederationService:
        await self.service.stop()
        return await self.start()

    async def attacker(self, name: str = "mallory") -> Attacker:
        return await self._stack.enter_async_context(Attacker(name, self.service.federation_id))

    def dropped(self, reason: str) -> int:
        return int(self.service.stats()["dropped"].get(reason, 0))


@pytest.fixture
async def victim(tmp_path: Path) -> AsyncIterator[Victim]:
    async with AsyncExitStack() as stack:
        made = Victim(stack, tmp_path / "home")
        await made.start()
        yield made
        assert made.service.stats()["faults"] == 0


async def back(mallory: Attacker, victim: Victim) -> None:
    """The victim was restarted, and the attacker comes back to it."""
    await victim.restart()
    await mallory.take("unadmitted")
    mallory.events.clear()
    await mallory.join(victim.service)


async def yesterday(victim: Victim) -> tuple[Attacker, list[MessageBody], bytes]:
    """What the victim handled before its restart: two messages that were sent to it, and one of gossip."""
    mallory = await victim.attacker()
    await mallory.join(victim.service)
    bodies = [mallory.note(text, to=victim.service.peer_id) for text in ("first", "second")]
    published = mallory.sealed_note("to everyone")
    await mallory.say(await mallory.open(victim.service), Messages(mallory.seal(*map(encode_body, bodies))))
    await mallory.publish([published])
    await until(lambda: sorted(victim.heard) == ["first", "second", "to everyone"], timeout=PATIENCE)
    await back(mallory, victim)
    return mallory, bodies, published


async def say_again(mallory: Attacker, victim: Victim, bodies: list[MessageBody], life: int) -> None:
    """Yesterday's messages and one more, in yesterday's life of their author or in the next one."""
    mallory.life = Incarnation(life, mallory.life.nonce)
    bodies = [*bodies, mallory.note("third", to=victim.service.peer_id)]
    bodies = [msgspec.structs.replace(body, incarnation=mallory.life) for body in bodies]
    await mallory.say(await mallory.open(victim.service), Messages(mallory.seal(*map(encode_body, bodies))))
    await until(lambda: "third" in victim.heard, timeout=PATIENCE)


@pytest.mark.parametrize("life", [1, 2])
async def test_yesterdays_messages_have_no_second_effect(victim: Victim, life: int) -> None:
    mallory, bodies, _ = await yesterday(victim)
    await say_again(mallory, victim, bodies, life)
    assert victim.heard[3:] == ["third"]
    assert victim.dropped("resent" if life == 1 else "repeated") == 2


@pytest.mark.parametrize("life", [1, 2])
async def test_without_the_inbox_on_disk_they_would_be_handled_again(
    victim: Victim, monkeypatch: pytest.MonkeyPatch, life: int
) -> None:
    mallory, bodies, _ = await yesterday(victim)
    take_everything(monkeypatch)
    forget_ids(monkeypatch)
    await say_again(mallory, victim, bodies, life)
    assert victim.heard[3:] == ["first", "second", "third"]


async def test_yesterdays_gossip_has_no_second_effect(victim: Victim) -> None:
    mallory, _, published = await yesterday(victim)
    await (await carrier(victim)).publish([published])
    await until(lambda: victim.dropped("duplicate"), timeout=PATIENCE)
    await mallory.publish([mallory.sealed_note("and behind it")])
    await until(lambda: "and behind it" in victim.heard, timeout=PATIENCE)
    assert victim.heard[3:] == ["and behind it"]
    assert victim.dropped("duplicate") == 1


async def carrier(victim: Victim) -> Attacker:
    """Somebody whose own cache does not hold yesterday's gossip back."""
    one = await victim.attacker("carrier")
    await one.join(victim.service)
    return one


async def test_without_the_windows_on_disk_it_would_be_handled_again(
    victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, published = await yesterday(victim)
    monkeypatch.setattr(ReplayWindows, "check", lambda windows, author, incarnation, seq: Seen.NEW)
    await (await carrier(victim)).publish([published])
    await until(lambda: victim.heard[3:] == ["to everyone"], timeout=PATIENCE)


@pytest.mark.parametrize("expires_at", [IN_THE_PAST, YEAR_9999])
async def test_a_strange_end_of_life_makes_no_message_forgotten_or_remembered_for_ever(
    victim: Victim, expires_at: int
) -> None:
    """When a message ends is its sender's business; how long its id is remembered is bounded by our own clock."""
    mallory = await victim.attacker()
    await mallory.join(victim.service)
    body = mallory.note("strange", to=victim.service.peer_id, expires_at=expires_at)
    await mallory.say(await mallory.open(victim.service), Messages(mallory.seal(encode_body(body))))
    await until(lambda: victim.heard == ["strange"], timeout=PATIENCE)
    now_ms = victim.service._node.clock.now_ms()
    forget_at = await victim.service.transaction(lambda tx: tx.execute("SELECT forget_at FROM covm_seen").scalar_one())
    assert now_ms + DAY_MS - 60_000 < forget_at <= now_ms + 31 * DAY_MS
    await back(mallory, victim)
    await say_again(mallory, victim, [body], 2)
    assert victim.heard == ["strange", "third"]


# --- what the victim sent itself


async def test_what_a_liar_says_of_the_life_before_the_restart_counts_no_more_than_then(victim: Victim) -> None:
    """The victim wrote before its restart and after it; nobody can make it begin anew with what it knows."""
    told = await claimed(victim)
    await until(lambda: victim.dropped("rollback_unproven"), timeout=PATIENCE)
    assert [event for event in victim.told if isinstance(event, RolledBack)] == []
    assert await told.receipt_state() == "queued"


async def test_without_doubt_the_victims_own_envelope_would_make_it_begin_anew(
    victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    believe_proofs(monkeypatch)
    await claimed(victim)
    await until(lambda: any(isinstance(event, RolledBack) for event in victim.told), timeout=PATIENCE)


class Claimed:
    """A liar that has shown the victim one of the victim's own envelopes, of before its restart."""

    def __init__(self, victim: Victim, message_id: str) -> None:
        self._victim = victim
        self._message_id = message_id

    async def receipt_state(self) -> str:
        receipt = await self._victim.service.receipt(self._message_id)
        assert receipt is not None
        return receipt.state


async def claimed(victim: Victim) -> Claimed:
    mallory = await victim.attacker()
    await mallory.join(victim.service)
    await mallory.open(victim.service)
    stream = await mallory.stream_from(victim.service)
    receipt = await victim.service.send_direct(mallory.peer_id, NOTE, "before")
    envelopes: list[bytes] = []
    (body,) = await mallory.received(stream, envelopes)
    mallory.answers = False
    await back(mallory, victim)
    stream = await mallory.stream_from(victim.service)
    await mallory.say(stream, mallory.hello(next=None, stored=Position(body.seq + 100, body.mid)))
    asked = None
    while asked is None:
        _, _, frames = await mallory.take("frames", lambda which, *_: which == stream)
        asked = next((each for each in map(decode_frame, frames) if isinstance(each, Prove)), None)
    assert asked.incarnation == body.incarnation, "the incarnation goes on over the restart"
    await mallory.say(stream, Proof(incarnation=asked.incarnation, envelope=envelopes[0]))
    return Claimed(victim, receipt.id)
