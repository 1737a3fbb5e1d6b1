"""A backup holds the whole node, opens only with its secret, and a restored node begins a new incarnation."""

# ruff: noqa: ASYNC240 - small files, and nothing else runs on the loop

from __future__ import annotations

import asyncio
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from pyrage import x25519
from tests.store.conftest import fresh_url
from tests.store.places import Place, make_notes, note, notes, numbers

from covm.federation.errors import HomeInUse, StoreError
from covm.federation.store import back_up_home, make_store, restore_home
from covm.federation.store.interface import Store, Transaction
from covm.federation.store.tables import NEW_INCARNATION, PEER_ID, BanRow, get_meta, load_bans, put_meta, replace_bans

WORDS = "correct horse battery staple"
AGE_KEY = x25519.Identity.generate()
RECIPIENT, IDENTITY = str(AGE_KEY.to_public()), str(AGE_KEY)
"""A passphrase costs a second of work each time, on purpose; a key costs nothing."""
KEY = b"the node's key"
BANS = [BanRow(f"peer-{number}", "noise", number, None) for number in range(300)]

both = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


async def furnish(store: Store, place: Place) -> None:
    """A node's home with something in it."""
    (place.home / "identity.key").write_bytes(KEY)
    (place.home / "config.toml").write_text("name = 'mill'\n")
    await store.write(lambda tx: put_meta(tx, PEER_ID, b"12D3KooWmill"))
    await store.write(lambda tx: replace_bans(tx, BANS))


async def contents(home: Path, url: str = "") -> tuple[list[BanRow], bytes | None]:
    store = make_store(home, url)
    await store.open()
    try:
        return await store.read(lambda tx: (load_bans(tx), get_meta(tx, NEW_INCARNATION)))
    finally:
        await store.close()


@both
async def test_a_backup_of_a_running_node_brings_it_back_elsewhere(store: Store, place: Place, tmp_path: Path) -> None:
    await furnish(store, place)
    target = tmp_path / "mill.covm-backup"
    done = await asyncio.to_thread(back_up_home, place.home, target, url=place.url, recipient=RECIPIENT)
    assert (done.path, done.peer_id, done.size_bytes) == (target, "12D3KooWmill", target.stat().st_size)
    assert target.stat().st_mode & 0o777 == 0o600
    restored = restore_home(target, tmp_path / "new", identity=IDENTITY)
    assert (restored.peer_id, restored.moved_aside) == ("12D3KooWmill", "")
    assert (tmp_path / "new" / "identity.key").read_bytes() == KEY
    assert (tmp_path / "new" / "config.toml").read_text() == "name = 'mill'\n"
    assert await contents(tmp_path / "new") == (BANS, b"restored")
    assert not list(tmp_path.rglob("*backup-*")), "a copy of the store was left"


def write_notes(rows: list[tuple[int, str, bytes]], tx: Transaction) -> None:
    tx.insert(notes, ("id", "text", "body"), rows)


