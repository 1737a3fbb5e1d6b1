"""Large values are read a part at a time: what is asked for is bounded in bytes, and nothing is left out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from tests.store.places import Place
from tests.unit.records_world import TYPE, Author, Shelf

from covm.federation.sync import reading
from covm.federation.wire.record import SignedRecord

SIZE = 1_000
"""Bytes of each value, about."""

MOST = 3_500


async def shelf_with_large_values(place: Place) -> Shelf:
    """Ten keys with a value each, one of them with ten that were replaced, and ten with two versions side by side."""
    shelf, author = await Shelf(store=place.store()).open(), Author("ash")
    records, bodies = list[SignedRecord](), list[bytes | None]()
    for number in range(10):
        written = author.write(f"{number}", f"{number}" * SIZE, after=records[-1] if records else None)
        records.append(written)
        bodies.append(author.bodies[written.id])
    for number in range(10):
        written = author.write(
            "0", f"{number}" * SIZE, after=records[-1], on=[records[0] if number == 0 else records[-1]]
        )
        records.append(written)
        bodies.append(author.bodies[written.id])
    other = Author("birch")
    for number in range(10):
        written = other.write(f"{number}", "b" * SIZE, after=records[-1] if number else None)
        records.append(written)
        bodies.append(other.bodies[written.id])
    taken = await shelf.take(*records, bodies=bodies)
    assert taken.placed == len(records)
    return shelf


Page = Sequence[reading.Read]
Next = Callable[[Shelf, Page], Awaitable[Page]]


async def listed(shelf: Shelf, last: Page) -> Page:
    after = last[-1].record.body.key if last else ""
    return await shelf.store.read(lambda tx: reading.listed(tx, TYPE, "", after, 100))


async def history(shelf: Shelf, last: Page) -> Page:
    after = last[-1].record.id.bytes if last else None
    return await shelf.store.read(lambda tx: reading.history(tx, TYPE, "0", after, 100))


_numbers: dict[Any, int] = {}


async def judged(shelf: Shelf, last: Page) -> Page:
    after = _numbers[last[-1].record.id] if last else 0
    page = await shelf.store.read(lambda tx: reading.judged(tx, TYPE, after, 100))
    assert page.is_all == (not page.found or page.found[-1][0] == 30)
    _numbers.update((read.record.id, number) for number, read in page.found)
    return [read for _, read in page.found]


@pytest.mark.parametrize(("following", "total"), [(listed, 20), (history, 12), (judged, 30)])
async def test_pages_are_bounded_in_bytes_and_lead_through_everything(
    place: Place, following: Next, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = await shelf_with_large_values(place)
    whole = await following(shelf, [])
    assert len(whole) == total, "what fits is read at once"
    monkeypatch.setattr(reading, "MAX_READ_BYTES", MOST)
    found: list[reading.Read] = []
    last: Page = []
    while last := await following(shelf, last):
        assert sum(each.record.body.size for each in last) <= MOST
        found += last
    assert [each.record.id for each in found] == [each.record.id for each in whole]
    monkeypatch.setattr(reading, "MAX_READ_BYTES", 1)
    assert await following(shelf, []), "one is always read"
    await shelf.store.close()


async def test_conflicts_are_bounded_in_bytes_the_oldest_first(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = await shelf_with_large_values(place)
    whole = await shelf.store.read(lambda tx: reading.conflicts(tx, TYPE, 100))
    assert {key: len(heads) for key, heads in whole.items()} == {f"{number}": 2 for number in range(10)}
    monkeypatch.setattr(reading, "MAX_READ_BYTES", 2 * MOST)
    some = await shelf.store.read(lambda tx: reading.conflicts(tx, TYPE, 100))
    assert list(some) == list(whole)[:3]
    await shelf.store.close()
