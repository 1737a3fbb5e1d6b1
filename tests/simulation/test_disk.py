"""A simulated disk: what is committed outlives every crash, and it fails as it is told."""

from __future__ import annotations

import asyncio
import random

import pytest

from covm.federation.errors import StoreFull, StoreUnavailable
from covm.federation.store.inline import InlineStore
from covm.federation.store.interface import Transaction
from covm.testing import Disk, DiskFaults, run_in_virtual_time

LARGE = "x" * 3_000


def disk() -> Disk:
    made = Disk(random.Random(1))
    made.query("CREATE TABLE notes (text TEXT)")
    return made


def notes(on: Disk) -> list[str]:
    return [text for (text,) in on.query("SELECT text FROM notes ORDER BY rowid")]


async def write(store: InlineStore, text: str) -> None:
    def job(tx: Transaction) -> None:
        tx.execute("INSERT INTO notes VALUES (:text)", {"text": text})

    await store.write(job)


def test_what_was_committed_outlives_a_crash_and_the_rest_is_gone() -> None:
    async def story() -> None:
        on = disk()
        on.faults = DiskFaults(fastest_s=1.0, slowest_s=1.0)
        store = on.mount()
        await store.open()
        await write(store, "kept")
        never = asyncio.create_task(write(store, "lost"))
        await asyncio.sleep(0.5)
        on.sever()
        await asyncio.sleep(60)
        assert not never.done()
        assert notes(on) == ["kept"]
        again = on.mount()
        await again.open()
        await write(again, "new")
        assert notes(on) == ["kept", "new"]
        never.cancel()

    run_in_virtual_time(story())


def test_a_full_disk_takes_nothing_until_there_is_room_again() -> None:
    async def story() -> None:
        on = disk()
        store = on.mount()
        await store.open()
        on.faults = DiskFaults(is_full=True)
        with pytest.raises(StoreFull):
            await write(store, 10 * LARGE)
        assert store.health().state == "full"
        held = len(notes(on))
        on.faults = DiskFaults()
        await write(store, LARGE)
        assert len(notes(on)) == held + 1

    run_in_virtual_time(story())


def test_an_error_of_the_disk_undoes_what_it_hits() -> None:
    async def story() -> None:
        on = disk()
        store = on.mount()
        await store.open()
        on.faults = DiskFaults(errors=1.0)
        with pytest.raises(StoreUnavailable, match="an I/O error"):
            await write(store, "lost")
        on.faults = DiskFaults()
        await write(store, "kept")
        assert notes(on) == ["kept"]

    run_in_virtual_time(story())


def test_a_torn_commit_is_there_or_not_and_nobody_hears_of_it() -> None:
    async def story() -> set[int]:
        seen = set()
        on = disk()
        for _ in range(20):
            store = on.mount()
            on.faults = DiskFaults()
            await store.open()
            on.faults = DiskFaults(torn=1.0)
            before = len(notes(on))
            writing = asyncio.create_task(write(store, "torn"))
            await asyncio.sleep(60)
            assert not writing.done()
            writing.cancel()
            seen.add(len(notes(on)) - before)
        return seen

    assert run_in_virtual_time(story()) == {0, 1}


def test_an_old_copy_comes_back_and_a_restore_says_that_it_is_one() -> None:
    async def story() -> None:
        on = disk()
        store = on.mount()
        await store.open()
        await write(store, "early")
        copy = on.snapshot()
        await write(store, "late")
        on.roll_back(copy, restored=False)
        assert notes(on) == ["early"]
        assert on.query("SELECT key FROM covm_meta") == []
        on.roll_back(copy, restored=True)
        assert on.query("SELECT key FROM covm_meta") == [("new_incarnation",)]

    run_in_virtual_time(story())
