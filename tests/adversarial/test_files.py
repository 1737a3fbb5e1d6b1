"""Files from senders that lie about them, offer too many, or are slow on purpose; and disks that take none."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.adversarial.blob_peer import charges
from tests.network.world import PATIENCE, World, meet

from covm import _native
from covm.federation import FederationService
from covm.federation.blobs import download, incoming, outgoing, partial
from covm.federation.blobs.chunks import LEAF_BYTES, Place
from covm.federation.errors import TransferFailed
from covm.testing import until

Reads = Callable[[str, bytes, Place], Awaitable[bytes]]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World("simulated") as made:
        yield made


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.pdf"
    path.write_bytes(os.urandom(5 * LEAF_BYTES))
    return path


async def two(world: World, tmp_path: Path) -> tuple[FederationService, FederationService]:
    mallory = await world.start(name="Mallory", home=str(tmp_path / "mallory"))
    victim = await world.start(name="Victim", home=str(tmp_path / "victim"))
    await meet(mallory, victim)
    return mallory, victim


def lying(node: FederationService, lies: Callable[[int], bool]) -> None:
    """A modified node: of the leaves that are asked of it, those picked by number are other bytes."""
    blobs: Any = node._node.blobs
    honest: Reads = blobs.read
    count = 0

    async def read(peer: str, root: bytes, place: Place) -> bytes:
        nonlocal count
        data = await honest(peer, root, place)
        if place.level == 0:
            count += 1
            if lies(count):
                return bytes(len(data))
        return data

    blobs.read = read


def files(home: Path) -> list[Path]:
    return [path for path in (home / "files").rglob("*") if path.is_file()]


async def test_a_sender_of_wrong_chunks_is_charged_and_nothing_of_the_file_is_left(
    world: World, tmp_path: Path, plan: Path
) -> None:
    mallory, victim = await two(world, tmp_path)
    charged = charges(victim)
    lying(mallory, lambda _: True)
    sent = await mallory.send_file(victim.peer_id, plan)
    with pytest.raises(TransferFailed, match="chunks that are not of the file"):
        await sent.done(PATIENCE)
    assert charged == {mallory.peer_id: 3}
    assert files(tmp_path / "victim") == []


async def test_a_wrong_chunk_is_asked_for_again(world: World, tmp_path: Path, plan: Path) -> None:
    mallory, victim = await two(world, tmp_path)
    charged = charges(victim)
    lying(mallory, lambda number: number == 2)
    sent = await mallory.send_file(victim.peer_id, plan)
    await sent.done(PATIENCE)
    assert charged == {mallory.peer_id: 1}
    assert files(tmp_path / "victim")[0].read_bytes() == content(plan)


def content(path: Path) -> bytes:
    return path.read_bytes()


async def test_without_the_check_a_wrong_file_would_pass_for_the_right_one(
    world: World, tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory, victim = await two(world, tmp_path)
    monkeypatch.setattr(partial, "checked_leaf", lambda data, shape, position, link: data)
    lying(mallory, lambda _: True)
    sent = await mallory.send_file(victim.peer_id, plan)
    await sent.done(PATIENCE)
    assert files(tmp_path / "victim")[0].read_bytes() == bytes(5 * LEAF_BYTES)


@pytest.mark.parametrize("name", ["../../../evil", "/etc/evil", ".evil", "..\\evil", "\x1b[2J/evil"])
async def test_a_name_cannot_lead_out_of_the_senders_folder(
    world: World, tmp_path: Path, plan: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "shown", str)
    mallory, victim = await two(world, tmp_path)
    sent = await mallory.send_file(victim.peer_id, plan, name=name)
    await sent.done(PATIENCE)
    assert files(tmp_path / "victim") == [tmp_path / "victim" / "files" / mallory.peer_id / "evil"]


async def test_a_flood_of_offers_is_refused_beyond_a_number(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "MAX_OFFERS_TO_ONE", 1_000)
    monkeypatch.setattr(incoming, "MAX_OFFERS_OF_ONE", 5)
    mallory, victim = await two(world, tmp_path)
    never: asyncio.Event = asyncio.Event()

    async def read(peer: str, root: bytes, place: Place) -> bytes:
        await never.wait()
        raise AssertionError

    blobs: Any = mallory._node.blobs
    blobs.read = read
    small = tmp_path / "small"
    write(small, b"small")
    sent = [await mallory.send_file(victim.peer_id, small) for _ in range(8)]
    await until(lambda: sum(each.state == "failed" for each in sent) == 3, timeout=PATIENCE)
    assert [each.state for each in victim.transfers()] == ["running"] * 5
    assert len(files(tmp_path / "victim")) <= incoming.AT_ONCE_FROM_ONE


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


async def test_a_full_disk_refuses_the_file_and_says_so(
    world: World, tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory, victim = await two(world, tmp_path)
    monkeypatch.setattr(incoming, "free_bytes", lambda folder: 1_000)
    sent = await mallory.send_file(victim.peer_id, plan)
    with pytest.raises(TransferFailed, match="no room"):
        await sent.done(PATIENCE)


async def test_a_disk_that_fills_up_on_the_way_refuses_the_file_and_keeps_nothing_of_it(
    world: World, tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mallory, victim = await two(world, tmp_path)
    put = partial.Partial.put

    def full(self: partial.Partial, position: int, data: bytes, link: _native.Link) -> bool:
        if position == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return put(self, position, data, link)

    monkeypatch.setattr(partial.Partial, "put", full)
    sent = await mallory.send_file(victim.peer_id, plan)
    with pytest.raises(TransferFailed, match="no room"):
        await sent.done(PATIENCE)
    assert files(tmp_path / "victim") == []


async def test_a_sender_that_is_slow_on_purpose_holds_up_no_others(
    world: World, tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "AT_ONCE", 1)
    monkeypatch.setattr(download, "TURN_S", 0.1)
    mallory, victim = await two(world, tmp_path)
    honest = await world.start(name="Honest", home=str(tmp_path / "honest"))
    await meet(honest, victim)
    blobs: Any = mallory._node.blobs
    read: Reads = blobs.read

    async def slowly(peer: str, root: bytes, place: Place) -> bytes:
        if place == Place(0, 4):
            await released.wait()
        return await read(peer, root, place)

    released = asyncio.Event()
    blobs.read = slowly
    endless = await mallory.send_file(victim.peer_id, plan)
    await until(lambda: victim.transfers() and victim.transfers()[0].done_bytes, timeout=PATIENCE)
    sent = await honest.send_file(victim.peer_id, plan)
    await sent.done(PATIENCE)
    assert endless.state == "running"
    released.set()
    await endless.done(PATIENCE)


async def test_a_sender_that_left_takes_no_place(
    world: World, tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "AT_ONCE", 1)
    mallory, victim = await two(world, tmp_path)
    honest = await world.start(name="Honest", home=str(tmp_path / "honest"))
    await meet(honest, victim)
    never = asyncio.Event()

    async def read(peer: str, root: bytes, place: Place) -> bytes:
        await never.wait()
        raise AssertionError

    blobs: Any = mallory._node.blobs
    blobs.read = read
    await mallory.send_file(victim.peer_id, plan)
    await until(victim.transfers, timeout=PATIENCE)
    sent = await honest.send_file(victim.peer_id, plan)
    await mallory.stop()
    await sent.done(PATIENCE)
    assert [each.state for each in victim.transfers()] == ["running", "done"]
