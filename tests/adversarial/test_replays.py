"""THREATS.md, row *messages: yesterday's envelope again*: over a new connection, after every cache forgot it.

What must outlive a restart of the receiver comes with the store.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from tests.adversarial import forgery
from tests.adversarial.attacker import NOTE, Attacker
from tests.adversarial.conftest import Scene, SceneMaker, Standstill
from tests.adversarial.gullible import forget_ids, take_everything

from covm.federation.gossip.replay import ReplayWindows, Seen
from covm.federation.network.interface import GossipReceived, NetworkEvent
from covm.federation.wire.frames import Messages
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.message import encode_body


def recorded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> list[GossipReceived]:
    """Everything that gossip brings the victim from now on. Handing it over again is what a peer achieves that says
    it once more after gossipsub's cache of two minutes has forgotten it."""
    router = scene.victim._node.router
    kept: list[GossipReceived] = []
    hand_out: Callable[[list[NetworkEvent]], None] = router._hand_out

    def record(events: list[NetworkEvent]) -> None:
        kept.extend(event for event in events if isinstance(event, GossipReceived))
        hand_out(events)

    monkeypatch.setattr(router, "_hand_out", record)
    return kept


def again(scene: Scene, events: list[GossipReceived]) -> None:
    scene.victim._node.router.on_network_events(list(events))


def forget_replays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches off what remembers earlier messages."""
    monkeypatch.setattr(ReplayWindows, "check", lambda windows, author, incarnation, seq: Seen.NEW)
    take_everything(monkeypatch)
    forget_ids(monkeypatch)


async def sent_over_two_connections(attacker: Attacker, scene: Scene, *, anew: bool) -> None:
    """The same envelope on two connections; `anew`: the second time its author says it is of a new incarnation."""
    body = attacker.note("once", to=scene.victim.peer_id)
    first = attacker.seal(encode_body(body))
    await attacker.say(await attacker.open(scene.victim), Messages(first))
    await scene.until(lambda: scene.heard_from(attacker) == ["once"])
    await attacker.leave(scene.victim)
    await attacker.dial(scene.victim)
    await attacker.take("admitted")
    if anew:
        attacker.life = Incarnation(2, attacker.life.nonce)
        first = attacker.seal(encode_body(msgspec.structs.replace(body, incarnation=attacker.life)))
    await attacker.say(await attacker.open(scene.victim), Messages(first))


@pytest.mark.parametrize("anew", [False, True])
async def test_a_direct_message_sent_again_over_a_new_connection_has_no_second_effect(scene: Scene, anew: bool) -> None:
    attacker = await scene.joined()
    await sent_over_two_connections(attacker, scene, anew=anew)
    await scene.until_dropped("repeated" if anew else "resent")
    assert scene.heard_from(attacker) == ["once"]
    assert not scene.charged, "an honest sender does as much after a lost connection"
    await scene.honest_is_heard()


@pytest.mark.parametrize("anew", [False, True])
async def test_without_the_inbox_a_direct_message_sent_again_would_be_handled_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    forget_replays(monkeypatch)
    attacker = await scene.joined()
    await sent_over_two_connections(attacker, scene, anew=anew)
    await scene.until(lambda: scene.heard_from(attacker) == ["once", "once"])


async def test_gossip_said_again_on_every_connection_has_no_second_effect(scene: Scene) -> None:
    author, carrier, other = await scene.joined(), await scene.joined(), await scene.joined()
    envelope = author.sealed_note("once")
    for peer in (author, carrier, other):
        await peer.publish([envelope])
    await author.publish([author.sealed_note("behind it")])
    await scene.until(lambda: "behind it" in scene.heard_from(author))
    await scene.honest_is_heard()
    assert sorted(scene.heard_from(author)) == ["behind it", "once"]


async def test_gossip_after_the_cache_expired_has_no_second_effect(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = recorded(scene, monkeypatch)
    await scene.honest.publish(NOTE, "yesterday")
    await scene.until(lambda: scene.heard_from(scene.honest.peer_id) == ["yesterday"])
    again(scene, kept[:1])
    assert scene.dropped("duplicate") == 1
    await scene.honest_is_heard()
    assert scene.heard_from(scene.honest.peer_id).count("yesterday") == 1


async def test_gossip_signed_anew_by_its_author_has_no_second_effect(scene: Scene) -> None:
    """Whoever holds a key can sign one message in many ways, so that no cache of bytes knows it again."""
    author = await scene.joined()
    body = encode_body(author.note("once"))
    for chance in (b"first", b"second", b"third"):
        await author.publish([forgery.sealed_elsewhere(author.seed, body, chance=chance)])
    await scene.until_dropped("duplicate", 2)
    assert scene.heard_from(author) == ["once"]
    await scene.honest_is_heard()


async def test_gossip_of_an_earlier_incarnation_is_stale(scene: Scene) -> None:
    author = await scene.joined()
    yesterday = author.sealed_note("yesterday")
    author.life = Incarnation(2, b"8 bytes!")
    await author.publish([author.sealed_note("today", seq=1)])
    await scene.until(lambda: scene.heard_from(author) == ["today"])
    await author.publish([yesterday])
    await scene.until_dropped("stale")
    assert scene.heard_from(author) == ["today"]


@pytest.mark.parametrize("how", ["after the cache", "signed anew"])
async def test_without_the_replay_window_gossip_said_again_would_be_handled_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    forget_replays(monkeypatch)
    kept = recorded(scene, monkeypatch)
    author = await scene.joined()
    body = encode_body(author.note("once"))
    await author.publish([forgery.sealed_elsewhere(author.seed, body, chance=b"first")])
    await scene.until(lambda: scene.heard_from(author) == ["once"])
    if how == "after the cache":
        again(scene, kept)
    else:
        await author.publish([forgery.sealed_elsewhere(author.seed, body, chance=b"second")])
    await scene.until(lambda: scene.heard_from(author) == ["once", "once"])


async def test_replays_of_an_honest_authors_messages_do_not_use_up_its_allowance(
    make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone may carry old messages of anyone; the author must not be the one who is muted by that."""
    scene = await make_scene(clock=Standstill(), gossip_allowance=10)
    kept = recorded(scene, monkeypatch)
    await scene.honest.publish(NOTE, "yesterday")
    await scene.until(lambda: scene.heard_from(scene.honest.peer_id) == ["yesterday"])
    for _ in range(100):
        again(scene, kept[:1])
    await scene.honest.publish(NOTE, "today")
    await scene.until(lambda: "today" in scene.heard_from(scene.honest.peer_id), "the author being heard all the same")


