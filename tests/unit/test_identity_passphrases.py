"""A key file that is encrypted: who knows the passphrase is the node, who has the file alone is not."""

from __future__ import annotations

import os
import stat
import traceback
import unicodedata
from pathlib import Path

import pytest

from covm import _native
from covm.federation.errors import IdentityError, PassphraseNeeded, WrongPassphrase
from covm.federation.identity import Identity
from covm.federation.identity.key_file import KeyFile

WORDS = "correct horse battery staple"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "identity.key"


def seed_in(path: Path) -> str:
    """The secret of a file that is not encrypted, in hex."""
    [line] = [line for line in path.read_text().splitlines() if line.startswith("seed ")]
    return line.removeprefix("seed ")


def test_a_node_with_a_passphrase_is_the_same_after_a_restart(path: Path) -> None:
    first = Identity.load_or_create(path, WORDS)
    assert Identity.load_or_create(path, WORDS).peer_id == first.peer_id
    assert first.path == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_alone_shows_whose_key_it_is_and_opens_nothing(path: Path) -> None:
    made = Identity.create(path, WORDS)
    assert Identity.peek(path) == made.peer_id
    assert KeyFile.at(path) == KeyFile(path, made.peer_id, made.did_key, is_encrypted=True)
    with pytest.raises(PassphraseNeeded, match="give its passphrase") as needed:
        Identity.load(path)
    assert (needed.value.code, needed.value.path) == ("passphrase_needed", str(path))
    with pytest.raises(WrongPassphrase, match="the passphrase is wrong") as wrong:
        Identity.load(path, "eight geese over the mill pond")
    assert wrong.value.code == "wrong_passphrase"
    with pytest.raises(PassphraseNeeded):
        Identity.load_or_create(path)
    assert isinstance(needed.value, IdentityError)


def test_a_key_without_a_passphrase_loads_as_ever_also_where_one_is_given(path: Path) -> None:
    made = Identity.create(path)
    assert Identity.load(path, WORDS).peer_id == made.peer_id
    assert KeyFile.at(path) == KeyFile(path, made.peer_id, made.did_key, is_encrypted=False)


def test_a_passphrase_is_set_changed_and_removed_and_the_node_stays_the_same(path: Path) -> None:
    node = Identity.create(path).peer_id
    plain = path.read_bytes()
    Identity.set_passphrase(path, None, WORDS)
    assert Identity.load(path, WORDS).peer_id == node
    Identity.set_passphrase(path, WORDS, "other words")
    with pytest.raises(WrongPassphrase):
        Identity.load(path, WORDS)
    assert Identity.load(path, "other words").peer_id == node
    Identity.set_passphrase(path, "other words", None)
    assert path.read_bytes() == plain
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_who_does_not_know_the_passphrase_cannot_change_it(path: Path) -> None:
    Identity.create(path, WORDS)
    before = path.read_bytes()
    with pytest.raises(WrongPassphrase):
        Identity.set_passphrase(path, "guess", None)
    with pytest.raises(PassphraseNeeded):
        Identity.set_passphrase(path, None, "mine now")
    assert path.read_bytes() == before


def test_an_empty_passphrase_is_no_passphrase(path: Path) -> None:
    with pytest.raises(ValueError, match="protects nothing"):
        Identity.create(path, "")
    assert not path.exists()
    Identity.create(path)
    with pytest.raises(ValueError, match="protects nothing"):
        Identity.set_passphrase(path, None, "")


def test_damage_is_told_as_damage_whatever_the_passphrase(path: Path) -> None:
    Identity.create(path, WORDS)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    for attempt in (lambda: Identity.load(path, WORDS), lambda: Identity.load(path), lambda: Identity.peek(path)):
        with pytest.raises(IdentityError) as caught:
            attempt()
        assert caught.value.code == "damaged"


def test_a_key_that_others_can_read_is_refused_also_when_it_is_encrypted(path: Path) -> None:
    Identity.create(path, WORDS)
    path.chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        Identity.peek(path)


def test_the_same_words_from_another_keyboard_open_it(path: Path) -> None:
    words = "Brötchen für die Genossin"
    Identity.create(path, unicodedata.normalize("NFD", words))
    Identity.load(path, unicodedata.normalize("NFC", words))


def test_bytes_that_are_no_text_open_what_they_encrypted(path: Path) -> None:
    words = os.fsdecode(b"mill \xff pond")
    Identity.create(path, words)
    Identity.load(path, words)


def test_nothing_that_is_shown_has_the_passphrase_or_the_seed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    shown = [repr(Identity.create(path))]
    seed = seed_in(path)
    Identity.set_passphrase(path, None, WORDS)
    identity = Identity.load(path, WORDS)
    shown += [repr(identity), str(identity), repr(identity.keypair), repr(KeyFile.at(path)), path.read_text()]
    for attempt in (
        lambda: Identity.load(path),
        lambda: Identity.load(path, WORDS + "r"),
        lambda: Identity.create(path, WORDS),
        lambda: Identity.set_passphrase(path, WORDS + "r", WORDS),
        lambda: Identity.load(path.with_name("none"), WORDS),
        lambda: _native.Keypair.load(path, WORDS.encode() + b"r"),
    ):
        with pytest.raises((IdentityError, _native.KeyFileError)) as caught:
            attempt()
        shown += [repr(caught.value), str(caught.value), *traceback.format_exception(caught.value)]
    told = "\n".join([*shown, caplog.text])
    # A traceback shows the lines of this file, which name the passphrase and do not have it.
    assert WORDS not in told
    assert repr(WORDS.encode()) not in told
    assert seed not in told
    assert repr(bytes.fromhex(seed))[2:-1] not in told