@both
async def test_a_backup_can_be_restored_into_postgresql(
    store: Store, place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await furnish(store, place)
    target, url = tmp_path / "backup", fresh_url(request.getfixturevalue("server"))
    await asyncio.to_thread(back_up_home, place.home, target, url=place.url, recipient=RECIPIENT)
    restore_home(target, tmp_path / "new", url=url, identity=IDENTITY)
    assert not (tmp_path / "new" / "store.db").exists()
    assert await contents(tmp_path / "new", url) == (BANS, b"restored")
    with pytest.raises(StoreError, match="holds a store already"):
        restore_home(target, tmp_path / "other", url=url, identity=IDENTITY)
    assert not (tmp_path / "other" / "identity.key").exists()
    moved = restore_home(target, tmp_path / "other", url=url, identity=IDENTITY, replace=True).moved_schema
    assert moved.startswith(url.split("=")[1] + "_before_")
    assert await contents(tmp_path / "other", url) == (BANS, b"restored")


@both
async def test_a_backup_goes_where_its_own_configuration_has_the_store(
    store: Store, place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await furnish(store, place)
    target, url = tmp_path / "backup", fresh_url(request.getfixturevalue("server"))
    (place.home / "config.toml").write_text(f'store_url = "{url}"\n')
    await asyncio.to_thread(back_up_home, place.home, target, url=place.url, recipient=RECIPIENT)
    restore_home(target, tmp_path / "new", identity=IDENTITY)
    assert not (tmp_path / "new" / "store.db").exists()
    assert await contents(tmp_path / "new", url) == (BANS, b"restored")


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
async def test_a_backup_sees_one_moment_while_the_node_writes(store: Store, place: Place, tmp_path: Path) -> None:
    """Two notes are written in each transaction: a copy of half of one would have an odd number."""
    await furnish(store, place)
    await store.write(make_notes)
    is_done = asyncio.Event()

    async def write() -> int:
        number = 0
        while not is_done.is_set():
            await store.write(partial(write_notes, [(number + each, "x", bytes(5000)) for each in range(2)]))
            number += 2
        return number

    writing = asyncio.create_task(write())
    for number in range(3):
        await asyncio.to_thread(back_up_home, place.home, tmp_path / f"{number}", recipient=RECIPIENT)
    is_done.set()
    assert await writing > 0
    for number in range(3):
        home = tmp_path / f"home-{number}"
        restore_home(tmp_path / f"{number}", home, identity=IDENTITY)
        again = make_store(home)
        await again.open()
        found = await again.read(numbers)
        await again.close()
        assert found == list(range(len(found)))
        assert len(found) % 2 == 0


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    place = Place("sqlite", tmp_path / "home")
    place.home.mkdir()
    store = place.store()
    await store.open()
    await store.write(make_notes)
    await store.write(note(1))
    await furnish(store, place)
    await store.close()
    back_up_home(place.home, tmp_path / "backup", recipient=RECIPIENT)
    return tmp_path / "backup"


async def test_neither_the_key_nor_the_store_can_be_read_in_a_backup(backup: Path) -> None:
    data = backup.read_bytes()
    assert data.startswith(b"covm-backup 1 ")
    for plain in (KEY, b"SQLite format", b"12D3KooW", b"identity.key", b"AGE-SECRET-KEY"):
        assert plain not in data


async def test_a_backup_with_a_passphrase_opens_with_no_other(backup: Path, tmp_path: Path) -> None:
    back_up_home(tmp_path / "home", backup, passphrase=WORDS)
    with pytest.raises(StoreError, match="does not open"):
        restore_home(backup, tmp_path / "new", passphrase="another one")
    with pytest.raises(StoreError, match="opens with its passphrase"):
        restore_home(backup, tmp_path / "new", identity=IDENTITY)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["lock", "store.lock"]
    restore_home(backup, tmp_path / "new", passphrase=WORDS)
    assert await contents(tmp_path / "new") == (BANS, b"restored")


async def test_a_backup_for_a_recipient_opens_with_no_other_key(backup: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the age key of the recipient"):
        restore_home(backup, tmp_path / "new", passphrase=WORDS)
    with pytest.raises(StoreError, match="does not open"):
        restore_home(backup, tmp_path / "new", identity=str(x25519.Identity.generate()))
    restore_home(backup, tmp_path / "new", identity=IDENTITY)
    assert await contents(tmp_path / "new") == (BANS, b"restored")
    with pytest.raises(StoreError, match="no age key"):
        back_up_home(tmp_path / "home", tmp_path / "wrong", recipient="age1nonsense")


@pytest.mark.parametrize("place_in_file", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("harm", ["cut", "flip"])
async def test_a_damaged_backup_changes_nothing(backup: Path, tmp_path: Path, harm: str, place_in_file: float) -> None:
    data = bytearray(backup.read_bytes())
    at = int(len(data) * place_in_file)
    if harm == "cut":
        del data[at:]
    else:
        data[at] ^= 1
    backup.write_bytes(data)
    before = await contents(tmp_path / "home")
    with pytest.raises(StoreError):
        restore_home(backup, tmp_path / "home", identity=IDENTITY, replace=True)
    assert await contents(tmp_path / "home") == before
    assert (tmp_path / "home" / "identity.key").read_bytes() == KEY
    assert not (tmp_path / "home" / ".restore").exists()


async def test_what_is_there_is_moved_aside_only_when_that_was_said(backup: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(StoreError, match="--replace"):
        restore_home(backup, home, identity=IDENTITY)
    (home / "identity.key").write_bytes(b"newer")
    moved = Path(restore_home(backup, home, identity=IDENTITY, replace=True).moved_aside)
    assert (moved / "identity.key").read_bytes() == b"newer"
    assert (home / "identity.key").read_bytes() == KEY
    assert await contents(home) == (BANS, b"restored")
    assert await contents(moved) == (BANS, None)


async def test_a_home_in_use_is_not_restored_into(backup: Path, tmp_path: Path) -> None:
    store = make_store(tmp_path / "home")
    await store.open()
    with pytest.raises(HomeInUse):
        restore_home(backup, tmp_path / "home", identity=IDENTITY, replace=True)
    await store.close()


async def test_a_large_backup_needs_little_memory(tmp_path: Path) -> None:
    """Peak memory of a process that backs up and restores 1 MiB and 100 MiB."""
    script = (
        "import resource, sys, pathlib\n"
        "from covm.federation.store import back_up_home, restore_home\n"
        "home = pathlib.Path(sys.argv[1])\n"
        "back_up_home(home, home.parent / 'file', recipient=sys.argv[2])\n"
        "restore_home(home.parent / 'file', home.parent / 'new', identity=sys.argv[3])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks: list[int] = []
    for size_mib in (1, 100):
        place = Place("sqlite", tmp_path / str(size_mib) / "home")
        place.home.mkdir(parents=True)
        store = place.store()
        await store.open()
        await furnish(store, place)
        await store.write(make_notes)
        for number in range(size_mib):
            await store.write(partial(write_notes, [(number, "x", bytes(1024 * 1024))]))
        await store.close()
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", script, str(place.home), RECIPIENT, IDENTITY],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(run.stdout) // 1024)
    assert peaks[1] - peaks[0] < 40