async def test_without_the_replay_window_replays_would_mute_an_honest_author(
    make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_replays(monkeypatch)
    scene = await make_scene(clock=Standstill(), gossip_allowance=10)
    kept = recorded(scene, monkeypatch)
    await scene.honest.publish(NOTE, "yesterday")
    await scene.until(lambda: scene.heard_from(scene.honest.peer_id))
    for _ in range(10):
        again(scene, kept[:1])
    refused = scene.dropped("over_allowance")
    await scene.honest.publish(NOTE, "today")
    await scene.until_dropped("over_allowance", refused + 1)
    assert "today" not in scene.heard_from(scene.honest.peer_id)


async def test_invented_authors_do_not_make_the_victim_forget_what_a_connected_one_said(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key costs nothing: were the window of the longest silent forgotten, yesterday's message would be news."""
    kept = recorded(scene, monkeypatch)
    await scene.honest.publish(NOTE, "yesterday")
    await scene.until(lambda: scene.heard_from(scene.honest.peer_id) == ["yesterday"])
    scene.victim._node.gossip._judge.windows._max_authors = 16
    carrier = await scene.joined()
    await carrier.publish([carrier.invented("noise") for _ in range(20)])
    await scene.until(lambda: len(scene.heard) == 21)
    again(scene, kept[:1])
    assert scene.heard_from(scene.honest.peer_id) == ["yesterday"]
