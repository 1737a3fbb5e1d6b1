"""Bodies that do not come with their records: whoever keeps one back keeps nobody from getting it elsewhere."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from tests.unit.outbox_world import virtually
from tests.unit.records_world import TYPE, Author, Shelf
from tests.unit.test_sync_stories import agree, all_have, eventually, met, notes, value_of

from covm.federation.sync.library import answered
from covm.federation.wire.sync_frames import MAX_BODIES, NoSync, SyncRequest
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
        await asyncio.gather(*(notes(mill).put(f"bread {number:03}", number) for number in range(2 * MAX_BODIES)))
        await notes(mill).put("oven", "hot")
        await eventually(lambda: all_have([farm], "oven", "hot"))
        await drop_bodies(farm)
        world.fabric.cut(mill.peer_id, shop.peer_id)
        world.fabric.cut(mill.peer_id, farm.peer_id)
        await shop.start()
        await eventually(lambda: asyncio.sleep(0, agree(farm, shop)))
        entry = await notes(shop).get("oven")
        assert entry is not None
        assert (entry.value, entry.trouble, entry.is_conflict) == (None, "its value is not held here", False)
        [version] = await notes(shop).history("oven")
        assert (version.state, version.lacks_value, version.erased) == ("valid", True, None)
        cursor = await last_cursor(shop)
        world.fabric.heal()
        await eventually(lambda: all_have([farm, shop], "oven", "hot"))
        await eventually(lambda: all_have([farm, shop], "bread 511", 511))
        async for change in notes(shop).changes(after=cursor):
            assert change.version.value is not None, "who follows changes sees the value when it comes"
            break


async def last_cursor(machine: Machine) -> int:
    """Behind all changes so far."""
    changes, cursor = notes(machine).changes(), 0
    with contextlib.suppress(TimeoutError):
        while True:
            cursor = (await asyncio.wait_for(anext(changes), 5)).cursor
    return cursor


@virtually
async def test_peers_that_do_not_have_it_are_asked_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill).put("oven", "hot")
        await eventually(lambda: all_have([farm], "oven", "hot"))
        asked = list[float]()
        honest = answered

        async def counted(keeper: object, request: SyncRequest) -> object:
            if request.bodies:
                asked.append(asyncio.get_running_loop().time())
            return await honest(keeper, request)  # type: ignore[arg-type]

        monkeypatch.setattr("covm.federation.sync.manager.answered", counted)
        await drop_bodies(mill)
        await drop_bodies(farm)
        await asyncio.sleep(6 * 3600)
        assert 4 <= len(asked) <= 40
        assert await value_of(farm, "oven") is None


# --- what is given, and what is taken

ASH = Author("ash")


async def test_bodies_are_given_of_the_type_alone_that_was_asked_for_and_none_that_is_not_here() -> None:
    shelf = await Shelf().open()
    first = ASH.write("oven", "hot")
    second = ASH.write("mill", "x" * 100_000, after=first)
    third = ASH.write("shop", "open", after=second)
    await shelf.take(first, second, bodies=[ASH.bodies[first.id], ASH.bodies[second.id]])
    await shelf.take(third)
    wanted = [first.id, second.id, third.id, ASH.key_id]
    said = await answered(shelf.keeper, SyncRequest(number=7, type=TYPE, bodies=wanted))
    assert not isinstance(said, NoSync)
    assert [each.body for each in said.records] == [ASH.bodies[first.id], ASH.bodies[second.id]]
    other = await answered(shelf.keeper, SyncRequest(number=8, type="accounts.entry", bodies=wanted))
    assert not isinstance(other, NoSync)
    assert other.records == []
    await shelf.store.close()


async def test_a_body_that_is_not_the_records_or_was_not_asked_for_or_is_erased_is_not_taken() -> None:
    shelf = await Shelf().open()
    first = ASH.write("oven", "hot")
    second = ASH.write("mill", "turns", after=first)
    erase = ASH.write("mill", "no", op="erase", target=second.id, after=second)
    assert (await shelf.take(first)).lacks_bodies
    await shelf.take(second, erase, bodies=[None, ASH.bodies[erase.id]])
    right, wrong = ASH.bodies[first.id], ASH.bodies[second.id]
    for body in (wrong, b"", None):
        assert (await shelf.keeper.fill([first.envelope], [body], {first.id})).malformed == 1
    assert (await shelf.keeper.fill([first.envelope], [right], {second.id})).malformed == 1
    assert (await shelf.keeper.fill([second.envelope], [wrong], {second.id})).keys == frozenset()
    taken = await shelf.keeper.fill([first.envelope], [right], {first.id})
    assert taken.keys == {(TYPE, "oven")}
    assert (await shelf.keeper.fill([first.envelope], [right], {first.id})).keys == frozenset(), "it is here"
    await shelf.store.close()
