"""Records that wait: for parents that nobody has, for the one before them. What they take of memory and of time.

THREATS.md, rows *sync*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.unit.membership_world import NOON_MS
from tests.unit.records_world import FEDERATION, Author, Shelf

from covm._native import Link, cid
from covm.federation.sync import held, keeper, room, rows
from covm.federation.wire.limits import MAX_PARENTS
from covm.federation.wire.record import Auth, Hlc, Place, SignedRecord

HONEST, LIAR = Author("honest"), Author("liar")


def nowhere(names: Sequence[str]) -> tuple[Place, ...]:
    """Parents that nobody has written."""
    places = [Place(cid(name.encode()), 1, cid(f"record {name}".encode())) for name in names]
    return tuple(sorted(places, key=lambda place: place.log.bytes))


def waiting(count: int, named: int) -> list[SignedRecord]:
    """Records of one log, each based on so many that do not exist."""
    found: list[SignedRecord] = []
    for number in range(count):
        parents = nowhere([f"{number} {each}" for each in range(named)])
        found.append(LIAR.write("key", number, after=found[-1] if found else None, parents=parents))
    return found


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each look-up has brought."""
    found, honest = list[int](), rows.look_up

    def counted(*given: Any) -> rows.Found:
        answer = honest(*given)
        found.append(len(answer.known))
        return answer

    monkeypatch.setattr(rows, "look_up", counted)
    return found


async def judged(shelf: Shelf) -> set[Link]:
    return {link for link, (state, _) in (await shelf.states()).items() if state != 0}


