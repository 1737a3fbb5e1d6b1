"""The node's key: made once, the same ever after, never replaced, never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from covm.federation.errors import IdentityError
from covm.federation.identity import Identity


def test_a_node_is_the_same_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "home" / "identity.key"
    first = Identity.load_or_create(path)
    assert Identity.load_or_create(path).peer_id == first.peer_id
    assert first.path == path


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "identity.key"
    Identity.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    before = Identity.create(path).peer_id
    with pytest.raises(IdentityError) as caught:
        Identity.create(path)
    assert caught.value.code == "exists"
    assert Identity.load(path).peer_id == before


def test_a_key_that_others_can_read_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    Identity.create(path)
    path.chmod(0o644)
    with pytest.raises(IdentityError, match=r"chmod 600") as caught:
        Identity.load_or_create(path)
    assert caught.value.code == "permissions"
    assert caught.value.path == str(path)


def test_a_damaged_key_is_told_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    Identity.create(path)
    content = path.read_bytes()[:-10]
    path.write_bytes(content)
    with pytest.raises(IdentityError) as caught:
        Identity.load_or_create(path)
    assert caught.value.code == "damaged"
    assert path.read_bytes() == content


def test_a_missing_key_is_told_by_load(tmp_path: Path) -> None:
    with pytest.raises(IdentityError) as caught:
        Identity.load(tmp_path / "nowhere.key")
    assert caught.value.code == "missing"


def test_a_tilde_stands_for_the_users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Identity.load_or_create("~/.covm/identity.key")
    assert Identity.load(tmp_path / ".covm" / "identity.key").peer_id == made.peer_id


def test_a_seed_gives_the_same_node_everywhere() -> None:
    # Test 1 of RFC 8032, section 7.1.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    identity = Identity.from_seed(seed)
    assert identity.peer_id == "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV"
    assert identity.did_key == "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw"
    with pytest.raises(ValueError, match="32 bytes"):
        Identity.from_seed(b"short")


def test_nothing_shown_holds_the_secret() -> None:
    seed = bytes(range(32))
    identity = Identity.from_seed(seed)
    shown = f"{identity!r} {identity} {identity.keypair!r}"
    assert identity.peer_id in shown
    assert seed.hex() not in shown
    assert repr(seed) not in shown


def test_each_generated_identity_is_another() -> None:
    assert Identity.generate().peer_id != Identity.generate().peer_id
    assert Identity.generate().path is None
