"""A backup holds the keys of a member as they are, and a restore brings them back and overwrites none."""

# ruff: noqa: ASYNC240 - small files, and nothing else runs on the loop

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.store.places import Place
from tests.store.test_backup import IDENTITY, RECIPIENT, furnish

from covm.federation.errors import StoreError
from covm.federation.identity import Identity
from covm.federation.identity.member_keys import MemberKeys
from covm.federation.store import back_up_home, restore_home
from covm.federation.store.interface import Store

WORDS = "correct horse battery staple"

pytestmark = pytest.mark.parametrize("place", ["sqlite"], indirect=True)


async def backed_up(store: Store, place: Place, target: Path) -> Path:
    await furnish(store, place)
    await asyncio.to_thread(back_up_home, place.home, target, recipient=RECIPIENT)
    return target


def keys_in(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / "member").iterdir()}


async def test_a_members_keys_come_back_as_they_were(store: Store, place: Place, tmp_path: Path) -> None:
    keys = MemberKeys.create(place.home / "member", WORDS)
    keys.prepare_next()
    keys.rotated()
    (place.home / "member" / ".next.key.0123.new").write_text("half made")
    backup = await backed_up(store, place, tmp_path / "backup")
    restore_home(backup, tmp_path / "new", identity=IDENTITY)
    before = keys_in(place.home)
    del before[".next.key.0123.new"]
    assert keys_in(tmp_path / "new") == before
    assert len(before) == 4
    again = MemberKeys.open(tmp_path / "new" / "member", WORDS)
    assert again.ids == keys.ids
    assert again.current is not None
    assert (tmp_path / "new" / "member").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new" / "member").iterdir()} == {0o600}
    assert not list(tmp_path.rglob("*backup-*")), "a copy of the keys was left"


async def test_an_encrypted_node_key_stays_encrypted_in_the_backup(store: Store, place: Place, tmp_path: Path) -> None:
    await furnish(store, place)
    (place.home / "identity.key").unlink()
    made = Identity.create(place.home / "identity.key", WORDS)
    await asyncio.to_thread(back_up_home, place.home, tmp_path / "backup", recipient=RECIPIENT)
    restore_home(tmp_path / "backup", tmp_path / "new", identity=IDENTITY)
    key = tmp_path / "new" / "identity.key"
    assert key.read_bytes() == (place.home / "identity.key").read_bytes()
    assert Identity.load(key, WORDS).peer_id == made.peer_id


async def test_keys_that_are_there_are_moved_aside_and_only_when_that_is_said(
    store: Store, place: Place, tmp_path: Path
) -> None:
    old = MemberKeys.create(place.home / "member")
    backup = await backed_up(store, place, tmp_path / "backup")
    home = tmp_path / "new"
    MemberKeys.create(home / "member")
    there = keys_in(home)
    with pytest.raises(StoreError, match="has member already"):
        restore_home(backup, home, identity=IDENTITY)
    assert keys_in(home) == there
    moved = restore_home(backup, home, identity=IDENTITY, replace=True).moved_aside
    assert keys_in(Path(moved)) == there
    assert MemberKeys.open(home / "member").ids == old.ids


async def test_keys_stay_where_they_are_when_the_backup_is_older_than_they(
    store: Store, place: Place, tmp_path: Path
) -> None:
    backup = await backed_up(store, place, tmp_path / "backup")
    home = tmp_path / "new"
    MemberKeys.create(home / "member")
    there = keys_in(home)
    restore_home(backup, home, identity=IDENTITY, replace=True)
    assert keys_in(home) == there


async def test_a_key_that_cannot_be_taken_along_is_told_and_no_backup_made(
    store: Store, place: Place, tmp_path: Path
) -> None:
    await furnish(store, place)
    MemberKeys.create(place.home / "member")
    (place.home / "member" / "my old.key").touch()
    with pytest.raises(StoreError, match="my old"):
        await asyncio.to_thread(back_up_home, place.home, tmp_path / "backup", recipient=RECIPIENT)
    (place.home / "member" / "my old.key").unlink()
    (place.home / "member" / "huge.key").write_bytes(bytes(70_000))
    with pytest.raises(StoreError, match=r"huge\.key is larger"):
        await asyncio.to_thread(back_up_home, place.home, tmp_path / "backup", recipient=RECIPIENT)
    (place.home / "member" / "huge.key").unlink()
    (place.home / "member" / "elsewhere.key").symlink_to(tmp_path / "secret")
    with pytest.raises(StoreError, match="not backed up"):
        await asyncio.to_thread(back_up_home, place.home, tmp_path / "backup", recipient=RECIPIENT)
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == []
