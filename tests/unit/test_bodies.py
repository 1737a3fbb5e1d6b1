"""Bodies that do not come with their records: whoever keeps one back keeps nobody from getting it elsewhere."""

from __future__ import annotations

import asyncio
import contextlib

from tests.unit.outbox_world import virtually
from tests.unit.records_world import TYPE, Author, Shelf
from tests.unit.test_sync_stories import agree, all_have, eventually, met, notes, value_of

from covm._native import Link
from covm.federation.blobs.chunks import Place
from covm.federation.blobs.serving import NotHeld
from covm.federation.sync import body_rows
from covm.federation.sync.bodies import PEERS_A_BODY
from covm.federation.sync.body_rows import Lacking
from covm.federation.sync.plan import Arrived
from covm.federation.sync.reading import NOT_HERE
from covm.testing.machine import Machine
from covm.testing.world import World


async def drop_bodies(machine: Machine) -> None:
    """As a node does that hands out no bodies."""
    store = machine.service._node.sync.keeper.store
    await store.write(lambda tx: tx.execute("UPDATE covm_records SET body = NULL"))


@virtually
async def test_a_body_that_one_peer_keeps_back_comes_from_another_and_then_to_the_first_too() -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        mill, farm, shop = world.machines
        await mill.start()
        await farm.start()
        await asyncio.gather(*(notes(mill).put(f"bread {number:03}", number) for number in range(512)))
        await notes(mill).put("oven", "hot")
        await eventually(lambda: all_have([farm], "oven", "hot"))
        await drop_bodies(farm)
        world.fabric.cut(mill.peer_id, shop.peer_id)
        world.fabric.cut(mill.peer_id, farm.peer_id)
        await shop.start()
        await eventually(lambda: asyncio.sleep(0, agree(farm, shop)))
        entry = await notes(shop).get("oven")
        assert entry is not None
        assert (entry.value, entry.trouble, entry.is_conflict) == (None, NOT_HERE, False)
        [version] = await notes(shop).history("oven")
        assert (version.state, version.lacks_value, version.erased) == ("valid", True, None)
        cursor = await last_cursor(shop)
        world.fabric.heal()
        for machine in (farm, shop):  # without looking at any, which would fetch it before others
            await eventually(lambda machine=machine: lacks_none(machine))  # type: ignore[misc]
        assert await all_have([farm, shop], "oven", "hot")
        assert await all_have([farm, shop], "bread 511", 511)
        async for change in notes(shop).changes(after=cursor):
            assert change.version.value is not None, "who follows changes sees the value when it comes"
            break


async def lacks_none(machine: Machine) -> bool:
    return not await machine.service._node.store.read(lambda tx: body_rows.pages(tx, {}, 1, ()))


async def last_cursor(machine: Machine) -> int:
    """Behind all changes so far."""
    changes, cursor = notes(machine).changes(), 0
    with contextlib.suppress(TimeoutError):
        while True:
            cursor = (await asyncio.wait_for(anext(changes), 5)).cursor
    return cursor


@virtually
async def test_peers_that_do_not_have_it_are_asked_less_and_less_often() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill).put("oven", "hot")
        await eventually(lambda: all_have([farm], "oven", "hot"))
        asked = list[bytes]()
        bodies, honest = mill.service._node.blobs._bodies, mill.service._node.blobs._bodies.read

        async def counted(peer: str, record: bytes, place: Place) -> bytes:
            asked.append(record)
            return await honest(peer, record, place)

        bodies.read = counted  # type: ignore[method-assign]
        await drop_bodies(mill)
        await drop_bodies(farm)
        farm.service._node.sync.bodies.anew()
        await asyncio.sleep(6 * 3600)
        assert 4 <= len(asked) <= 40
        assert await value_of(farm, "oven") is None


