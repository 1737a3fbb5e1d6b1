"""How much one member may have on a node: what is above is declined, told, and taken once there is room."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from tests.unit.members_world import headed, in_time, new_node, sees, signed, valley
from tests.unit.outbox_world import virtually
from tests.unit.records_world import TYPE, Anybody, Author, Shelf
from tests.unit.service_world import Heard
from tests.unit.test_durable_types import News
from tests.unit.test_erasure import bodies_of
from tests.unit.test_sync_stories import NOTE, agree, all_have, eventually, met, notes, value_of

from covm.federation import events
from covm.federation.errors import QuotaExceeded
from covm.federation.identity.drafts import draft_add_node, draft_remove_node
from covm.federation.identity.update import SignedUpdate
from covm.federation.membership import tables
from covm.federation.sync.quotas import Usage
from covm.federation.sync.standings import PeerStanding, Replica
from covm.federation.wire.incarnation import Incarnation
from covm.federation.wire.record import SignedRecord
from covm.testing.machine import Machine
from covm.testing.world import World

MIB = 1024 * 1024
LARGE = "x" * 700_000
SMALL = "x" * 60_000
"""One that travels beside its header."""


def allow(machine: Machine, **settings: Any) -> None:
    """From the next start on."""
    machine._config = msgspec.structs.replace(machine._config, **settings)


async def replica(machine: Machine) -> Replica:
    [found] = (await machine.service.get_sync_status(NOTE)).replicas
    return found


async def beside(machine: Machine, other: Machine) -> PeerStanding:
    [found] = [each for each in (await replica(machine)).peers if each.peer == other.peer_id]
    return found


async def restart(machine: Machine, **settings: Any) -> None:
    await machine.stop()
    allow(machine, **settings)
    await machine.start()


@virtually
async def test_a_write_above_the_quota_is_refused_before_anything_is_written_and_the_error_says_what_to_do() -> None:
    async with World(names=["mill", "farm"], config={"record_quota": 5}) as world:
        await met(world)
        mill, farm = world.machines
        for number in range(5):
            await notes(mill).put(f"bread {number}", number)
        with pytest.raises(QuotaExceeded, match=r"has 5 records of notes\.note .* may have 5 .* raise record_quota "):
            await notes(mill).put("one more", 6)
        assert await notes(mill).history("one more") == []
        await notes(farm).put("farm", "has a quota of its own")
        await notes(mill).delete("bread 0")
        await eventually(lambda: all_have(world.machines, "bread 0", None))
        with pytest.raises(QuotaExceeded):
            await notes(mill).delete("bread 1")
        await eventually(lambda: all_have(world.machines, "farm", "has a quota of its own"))
        await mill.service.collection("other.type").put("another type", "another quota")
        await restart(mill)
        with pytest.raises(QuotaExceeded):
            await notes(mill).put("still one more", 6)
        await restart(mill, record_quota=7)
        await notes(mill).put("one more", 6)
        with pytest.raises(QuotaExceeded):
            await notes(mill).put("two more", 7)


@virtually
async def test_whoever_has_used_up_its_bytes_erases_something_and_goes_on() -> None:
    async with World(names=["mill", "farm"], config={"record_quota_bytes": 2 * MIB}) as world:
        await met(world)
        mill, farm = world.machines
        first = await notes(mill).put("first", LARGE)
        await notes(mill).put("second", LARGE)
        with pytest.raises(QuotaExceeded, match="erase what is not needed any more, or raise record_quota_bytes"):
            await notes(mill).put("third", LARGE)
        await eventually(lambda: all_have(world.machines, "second", LARGE))
        await notes(mill).erase(first, "makes room")
        await notes(mill).put("third", LARGE)
        await eventually(lambda: all_have(world.machines, "third", LARGE))
        assert agree(mill, farm)
        [usage] = (await replica(farm)).usage
        assert (usage.member, usage.records, usage.is_declined) == (mill.peer_id, 4, False)
        assert 2 * len(LARGE) < usage.size_bytes < 2 * MIB


@virtually
async def test_records_above_a_quota_are_declined_and_said_once_and_come_when_it_is_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with World(names=["mill", "farm", "shop"]) as world:
        mill, farm, shop = world.machines
        allow(farm, record_quota=10)
        await met(world)
        with caplog.at_level(logging.WARNING, "covm.federation"):
            heard = Heard(farm.service)
            for number in range(15):
                await notes(mill).put(f"bread {number}", number)
            await eventually(lambda: all_have([farm], "bread 9", 9))
            await eventually(lambda: all_have([shop], "bread 14", 14))
            await notes(shop).put("shop", "goes on")
            await eventually(lambda: all_have(world.machines, "shop", "goes on"))
            for number in range(15, 20):
                await notes(mill).put(f"bread {number}", number)
            await eventually(lambda: all_have([shop], "bread 19", 19))
            await world.sleep(timedelta(minutes=2))
        assert await value_of(farm, "bread 10") is None
        said = heard.of(events.QuotaReached)
        assert said == [events.QuotaReached(NOTE, mill.peer_id, 10, 10, "records")]
        warned = [each.getMessage() for each in caplog.records if "declined" in each.getMessage()]
        assert len(warned) == 1
        assert mill.peer_id in warned[0]
        assert "raise record_quota" in warned[0]
        for peer in (mill, shop):
            standing = await beside(farm, peer)
            assert (standing.position, standing.declined, standing.error) == ("behind", 1, "")
        usage = {each.member: each for each in (await replica(farm)).usage}
        assert (usage[mill.peer_id].records, usage[mill.peer_id].is_declined) == (10, True)
        assert not usage[shop.peer_id].is_declined
        await restart(farm, record_quota=1000)
        await eventually(lambda: all_have([farm], "bread 19", 19))
        assert agree(*world.machines)
        assert (await beside(farm, mill)).declined == 0


@pytest.mark.parametrize("value", [SMALL, LARGE], ids=["beside their headers", "behind them"])
@virtually
async def test_values_without_room_come_once_their_member_has_erased_others(value: str) -> None:
    async with World(names=["mill", "farm"]) as world:
        mill, farm = world.machines
        allow(farm, record_quota_bytes=2 * MIB)
        await met(world)
        count = 3 * MIB // len(value)
        written = [await notes(mill).put(f"bread {number:02}", f"{number}{value}") for number in range(count)]
        await eventually(lambda: _agree(mill, farm))

        async def here() -> int:
            return sum(each is not None for each in (await bodies_of(farm)).values())

        await eventually(lambda: _equals(here, 2 * MIB // (len(value) + 700)))
        [usage] = (await replica(farm)).usage
        assert usage.is_declined
        assert usage.size_bytes <= 2 * MIB * 11 // 10
        [last] = await notes(farm).history(f"bread {count - 1:02}")
        assert (last.value, last.lacks_value) == (None, True)
        for version in written[: count // 2]:
            await notes(mill).erase(version, "makes room")
        await eventually(lambda: all_have([farm], f"bread {count - 1:02}", f"{count - 1}{value}"))
        [usage] = (await replica(farm)).usage
        assert not usage.is_declined


async def _agree(*machines: Machine) -> bool:
    return agree(*machines)


async def _equals(found: Any, expected: Any) -> bool:
    return bool(await found() == expected)


@virtually
async def test_each_member_has_a_quota_and_the_error_names_it() -> None:
    async with valley(settings={"record_quota": 6}) as v:
        mill, farm = v["mill"], v["farm"]
        for number in range(6):
            await notes(mill).put(f"bread {number}", number)
        with pytest.raises(QuotaExceeded, match=str(v.coops["mill"].member)):
            await notes(mill).put("one more", 6)
        await eventually(lambda: all_have([farm], "bread 5", 5))
        await notes(farm).put("farm", "has its own")
        usage = {each.member: each.records for each in (await replica(farm)).usage}
        assert usage == {str(v.coops["mill"].member): 6, str(v.coops["farm"].member): 1}


@virtually
async def test_all_nodes_of_a_member_have_one_quota_also_one_that_was_removed_since() -> None:
    async with valley(others=("attic",), settings={"record_quota": 6}) as v:
        mill, log = v.coops["mill"], list[SignedUpdate]()
        log.append(signed(mill, draft_add_node(headed(mill, log), new_node(mill, v.coops["attic"].node))))
        await v.desk("mill").take_entries([each.envelope for each in log])
        entries = [mill.inception, *log]
        await v.write("attic", partial(tables.save_founded, charter=v.charter, entries=entries, own=mill.member))
        await v["attic"].start()
        await in_time(lambda: sees(v["mill"], v["attic"]) and sees(v["farm"], v["attic"]))
        for number in range(4):
            await notes(v["mill"]).put(f"mill {number}", number)
        await eventually(lambda: all_have([v["attic"], v["farm"]], "mill 3", 3))
        await notes(v["attic"]).put("attic", "writes too")
        await eventually(lambda: all_have([v["farm"]], "attic", "writes too"))
        gone = signed(mill, draft_remove_node(headed(mill, log), v["mill"].peer_id, ()))
        await v.desk("attic").take_entries([gone.envelope])
        await in_time(lambda: v.agree("attic", "farm"))
        await eventually(lambda: _equals(partial(value_of, v["farm"], "mill 3"), None))
        await notes(v["attic"]).put("one more", 6)
        with pytest.raises(QuotaExceeded, match=str(mill.member)):
            await notes(v["attic"]).put("two more", 7)
        await eventually(lambda: all_have([v["farm"]], "one more", 6))
        assert [(each.member, each.records) for each in (await replica(v["farm"])).usage] == [(str(mill.member), 6)]


@virtually
async def test_a_transaction_that_publishes_more_than_there_is_room_for_fails_and_nothing_of_it_is_kept() -> None:
    async with World(names=("mill", "shop"), types=[News], config={"record_quota": 5}) as world:
        mill, _ = world.machines
        await world.start_all()
        await in_time(lambda: sees(mill, world.machines[1]))

        def publish(tx: Any, count: int) -> None:
            for number in range(count):
                tx.publish(News, News(f"news {number}"))

        with pytest.raises(QuotaExceeded):
            await mill.service.transaction(lambda tx: publish(tx, 6))
        await mill.service.transaction(lambda tx: publish(tx, 3))
        await mill.service.transaction(lambda tx: publish(tx, 2))
        with pytest.raises(QuotaExceeded):
            await mill.service.transaction(lambda tx: publish(tx, 1))
        with pytest.raises(QuotaExceeded):
            await mill.service.publish(News("another"))
        entries = await eventually_listed(mill, 5)
        assert entries == [f"news {number}" for number in (0, 0, 1, 1, 2)]


async def eventually_listed(machine: Machine, count: int) -> list[str]:
    async def listed() -> list[str]:
        found = await machine.service.collection(News).list()
        return sorted([each.value.text for each in found if each.value is not None])

    await eventually(lambda: _equals(lambda: _len(listed), count))
    return await listed()


async def _len(listed: Any) -> int:
    return len(await listed())


def chain(author: Author, length: int, **how: Any) -> list[SignedRecord]:
    records: list[SignedRecord] = []
    for number in range(length):
        records.append(author.write(f"{author.name} {number}", number, after=records[-1] if records else None, **how))
    return records


async def test_authors_whose_member_is_not_known_share_one_quota_until_it_is() -> None:
    authority = Anybody()
    authors = [Author(f"stranger {number}") for number in range(5)]
    authority.payers = dict.fromkeys((each.key.peer_id for each in authors), None)
    shelf = await Shelf(authority, quota=Usage(10, 2 * MIB)).open()
    for author in authors:
        await shelf.take(*chain(author, 4))
    assert shelf.keeper.quotas.used((TYPE, "")).records == 10
    authority.payers = {authors[0].key.peer_id: "ash"}
    await shelf.keeper.reconsider()
    assert shelf.keeper.quotas.used((TYPE, "ash")).records == 4
    await shelf.take(*chain(authors[4], 4))
    assert shelf.keeper.quotas.used((TYPE, authors[4].key.peer_id)).records == 4


async def test_many_nodes_and_lives_of_one_member_are_counted_together_in_one_batch_and_over_a_restart() -> None:
    authority, ash, birch = Anybody(), Author("ash"), Author("birch")
    authority.payers = dict.fromkeys((ash.key.peer_id, birch.key.peer_id), "grove")
    shelf = await Shelf(authority, quota=Usage(7, 2 * MIB)).open()
    later = Incarnation(2, bytes(8))
    taken = await shelf.take(*chain(ash, 3), *chain(ash, 3, incarnation=later), *chain(birch, 3))
    assert (taken.placed, taken.refused, len(taken.declined)) == (7, 2, 1)
    assert [(each.member, each.used, each.limit) for each in taken.full] == [("grove", 7, 7)]
    again = await shelf.reopened()
    assert again.keeper.quotas.used((TYPE, "grove")).records == 7
    assert (await again.take(*chain(birch, 3))).placed == 0


async def test_a_log_that_was_closed_goes_on_once_another_node_of_its_member_has_erased_something() -> None:
    authority, ash, birch = Anybody(), Author("ash"), Author("birch")
    grove = dict.fromkeys((ash.key.peer_id, birch.key.peer_id), "grove")
    authority.payers, authority.owners = {**grove}, grove
    shelf = await Shelf(authority, quota=Usage(1000, 2 * MIB)).open()
    shelf.keeper.quotas.reserve = Usage(10, 4000)
    full: list[SignedRecord] = []
    for number in range(150):
        full.append(ash.write(f"key {number}", f"{number}{SMALL}", after=full[-1] if full else None))
    bodies = [ash.bodies[each.id] for each in full]
    taken = await shelf.take(*full, bodies=bodies)
    log = full[0].body.log
    assert (set(taken.declined), shelf.keeper.quotas.is_closed(log)) == ({log}, True)
    rest = full[taken.placed :]
    await shelf.take(*rest[1:], bodies=bodies[taken.placed + 1 :])
    assert len(await shelf.states()) == taken.placed, "what follows it waits nowhere"
    assert not len(shelf.keeper._room)
    assert shelf.keeper.quotas.reopened() == set()
    last: SignedRecord | None = None
    for record in full[:20]:
        last = birch.write(record.body.key, "makes room", op="erase", target=record.id, after=last)
        await shelf.take(last, bodies=[birch.bodies[last.id]])
    assert shelf.keeper.quotas.reopened() == {TYPE}
    assert not shelf.keeper.quotas.is_closed(log)
    assert (await shelf.take(*rest, bodies=bodies[taken.placed :])).placed == len(rest)
