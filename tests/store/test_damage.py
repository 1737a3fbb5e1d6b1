"""A store that is damaged or gone is refused, saying what to do; it is never begun anew without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.store.places import Place, make_notes, notes, numbers

from covm.federation.errors import StoreCorrupt, StoreTooNew
from covm.federation.store import sqlite
from covm.federation.store.interface import StoreHealth
from covm.federation.store.sqlite import SqliteStore

PAGE = 4096


async def make_store(home: Path) -> Path:
    store = SqliteStore(home)
    await store.open()
    await store.write(make_notes)
    rows = [(number, "x" * 50, bytes(600)) for number in range(2000)]
    await store.write(lambda tx: tx.insert(notes, ("id", "text", "body"), rows))
    await store.close()
    return home / "store.db"


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_its_last_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-PAGE])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


def another_file(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def with_flipped_bits(path: Path) -> None:
    """In the head of a page in the middle: where its cells are."""
    data = bytearray(path.read_bytes())
    start = len(data) // PAGE // 2 * PAGE
    for offset in range(start, start + 12):
        data[offset] ^= 0x55
    path.write_bytes(bytes(data))


def with_another_first_byte(path: Path) -> None:
    path.write_bytes(b"R" + path.read_bytes()[1:])


def with_a_flipped_first_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for offset in range(100, 140):
        data[offset] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "harm",
    [
        truncated,
        without_its_last_page,
        emptied,
        removed,
        another_file,
        with_flipped_bits,
        with_another_first_byte,
        with_a_flipped_first_page,
    ],
)
async def test_a_damaged_store_is_refused_and_left_as_it_is(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    path = await make_store(tmp_path)
    harm(path)
    before = path.read_bytes() if path.exists() else None
    for _ in range(2):
        with pytest.raises(StoreCorrupt) as raised:
            await SqliteStore(tmp_path).open()
        assert "covm store restore FILE" in str(raised.value)
        assert "covm store check --salvage FILE" in str(raised.value)
    assert (path.read_bytes() if path.exists() else None) == before


async def test_damage_that_a_start_did_not_reach_is_told_when_it_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_flipped_bits(await make_store(tmp_path))
    monkeypatch.setattr(sqlite, "CHECK_S", -1.0)
    monkeypatch.setattr(sqlite, "CHECK_STEPS", 1)
    store = SqliteStore(tmp_path)
    await store.open()
    with pytest.raises(StoreCorrupt):
        await store.read(lambda tx: tx.execute("SELECT * FROM note").all())
    await store.close()


async def test_damage_under_a_running_node_is_told_and_stays_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One damaged page leaves others that can be written: that must not pass for a store that is well again."""
    with_flipped_bits(await make_store(tmp_path))
    monkeypatch.setattr(sqlite, "CHECK_S", -1.0)
    monkeypatch.setattr(sqlite, "CHECK_STEPS", 1)
    store = SqliteStore(tmp_path)
    told: list[StoreHealth] = []
    store.on_health = told.append
    await store.open()
    with pytest.raises(StoreCorrupt):
        await store.read(lambda tx: tx.execute("SELECT * FROM note").all())
    assert store.health().state == "failing"
    await store.write(lambda tx: tx.execute("CREATE TABLE another (id INTEGER)"))
    with pytest.raises(StoreCorrupt):
        await store.write(lambda tx: tx.execute("UPDATE note SET text = 'y'"))
    await store.write(lambda tx: tx.execute("INSERT INTO another VALUES (1)"))
    await store.close()
    assert [health.state for health in told] == ["failing"]
    assert "covm store restore FILE" in told[0].why


async def test_a_store_without_its_file_of_identity_gets_one_again(tmp_path: Path) -> None:
    await make_store(tmp_path)
    known = (tmp_path / "store.id").read_text()
    (tmp_path / "store.id").unlink()
    store = SqliteStore(tmp_path)
    await store.open()
    await store.close()
    assert (tmp_path / "store.id").read_text() == known


async def test_a_crash_before_the_first_commit_leaves_a_home_that_can_start(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    store = SqliteStore(tmp_path)
    await store.open()
    await store.write(make_notes)
    assert await store.read(numbers) == []
    await store.close()


async def test_another_homes_store_is_refused(tmp_path: Path) -> None:
    mine, other = await make_store(tmp_path / "mine"), await make_store(tmp_path / "other")
    mine.write_bytes(other.read_bytes())
    with pytest.raises(StoreCorrupt, match="this home's store is"):
        await SqliteStore(tmp_path / "mine").open()


async def test_the_store_is_closed_to_other_users(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "home")
    await store.open()
    await store.write(make_notes)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "home").iterdir()}
    await store.close()
    assert {"store.db", "store.db-wal", "store.id", "store.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_an_emptied_database_behind_the_url_is_refused(place: Place) -> None:
    store = place.store()
    await store.open()
    schema = place.url.split("=")[1]
    await store.write(lambda tx: tx.execute(f"DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}; {META}"))
    await store.close()
    with pytest.raises(StoreCorrupt):
        await place.store().open()


META = "CREATE TABLE covm_meta (key text PRIMARY KEY, value bytea)"
"""What the transaction that drops everything still needs for its token."""


@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
async def test_a_schema_from_the_future_is_refused(place: Place) -> None:
    store = place.store()
    await store.open()
    await store.write(lambda tx: tx.execute("UPDATE covm_schema SET version_num = '9999'"))
    await store.close()
    with pytest.raises(StoreTooNew, match="9999"):
        await place.store().open()
