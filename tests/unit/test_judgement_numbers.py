"""The numbers of judgements, by which programs follow changes: none is given twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.membership_world import NOON_MS
from tests.unit.records_world import TYPE, Anybody, Author, Shelf

from covm._native import Link
from covm.federation.store import make_store
from covm.federation.sync import reading
from covm.federation.sync.plan import Arrived
from covm.federation.wire.record import Hlc, SignedRecord

EARLY = Hlc(NOON_MS + 5 * 60_000, 0)
LAST: dict[str, Callable[[Author, SignedRecord], SignedRecord]] = {
    "a put": lambda author, first: author.write("oven", 2, on=[first], hlc=EARLY),
    "a delete": lambda author, first: author.write("oven", op="delete", on=[first], hlc=EARLY),
    "an erase": lambda author, first: author.write("oven", "a slip", op="erase", target=first.id, hlc=EARLY),
}


async def changes(shelf: Shelf, after: int) -> list[tuple[int, Link]]:
    found = await shelf.store.read(lambda tx: reading.judged(tx, TYPE, after, 10))
    return [(number, each.record.id) for number, each in found.found]


async def judge_anew(shelf: Shelf) -> None:
    """Members change and change back, on a clock that was set back: what was written last waits again."""
    shelf.clock.now = NOON_MS - 7 * 60_000
    shelf.authority.basis = lambda *_given: b"another"  # type: ignore[method-assign]
    await shelf.keeper.reconsider()


@pytest.mark.parametrize("last", LAST)
@pytest.mark.parametrize("again", ["started again", "read again after a write failed"])
async def test_who_follows_changes_is_told_what_comes_after_the_last_that_it_saw_waits_again(
    last: str, again: str, tmp_path: Path
) -> None:
    ash, birch = Author("ash"), Author("birch")
    first = ash.write("oven", 1)
    latest = LAST[last](birch, first)
    shelf = await Shelf(store=make_store(tmp_path, "")).open()
    await shelf.take(first, bodies=[ash.bodies[first.id]])
    await shelf.take(latest, bodies=[birch.bodies[latest.id]])
    cursor = (await changes(shelf, 0))[-1][0]
    await judge_anew(shelf)
    assert shelf.keeper.held == 1
    if again == "started again":
        await shelf.store.close()
        shelf = await Shelf(Anybody(), make_store(tmp_path, "")).open()
    else:
        shelf.keeper._is_uncertain = True
    shelf.clock.now = NOON_MS - 7 * 60_000
    other = ash.write("mill", 2, after=first)
    await shelf.take(other, bodies=[ash.bodies[other.id]])
    assert other.id in {link for _, link in await changes(shelf, cursor)}
    await shelf.store.close()


async def test_a_body_that_has_come_has_a_number_that_no_other_gets(tmp_path: Path) -> None:
    ash, birch = Author("ash"), Author("birch")
    first = ash.write("oven", 1, hlc=EARLY)
    shelf = await Shelf(store=make_store(tmp_path, "")).open()
    await shelf.take(first)
    body = ash.bodies[first.id]
    assert body is not None
    await shelf.keeper.embody([Arrived(first, body)])
    cursor = (await changes(shelf, 0))[-1][0]
    await judge_anew(shelf)
    await shelf.store.close()
    shelf = await Shelf(Anybody(), make_store(tmp_path, "")).open()
    other = birch.write("mill", 2)
    await shelf.take(other)
    assert other.id in {link for _, link in await changes(shelf, cursor)}
    await shelf.store.close()


async def test_the_last_number_is_the_same_on_disk_where_bodies_come_twice(tmp_path: Path) -> None:
    ash = Author("ash")
    first = ash.write("oven", 1, hlc=EARLY)
    shelf = await Shelf(store=make_store(tmp_path, "")).open()
    await shelf.take(first)
    await shelf.keeper.embody([Arrived(first, ash.bodies[first.id])] * 3)
    judged = shelf.keeper.judged
    await shelf.store.close()
    shelf = await Shelf(store=make_store(tmp_path, "")).open()
    assert shelf.keeper.judged == judged
    await shelf.store.close()
