"""Sync streams on which a peer says what no honest node says: asking, answering, telling of what it does not have.

THREATS.md, rows *sync*.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.adversarial.blob_peer import FEDERATION, charges
from tests.adversarial.sync_peer import Lies, SyncPeer
from tests.network.world import PATIENCE, World, meet
from tests.unit.records_world import Author

from covm._native import cid
from covm.federation import FederationService
from covm.federation.network.interface import StreamClosed
from covm.federation.sync import asking, library
from covm.federation.sync.serving import MAX_QUESTIONS
from covm.federation.wire.record import Auth, SignedRecord
from covm.federation.wire.sync_frames import (
    Carried,
    Found,
    NoSync,
    Probe,
    SyncHello,
    SyncRequest,
    SyncResponse,
    Wanted,
)
from covm.testing import until

NOTE = "notes.note"
LIAR = Author("liar")
QUESTION = SyncRequest(number=1, type=NOTE, probes=[Probe(b"", 0, b"")])


def written(count: int, **changes: Any) -> list[SignedRecord]:
    """Records of one author that are what they should be."""
    fields: dict[str, Any] = {"federation": FEDERATION.cid, "auth": Auth(FEDERATION.cid, FEDERATION.cid)} | changes
    records: list[SignedRecord] = []
    for number in range(count):
        records.append(LIAR.write(f"key {number}", number, after=records[-1] if records else None, **fields))
    return records


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World("simulated") as made:
        yield made


async def still_syncs(world: World, victim: FederationService) -> None:
    """An honest node gets what the victim writes, and the other way round."""
    honest = await world.start(name="Honest")
    await meet(victim, honest)
    await victim.collection(NOTE).put("oven", "hot")
    await honest.collection(NOTE).put("shelf", "full")

    def held(node: FederationService) -> bytes:
        return node._node.sync.keeper.logs.frontier(NOTE).root

    await until(lambda: held(victim) == held(honest), timeout=PATIENCE)
    assert (await honest.collection(NOTE).get("oven")).value == "hot"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"\xff"], "malformed_frame"),
        ([QUESTION], "frame_before_hello"),
        ([SyncHello((1, 0)), SyncHello((1, 0))], "second_hello"),
        ([SyncHello((9, 0))], "unknown_version"),
        ([SyncHello((1, 0)), SyncResponse(number=1)], "answer_on_asking_half"),
        ([SyncHello((1, 0)), *([QUESTION] * (MAX_QUESTIONS + 2))], "too_many_questions"),
    ],
)
async def test_what_no_honest_node_asks_ends_the_stream_and_is_charged(
    world: World, frames: list[Any], reason: str
) -> None:
    victim = await world.start(name="Victim")
    charged = charges(victim)
    peer = await SyncPeer.join(world, victim)
    stream = await peer.ask_on(victim, *frames, greets=False)
    await until(lambda: stream in {event.stream for event in peer.heard(StreamClosed)}, timeout=PATIENCE)
    assert victim.stats()["dropped"][reason] == 1
    assert charged[peer.peer] == 1
    await still_syncs(world, victim)
    await peer.network.stop()


HARMLESS: dict[str, SyncRequest] = {
    "digests that are not as many as children": SyncRequest(number=1, type=NOTE, probes=[Probe(b"", 3, b"short")]),
    "paths below everything": SyncRequest(number=1, type=NOTE, probes=[Probe(bytes(60), 0, b"")]),
    "paths that are no nibbles": SyncRequest(number=1, type=NOTE, probes=[Probe(b"\xff\xff", 0, b"")]),
    "a type that nobody has": SyncRequest(number=1, type="no.such", probes=[Probe(b"", 0, b"")]),
    "logs that nobody has": SyncRequest(number=1, type=NOTE, wants=[Wanted(cid(b"none"), [], deep=True)]),
    "more records than one question may name": SyncRequest(
        number=1, type=NOTE, wants=[Wanted(cid(b"%d" % n), [(1, cid(b"x"))] * 100, deep=False) for n in range(100)]
    ),
}


@pytest.mark.parametrize("what", HARMLESS)
async def test_a_question_that_makes_no_sense_is_answered_with_nothing(world: World, what: str) -> None:
    victim = await world.start(name="Victim")
    await still_syncs(world, victim)
    assert len(victim._node.sync.keeper.logs) == 2  # with one, its frontier has no fork to look into
    peer = await SyncPeer.join(world, victim)
    stream = await peer.ask_on(victim, HARMLESS[what])
    await until(lambda: len(peer.told_on(stream)) >= 2, timeout=PATIENCE)
    answered = peer.told_on(stream)[-1]
    assert isinstance(answered, NoSync | SyncResponse)
    assert not isinstance(answered, SyncResponse) or not answered.records
    assert victim.stats()["faults"] == 0
    await still_syncs(world, victim)
    await peer.network.stop()


@pytest.mark.parametrize("defended", [True, False])
async def test_one_answer_is_bounded_however_much_is_asked_for(
    world: World, defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "MAX_ANSWER_BYTES", 64 * 1024 if defended else 10**9)
    victim = await world.start(name="Victim")
    for number in range(40):
        await victim.collection(NOTE).put(f"key {number}", os.urandom(8_000))
    [log] = victim._node.sync.keeper.logs
    peer = await SyncPeer.join(world, victim)
    wants = SyncRequest(number=1, type=NOTE, wants=[Wanted(log.link, [], deep=True)])
    stream = await peer.ask_on(victim, wants)
    await until(lambda: len(peer.told_on(stream)) >= 2, timeout=PATIENCE)
    answered = peer.told_on(stream)[-1]
    assert isinstance(answered, SyncResponse)
    assert (len(answered.records) < 10) == defended
    assert answered.more == defended
    await peer.network.stop()


async def told_by(world: World, lies: Lies) -> tuple[FederationService, SyncPeer]:
    """A victim that meets a peer which claims to hold something."""
    victim = await world.start(name="Victim")

    liar: type[SyncPeer] = type("Liar", (SyncPeer,), {"lies": lies})
    return victim, await liar.join(world, victim)


class Garbage(Lies):
    """Records that were not asked for, or do not verify."""

    def carried(self) -> list[Carried]:
        return [Carried(each.envelope[:-1] + b"\0", None) for each in self.records]


class OfAnotherType(Lies):
    """Records of a type that the victim did not ask for."""

    def carried(self) -> list[Carried]:
        others = written(3, type="accounts.entry")
        return [Carried(each.envelope, LIAR.bodies[each.id]) for each in others]


class OtherBodies(Lies):
    """Records with the bodies of others."""

    def carried(self) -> list[Carried]:
        bodies = [LIAR.bodies[each.id] for each in self.records]
        return [Carried(each.envelope, body) for each, body in zip(self.records, bodies[::-1], strict=True)]


class Contradicting(Lies):
    """Answers what was not asked for."""

    def __call__(self, request: SyncRequest) -> SyncResponse:
        return SyncResponse(number=request.number, found=[Found(b"\x05\x05", [], [])])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Garbage, "sync_garbage"),
        (OfAnotherType, "sync_garbage"),
        (OtherBodies, "sync_garbage"),
        (Contradicting, "sync_contradicted"),
    ],
)
async def test_an_answer_that_no_honest_node_gives_ends_the_session_and_is_charged(
    world: World, kind: type[Lies], reason: str
) -> None:
    victim, peer = await told_by(world, kind(NOTE, written(4), LIAR))
    await until(lambda: victim.stats()["dropped"].get(reason, 0) >= 1, timeout=PATIENCE)
    assert len(victim._node.sync.keeper.logs) == 0
    await still_syncs(world, victim)
    await peer.network.stop()


async def test_a_peer_that_tells_of_logs_and_delivers_nothing_is_not_asked_for_ever(world: World) -> None:
    class Nothing(Lies):
        def carried(self) -> list[Carried]:
            return []

    victim, peer = await told_by(world, Nothing(NOTE, written(4), LIAR))
    await until(lambda: any(request.wants for request in peer.asked), timeout=PATIENCE)
    standing = victim._node.sync.standings(NOTE)[peer.peer]
    await until(lambda: standing.running is None, timeout=PATIENCE)
    assert len(standing.declined) == 1
    assert sum(bool(request.wants) for request in peer.asked) == 1
    await still_syncs(world, victim)
    await peer.network.stop()


async def test_a_peer_that_never_answers_keeps_nobody_else_from_it(world: World) -> None:
    class Silent(Lies):
        def __call__(self, request: SyncRequest) -> None:
            return None

    victim, peer = await told_by(world, Silent(NOTE, written(4), LIAR))
    await until(lambda: len(peer.asked) >= 1, timeout=PATIENCE)
    await still_syncs(world, victim)
    await peer.network.stop()


async def test_streams_on_which_a_peer_says_no_hello_are_closed_before_the_next_is_opened(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "HELLO_DEADLINE_S", 0.05)
    monkeypatch.setattr(asking, "REOPEN_S", 0.05)
    victim = await world.start(name="Victim")
    mute: type[SyncPeer] = type("Mute", (SyncPeer,), {"greets": False})
    peer = await mute.join(world, victim)
    await until(lambda: len(peer.theirs) >= 4, timeout=PATIENCE)
    closed = {event.stream for event in peer.heard(StreamClosed)}
    assert len(peer.theirs - closed) <= 1
    assert len(victim._node.sync._streams) <= 1
    await still_syncs(world, victim)
    await peer.network.stop()
