"""THREATS.md, rows *gossip*: floods, bad copies, spam. What is honest arrives; who attacks pays; all is bounded.

An attack is judged by what is delivered and by what is held; latency belongs to the benchmark. Abuse of gossipsub's own
control messages is bounded by libp2p, and tested beside the core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from tests.adversarial import forgery
from tests.adversarial.attacker import NOTE, Attacker
from tests.adversarial.conftest import PATIENCE, Scene, SceneMaker, Standstill

from covm.federation import Message
from covm.federation.dispatch import gossip_room
from covm.federation.dispatch.lanes import SLOTS
from covm.federation.gossip import verdicts
from covm.federation.gossip.allowance import Allowances
from covm.federation.network.interface import Verdict
from covm.federation.wire.limits import MAX_GOSSIP_BODY
from covm.federation.wire.message import encode_body

SwitchOff = Callable[[str], None]

ALLOWANCE = 50
SPAM = 100 * ALLOWANCE


def notes(attacker: Attacker, count: int) -> list[bytes]:
    return attacker.seal(*[encode_body(attacker.note(number)) for number in range(count)])


def spoilt(envelopes: list[bytes]) -> list[bytes]:
    """The envelopes with a wrong signature each."""
    return [envelope[:-1] + bytes([envelope[-1] ^ 1]) for envelope in envelopes]


async def honest_texts_arrive(scene: Scene, count: int) -> None:
    """Publishes from the honest node while an attack is on, and waits until all of it is there."""
    texts = [f"honest {number}" for number in range(count)]
    for text in texts:
        await scene.honest.publish(NOTE, text)
    await scene.until(lambda: scene.heard_from(scene.honest.peer_id)[-count:] == texts, "all that is honest")


# --- a member publishes 100 times its allowance


BATCH = 250
"""Messages that fit the queue in which gossipsub keeps what it sends to one peer; more would not even leave."""

SECOND_WAVE = "garden.second_wave"


async def spammed(make_scene: SceneMaker) -> tuple[Scene, Attacker]:
    """A member has published 100 times its allowance, with honest traffic all along."""
    scene = await make_scene(clock=Standstill(), gossip_allowance=ALLOWANCE)
    attacker = await scene.joined()
    spam = notes(attacker, SPAM)
    for start in range(0, SPAM, BATCH):
        await attacker.publish(spam[start : start + BATCH])
        await honest_texts_arrive(scene, 1)
    return scene, attacker


async def goes_on(scene: Scene, attacker: Attacker) -> Callable[[], int]:
    """The spammer sends a second wave; returns what counts how much of it the victim has read."""
    await attacker.publish([attacker.sealed_note("more", type=SECOND_WAVE) for _ in range(BATCH)])
    return lambda: len(scene.victim.gossip_log(10_000, SECOND_WAVE))


async def test_spam_of_a_hundred_times_the_allowance_is_cut_short_and_nothing_honest_is_lost(
    make_scene: SceneMaker,
) -> None:
    scene, attacker = await spammed(make_scene)
    await scene.until_dropped("over_allowance", 1_000)
    read = await goes_on(scene, attacker)
    await honest_texts_arrive(scene, 5)
    assert len(scene.heard_from(attacker)) == ALLOWANCE
    assert scene.charged[attacker.peer_id] > 0
    assert scene.charged[scene.honest.peer_id] == 0
    assert read() == 0, "its score has fallen so far that nothing of it is read any more"
    assert {entry.verdict for entry in scene.victim.gossip_log(10_000) if entry.reason} == {"ignore"}


async def test_without_allowances_the_spam_would_be_handled(
    make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Allowances, "take", lambda allowances, author, now_s: True)
    scene, attacker = await spammed(make_scene)
    await scene.until(lambda: len(scene.heard_from(attacker)) > 10 * ALLOWANCE)


async def test_without_scores_the_spam_would_be_read_for_ever(make_scene: SceneMaker, switch_off: SwitchOff) -> None:
    switch_off("scoring")
    scene, attacker = await spammed(make_scene)
    read = await goes_on(scene, attacker)
    await scene.until(read)


async def spam_by_way_of_the_honest_node(make_scene: SceneMaker, turned_away: int) -> Scene:
    """Returns once the victim has turned so much of it away."""
    scene = await make_scene(clock=Standstill(), gossip_allowance=10)
    attacker = await scene.attacker()
    await attacker.join(scene.honest)
    await attacker.publish(notes(attacker, 30))
    await scene.until_dropped("over_allowance", turned_away)
    return scene


async def test_who_forwards_spam_without_knowing_is_not_punished(make_scene: SceneMaker) -> None:
    """The honest node allows more than the victim, so it passes on what the victim ignores."""
    scene = await spam_by_way_of_the_honest_node(make_scene, 20)
    assert not scene.charged
    await scene.honest_is_heard()


async def test_if_spam_were_rejected_instead_of_ignored_its_forwarder_would_be_cut_off(
    make_scene: SceneMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    harsh = SimpleNamespace(ACCEPT=Verdict.ACCEPT, IGNORE=Verdict.REJECT, REJECT=Verdict.REJECT)
    monkeypatch.setattr(verdicts, "Verdict", harsh)
    scene = await spam_by_way_of_the_honest_node(make_scene, 11)
    await scene.honest.publish(NOTE, "lost")
    receipt = await scene.honest.send_direct(scene.victim.peer_id, NOTE, "behind it")
    await receipt.handled(PATIENCE)
    assert scene.heard_from(scene.honest.peer_id) == ["behind it"]


# --- a bad copy of an honest message arrives first


async def bad_copy_first(scene: Scene) -> Attacker:
    """A carrier spoils an author's message, letter by letter, and hands its copy over before the author does."""
    author, carrier = await scene.joined(), await scene.joined()
    good = author.sealed_note("what was meant")
    bad = good.replace(b"what was meant", b"what was never")
    assert bad != good
    await carrier.publish([bad])
    await scene.until(lambda: scene.dropped("bad_signature") or scene.heard_from(author))
    await author.publish([good])
    return author


async def test_a_bad_copy_that_comes_first_does_not_keep_the_honest_message_out(scene: Scene) -> None:
    author = await bad_copy_first(scene)
    await scene.until(lambda: scene.heard_from(author) == ["what was meant"])
    assert scene.dropped("bad_signature") == 1
    await scene.honest_is_heard()


async def test_a_copy_framed_otherwise_that_comes_first_does_not_keep_it_out_either(scene: Scene) -> None:
    author, carrier = await scene.joined(), await scene.joined()
    good = author.sealed_note("what was meant")
    await carrier.publish(forgery.reframings(good).values())
    await scene.until_dropped("not_canonical")
    await author.publish([good])
    await scene.until(lambda: scene.heard_from(author) == ["what was meant"])


async def test_without_signatures_the_bad_copy_would_take_the_place_of_the_honest_message(
    scene: Scene, switch_off: SwitchOff
) -> None:
    switch_off("envelope_signature")
    author = await bad_copy_first(scene)
    await scene.until_dropped("duplicate")
    assert scene.heard_from(author) == ["what was never"]


# --- a flood of bad signatures

FIRST_WAVE = 20


async def flooded(make_scene: SceneMaker) -> tuple[Scene, Attacker]:
    """An attacker has sent some bad signatures; the eleventh is one too many."""
    scene = await make_scene()
    attacker = await scene.joined()
    await attacker.publish(spoilt(notes(attacker, FIRST_WAVE)))
    await scene.until_dropped("bad_signature", 11)
    await honest_texts_arrive(scene, 20)
    return scene, attacker


@pytest.mark.parametrize("times", [1, 10])
async def test_a_flood_of_bad_signatures_is_counted_and_cut_off_and_nothing_honest_is_lost(
    make_scene: SceneMaker, times: int
) -> None:
    scene, attacker = await flooded(make_scene)
    for _ in range(times):
        await attacker.publish(spoilt(notes(attacker, BATCH)))
        await honest_texts_arrive(scene, 20)
    await attacker.publish([attacker.sealed_note("heard by nobody")])
    await honest_texts_arrive(scene, 20)
    assert scene.dropped("bad_signature") <= FIRST_WAVE, "however large the flood is"
    assert scene.heard_from(attacker) == []
    assert scene.honest.peer_id in scene.victim.connected_peers()
    log = scene.victim.gossip_log(10_000)
    assert {entry.carrier for entry in log if entry.verdict == "reject"} == {attacker.peer_id}


async def test_without_scores_every_bad_signature_would_be_read_and_checked(
    make_scene: SceneMaker, switch_off: SwitchOff
) -> None:
    switch_off("scoring")
    scene, attacker = await flooded(make_scene)
    await attacker.publish(spoilt(notes(attacker, BATCH)))
    await scene.until_dropped("bad_signature", FIRST_WAVE + BATCH)


# --- more than the victim can take


@contextmanager
def busy(scene: Scene) -> Iterator[None]:
    """The victim's process is busy with something else and takes nothing from its core meanwhile."""
    loop, network = asyncio.get_running_loop(), scene.victim._node.network
    node = network._node  # type: ignore[attr-defined]
    loop.remove_reader(node.fileno())
    yield
    loop.add_reader(node.fileno(), network._on_readable)  # type: ignore[attr-defined]


MOST_QUEUED = 32 * 1024 * 1024
LARGE = "w" * 60_000
ENOUGH = MOST_QUEUED // len(LARGE) + 100


def queued_bytes(scene: Scene) -> int:
    return int(scene.victim.stats()["network"]["gossip_queued_bytes"])


@pytest.mark.parametrize("times", [1, 2])
async def test_what_waits_for_a_busy_victim_is_bounded_and_the_latest_is_kept(scene: Scene, times: int) -> None:
    attacker = await scene.joined()
    with busy(scene):
        for _ in range(times):
            before = scene.victim.stats()["network"]["gossip_dropped"]
            await attacker.publish([attacker.sealed_note(LARGE) for _ in range(ENOUGH)])
            await scene.until(lambda: scene.victim.stats()["network"]["gossip_dropped"] > before)  # noqa: B023
            assert queued_bytes(scene) <= MOST_QUEUED
        await scene.honest.publish(NOTE, "the latest")
    await scene.until(lambda: "the latest" in scene.heard_from(scene.honest.peer_id))
    await scene.honest_is_heard()


async def test_without_the_bound_a_busy_victim_would_hold_whatever_comes(scene: Scene, switch_off: SwitchOff) -> None:
    switch_off("gossip_inbound_bound")
    attacker = await scene.joined()
    with busy(scene):
        await attacker.publish([attacker.sealed_note(LARGE) for _ in range(ENOUGH)])
        await scene.until(lambda: queued_bytes(scene) > MOST_QUEUED)


async def test_a_payload_above_the_limit_is_rejected(scene: Scene) -> None:
    attacker = await scene.joined()
    await attacker.publish([attacker.sealed_note("w" * MAX_GOSSIP_BODY)])
    await scene.until_dropped("too_large")
    assert scene.heard == []
    await attacker.publish([attacker.sealed_note("w" * (MAX_GOSSIP_BODY - 5))])
    await scene.until(lambda: len(scene.heard_from(attacker)) == 1)


async def test_without_the_limit_a_larger_payload_would_be_handled(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "MAX_GOSSIP_BODY", 2 * MAX_GOSSIP_BODY)
    attacker = await scene.joined()
    await attacker.publish([attacker.sealed_note("w" * MAX_GOSSIP_BODY)])
    await scene.until(lambda: len(scene.heard_from(attacker)) == 1)


