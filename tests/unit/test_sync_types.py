"""Sync types: what an application's own store is given, whatever fails, and how a group of types stands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.unit.members_world import in_time, sees, valley
from tests.unit.outbox_world import virtually
from tests.unit.test_sync_stories import NOTE, all_have, eventually, met, notes

from covm.federation import FederationService, NamedResolver, Resolution, Sibling, SyncChange, Tx, errors
from covm.federation.sync.frontier import EMPTY_ROOT
from covm.federation.sync.resolvers import keep_siblings
from covm.federation.sync.standings import position
from covm.testing import check_resolver
from covm.testing.disk import DiskFaults
from covm.testing.machine import Machine
from covm.testing.world import World

NOTES = "shop.notes"
OTHER = "shop.price"


class Shelf:
    """A store of an application: a dictionary, and all that came."""

    def __init__(self, fails: Callable[[SyncChange[Any]], bool] = lambda _change: False) -> None:
        self.kept: dict[str, Any] = {}
        self.came: list[SyncChange[Any]] = []
        self.fails = fails

    def apply(self, change: SyncChange[Any]) -> None:
        self.came.append(change)
        if self.fails(change):
            raise RuntimeError(f"no room for {change.key}")
        if change.is_deleted:
            self.kept.pop(change.key, None)
        else:
            self.kept[change.key] = change.value

    async def get(self, key: str) -> Any:
        return self.kept.get(key)


class Slow(Shelf):
    """One that writes somewhere else."""

    async def apply(self, change: SyncChange[Any]) -> None:  # type: ignore[override]
        await asyncio.sleep(0.01)
        super().apply(change)


class Table:
    """A store in the node's own database, that counts how often each key took effect."""

    transactional = True

    def __init__(self, fails: Callable[[SyncChange[Any]], bool] = lambda _change: False) -> None:
        self.fails = fails

    def apply(self, change: SyncChange[Any], tx: Tx) -> None:
        tx.execute("CREATE TABLE IF NOT EXISTS shelf (key TEXT, value TEXT)")
        tx.execute("INSERT INTO shelf VALUES (:key, :value)", {"key": change.key, "value": str(change.value)})
        if self.fails(change):
            raise RuntimeError(f"no room for {change.key}")

    def get(self, key: str) -> Any:
        return None


async def rows(machine: Machine) -> list[tuple[str, str]]:
    def read(tx: Tx) -> list[tuple[str, str]]:
        if not tx.execute("SELECT 1 FROM sqlite_master WHERE name = 'shelf'").all():
            return []
        return [(row[0], row[1]) for row in tx.execute("SELECT key, value FROM shelf ORDER BY rowid")]

    return await machine.service.transaction(read)


@virtually
async def test_an_own_store_gets_what_is_there_and_what_comes_and_goes_on_where_it_was_after_a_restart() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        await asyncio.gather(*(notes(mill).put(f"bread {number:03}", number) for number in range(150)))
        await notes(mill).put("oven", 1)
        await notes(mill).delete("bread 000")
        shelf = Slow()
        await farm.service.register_sync_type(NOTES, shelf, types=[NOTE, OTHER])
        await eventually(lambda: asyncio.sleep(0, shelf.kept.get("oven") == 1))
        assert [shelf.kept.get(f"bread {number:03}") for number in range(150)] == [None, *range(1, 150)]
        await notes(mill, OTHER).put("rye", 300)
        await eventually(lambda: asyncio.sleep(0, shelf.kept.get("rye") == 300))
        assert shelf.came[-1].type == OTHER
        await farm.stop()
        await notes(mill).put("oven", 2)
        again = Shelf()
        await farm.start()
        await farm.service.register_sync_type(NOTES, again, types=[NOTE, OTHER])
        await eventually(lambda: asyncio.sleep(0, again.kept == {"oven": 2}))
        assert [change.key for change in again.came] == ["oven"], "the rest it had before"


