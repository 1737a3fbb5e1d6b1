"""A folder of key files: no key is moved over another, and nobody copies it while it is changed."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from covm.federation.errors import IdentityError
from covm.federation.identity.key_folder import MAX_KEYS, KeyFolder
from covm.federation.identity.member_keys import MemberKeys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "member"


@pytest.fixture
def keys(path: Path) -> MemberKeys:
    return MemberKeys.create(path)


def test_a_key_is_never_moved_over_another(keys: MemberKeys, path: Path) -> None:
    before = (path / "current.key").read_bytes()
    with pytest.raises(IdentityError) as caught:
        KeyFolder(path).move("next", "current")
    assert caught.value.code == "exists"
    # Also where the end of its peer id is that of a key that was replaced before.
    taken = f"former-{keys.ids['current'][-8:]}"
    (path / f"{taken}.key").write_bytes(b"another")
    keys.prepare_next()
    keys.rotated()
    assert (path / f"{taken}.key").read_bytes() == b"another"
    assert (path / f"{taken}-2.key").read_bytes() == before


def test_what_a_crash_left_half_made_is_no_key(keys: MemberKeys, path: Path) -> None:
    before = keys.ids
    (path / ".after.key.0123456789abcdef.new").write_text("half")
    (path / ".hidden.key").write_text("half")
    (path / "notes.txt").write_text("mine")
    assert MemberKeys.open(path).ids == before


def test_more_keys_than_a_folder_has_and_names_that_no_key_has_are_told(keys: MemberKeys, path: Path) -> None:
    (path / "my key.key").touch()
    with pytest.raises(IdentityError, match="my key"):
        _ = keys.ids
    (path / "my key.key").unlink()
    for number in range(MAX_KEYS):
        (path / f"former-{number}.key").touch()
    with pytest.raises(IdentityError, match="1,000 keys"):
        _ = keys.ids


def test_who_changes_or_copies_the_folder_is_alone(keys: MemberKeys, path: Path) -> None:
    asking = os.open(path, os.O_RDONLY)
    try:
        with KeyFolder(path).held(), pytest.raises(BlockingIOError):
            fcntl.flock(asking, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(asking, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(asking)
    assert keys.prepare_next().peer_id == keys.ids["after"]


def test_a_move_that_the_disk_refuses_is_told(keys: MemberKeys, path: Path) -> None:
    with pytest.raises(IdentityError, match="check the path") as caught:
        KeyFolder(path).move("nothing", "something")
    assert caught.value.code == "missing"
    assert len(keys.ids) == 3
