"""Blob streams on which a peer says what no honest node says, and announcements of what is not so."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.adversarial.blob_peer import MAP, RawPeer, charges
from tests.network.world import PATIENCE, World, meet
from tests.unit.test_gossip_rules import gossip, judge

from covm import _native
from covm.federation.blobs.chunks import LEAF_BYTES, leaf_link, tree_of
from covm.federation.blobs.serving import MAX_WANTS
from covm.federation.gossip import announced
from covm.federation.network.interface import StreamClosed, Verdict
from covm.federation.wire.blob_frames import BlobHello, Chunk, NoChunk, Want
from covm.federation.wire.message import Content
from covm.testing import until

LINK = leaf_link(b"anything")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World("simulated") as made:
        yield made


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"\xff"], "malformed_frame"),
        ([Want(1, LINK, (0, 0))], "frame_before_hello"),
        ([BlobHello((1, 0)), BlobHello((1, 0))], "second_hello"),
        ([BlobHello((9, 0))], "unknown_version"),
        ([BlobHello((1, 0)), Chunk(1, b"unasked")], "answer_on_asking_half"),
        ([BlobHello((1, 0)), *(Want(number, LINK, (0, 0)) for number in range(MAX_WANTS + 2))], "too_many_wants"),
    ],
)
async def test_what_no_honest_node_asks_ends_the_stream_and_is_charged(
    world: World, frames: list[Any], reason: str
) -> None:
    victim = await world.start(name="Victim")
    charged = charges(victim)
    peer = await RawPeer.join(world, victim)
    stream = await peer.open(victim, greets=False)
    peer.say(stream, *frames)
    await until(lambda: stream in {event.stream for event in peer.heard(StreamClosed)}, timeout=PATIENCE)
    assert victim.stats()["dropped"][reason] == 1
    assert charged[peer.peer] == 1
    await peer.network.stop()


async def test_a_file_is_for_its_recipient_alone(world: World, tmp_path: Path) -> None:
    plan, data = tmp_path / "plan.pdf", os.urandom(5 * LEAF_BYTES)
    write(plan, data)
    mill = await world.start(name="Mill Bakery", home=str(tmp_path / "mill"))
    farm = await world.start(name="Riverside Farm")
    await meet(mill, farm)
    await farm.stop()
    sent = await mill.send_file(farm.peer_id, plan)
    root, _ = tree_of(data)
    spy = await RawPeer.join(world, mill)
    stream = await spy.open(mill)
    spy.say(stream, Want(1, root, (0, 0)), Want(2, root, (1, 0)))
    await until(lambda: len(spy.said_on(stream)) == 3, timeout=PATIENCE)
    assert all(isinstance(answer, NoChunk) for answer in spy.said_on(stream)[1:])
    assert sent.state == "running"
    await spy.network.stop()


async def test_places_that_no_tree_has_are_answered_and_harm_nothing(world: World) -> None:
    victim = await world.start(name="Victim")
    data = os.urandom(300_000)
    root = await victim._node.blobs.keep(data)
    peer = await RawPeer.join(world, victim)
    stream = await peer.open(victim)
    places = [(0, 2), (1, 1), (8, 0), (0, 2**62)]
    peer.say(stream, *(Want(number, root, place) for number, place in enumerate(places)), Want(9, root, (0, 1)))
    await until(lambda: len(peer.said_on(stream)) == 6, timeout=PATIENCE)
    *refused, given = peer.said_on(stream)[1:]
    assert all(isinstance(answer, NoChunk) for answer in refused)
    assert given == Chunk(9, data[LEAF_BYTES:])
    await peer.network.stop()


async def test_a_chunk_that_nobody_asked_for_is_charged(world: World) -> None:
    victim = await world.start(name="Victim")
    charged = charges(victim)
    peer = await RawPeer.join(world, victim)
    await peer.announce(Content(LINK, 100_000))
    await until(lambda: peer.asked_on, timeout=PATIENCE)
    peer.say(peer.asked_on[0], BlobHello((1, 0)), Chunk(77, b"unasked"))
    await until(lambda: victim.stats()["dropped"].get("unasked_chunk"), timeout=PATIENCE)
    assert charged[peer.peer] == 1
    await peer.network.stop()


async def test_who_has_the_content_is_not_charged_for_an_author_who_lies_about_its_size(world: World) -> None:
    mill, farm = await world.pair()
    charged = charges(farm)
    received: list[Any] = []
    farm.subscribe(MAP, received.append)
    data = _native.encode(bytes(300_000))
    root = await mill._node.blobs.keep(data)
    mallory = await RawPeer.join(world, farm)
    await mallory.announce(Content(root, len(data) + 1))
    await until(lambda: farm.stats()["dropped"].get("content_unobtainable"), timeout=PATIENCE)
    assert charged[mill.peer_id] == 0
    assert received == []
    await mallory.network.stop()


async def test_content_that_is_no_payload_is_told_of_its_author(world: World) -> None:
    mill, farm = await world.pair()
    received: list[Any] = []
    farm.subscribe(MAP, received.append)
    root = await mill._node.blobs.keep(b"\xff" * 300_000)
    mallory = await RawPeer.join(world, farm)
    await mallory.announce(Content(root, 300_000))
    await until(lambda: farm.stats()["dropped"].get("malformed_content"), timeout=PATIENCE)
    assert received == []
    await mallory.network.stop()


async def test_announcements_of_what_nobody_has_are_bounded_and_honest_ones_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mill, farm = await world.pair()
    received: list[Any] = []
    farm.subscribe(MAP, lambda message: received.append(message.payload))
    mallory = await RawPeer.join(world, farm)
    share = announced.MAX_WAITING_BYTES // announced.AUTHORS_SHARE // 1_000_000
    for seq in range(1, share + 4):
        await mallory.announce(Content(LINK, 1_000_000), seq)
    await until(lambda: farm.stats()["dropped"].get("too_many_contents") == 3, timeout=PATIENCE)
    await mill.publish(MAP, bytes(500_000))
    await until(lambda: received, timeout=PATIENCE)
    assert received == [bytes(500_000)]
    await mallory.network.stop()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"payload": "here too"}, "content_and_payload"), ({"content": Content(LINK, 2**20 + 1)}, "too_large")],
)
async def test_an_announcement_that_no_honest_node_forwards_is_rejected(
    world: World, changes: dict[str, Any], reason: str
) -> None:
    received = gossip(**{"payload": None, "content": Content(LINK, 100_000), **changes})
    found = judge().judge(received, 0, 0.0)
    assert (found.verdict, found.reason) == (Verdict.REJECT, reason)


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