@virtually
async def test_a_conflict_reaches_the_store_with_all_its_versions_and_so_does_the_decision() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        shelf = Shelf()
        await farm.service.register_sync_type(NOTE, shelf)
        world.fabric.cut(mill.peer_id, farm.peer_id)
        await notes(mill).put("price", 1)
        await notes(farm).put("price", 2)
        world.fabric.heal()
        await eventually(lambda: asyncio.sleep(0, shelf.came and shelf.came[-1].is_conflict))
        assert {head.value for head in shelf.came[-1].heads} == {1, 2}
        entry = await notes(farm).get("price")
        assert entry is not None
        assert shelf.kept["price"] == entry.value
        status = await farm.service.get_sync_status(NOTE)
        assert [replica.conflicts for replica in status.replicas] == [1]
        await notes(mill).resolve("price", 3)
        await eventually(lambda: asyncio.sleep(0, shelf.kept["price"] == 3))
        assert not shelf.came[-1].is_conflict


@virtually
async def test_one_key_that_a_store_cannot_take_holds_up_no_other_and_is_handed_over_again() -> None:
    async with World(names=["mill"]) as world:
        await world.start_all()
        [mill] = world.machines
        shelf = Shelf(fails=lambda change: change.key == "bad")
        await mill.service.register_sync_type(NOTES, shelf, types=[NOTE])
        await asyncio.gather(*(notes(mill).put(key, 1) for key in ("first", "bad", "last")))
        await eventually(lambda: asyncio.sleep(0, shelf.kept == {"first": 1, "last": 1}))

        async def failed() -> int:
            [applied] = (await mill.service.get_sync_status(NOTES)).applied
            assert not applied.failed or applied.error == "RuntimeError: no room for bad"
            return applied.failed

        await eventually(failed)
        await mill.stop()
        await mill.start()
        await mill.service.register_sync_type(NOTES, shelf, types=[NOTE])
        await eventually(failed)
        shelf.fails = lambda _change: False
        await eventually(lambda: asyncio.sleep(0, shelf.kept.get("bad") == 1))

        async def clean() -> bool:
            [applied] = (await mill.service.get_sync_status(NOTES)).applied
            return (applied.failed, applied.behind, applied.error) == (0, 0, "")

        await eventually(clean)


@virtually
async def test_a_store_that_takes_nothing_for_hours_loses_nothing_and_other_sync_types_go_on() -> None:
    async with World(names=["mill"]) as world:
        await world.start_all()
        [mill] = world.machines
        broken, sound = Shelf(fails=lambda _change: True), Shelf()
        await mill.service.register_sync_type("shop.broken", broken, types=[NOTE])
        await mill.service.register_sync_type("shop.sound", sound, types=[NOTE])
        for number in range(200):
            await notes(mill).put(f"{number:03}", number)
        await eventually(lambda: asyncio.sleep(0, len(sound.kept) == 200))
        await asyncio.sleep(1800)
        assert broken.kept == {}
        assert len(broken.came) < 8 * 1800, "it is asked with longer and longer pauses"
        [applied] = (await mill.service.get_sync_status("shop.broken")).applied
        assert "no room for" in applied.error
        assert applied.failed + applied.behind > 0
        broken.fails = lambda _change: False
        await eventually(lambda: asyncio.sleep(0, broken.kept == {f"{number:03}": number for number in range(200)}))


@virtually
async def test_a_transactional_store_has_each_effect_once_whatever_crashes_and_whatever_the_disk_says() -> None:
    async with World(names=["mill"]) as world:
        [mill] = world.machines
        table = Table(fails=lambda change: change.key == "7")
        await mill.start()
        await mill.service.register_sync_type(NOTES, table, types=[NOTE])
        mill.disk.faults = DiskFaults(errors=0.3, doubts=0.5)
        for number in range(60):
            try:
                await notes(mill).put(str(number), number)
            except errors.StoreError:
                await asyncio.sleep(0.5)
            if number % 20 == 19:
                mill.disk.faults = DiskFaults()
                mill.crash()
                await mill.start()
                await mill.service.register_sync_type(NOTES, table, types=[NOTE])
                mill.disk.faults = DiskFaults(errors=0.3, doubts=0.5)
        mill.disk.faults = DiskFaults()
        table.fails = lambda _change: False
        held = {entry.key for entry in await notes(mill).list()}

        async def all_there() -> bool:
            return {key for key, _ in await rows(mill)} == held

        await eventually(all_there)
        taken = [key for key, _ in await rows(mill)]
        assert len(taken) == len(set(taken)), "each once"


