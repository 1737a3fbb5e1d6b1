"""What a simulation asks of the store on the event loop: faults, time that a commit takes, a machine that stops."""

from __future__ import annotations

import asyncio

import pysqlite3
import pytest
from tests.store.places import make_notes, note, numbers

from covm.federation.errors import StoreFull, StoreUnavailable
from covm.federation.store.inline import InlineStore
from covm.federation.store.interface import Transaction


class Disk:
    """A disk that does what the test says at its next commit."""

    def __init__(self) -> None:
        self.connection = pysqlite3.connect(":memory:", isolation_level=None)
        self.before: Exception | None = None
        self.after: Exception | None = None
        self.severed_before: InlineStore | None = None
        self.severed_after: InlineStore | None = None
        self.latencies = 0

    def latency_s(self) -> float:
        self.latencies += 1
        return 0.0

    def before_commit(self) -> None:
        error, self.before = self.before, None
        if self.severed_before is not None:
            self.severed_before.sever()
        if error is not None:
            raise error

    def after_commit(self) -> None:
        error, self.after = self.after, None
        if self.severed_after is not None:
            self.severed_after.sever()
        if error is not None:
            raise error

    async def store(self) -> InlineStore:
        self.severed_before = self.severed_after = None
        made = InlineStore(connect=lambda: self.connection, is_durable=True, faults=self)
        await made.open()
        await made.write(make_notes)
        return made


async def test_a_commit_that_fails_is_told_and_has_no_effect() -> None:
    disk = Disk()
    store = await disk.store()
    disk.before = StoreUnavailable("the disk", "an I/O error")
    with pytest.raises(StoreUnavailable):
        await store.write(note(1))
    assert store.health().state == "failing"
    await store.write(note(2))
    assert store.health().state == "ok"
    assert await store.read(numbers) == [2]
    await store.close()
    disk.connection.close()


async def test_an_error_after_the_commit_leaves_it_committed() -> None:
    disk = Disk()
    store = await disk.store()
    disk.after = StoreUnavailable("the disk", "an I/O error")
    with pytest.raises(StoreUnavailable):
        await store.write(note(1))
    assert await store.read(numbers) == [1]
    await store.close()
    disk.connection.close()


async def test_on_a_full_disk_each_job_is_tried_by_itself() -> None:
    disk = Disk()
    store = await disk.store()
    disk.before = StoreFull("the disk")
    await asyncio.gather(*(store.write(note(number)) for number in range(3)))
    assert await store.read(numbers) == [0, 1, 2]
    await store.close()
    disk.connection.close()


@pytest.mark.parametrize(("moment", "kept"), [("before", []), ("after", [1, 2]), ("waiting", [])])
async def test_when_the_machine_stops_nobody_is_answered(moment: str, kept: list[int]) -> None:
    disk = Disk()
    store = await disk.store()
    if moment == "before":
        disk.severed_before = store
    elif moment == "after":
        disk.severed_after = store
    calls: list[asyncio.Task[object]] = [asyncio.create_task(store.write(note(number))) for number in (1, 2)]
    calls.append(asyncio.create_task(store.read(numbers)))
    if moment == "waiting":
        await asyncio.sleep(0)
        store.sever()
    for _ in range(50):
        await asyncio.sleep(0)
    assert not any(call.done() for call in calls)
    await store.close()
    for call in calls:
        call.cancel()
    again = await disk.store()
    assert await again.read(numbers) == kept
    await again.close()
    disk.connection.close()


async def test_the_time_a_commit_takes_is_asked_for_once_a_group() -> None:
    disk = Disk()
    store = await disk.store()
    asked = disk.latencies
    await asyncio.gather(*(store.write(note(number)) for number in range(10)))
    assert disk.latencies == asked + 1
    await store.close()
    disk.connection.close()


async def test_without_a_disk_everything_is_gone_with_the_store() -> None:
    def count(tx: Transaction) -> int:
        return len(tx.execute("SELECT name FROM sqlite_schema WHERE name = 'note'").all())

    store = InlineStore()
    await store.open()
    await store.write(make_notes)
    assert not store.is_durable
    await store.close()
    again = InlineStore()
    await again.open()
    assert await again.read(count) == 0
    await again.close()
