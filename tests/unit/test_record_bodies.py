"""Bodies above 64 KiB come after their records, from whoever may read them and has them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from tests.unit.members_world import in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import all_have, eventually, met, notes, value_of

from covm.federation import message_type
from covm.federation.errors import BodyUnavailable
from covm.federation.identity.roles import Role
from covm.federation.sync import body_rows, reading
from covm.federation.sync.reading import NOT_HERE
from covm.federation.wire.message_type import describe
from covm.testing.machine import Machine
from covm.testing.world import World

LARGE = "x" * 70_000
LARGEST = "y" * 1_000_000


@message_type("map.sheet", bodies="on_demand")
class Sheet(msgspec.Struct, frozen=True):
    """Something large that is seldom looked at."""

    image: bytes


SHEET = Sheet(bytes(range(256)) * 2000)


async def lacking(machine: Machine) -> int:
    store = machine.service._node.store
    pages = await store.read(lambda tx: body_rows.pages(tx, {}, 1000, ()))
    return sum(map(len, pages.values()))


@virtually
async def test_large_values_come_to_everybody_and_to_who_was_away() -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        await met(world)
        mill, farm, shop = world.machines
        await shop.stop()
        await notes(mill).put("map", LARGE)
        await notes(mill).put("atlas", LARGEST)
        await notes(mill).put("oven", "small")
        await eventually(lambda: all_have([farm], "map", LARGE))
        await eventually(lambda: all_have([farm], "atlas", LARGEST))
        await mill.stop()
        await shop.start()
        await eventually(lambda: all_have([farm, shop], "map", LARGE))
        await eventually(lambda: all_have([farm, shop], "atlas", LARGEST))
        assert await all_have([shop], "oven", "small")
        assert await lacking(shop) == await lacking(farm) == 0


@virtually
async def test_no_body_above_64_kib_travels_beside_its_record() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        sent: list[int] = []
        network, send = mill.service._node.network, mill.service._node.network.try_send

        def try_send(stream: int, frames: list[bytes]) -> bool:
            if stream in mill.service._node.sync.streams._servers:
                sent.extend(map(len, frames))
            return send(stream, frames)

        network.try_send = try_send  # type: ignore[method-assign,assignment]
        await notes(mill).put("map", LARGE)
        await eventually(lambda: all_have([farm], "map", LARGE))
        assert max(sent) < 2000


@virtually
async def test_who_follows_changes_sees_a_large_value_once_it_is_there() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        seen: list[tuple[int, object, str]] = []

        async def follow() -> None:
            async for change in notes(farm).changes():
                version = change.version
                seen.append((change.cursor, version.value, version.reason))

        following = asyncio.create_task(follow())
        await notes(mill).put("map", LARGE)
        await eventually(lambda: asyncio.sleep(0, bool(seen) and seen[-1][1] == LARGE))
        assert [cursor for cursor, _, _ in seen] == sorted(cursor for cursor, _, _ in seen)
        assert all((value, reason) == (None, NOT_HERE) for _, value, reason in seen[:-1])
        following.cancel()


@virtually
async def test_on_demand_a_body_comes_when_somebody_looks() -> None:
    async with World(names=["mill", "farm"], types=[Sheet]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill, "map.sheet").put("north", SHEET)
        await notes(mill, "map.sheet").put("south", SHEET)
        await eventually(lambda: asyncio.sleep(0, _same(mill, farm, "map.sheet")))
        await world.sleep(timedelta(hours=1))
        assert await lacking(farm) == 2
        entry = await notes(farm, "map.sheet").get("north")
        assert entry is not None
        assert (entry.value, entry.trouble, entry.heads[0].reason) == (None, NOT_HERE, NOT_HERE)
        await eventually(lambda: all_have_sheet(farm, "north"))
        assert await lacking(farm) == 1
        [other] = await notes(farm, "map.sheet").history("south")
        fetched = await notes(farm, "map.sheet").fetch(other)
        assert (fetched.value, fetched.reason) == (SHEET, "")
        assert await notes(farm, "map.sheet").fetch(fetched) == fetched


@virtually
async def test_what_nobody_here_has_is_said_to_be_so_and_comes_when_somebody_does() -> None:
    async with World(names=["mill", "farm"], types=[Sheet]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill, "map.sheet").put("north", SHEET)
        await eventually(lambda: asyncio.sleep(0, _same(mill, farm, "map.sheet")))
        await mill.stop()
        [version] = await notes(farm, "map.sheet").history("north")
        with pytest.raises(BodyUnavailable, match="no peer is connected that may have it"):
            await notes(farm, "map.sheet").fetch(version)
        await mill.start()
        await in_time(lambda: sees(farm, mill))
        assert (await notes(farm, "map.sheet").fetch(version)).value == SHEET


@virtually
async def test_fetching_goes_on_after_a_restart() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        blobs = mill.service._node.blobs
        read = blobs._bodies.read
        blobs._bodies.read = _never  # type: ignore[method-assign,assignment]
        await notes(mill).put("map", LARGE)
        await eventually(lambda: _is(lacking(farm), 1))
        farm.crash()
        await farm.start()
        assert await value_of(farm, "map") is None
        blobs._bodies.read = read  # type: ignore[method-assign]
        await eventually(lambda: all_have([farm], "map", LARGE))


@virtually
async def test_only_who_may_read_a_type_is_given_its_bodies_or_asked_for_them() -> None:
    books = {
        "member": Role(publish=("*",), send=("*",), read=("notes.*",), write=("notes.*",)),
        "bookkeeper": Role(publish=("*",), send=("*",), read=("*",), write=("*",)),
    }
    async with valley(("mill", "farm"), ("shop",), roles=books, founder_roles=("bookkeeper",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        written = await notes(v["mill"], "accounts.entry").put("1", LARGE)
        await eventually(lambda: _is(value_of(v["farm"], "1", "accounts.entry"), LARGE))
        bodies, record = v["mill"].service._node.sync.bodies, written.place.id.bytes
        assert await bodies.body_for(v["shop"].peer_id, record, 0, 10) is None
        assert len(await bodies.body_for(v["farm"].peer_id, record, 0, 10) or b"") == 10
        [lack] = [body_rows.Lacking(1, each.record) for each in await _records(v["farm"], "accounts.entry", "1")]
        assert v["shop"].peer_id not in v["farm"].service._node.sync.bodies._sources(lack)


def test_a_type_says_when_its_bodies_are_fetched() -> None:
    assert describe("map.sheet").bodies == "eager"
    with pytest.raises(ValueError, match="must be eager or on_demand"):
        describe("map.sheet", bodies="never")  # type: ignore[arg-type]


async def _never(*_: object) -> bytes:
    await asyncio.Event().wait()
    return b""


async def _is(found: object, wanted: object) -> bool:
    return await found == wanted  # type: ignore[misc]


async def all_have_sheet(machine: Machine, key: str) -> bool:
    return await value_of(machine, key, "map.sheet") == SHEET


async def _records(machine: Machine, name: str, key: str) -> list[reading.Read]:
    return await machine.service._node.store.read(lambda tx: reading.history(tx, name, key, None, 100))


def _same(one: Machine, other: Machine, name: str) -> bool:
    frontiers = [machine.service._node.sync.keeper.logs.frontier(name) for machine in (one, other)]
    return frontiers[0].root == frontiers[1].root