@virtually
async def test_a_request_returns_once_all_is_there_and_with_a_key_what_the_store_has_under_it() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        shelf = Slow()
        await farm.service.register_sync_type(NOTES, shelf, types=[NOTE])
        await asyncio.gather(*(notes(mill).put(f"{number:03}", number) for number in range(100)))
        await asyncio.sleep(0.05)
        assert await farm.service.request_sync(NOTES, "042") == 42
        assert await farm.service.request_sync(NOTES, "never") is None
        assert await farm.service.request_sync(NOTES) is None
        entry = await farm.service.request_sync(NOTE, "042", peer=mill.peer_id)
        assert entry.value == 42
        with pytest.raises(errors.UnknownSyncType, match=r"shop\.nothing"):
            await farm.service.request_sync("shop.nothing")
        with pytest.raises(errors.UnknownSyncType):
            await farm.service.get_sync_status("shop.nothing")
        with pytest.raises(errors.UnknownPeer):
            await farm.service.request_sync(NOTES, peer="12D3KooWJcHxZaiVpxGGTjdyzMYtrLLK9c1GMBKuKqUgnNY3NoBo")
        await mill.stop()
        await eventually(lambda: asyncio.sleep(0, farm.service.connected_peers() == []))
        with pytest.raises(errors.PeerNotConnected):
            await farm.service.request_sync(NOTES, peer=mill.peer_id)


@virtually
async def test_the_status_says_where_each_peer_stands_as_far_as_it_is_known() -> None:
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        await notes(mill).put("oven", 1)
        await eventually(lambda: all_have([farm], "oven", 1))

        async def standing(machine: Machine) -> Any:
            [replica] = (await machine.service.get_sync_status(NOTE)).replicas
            [peer] = replica.peers
            return peer

        async def are_same() -> bool:
            peers = [await standing(mill), await standing(farm)]
            return all(peer.position == peer.state == "same" and peer.lag_s == 0 for peer in peers)

        await eventually(are_same)
        farm.disk.faults = DiskFaults(errors=1.0)
        await notes(mill).put("oven", 2)
        await asyncio.sleep(20)
        there = await standing(mill)
        assert (there.position, there.state) == ("unknown", "differs")
        assert 15 < there.lag_s < 25
        assert (await standing(farm)).error
        farm.disk.faults = DiskFaults()
        await eventually(are_same)
        assert (await standing(farm)).size_bytes > 100


def highest(siblings: Sequence[Sibling]) -> Resolution:
    puts = [each for each in siblings if each.op == "put"]
    if not puts:
        return keep_siblings(siblings)
    best = max(puts, key=lambda each: (each.value, each.rank))
    return Resolution(value=best.value, winner=best.id)


@virtually
async def test_an_applications_resolver_decides_what_is_shown_and_one_that_fails_hides_nothing() -> None:
    check_resolver(highest, [1, 2, 3])
    async with World(names=["mill", "farm"]) as world:
        await met(world)
        mill, farm = world.machines
        bids = NamedResolver("highest_bid", 1, highest)
        shelf = Shelf()
        await mill.service.register_sync_type(NOTES, shelf, types=[NOTE], resolver=bids)
        await farm.service.register_sync_type(NOTES, types=[NOTE], resolver=bids)
        for machine, name in ((mill, "first"), (farm, "second")):
            with pytest.raises(ValueError, match="is resolved by highest_bid"):
                await machine.service.register_sync_type(f"shop.{name}", types=[NOTE], resolver=("merge", 1))
        with pytest.raises(ValueError, match="there is no resolver lowest_bid"):
            await mill.service.register_sync_type("shop.third", types=[OTHER], resolver=("lowest_bid", 1))
        with pytest.raises(ValueError, match="already"):
            await mill.service.register_sync_type(NOTES, types=[NOTE])
        world.fabric.cut(mill.peer_id, farm.peer_id)
        await notes(mill).put("bid", 30)
        await notes(farm).put("bid", 20)
        await notes(farm).put("odd", "text")
        await notes(mill).put("odd", 1)
        world.fabric.heal()

        async def both() -> bool:
            entries = [await notes(machine).get(key) for machine in world.machines for key in ("bid", "odd")]
            return all(entry is not None and len(entry.heads) == 2 for entry in entries)

        await eventually(both)
        entries = [await notes(machine).get("bid") for machine in world.machines]
        assert [(entry.value, entry.is_conflict) for entry in entries if entry] == [(30, False)] * 2
        odd = [await notes(machine).get("odd") for machine in world.machines]
        assert all(entry and entry.is_conflict and "raised TypeError" in entry.trouble for entry in odd)
        assert len({str(entry.value) for entry in odd if entry}) == 1
        await eventually(lambda: asyncio.sleep(0, shelf.kept.get("bid") == 30 and "odd" in shelf.kept))
        status = await mill.service.get_sync_status(NOTES)
        assert status.resolvers == {NOTE: "highest_bid version 1"}