@pytest.mark.parametrize("defended", [True, False])
async def test_what_held_records_wait_for_takes_a_bounded_room_too(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_AWAITED", 4 * MAX_PARENTS if defended else 10**9)
    shelf = await Shelf().open()
    taken = await shelf.take(*waiting(20, MAX_PARENTS))
    assert shelf.keeper.held == taken.placed == (4 if defended else 20)
    assert bool(taken.postponed) == defended
    first = HONEST.write("key", "honest")
    await shelf.take(first)
    assert await shelf.heads("key") == {first.id}, "what need not wait is taken all the same"
    await shelf.store.close()


async def test_what_waits_for_what_does_not_come_is_not_looked_at_again(looked_up: list[int]) -> None:
    shelf = await Shelf().open()
    first = HONEST.write("another", "first")
    based = Author("other").write("another", "based on it", on=[first])
    await shelf.take(*waiting(100, 3), based)
    for again in (shelf, await shelf.reopened()):
        looked_up.clear()
        await again.keeper.again()
        await again.keeper.reconsider()
        await again.take(HONEST.write("mill", len(looked_up)))
        assert max(looked_up) <= 1
        assert again.keeper.held == 101
    await shelf.take(first)
    assert max(looked_up) <= 2
    assert await judged(shelf) >= {first.id, based.id}
    await shelf.store.close()


async def test_a_record_that_waits_for_two_is_judged_once_both_are_here_also_after_a_restart(
    looked_up: list[int],
) -> None:
    bases = [Author(f"author {number}").write("key", number) for number in range(2)]
    shelf = await Shelf().open()
    both = HONEST.write("key", "both", on=bases)
    await shelf.take(both)
    await shelf.take(bases[0])
    await shelf.reopened()
    await shelf.keeper.reconsider()
    assert both.id not in await judged(shelf)
    await shelf.take(bases[1])
    assert await shelf.heads("key") == {both.id}
    await shelf.store.close()


async def test_many_that_wait_for_one_are_judged_some_at_a_time_and_others_write_in_between(
    monkeypatch: pytest.MonkeyPatch, looked_up: list[int]
) -> None:
    monkeypatch.setattr(keeper, "MAX_BATCH", 20)
    monkeypatch.setattr(keeper, "MAX_NAMED", 40)
    first = HONEST.write("key", "first")
    based = [Author(f"author {number}").write("key", number, on=[first]) for number in range(150)]
    shelf = await Shelf().open()
    for start in range(0, len(based), 20):
        await shelf.take(*based[start : start + 20])
    looked_up.clear()
    await shelf.take(first)
    assert len(looked_up) >= 150 / 20
    assert max(looked_up) <= 2 * 20 + 1
    assert await shelf.heads("key") == {each.id for each in based}
    await shelf.store.close()


@pytest.mark.parametrize("order", [1, -1])
async def test_a_log_whose_beginning_is_written_by_somebody_unknown_is_judged_once_that_one_is_known(
    order: int,
) -> None:
    shelf = await Shelf().open()
    unknown = Auth(FEDERATION, cid(b"not here yet"))
    written: list[SignedRecord] = []
    for number in range(5):
        auth = {"auth": unknown} if number == 0 else {}
        after = written[-1] if written else None
        written.append(HONEST.write("key", number, after=after, on=[after] if after else [], **auth))  # type: ignore[arg-type]
    for each in written[::order]:
        await shelf.take(each)
    await shelf.reopened()
    assert await judged(shelf) == set()
    shelf.authority.knows = lambda _auth: True  # type: ignore[method-assign]
    await shelf.keeper.reconsider()
    assert await shelf.heads("key") == {written[-1].id}
    assert shelf.keeper.held == 0
    await shelf.store.close()


async def test_what_waits_for_its_time_is_looked_at_when_that_has_come_and_once(looked_up: list[int]) -> None:
    early = LIAR.write("key", hlc=Hlc(NOON_MS + 11 * 60 * 1000, 0))
    shelf = await Shelf().open()
    await shelf.take(early)
    looked_up.clear()
    await shelf.keeper.again()
    assert looked_up == []
    shelf.clock.now += 2 * 60 * 1000
    await shelf.keeper.again()
    await shelf.keeper.again()
    assert len(looked_up) == 1
    assert await shelf.heads("key") == {early.id}
    await shelf.store.close()


def astray(count: int, name: str = "astray") -> list[SignedRecord]:
    """Records that follow what does not exist."""
    return [LIAR.write("key", f"{name} {n}", prev=cid(f"{name} {n}".encode()), seq=2) for n in range(count)]


def chain(count: int) -> list[SignedRecord]:
    found = [HONEST.write("key", 0)]
    for number in range(1, count):
        found.append(HONEST.write("key", number, after=found[-1], on=[found[-1]]))
    return found


async def test_a_record_costs_the_same_however_many_wait_for_the_one_before_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = await Shelf().open()
    await shelf.take(*astray(300))
    asked, honest = list[int](), rows.look_up

    def counted(tx: Any, ids: Any, keys: Any, logs: Any, targets: Any, forks: Any) -> rows.Found:
        asked.append(len(ids) + len(keys) + len(logs) + len(targets) + len(forks))
        return honest(tx, ids, keys, logs, targets, forks)

    monkeypatch.setattr(rows, "look_up", counted)
    first = HONEST.write("key", "honest")
    await shelf.take(first)
    assert max(asked) <= 4
    assert await shelf.heads("key") == {first.id}
    await shelf.store.close()


@pytest.mark.parametrize("defended", [True, False])
async def test_who_fills_the_room_of_those_without_a_place_takes_no_others_part_of_it(
    defended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_UNPLACED", 20)
    shelf = await Shelf().open()
    first, *others = chain(8)
    await shelf.take(*others, source="a neighbour")
    await shelf.take(*astray(100), source="a flooder" if defended else "a neighbour")
    await shelf.take(first, source="a neighbour")
    assert await shelf.heads("key") == {others[-1].id if defended else first.id}
    await shelf.store.close()


async def test_records_in_the_wrong_order_have_their_places_once_the_first_comes_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch, looked_up: list[int]
) -> None:
    monkeypatch.setattr(keeper, "MAX_BATCH", 10)
    shelf = await Shelf().open()
    first, *others = chain(60)
    await shelf.take(*reversed(others))
    looked_up.clear()
    assert (await shelf.take(first)).placed == 60
    assert len(looked_up) <= 8
    assert await shelf.heads("key") == {others[-1].id}
    await shelf.store.close()


async def test_what_follows_nothing_for_long_is_dropped_and_taken_when_it_comes_again() -> None:
    shelf = await Shelf().open()
    first, second = chain(2)
    await shelf.take(second)
    shelf.clock.since_start_s = room.UNPLACED_S
    await shelf.take(*astray(1))
    await shelf.take(first)
    assert await shelf.heads("key") == {first.id}
    await shelf.take(second)
    assert await shelf.heads("key") == {second.id}
    await shelf.store.close()


async def test_many_versions_of_one_key_that_wait_are_looked_up_by_none_that_comes(looked_up: list[int]) -> None:
    shelf = await Shelf().open()
    versions = waiting(60, 1)
    await shelf.take(*versions)
    looked_up.clear()
    await shelf.take(LIAR.write("key", "one more", after=versions[-1]))
    assert max(looked_up) <= 16
    await shelf.store.close()


@pytest.mark.parametrize(("bound", "value"), [("MAX_UNPLACED", 20), ("MAX_UNPLACED_BYTES", 20 * 700), ("", 0)])
async def test_records_without_the_one_before_them_wait_in_a_bounded_room(
    bound: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bound:
        monkeypatch.setattr(room, bound, value)
    shelf = await Shelf().open()
    await shelf.take(*(LIAR.write("key", n, prev=cid(b"%d" % n), seq=2) for n in range(100)))
    wait = len(shelf.keeper._room)
    assert wait == 100 if not bound else 0 < wait <= 40
    assert await shelf.states() == {}
