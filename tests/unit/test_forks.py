"""Who says two things at one place: found, kept, told once, and proven to somebody who was not there."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from tests.unit.export_files import car_of
from tests.unit.outbox_world import virtually
from tests.unit.records_world import Author, Shelf
from tests.unit.test_sync_stories import NOTE, agree, eventually, met, notes

from covm._native import cid, encode
from covm.federation.errors import FileUnusable, UnknownFork
from covm.federation.events import EquivocationFound, EventHub
from covm.federation.identity.branches import Spot
from covm.federation.offload import InlineOffload
from covm.federation.sync.forks import Forks, partings
from covm.federation.wire.envelope import EnvelopeParts, parts_of
from covm.federation.wire.fork_proof import ForkProof, read_proof, write_proof
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.kinds import Kind
from covm.federation.wire.malformed import Malformed
from covm.federation.wire.record import SignedRecord
from covm.testing.machine import Machine
from covm.testing.world import World

ASH, BIRCH = Author("ash"), Author("birch")


def proof_in(data: bytes) -> ForkProof:
    return read_proof(io.BytesIO(data).read)


def forks_of(shelf: Shelf, hub: EventHub | None = None) -> Forks:
    return Forks(shelf.keeper, lambda _peer: None, InlineOffload(), hub or EventHub())


# --- stories


@virtually
async def test_a_node_whose_disk_was_put_back_forks_its_log_and_everybody_can_prove_it(tmp_path: Path) -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        mill, farm, shop = world.machines
        await mill.start()
        await farm.start()
        await notes(mill).put("price", 250)
        before = mill.disk.snapshot()
        first = await notes(mill).put("price", 280)
        await eventually(lambda: asyncio.sleep(0, agree(mill, farm)))
        assert farm.service.status()["forks"] == {}
        told: list[EquivocationFound] = []
        listening = asyncio.ensure_future(collect(farm, told))
        await mill.stop()
        mill.disk.roll_back(before, restored=False)
        world.fabric.cut(mill.peer_id, farm.peer_id)
        await mill.start()
        second = await notes(mill).put("price", 300)
        assert (second.place.log, second.place.seq) == (first.place.log, first.place.seq), (
            "it stands where the first one stood"
        )
        world.fabric.heal()
        await eventually(lambda: asyncio.sleep(0, farm.service.status()["forks"] == {mill.peer_id: 1}))
        [fork] = await farm.service.forks()
        assert (fork.author, fork.type, fork.seq) == (mill.peer_id, NOTE, 2)
        assert [each.value for each in fork.records] == [280, 300]
        assert [each.id for each in fork.records] == [first.id, second.id]
        await farm.service.export_fork(fork.id, tmp_path / "fork.car")
        proof = proof_in((tmp_path / "fork.car").read_bytes())
        assert {str(proof.one.id), str(proof.other.id)} == {first.id, second.id}
        # Who comes later finds the same, and a restart forgets nothing.
        await shop.start()
        await met(world)
        await eventually(lambda: asyncio.sleep(0, shop.service.status()["forks"] == {mill.peer_id: 1}))
        await farm.stop()
        await listening
        await farm.start()
        assert farm.service.status()["forks"] == {mill.peer_id: 1}
        assert told == [EquivocationFound(mill.peer_id, NOTE, 2, second.id)]


async def collect(machine: Machine, told: list[EquivocationFound]) -> None:
    told += [event async for event in machine.service.events() if isinstance(event, EquivocationFound)]


# --- where logs part


async def test_every_place_at_which_a_log_parts_is_one_fork_of_two_records_with_one_number(tmp_path: Path) -> None:
    start = ASH.write("oven", 0)
    other_start = ASH.write("oven", 1)
    two = [ASH.write("oven", number, after=start) for number in (2, 3, 4)]
    three = [ASH.write("oven", number, after=two[1]) for number in (5, 6)]
    hub = EventHub()
    events = hub.listen()
    shelf = await Shelf().open()
    forks = forks_of(shelf, hub)
    await shelf.take(start, *two, *three, other_start, BIRCH.write("oven", 7))
    found = await forks.listed(100)
    assert {each.id for each in found} == {str(each.id) for each in (two[1], two[2], three[1], other_start)}
    assert all(each.records[0].id != each.records[1].id == each.id for each in found)
    assert forks.by_author() == {ASH.key.peer_id: 4}
    assert len(await forks.listed(2)) == 2
    events.close()
    assert {event.fork async for event in events if isinstance(event, EquivocationFound)} == {each.id for each in found}
    for number, each in enumerate(found):
        await forks.export(each.id, tmp_path / f"{number}.car")
        proof = proof_in((tmp_path / f"{number}.car").read_bytes())
        assert proof.one.body.seq == proof.other.body.seq == each.seq
        assert await forks.get(each.id) == each
    again = forks_of(await shelf.reopened())
    assert await again.listed(100) == found
    await shelf.store.close()


async def test_sixteen_branches_are_followed_and_so_many_forks_told(tmp_path: Path) -> None:
    shelf = await Shelf().open()
    await shelf.take(*(ASH.write("oven", number) for number in range(40)))
    forks = forks_of(shelf)
    assert forks.by_author() == {ASH.key.peer_id: 15}
    assert len({each.id for each in await forks.listed(100)}) == 15
    [log] = shelf.keeper.logs
    assert {each.one for each in partings(log)} == {Spot(0, 1)}
    await shelf.store.close()


async def test_what_is_no_fork_here_is_not_exported_and_no_file_is_written_over(tmp_path: Path) -> None:
    start = ASH.write("oven", 0)
    two = [ASH.write("oven", number, after=start) for number in (2, 3)]
    shelf = await Shelf().open()
    await shelf.take(start, *two)
    forks = forks_of(shelf)
    for unknown in (str(start.id), str(two[0].id), str(cid(b"nobody")), "no id", ""):
        with pytest.raises(UnknownFork):
            await forks.export(unknown, tmp_path / "fork.car")
    await forks.export(str(two[1].id), tmp_path / "fork.car")
    before = (tmp_path / "fork.car").read_bytes()
    for path in (tmp_path / "fork.car", tmp_path / "no" / "fork.car", tmp_path):
        with pytest.raises(FileUnusable):
            await forks.export(str(two[1].id), path)
    assert (tmp_path / "fork.car").read_bytes() == before
    await shelf.store.close()


# --- proofs that prove nothing


START = ASH.write("oven", 0)
ONE, OTHER = (ASH.write("oven", number, after=START) for number in (1, 2))
SOUND = write_proof(ForkProof(ONE, OTHER))


def file_with(*records: SignedRecord, **changes: Any) -> bytes:
    """A file with whatever two records, and CIDs that fit."""
    parts = [parts_of(each.envelope) for each in records]
    return file_of_parts(parts, **changes)


def file_of_parts(parts: list[EnvelopeParts], **changes: Any) -> bytes:
    lines = [[cid(each.payload), each.public_key, each.signature] for each in parts]
    root = encode({"covm": "fork", "v": 1, "records": lines} | changes)
    return car_of(cid(root), [root, *{each.payload: None for each in parts}])


def signed_again(record: SignedRecord, by: Author, kind: Kind = Kind.RECORD) -> EnvelopeParts:
    [envelope] = by.key.seal(kind, [parts_of(record.envelope).payload])
    return parts_of(envelope)


def elsewhere(**changes: Any) -> SignedRecord:
    return ASH.write("oven", 2, after=START, **changes)


LIES: dict[str, tuple[bytes, str]] = {
    "one record twice": (file_with(ONE, ONE), "the same record"),
    "another author": (file_with(ONE, BIRCH.write("oven", 2)), "two authors"),
    "another number": (file_with(START, ONE), "two numbers, 1 and 2"),
    "another log": (file_with(ONE, elsewhere(incarnation=Incarnation(2, b"anotherx"))), "two logs"),
    "another type": (file_with(ONE, elsewhere(type="notes.other")), "two logs"),
    "another federation": (file_with(ONE, elsewhere(federation=cid(b"others"))), "two federations"),
    "signed by somebody else": (
        file_of_parts([parts_of(ONE.envelope), signed_again(OTHER, BIRCH)]),
        "not the one who signed it",
    ),
    "signed as something else": (
        file_of_parts([parts_of(ONE.envelope), signed_again(OTHER, ASH, Kind.MESSAGE)]),
        "does not verify",
    ),
    "another's signature": (
        file_of_parts([parts_of(ONE.envelope), parts_of(OTHER.envelope)._replace(signature=bytes(64))]),
        "does not verify",
    ),
    "one record alone": (file_of_parts([parts_of(ONE.envelope)]), "no proof of a fork"),
    "three": (file_with(ONE, OTHER, START), "no proof of a fork"),
    "another file": (file_with(ONE, OTHER, covm="records"), "no proof of a fork"),
    "another version": (file_with(ONE, OTHER, v=2), "version 2"),
    "nothing": (b"", "empty"),
    "a letter": (b"Dear all, here are the minutes of last week.", "no CAR file"),
    "more than a proof": (SOUND + file_with(ONE, BIRCH.write("oven"))[-300:], "block|length"),
    "something that is no record": (
        file_of_parts([parts_of(ONE.envelope), EnvelopeParts(*parts_of(ONE.envelope)[:2], encode({}), bytes(64))]),
        "does not verify",
    ),
}


def test_two_signed_records_at_one_place_are_the_proof_whichever_is_named_first() -> None:
    assert set(proof_in(SOUND)) == {ONE, OTHER}
    assert write_proof(ForkProof(OTHER, ONE)) == SOUND
    assert set(proof_in(file_with(ONE, OTHER))) == set(proof_in(file_with(OTHER, ONE)))
    with pytest.raises(ValueError, match="two numbers"):
        write_proof(ForkProof(START, ONE))


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_proves_nothing_says_why(lie: str) -> None:
    data, why = LIES[lie]
    with pytest.raises(Malformed, match=why):
        proof_in(data)


def test_no_beginning_of_a_proof_and_no_flipped_bit_proves_anything() -> None:
    for size in range(len(SOUND)):
        with pytest.raises(Malformed):
            proof_in(SOUND[:size])
    for at in range(len(SOUND)):
        broken = bytearray(SOUND)
        broken[at] ^= 1 << (at % 8)
        with pytest.raises(Malformed):
            proof_in(bytes(broken))