@virtually
async def test_what_counts_no_more_leaves_the_store_too() -> None:
    async with valley(("mill", "farm"), ("shop",)) as v:
        await v.joined("shop", by="mill")
        await in_time(lambda: sees(v["shop"], v["farm"]))
        shelf = Shelf()
        await v["farm"].service.register_sync_type(NOTES, shelf, types=[NOTE])
        v.world.fabric.cut(v["farm"].peer_id, v["mill"].peer_id)
        v.world.fabric.cut(v["shop"].peer_id, v["mill"].peer_id)
        request = await v.desk("mill").remove("Shop", "has closed")
        await notes(v["shop"]).put("shelf", "mine")
        await eventually(lambda: asyncio.sleep(0, shelf.kept == {"shelf": "mine"}))
        v.world.fabric.heal()
        await in_time(lambda: v.desk("farm").requests() or request.status == "done")
        if v.desk("farm").requests():
            await v.desk("farm").approve("Shop")
        await eventually(lambda: asyncio.sleep(0, shelf.kept == {}))
        assert (shelf.came[-1].heads, shelf.came[-1].value) == ((), None)
        [replica] = (await v["farm"].service.get_sync_status(NOTES)).replicas
        assert replica.void == 1


@virtually
async def test_a_store_may_be_registered_before_the_node_starts_and_is_fed_once_it_runs() -> None:
    async with World(names=["mill"]) as world:
        [mill] = world.machines
        shelf, begun = Shelf(), list[asyncio.Task[None]]()

        def application(machine: Machine, service: FederationService) -> None:
            begun.append(machine.spawn(service.register_sync_type(NOTES, shelf, types=[NOTE])))

        mill.application = application
        await mill.start()
        await notes(mill).put("oven", 1)
        assert await mill.service.request_sync(NOTES, "oven") == 1


def test_where_a_node_stands_is_said_only_as_far_as_it_is_known() -> None:
    own, theirs, older = b"own", b"theirs", b"older"
    assert position(own, own, None, is_lacking=False) == "same"
    assert position(own, theirs, None, is_lacking=False) == "unknown"
    assert position(own, theirs, older, is_lacking=False) == "unknown"
    assert position(own, theirs, theirs, is_lacking=False) == "ahead"
    assert position(own, EMPTY_ROOT, None, is_lacking=False) == "ahead"
    assert position(own, theirs, theirs, is_lacking=True) == "behind"


@virtually
async def test_what_is_no_store_is_said_at_once() -> None:
    class Hasty(Table):
        async def apply(self, change: SyncChange[Any], tx: Tx) -> None:  # type: ignore[override]
            pass

    async with World(names=["mill"]) as world:
        await world.start_all()
        service = world.machines[0].service
        with pytest.raises(TypeError, match="define it with `def`"):
            await service.register_sync_type(NOTES, Hasty(), types=[NOTE])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="has a method apply"):
            await service.register_sync_type(NOTES, {}, types=[NOTE])  # type: ignore[arg-type]
        with pytest.raises(errors.InvalidMessage):
            await service.register_sync_type("no name", Shelf())
