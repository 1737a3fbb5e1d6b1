"""A member's keys in their folder: whatever a crash interrupts, no key is lost and the same call completes it."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from covm.federation.errors import IdentityError, PassphraseNeeded, WrongPassphrase
from covm.federation.identity.commitments import commitment
from covm.federation.identity.key_folder import KeyFolder
from covm.federation.identity.keys import Identity
from covm.federation.identity.member_keys import MemberKeys

WORDS = "correct horse battery staple"
STEPS = range(9)
"""More than any call has: beyond its own it is simply not interrupted."""

Call = Callable[[MemberKeys], object]


class Killed(Exception):
    """The process ended here."""


class MortalFolder(KeyFolder):
    """A folder whose process ends before the step after the n-th that changes something."""

    def __init__(self, path: Path, steps: int) -> None:
        super().__init__(path)
        self.steps = steps

    def make(self, name: str, passphrase: str | None) -> None:
        self._live()
        super().make(name, passphrase)

    def encrypt(self, name: str, passphrase: str) -> None:
        self._live()
        super().encrypt(name, passphrase)

    def move(self, name: str, to: str) -> None:
        self._live()
        super().move(name, to)

    def _live(self) -> None:
        if self.steps == 0:
            raise Killed
        self.steps -= 1


def killed_after(steps: int, path: Path, call: Call, passphrase: str | None = None) -> bool:
    """Whether the call was interrupted."""
    try:
        call(MemberKeys(MortalFolder(path, steps), passphrase))
    except Killed:
        return True
    return False


def files(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def kept(before: Mapping[str, bytes], path: Path) -> bool:
    """Whether every key that was there is there still, under whatever name."""
    return set(before.values()) <= set(files(path).values())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "member"


@pytest.fixture
def keys(path: Path) -> MemberKeys:
    return MemberKeys.create(path)


def former(ids: Mapping[str, str]) -> set[str]:
    return {peer_id for name, peer_id in ids.items() if name.startswith("former-")}


# --- the keys


def test_a_member_gets_three_keys_for_its_eyes_alone(path: Path) -> None:
    keys = MemberKeys.create(path)
    assert sorted(files(path)) == ["current.key", "next.key", "recovery.key"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.iterdir()} == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert len(set(keys.ids.values())) == 3
    assert keys.current is not None
    assert keys.current.peer_id == keys.ids["current"] == Identity.load(path / "current.key").peer_id
    assert MemberKeys.open(path).ids == keys.ids


def test_a_folder_with_a_members_keys_gets_no_others(path: Path) -> None:
    MemberKeys.create(path)
    for gone in ((), ("recovery.key",), ("next.key",)):
        for name in gone:
            (path / name).unlink()
        before = files(path)
        with pytest.raises(IdentityError) as caught:
            MemberKeys.create(path)
        assert caught.value.code == "exists"
        assert files(path) == before


def test_a_folder_that_holds_a_recovery_key_alone_is_no_place_for_a_new_member(path: Path, tmp_path: Path) -> None:
    MemberKeys.create(path)
    stick = tmp_path / "stick"
    stick.mkdir()
    shutil.move(path / "recovery.key", stick)
    with pytest.raises(IdentityError, match="member's keys already"):
        MemberKeys.create(stick)
    there, elsewhere = MemberKeys.open(stick), MemberKeys.open(path)
    assert there.recovery is not None
    assert (there.current, there.next, there.after, elsewhere.recovery) == (None, None, None, None)


def test_a_folder_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(IdentityError) as caught:
        MemberKeys.open(path)
    assert caught.value.code == "missing"
    assert not path.exists()


def test_encrypted_keys_show_whose_they_are_and_open_with_the_passphrase_alone(path: Path) -> None:
    made = MemberKeys.create(path, WORDS)
    stranger, mistaken = MemberKeys.open(path), MemberKeys.open(path, WORDS + "r")
    assert stranger.ids == mistaken.ids == made.ids
    with pytest.raises(PassphraseNeeded):
        _ = stranger.current
    with pytest.raises(WrongPassphrase):
        _ = mistaken.recovery
    current = MemberKeys.open(path, WORDS).current
    assert current is not None
    assert current.peer_id == made.ids["current"]


def test_no_key_is_made_with_a_mistyped_passphrase_or_without_one_beside_those_that_have_one(path: Path) -> None:
    MemberKeys.create(path, WORDS)
    before = files(path)
    for passphrase, error in ((WORDS + "r", WrongPassphrase), (None, PassphraseNeeded)):
        keys = MemberKeys.open(path, passphrase)
        for prepare in (keys.prepare_next, keys.prepare_recovery):
            with pytest.raises(error):
                prepare()
    assert files(path) == before


def test_nothing_that_is_shown_has_the_passphrase_or_a_seed(path: Path) -> None:
    keys = MemberKeys.create(path, WORDS)
    with pytest.raises(IdentityError) as caught:
        MemberKeys.create(path, WORDS)
    shown = [repr(keys), str(keys.ids), repr(keys.prepare_recovery()), repr(caught.value), str(caught.value)]
    for name in ("current", "next", "recovery"):
        Identity.set_passphrase(path / f"{name}.key", WORDS, None)
        [seed] = [line[5:] for line in (path / f"{name}.key").read_text().splitlines() if line.startswith("seed ")]
        assert seed not in "".join(shown)
    assert WORDS not in "".join(shown)


# --- a rotation


def test_a_rotation_makes_the_next_key_the_current_one(keys: MemberKeys) -> None:
    before = keys.ids
    after = keys.prepare_next()
    assert keys.prepare_next().peer_id == after.peer_id
    assert commitment(after.peer_id) not in {commitment(each) for each in before.values()}
    keys.rotated()
    assert (keys.ids["current"], keys.ids["next"], keys.ids["recovery"]) == (
        before["next"],
        after.peer_id,
        before["recovery"],
    )
    assert former(keys.ids) == {before["current"]}
    assert f"former-{before['current'][-8:]}" in keys.ids
    assert keys.current is not None
    assert keys.current.peer_id == before["next"]
    state = keys.ids
    keys.rotated()
    assert keys.ids == state


def test_a_rotation_needs_no_current_key(keys: MemberKeys, path: Path) -> None:
    """Because it was lost, or stolen, a member rotates at all."""
    before = keys.ids
    (path / "current.key").unlink()
    after = keys.prepare_next()
    keys.rotated(before["next"])
    assert keys.ids == {"current": before["next"], "next": after.peer_id, "recovery": before["recovery"]}


@pytest.mark.parametrize("steps", STEPS)
def test_a_rotation_that_is_killed_at_any_step_is_completed_by_the_same_call(
    keys: MemberKeys, path: Path, steps: int
) -> None:
    before, old = keys.ids, files(path)
    if killed_after(steps, path, MemberKeys.prepare_next):
        assert files(path) == old
    after = MemberKeys.open(path).prepare_next().peer_id
    old = files(path)
    was_killed = killed_after(steps, path, MemberKeys.rotated)
    assert was_killed == (steps < 3)
    assert kept(old, path)
    again = MemberKeys.open(path)
    again.rotated()
    assert kept(old, path)
    ids = again.ids
    assert (ids["current"], ids["next"], ids["recovery"]) == (before["next"], after, before["recovery"])
    assert former(ids) == {before["current"]}
    assert len(ids) == 4


@pytest.mark.parametrize("steps", STEPS)
def test_after_a_crash_the_identity_log_says_whether_to_rotate(keys: MemberKeys, path: Path, steps: int) -> None:
    before = keys.ids
    keys.prepare_next()
    prepared = keys.ids
    keys.rotated(before["current"])
    assert keys.ids == prepared, "rotated, although nothing was published"
    killed_after(steps, path, lambda keys: keys.rotated(before["next"]))
    keys.rotated(before["next"])
    done = keys.ids
    assert done["current"] == before["next"]
    keys.prepare_next()
    keys.rotated(before["next"])
    assert {**keys.ids} == {**done, "after": keys.ids["after"]}, "rotated a second time for one rotation"


def test_a_folder_that_lacks_the_logs_key_is_told_and_left(keys: MemberKeys, path: Path) -> None:
    stranger = Identity.generate().peer_id
    keys.prepare_next()
    keys.prepare_recovery()
    before = files(path)
    for call in (keys.rotated, keys.recovered):
        with pytest.raises(IdentityError, match="identity log") as caught:
            call(stranger)
        assert caught.value.code == "missing"
    assert files(path) == before


def test_without_a_next_key_no_rotation_is_prepared(keys: MemberKeys, path: Path) -> None:
    (path / "next.key").unlink()
    with pytest.raises(IdentityError) as caught:
        keys.prepare_next()
    assert caught.value.code == "missing"


def test_a_rotation_that_is_taken_over_by_half_is_ended_before_another_is_prepared(
    keys: MemberKeys, path: Path
) -> None:
    keys.prepare_next()
    assert killed_after(2, path, MemberKeys.rotated)
    with pytest.raises(IdentityError, match=r"call rotated\(\) first") as caught:
        keys.prepare_next()
    assert caught.value.code == "unfinished"


# --- a recovery


def test_a_recovery_replaces_all_keys_and_keeps_the_old_ones(keys: MemberKeys) -> None:
    before = {**keys.ids, "after": keys.prepare_next().peer_id}
    new = keys.prepare_recovery()
    assert [each.peer_id for each in keys.prepare_recovery()] == [each.peer_id for each in new]
    keys.recovered()
    ids = keys.ids
    assert (ids["current"], ids["next"], ids["recovery"]) == tuple(each.peer_id for each in new)
    assert former(ids) == set(before.values())
    keys.recovered()
    keys.recovered(ids["current"])
    assert keys.ids == ids


@pytest.mark.parametrize("gone", [(), ("current", "next"), ("recovery",)], ids=["all", "recovery alone", "no recovery"])
@pytest.mark.parametrize("steps", STEPS)
def test_a_recovery_that_is_killed_at_any_step_is_completed_by_the_same_call(
    keys: MemberKeys, path: Path, steps: int, gone: tuple[str, ...]
) -> None:
    keys.prepare_next()
    for name in gone:
        (path / f"{name}.key").unlink()
    before, old = keys.ids, files(path)
    killed_after(steps, path, MemberKeys.prepare_recovery)
    assert kept(old, path)
    new = [each.peer_id for each in MemberKeys.open(path).prepare_recovery()]
    old = files(path)
    killed_after(steps, path, lambda keys: keys.recovered(new[0]))
    assert kept(old, path)
    again = MemberKeys.open(path)
    again.recovered()
    assert kept(old, path)
    ids = again.ids
    assert [ids["current"], ids["next"], ids["recovery"]] == new
    assert former(ids) == set(before.values())
    assert len(ids) == len(before) + 3


def test_a_recovery_that_is_prepared_by_half_cannot_have_been_published(keys: MemberKeys, path: Path) -> None:
    assert killed_after(2, path, MemberKeys.prepare_recovery)
    before = files(path)
    with pytest.raises(IdentityError, match=r"prepare_recovery\(\) first") as caught:
        keys.recovered()
    assert caught.value.code == "unfinished"
    assert files(path) == before
    keys.recovered(keys.ids["current"])
    assert files(path) == before


def test_a_recovery_that_is_taken_over_by_half_is_ended_before_anything_else(keys: MemberKeys, path: Path) -> None:
    keys.prepare_recovery()
    assert killed_after(2, path, MemberKeys.recovered)
    for prepare in (keys.prepare_recovery, keys.prepare_next):
        with pytest.raises(IdentityError, match=r"call recovered\(\) first") as caught:
            prepare()
        assert caught.value.code == "unfinished"


def test_a_recovery_that_was_not_published_is_not_taken_over(keys: MemberKeys) -> None:
    keys.prepare_recovery()
    prepared = keys.ids
    keys.recovered(prepared["current"])
    assert keys.ids == prepared


# --- the beginning


@pytest.mark.parametrize("passphrase", [None, WORDS], ids=["open", "encrypted"])
@pytest.mark.parametrize("steps", range(8))
def test_a_beginning_that_is_killed_at_any_step_is_completed_by_the_same_call(
    path: Path, steps: int, passphrase: str | None
) -> None:
    try:
        MemberKeys.create(MortalFolder(path, steps), passphrase)
    except Killed:
        old = files(path)
        keys = MemberKeys.create(path, passphrase)
        assert set(files(path).values()) >= set(old.values())
    else:
        assert steps >= 6
        keys = MemberKeys.open(path, passphrase)
    assert sorted(keys.ids) == ["current", "next", "recovery"]
    assert len(set(keys.ids.values())) == 3
    assert [each and each.peer_id for each in (keys.current, keys.next, keys.recovery)] == list(keys.ids.values())


def test_keys_that_a_crash_left_open_are_encrypted_where_a_passphrase_comes_later(path: Path) -> None:
    with pytest.raises(Killed):
        MemberKeys.create(MortalFolder(path, 4))
    MemberKeys.create(path, WORDS)
    assert all(KeyFolder(path).peek(name).is_encrypted for name in KeyFolder(path).names())


def test_a_beginning_is_not_gone_on_with_under_another_passphrase(path: Path) -> None:
    with pytest.raises(Killed):
        MemberKeys.create(MortalFolder(path, 2), WORDS)
    before = files(path)
    with pytest.raises(WrongPassphrase):
        MemberKeys.create(path, WORDS + "r")
    assert files(path) == before
