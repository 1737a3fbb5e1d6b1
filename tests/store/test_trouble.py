"""A disk that is full, fails or is read-only: nothing is acknowledged, the node is told, and it goes on by itself."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.conftest import IN_CI
from tests.store.places import make_notes, note, notes, numbers

from covm.federation.errors import StoreFull, StoreUnavailable
from covm.federation.store import back_up_home, check_home, salvage_home
from covm.federation.store.interface import Job, Store, StoreHealth, Transaction
from covm.federation.store.sqlite import SqliteStore

needs_root = pytest.mark.skipif(os.geteuid() != 0 and not IN_CI, reason="needs root to mount a small disk")


class Told:
    """What a store said of its health, and waiting for the next word of it."""

    def __init__(self, store: Store) -> None:
        self.states: list[str] = []
        self._heard = asyncio.Event()
        store.on_health = self._hear

    def _hear(self, health: StoreHealth) -> None:
        self.states.append(health.state)
        self._heard.set()

    async def until(self, state: str) -> None:
        while state not in self.states:
            self._heard.clear()
            await asyncio.wait_for(self._heard.wait(), 30)


def large(number: int, size_bytes: int = 256 * 1024) -> Job[None]:
    def job(tx: Transaction) -> None:
        tx.insert(notes, ("id", "text", "body"), [(number, "large", os.urandom(size_bytes))])

    return job


async def fill(store: Store) -> list[int]:
    """Writes until there is no room; the numbers of what was acknowledged."""
    acknowledged: list[int] = []
    with pytest.raises(StoreFull, match="make room"):
        await write_many(store, acknowledged)
    return acknowledged


async def write_many(store: Store, acknowledged: list[int]) -> None:
    for number in range(1000):
        await store.write(large(number))
        acknowledged.append(number)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Store]:
    store = SqliteStore(tmp_path)
    await store.open()
    await store.write(make_notes)
    yield store
    await store.close()


# --- full


async def test_a_database_at_its_limit_refuses_and_keeps_what_it_acknowledged(sqlite: Store) -> None:
    told = Told(sqlite)
    await sqlite.write(lambda tx: tx.execute("PRAGMA max_page_count = 300").all())
    acknowledged = await fill(sqlite)
    assert sqlite.health().state == "full"
    assert sqlite.health().since_ms is not None
    assert await sqlite.read(numbers) == acknowledged
    await sqlite.write(lambda tx: tx.execute("PRAGMA max_page_count = 100000").all())
    await sqlite.write(large(1000))
    assert told.states == ["full", "ok"]
    assert sqlite.health() == StoreHealth()


async def test_a_job_too_large_for_the_room_left_does_not_fail_the_small_ones_beside_it(sqlite: Store) -> None:
    await sqlite.write(lambda tx: tx.execute("PRAGMA max_page_count = 200").all())
    small = [note(number) for number in range(10)]
    jobs = [*small[:5], large(100, 4 * 1024 * 1024), *small[5:]]
    results = await asyncio.gather(*(sqlite.write(job) for job in jobs), return_exceptions=True)
    assert isinstance(results.pop(5), StoreFull)
    assert results == list(range(10))


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=6m", "tmpfs", str(path))
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


@needs_root
async def test_when_there_is_room_again_the_node_goes_on_without_being_asked(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(2 * 1024 * 1024))
        store = SqliteStore(disk / "home")
        await store.open()
        told = Told(store)
        await store.write(make_notes)
        acknowledged = await fill(store)
        assert told.states == ["full"]
        ballast.unlink()
        await told.until("ok")
        await store.write(note(2000))
        assert await store.read(numbers) == [*acknowledged, 2000]
        await store.close()
        again = SqliteStore(disk / "home")
        await again.open()
        assert await again.read(numbers) == [*acknowledged, 2000]
        await again.close()


@needs_root
async def test_a_first_start_on_a_full_disk_says_so_and_a_later_one_works(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        ballast = disk / "ballast"
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(8 * 1024 * 1024))
        with pytest.raises((StoreFull, StoreUnavailable)):
            await SqliteStore(disk / "home").open()
        ballast.unlink()
        store = SqliteStore(disk / "home")
        await store.open()
        await store.close()


# --- I/O errors and read-only disks


@contextmanager
def no_file_grows_above(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_an_io_error_is_told_and_passes_when_the_disk_works_again(sqlite: Store) -> None:
    told = Told(sqlite)
    with no_file_grows_above(1024 * 1024), pytest.raises(StoreUnavailable, match="I/O error"):
        await write_many(sqlite, [])
    assert sqlite.health().state == "failing"
    await told.until("ok")
    await sqlite.write(note(2000))
    assert 2000 in await sqlite.read(numbers)


async def test_a_disk_that_may_only_be_read_is_told(sqlite: Store) -> None:
    await sqlite.write(note(1))
    await sqlite.write(lambda tx: tx.execute("PRAGMA query_only = ON"))
    with pytest.raises(StoreUnavailable, match="read-only"):
        await sqlite.write(note(2))
    assert sqlite.health().state == "failing"
    assert await sqlite.read(numbers) == [1]


@needs_root
async def test_a_start_on_a_read_only_disk_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        store = SqliteStore(disk / "home")
        await store.open()
        # As a killed node leaves it: what was written last is in the write-ahead log.
        shutil.copytree(disk / "home", disk / "killed")
        await store.close()
        mount("-o", "remount,ro", str(disk))
        with pytest.raises(StoreUnavailable, match=r"(?i)read-only"):
            await SqliteStore(disk / "home").open()
        with pytest.raises(StoreUnavailable, match="copy the home to a disk that can be written"):
            back_up_home(disk / "home", tmp_path / "backup", passphrase="seven geese over the mill pond")
        # What is there can be rescued all the same.
        assert check_home(disk / "home").problems == []
        copied = salvage_home(disk / "home", tmp_path / "copy.db")
        assert (copied.damaged, copied.left_out) == ([], {})
        for rescue in (check_home, partial(salvage_home, target=tmp_path / "other.db")):
            with pytest.raises(StoreUnavailable, match=r"store\.db-wal: copy the home to a disk that can be written"):
                rescue(disk / "killed")
        # And as it says, so it is.
        shutil.copytree(disk / "killed", tmp_path / "killed")
        assert check_home(tmp_path / "killed").problems == []
