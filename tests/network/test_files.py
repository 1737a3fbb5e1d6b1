"""Files between two nodes, on the simulated network and over libp2p: whole, verified, and in spite of restarts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.network.world import PATIENCE, World, meet

from covm.federation import FederationService, Identity
from covm.federation.blobs.transfer import FileTransfer
from covm.federation.errors import FileUnreadable, TransferFailed
from covm.federation.events import Event, EventStream, FileFailed, FileProgressed, FileReceived
from covm.testing import until

MIB = 1024 * 1024
LARGE = 24 * MIB + 12_345
"""Three checkpoints, so that a restart in the middle finds one."""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "the oven.pdf"
    path.write_bytes(os.urandom(3 * MIB + 77))
    return path


def content(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def mode(path: str) -> int:
    return Path(path).stat().st_mode & 0o777


def home_of(tmp_path: Path, name: str) -> str:
    return str(tmp_path / f"{name}'s home")


async def two(world: World, tmp_path: Path, **changes: Any) -> tuple[FederationService, FederationService]:
    mill = await world.start(name="Mill Bakery", home=home_of(tmp_path, "mill"))
    farm = await world.start(name="Riverside Farm", home=home_of(tmp_path, "farm"), **changes)
    await meet(farm, mill)
    return mill, farm


async def its_transfer(node: FederationService, transfer_id: str) -> FileTransfer:
    """The other side's view of a transfer, as soon as it has one."""
    found: list[FileTransfer] = []

    def look() -> bool:
        found[:] = [each for each in node.transfers() if each.id == transfer_id]
        return bool(found)

    await until(look, timeout=PATIENCE, what="the offer to arrive")
    return found[0]


async def heard(events: EventStream, *kinds: type[Event]) -> list[Event]:
    """What a listener hears, up to the last of these kinds."""
    collected: list[Event] = []
    async for event in events:
        collected.append(event)
        if isinstance(event, kinds):
            break
    return collected


async def test_a_file_arrives_whole_and_both_sides_say_so(world: World, tmp_path: Path, plan: Path) -> None:
    mill, farm = await two(world, tmp_path)
    events = farm.events()
    sent = await mill.send_file(farm.peer_id, plan)
    await sent.done(PATIENCE)
    assert sent.receipt is not None
    await sent.receipt.handled(PATIENCE)
    received = await its_transfer(farm, sent.id)
    await received.done(PATIENCE)
    assert Path(received.path) == tmp_path / "farm's home" / "files" / mill.peer_id / "the oven.pdf"
    assert content(received.path) == content(plan)
    assert mode(received.path) == 0o600
    said = await heard(events, FileReceived)
    assert said[-1] == FileReceived(sent.id, mill.peer_id, "the oven.pdf", received.path, len(content(plan)))
    assert any(isinstance(event, FileProgressed) and event.direction == "in" for event in said)


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1])
async def test_files_of_every_shape_arrive(world: World, tmp_path: Path, size: int) -> None:
    mill, farm = await two(world, tmp_path)
    path = tmp_path / "content"
    path.write_bytes(os.urandom(size))
    sent = await mill.send_file(farm.peer_id, path, name="another name")
    await sent.done(PATIENCE)
    received = await its_transfer(farm, sent.id)
    assert (Path(received.path).name, content(received.path)) == ("another name", content(path))


async def test_the_same_file_twice_is_two_files(world: World, tmp_path: Path, plan: Path) -> None:
    mill, farm = await two(world, tmp_path)
    names = set()
    for _ in range(2):
        sent = await mill.send_file(farm.peer_id, plan)
        await sent.done(PATIENCE)
        names.add(Path((await its_transfer(farm, sent.id)).path).name)
    assert names == {"the oven.pdf", "the oven (2).pdf"}


async def test_files_go_both_ways_at_once_beside_messages(world: World, tmp_path: Path, plan: Path) -> None:
    mill, farm = await two(world, tmp_path)
    heard_by_farm: list[Any] = []
    farm.subscribe("private.note", lambda message: heard_by_farm.append(message.payload))
    transfers = [await mill.send_file(farm.peer_id, plan, name=f"{number}") for number in range(5)]
    transfers += [await farm.send_file(mill.peer_id, plan, name=f"{number}") for number in range(5)]
    receipt = await mill.send_direct(farm.peer_id, "private.note", "while files travel")
    await receipt.handled(PATIENCE)
    for transfer in transfers:
        await transfer.done(PATIENCE)
    assert heard_by_farm == ["while files travel"]