@virtually
async def test_who_sends_records_without_bodies_has_no_older_ones_asked_for_more_often() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        old = await notes(mill).put("oven", "hot")
        await eventually(lambda: all_have([farm], "oven", "hot"))
        asked = list[bytes]()

        async def nothing(_peer: str, record: bytes, _place: Place) -> bytes:
            asked.append(record)
            raise NotHeld

        await drop_bodies(farm)
        farm.service._node.sync.bodies.anew()
        mill.service._node.blobs._bodies.read = nothing  # type: ignore[method-assign,assignment]
        await asyncio.sleep(2 * 3600)
        for number in range(60):
            await notes(mill).put(f"map {number}", "x" * 70_000)
            await asyncio.sleep(30)
        assert len(set(asked)) == 61
        assert asked.count(old.place.id.bytes) <= 25


@virtually
async def test_every_peer_is_asked_in_some_round_however_many_there_are() -> None:
    async with World(names=["mill"]) as world:
        [mill] = world.machines
        await mill.start()
        bodies = mill.service._node.sync.bodies
        peers = [Author(f"peer {number}").key.peer_id for number in range(3 * PEERS_A_BODY)]
        bodies.meet(lambda _type: peers)
        lacking = Lacking(1, Author("ash").write("oven", "hot"))
        asked = set[str]()
        for bodies._turn in range(len(peers)):
            some = bodies._sources(lacking)
            assert len(some) == PEERS_A_BODY
            asked.update(some)
        assert asked == set(peers)


# --- what is taken

ASH, BIRCH = Author("ash"), Author("birch")


async def test_a_body_of_what_is_erased_replaced_or_void_is_not_taken_and_none_is_twice() -> None:
    shelf = await Shelf().open()
    first = ASH.write("oven", "hot")
    second = ASH.write("mill", "turns", after=first)
    erase = ASH.write("mill", "no", op="erase", target=second.id, after=second)
    third = ASH.write("shop", "open", after=erase)
    fourth = ASH.write("shop", "shut", after=third, on=[third])
    assert (await shelf.take(first)).lacks_bodies
    assert not (await shelf.take(second, erase, bodies=[None, ASH.bodies[erase.id]])).lacks_bodies
    await shelf.take(third, fourth)

    async def lacking() -> list[Link]:
        pages = await shelf.store.read(lambda tx: body_rows.pages(tx, {}, 10, ()))
        return [each.record.id for each in pages.get(TYPE, [])]

    assert await lacking() == [first.id, fourth.id]
    told = len(shelf.told)
    for record in (second, third):
        await shelf.keeper.embody([Arrived(record, ASH.bodies[record.id] or b"")])
    assert len(shelf.told) == told
    await shelf.keeper.embody([Arrived(first, ASH.bodies[first.id] or b"")])
    assert shelf.told[-1].keys == {(TYPE, "oven")}
    assert shelf.told[-1].recounted == {TYPE}
    told = len(shelf.told)
    await shelf.keeper.embody([Arrived(first, ASH.bodies[first.id] or b"")])
    assert len(shelf.told) == told, "it is here"
    shelf.authority.banned = {ASH.key.peer_id}
    await shelf.keeper.reconsider()
    assert await lacking() == []
    await shelf.keeper.embody([Arrived(fourth, ASH.bodies[fourth.id] or b"")])
    assert fourth.id not in await held_bodies(shelf)
    await shelf.store.close()


async def test_a_held_record_gets_its_body_and_keeps_it_when_it_counts() -> None:
    shelf = await Shelf().open()
    missing = BIRCH.write("oven", "cold")
    waits = ASH.write("oven", "hot", on=[missing])
    await shelf.take(waits)
    assert shelf.keeper.held == 1
    await shelf.keeper.embody([Arrived(waits, ASH.bodies[waits.id] or b"")])
    await shelf.take(missing, bodies=[BIRCH.bodies[missing.id]])
    assert shelf.keeper.held == 0
    assert await held_bodies(shelf) == {waits.id} | {missing.id}
    await shelf.store.close()


async def held_bodies(shelf: Shelf) -> set[Link]:
    rows = await shelf.store.read(lambda tx: tx.execute("SELECT id FROM covm_records WHERE body IS NOT NULL").all())
    return {Link(bytes(row[0])) for row in rows}
