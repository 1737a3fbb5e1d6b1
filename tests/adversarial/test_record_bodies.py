"""Peers that hold back the bodies of records, or give others: they are charged where they lie, and another is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from tests.adversarial.blob_peer import charges
from tests.adversarial.sync_peer import Scribbler, dropped, scene
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import all_have, eventually, met, notes

from covm._native import cid, encode
from covm.federation.blobs.chunks import Place, tree_of
from covm.federation.blobs.serving import NotHeld
from covm.federation.sync import body_rows
from covm.testing.machine import Machine
from covm.testing.world import World

LARGE = "x" * 70_000
LARGEST = "y" * 1_000_000

Read = Callable[[str, bytes, Place], Awaitable[bytes]]


async def _other_bytes(_peer: str, _record: bytes, place: Place) -> bytes:
    """Of the same shape, so that only the header shows that they are others."""
    other = b"z" * 1_000_022
    return tree_of(other)[1][place] if place.level else other[: 256 * 1024]


async def _no_node(_peer: str, _record: bytes, _place: Place) -> bytes:
    return encode({"links": [], "size": 3})


async def _nothing(_peer: str, _record: bytes, _place: Place) -> bytes:
    raise NotHeld


async def _silence(_peer: str, _record: bytes, _place: Place) -> bytes:
    await asyncio.Event().wait()
    return b""


def does(machine: Machine, to: Machine, read: Read) -> None:
    """What a machine gives to another, from now on."""
    bodies, honest = machine.service._node.blobs._bodies, machine.service._node.blobs._bodies.read

    async def answer(peer: str, record: bytes, place: Place) -> bytes:
        return await (read if peer == to.peer_id else honest)(peer, record, place)

    bodies.read = answer  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("read", "is_lie"), [(_other_bytes, True), (_no_node, True), (_nothing, False), (_silence, False)]
)
@pytest.mark.parametrize("value", [LARGE, LARGEST], ids=["one leaf", "several"])
@virtually
async def test_what_one_holds_back_or_falsifies_comes_from_another(read: Read, is_lie: bool, value: str) -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        await met(world)
        mill, farm, shop = world.machines
        does(mill, farm, read)
        charged = charges(farm.service)
        await notes(mill).put("map", value)
        await eventually(lambda: all_have([farm, shop], "map", value))
        assert set(charged) <= ({mill.peer_id} if is_lie else set())
        assert dropped(farm, "wrong_chunk") == charged[mill.peer_id]
        if is_lie:
            assert charged[mill.peer_id] >= 1


@virtually
async def test_what_is_never_given_is_asked_for_ever_more_seldom_and_holds_up_nothing() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        asked: list[bytes] = []

        async def count(_peer: str, record: bytes, _place: Place) -> bytes:
            asked.append(record)
            raise NotHeld

        does(mill, farm, count)
        for number in range(40):
            await notes(mill).put(f"map {number}", LARGE)
        await world.sleep(timedelta(hours=6))
        assert len(set(asked)) == 40
        assert len(asked) <= 40 * 6 * 8
        await notes(mill).put("oven", 1)
        await eventually(lambda: all_have([farm], "oven", 1))


@virtually
async def test_who_serves_a_body_that_is_none_is_charged_and_nobody_keeps_it() -> None:
    async with scene() as world:
        victim, honest = world.machines
        body = encode({"salt": bytes(16), "value": "x" * 70_000, "more": 1})
        record = Scribbler("mallory").write("map", body=cid(body), size=len(body))
        charged = charges(victim.service)
        for machine in (victim, honest):
            await machine.service._node.sync.keeper.take([record.envelope], [None])

        async def give(_peer: str, _record: bytes, place: Place) -> bytes:
            return body if place == Place(0, 0) else b""

        does(honest, victim, give)
        await eventually(lambda: asyncio.sleep(0, dropped(victim, "malformed_record_body") > 0))
        assert charged[honest.peer_id] >= 1
        assert (await notes(victim).get("map")) is not None
        lacking = await victim.service._node.store.read(lambda tx: body_rows.pages(tx, {}, 9, ()))
        assert sum(map(len, lacking.values())) == 1


@virtually
async def test_who_gives_each_body_slowly_holds_up_nobody_elses() -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        await met(world)
        mill, farm, shop = world.machines
        bodies = mill.service._node.blobs._bodies
        honest = bodies.read

        async def slow(peer: str, record: bytes, place: Place) -> bytes:
            await asyncio.sleep(6)
            return await honest(peer, record, place)

        bodies.read = slow  # type: ignore[method-assign]
        world.fabric.cut(mill.peer_id, shop.peer_id)
        for number in range(60):
            await notes(mill).put(f"map {number}", LARGE)
        await world.sleep(timedelta(seconds=10))
        await notes(shop).put("atlas", LARGE)
        began_s = asyncio.get_running_loop().time()
        await eventually(lambda: has_come(farm, "atlas"))
        assert asyncio.get_running_loop().time() - began_s < 150
        await world.sleep(timedelta(minutes=20))
        assert await has_come(farm, "map 59")


async def has_come(machine: Machine, key: str) -> bool:
    """Without looking for it, which would fetch it before others."""
    return any(version.value == LARGE for version in await notes(machine).history(key))