async def test_a_receiver_that_restarts_in_the_middle_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(LARGE))
    farms_key = Identity.generate()
    mill = await world.start(name="Mill Bakery", home=home_of(tmp_path, "mill"))
    farm = await world.start(farms_key, name="Riverside Farm", home=home_of(tmp_path, "farm"))
    await meet(farm, mill)
    sent = await mill.send_file(farm.peer_id, path)
    half = await its_transfer(farm, sent.id)
    await until(lambda: half.done_bytes > 9 * MIB, timeout=PATIENCE, what="some of the file to arrive")
    await farm.stop()
    assert half.done_bytes < LARGE, "it was stopped in the middle"
    farm = await world.start(farms_key, name="Riverside Farm", home=home_of(tmp_path, "farm"))
    rest = await its_transfer(farm, sent.id)
    assert rest.done_bytes >= 8 * MIB, "what was on the disk is not fetched again"
    await meet(farm, mill)
    await sent.done(PATIENCE)
    assert content(rest.path) == content(path)


async def test_a_sender_that_restarts_in_the_middle_goes_on_too(world: World, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(LARGE))
    mills_key = Identity.generate()
    mill = await world.start(mills_key, name="Mill Bakery", home=home_of(tmp_path, "mill"))
    farm = await world.start(name="Riverside Farm", home=home_of(tmp_path, "farm"))
    await meet(farm, mill)
    sent = await mill.send_file(farm.peer_id, path)
    received = await its_transfer(farm, sent.id)
    await until(lambda: received.done_bytes > MIB, timeout=PATIENCE, what="some of the file to arrive")
    await mill.stop()
    assert received.state == "running"
    mill = await world.start(mills_key, name="Mill Bakery", home=home_of(tmp_path, "mill"))
    await meet(farm, mill)
    await (await its_transfer(mill, sent.id)).done(PATIENCE)
    await received.done(PATIENCE)
    assert content(received.path) == content(path)


async def test_a_file_for_a_peer_that_is_away_goes_when_it_returns(world: World, tmp_path: Path, plan: Path) -> None:
    farms_key = Identity.generate()
    mill = await world.start(name="Mill Bakery", home=home_of(tmp_path, "mill"))
    farm = await world.start(farms_key, name="Riverside Farm", home=home_of(tmp_path, "farm"))
    await meet(farm, mill)
    await farm.stop()
    await until(lambda: not mill.connected_peers(), timeout=PATIENCE)
    sent = await mill.send_file(farm.peer_id, plan)
    assert sent.state == "running"
    farm = await world.start(farms_key, name="Riverside Farm", home=home_of(tmp_path, "farm"))
    await meet(farm, mill)
    await sent.done(PATIENCE)


async def test_a_file_that_changes_before_it_was_fetched_fails_on_both_sides(
    world: World, tmp_path: Path, plan: Path
) -> None:
    farms_key = Identity.generate()
    mill = await world.start(name="Mill Bakery", home=home_of(tmp_path, "mill"))
    farm = await world.start(farms_key, name="Riverside Farm", home=home_of(tmp_path, "farm"))
    await meet(farm, mill)
    await farm.stop()
    sent = await mill.send_file(farm.peer_id, plan)
    overwrite(plan, b"another plan")
    farm = await world.start(farms_key, name="Riverside Farm", home=home_of(tmp_path, "farm"))
    events = farm.events()
    await meet(farm, mill)
    with pytest.raises(TransferFailed, match="the file changed since it was offered"):
        await sent.done(PATIENCE)
    failed = (await heard(events, FileFailed))[-1]
    assert failed == FileFailed(sent.id, mill.peer_id, "the oven.pdf", "in", "the file changed since it was offered")
    assert not list((tmp_path / "farm's home" / "files").rglob("*.pdf"))


async def test_a_file_above_the_receivers_limit_is_refused_with_the_limit(
    world: World, tmp_path: Path, plan: Path
) -> None:
    mill, farm = await two(world, tmp_path, max_file_size=MIB)
    sent = await mill.send_file(farm.peer_id, plan)
    with pytest.raises(TransferFailed, match="takes files of at most 1,048,576"):
        await sent.done(PATIENCE)
    assert sent.receipt is not None
    assert not farm.transfers()


async def test_a_node_without_a_home_refuses_files(world: World, tmp_path: Path, plan: Path) -> None:
    mill, farm = await world.pair()
    sent = await mill.send_file(farm.peer_id, plan)
    with pytest.raises(TransferFailed, match="it has no home"):
        await sent.done(PATIENCE)


async def test_what_is_no_file_is_refused_before_anything_is_offered(world: World, tmp_path: Path) -> None:
    mill, farm = await two(world, tmp_path)
    with pytest.raises(FileUnreadable, match="No such file"):
        await mill.send_file(farm.peer_id, tmp_path / "nothing")
    with pytest.raises(FileUnreadable, match="a folder"):
        await mill.send_file(farm.peer_id, tmp_path)
    assert not mill.transfers()