async def test_the_largest_messages_of_an_author_one_upon_another_do_not_silence_who_carries_them(scene: Scene) -> None:
    """Anyone may publish them; were they too much at once, every honest node that passes them on would be cut off."""
    largest = "w" * (MAX_GOSSIP_BODY - 5)
    author = await scene.attacker()
    await author.join(scene.honest)
    await author.publish([author.sealed_note(largest) for _ in range(100)])
    await scene.honest_is_heard()
    await scene.until(lambda: len(scene.heard_from(author)) == 100)


# --- a handler that does not keep up

SLOW, OTHER = "garden.slow", "garden.other"


class Handlers:
    """One of the victim's handlers is stuck; another works, asynchronously as most do."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.let_go = asyncio.Event()
        self.worked: list[Any] = []
        scene.victim.subscribe(SLOW, self.stuck)
        scene.victim.subscribe(OTHER, self.works)

    async def stuck(self, message: Message[Any]) -> None:
        await self.let_go.wait()

    async def works(self, message: Message[Any]) -> None:
        self.worked.append(message.payload)

    def held(self, what: str) -> int:
        return int(self.scene.victim.stats()["queues"]["handlers"][what])


async def test_gossip_for_a_stuck_handler_is_bounded_and_counted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_room, "MAX_LANE", 50)
    handlers, attacker = Handlers(scene), await scene.joined()
    for _ in range(2):
        before = scene.dropped("handlers_too_slow")
        await attacker.publish([attacker.sealed_note("spam", type=SLOW) for _ in range(200)])
        await scene.until_dropped("handlers_too_slow", before + 149)
        assert handlers.held("messages") <= 50
    await scene.honest.publish(OTHER, "on another lane")
    await scene.until(lambda: handlers.worked == ["on another lane"])
    handlers.let_go.set()


async def test_without_that_bound_all_of_it_would_be_held(scene: Scene) -> None:
    handlers, attacker = Handlers(scene), await scene.joined()
    await attacker.publish([attacker.sealed_note("spam", type=SLOW) for _ in range(200)])
    await scene.until(lambda: handlers.held("messages") == 199)
    handlers.let_go.set()


async def test_one_members_bytes_in_front_of_a_stuck_handler_cost_no_other_member_a_message(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound on bytes is one for everybody: whoever fills it must not fill the places of others with it."""
    monkeypatch.setattr(gossip_room, "MAX_QUEUED_BYTES", 1024 * 1024)
    handlers, attacker = Handlers(scene), await scene.joined()
    await attacker.publish([attacker.sealed_note(LARGE, type=SLOW) for _ in range(100)])
    await scene.until_dropped("handlers_too_slow", 50)
    await scene.honest.publish(OTHER, "honest " * 5_000)
    await scene.until(lambda: handlers.worked, "an honest message to another handler")
    handlers.let_go.set()


async def test_invented_authors_in_front_of_a_stuck_handler_hold_up_no_other_handler(scene: Scene) -> None:
    """A lane for each author and type, and only so many run at once: a key costs nothing, so neither may a lane."""
    handlers, carrier = Handlers(scene), await scene.joined()
    await carrier.publish([carrier.invented("noise", type=SLOW) for _ in range(2 * SLOTS)])
    await scene.until(lambda: scene.victim.stats()["messages"]["gossip"]["in"]["messages"] == 2 * SLOTS)
    await scene.honest.publish(OTHER, "honest")
    await scene.until(lambda: handlers.worked == ["honest"], "an honest message to another handler")
    handlers.let_go.set()


# --- names and keys that anyone can invent


async def test_invented_type_names_do_not_fill_the_victims_counters(scene: Scene) -> None:
    attacker = await scene.joined()
    await attacker.publish([attacker.sealed_note(0, type=f"invented.type_{number}") for number in range(400)])
    await scene.until(lambda: scene.victim.stats()["messages"]["gossip"]["in"]["messages"] == 400)
    assert len(scene.victim.stats()["messages"]["gossip"]["in"]["by_type"]) <= 257
