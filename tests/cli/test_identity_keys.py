"""A member's keys change: rotated, recovered, on this machine or another, with a crash between any two steps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.members import done, entries, founded, identity, made
from tests.cli.processes import covm

from covm.federation import Identity
from covm.federation.identity.member_keys import MemberKeys

WORDS = "correct horse battery staple"


@pytest.fixture
def home(folder: Path) -> Path:
    """A home whose member has begun, and is in no federation."""
    home = made(folder, "mill", "Mill Bakery")
    done(home, "export", folder / "mill.json")
    return home


@pytest.fixture
def paper(folder: Path, home: Path) -> Path:
    """The identity of that member as a file."""
    return folder / "mill.json"


def key_ids(folder: Path) -> dict[str, str]:
    return dict(MemberKeys.open(folder).ids)


def contents(*places: Path) -> dict[Path, bytes]:
    """Everything in these files and folders."""
    files = [each for place in places for each in (place.rglob("*.key") if place.is_dir() else [place])]
    return {each: each.read_bytes() for each in files}


def test_the_key_is_rotated_and_then_again(home: Path) -> None:
    before = key_ids(home / "member")
    first = done(home, "rotate")
    assert (first["op"], first["seq"], first["key"], first["finished"]) == ("rotate", 2, before["next"], False)
    second = identity(home, "rotate")
    assert second.code == 0, second
    assert "rotated the key of Mill Bakery by entry 3: it is " in second.out
    after = key_ids(home / "member")
    assert after["recovery"] == before["recovery"]
    assert sorted(after)[:1] == ["current"]
    assert sum(name.startswith("former-") for name in after) == 2
    assert entries(home) == [(1, "inception", True), (2, "rotate", True), (3, "rotate", True)]


def test_the_key_is_rotated_while_the_node_runs(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill = start("mill")
    assert done(mill.home, "rotate")["seq"] == 2
    assert entries(mill.home)[-1] == (2, "rotate", True)
    assert mill.ask("status")["takes_part"] is True
    shown = done(mill.home, "show")
    assert (shown["member_name"], shown["contested"], len(shown["member_keys"])) == ("Mill Bakery", False, 4)


def test_keys_on_another_machine_sign_a_file_that_is_carried_back(folder: Path, home: Path, paper: Path) -> None:
    safe = folder / "safe"
    (home / "member").rename(safe)
    told = done(folder / "nowhere", "rotate", "--keys", safe, "--file", paper)
    assert told["file"] == str(paper)
    assert not (folder / "nowhere").exists(), "no home is touched"
    assert entries(home) == [(1, "inception", True)]
    assert entries(home, "--file", paper) == [(1, "inception", True), (2, "rotate", True)]
    assert done(home, "import", paper)["entries"] == 2
    assert entries(home) == [(1, "inception", True), (2, "rotate", True)]
    assert "none in" in identity(home, "show").out


def test_the_recovery_key_gives_new_keys_and_is_used_up(folder: Path, home: Path) -> None:
    before = key_ids(home / "member")
    elsewhere = folder / "recovery.key"
    (home / "member" / "recovery.key").rename(elsewhere)
    lacking = identity(home, "recover")
    assert (lacking.code, "bring it with --recovery-key FILE" in lacking.err) == (2, True)
    told = identity(home, "recover", "--recovery-key", elsewhere)
    assert told.code == 0, told
    assert "recovered the key of Mill Bakery by entry 2" in told.out
    assert "move " in told.out
    after = key_ids(home / "member")
    assert not {after[name] for name in ("current", "next", "recovery")} & set(before.values())
    again = identity(home, "recover", "--recovery-key", elsewhere)
    assert (again.code, "was used already" in again.err) == (2, True)
    assert key_ids(home / "member") == after


def test_who_lost_all_keys_but_the_recovery_key_goes_on(folder: Path, home: Path, paper: Path) -> None:
    elsewhere = folder / "recovery.key"
    (home / "member" / "recovery.key").rename(elsewhere)
    shutil.rmtree(home / "member")
    assert done(home, "recover", "--recovery-key", elsewhere)["seq"] == 2
    assert sorted(key_ids(home / "member")) == ["current", "next", "recovery"]
    assert done(home, "rotate")["seq"] == 3


@pytest.mark.parametrize("op", ["rotate", "recover"])
def test_a_crash_between_any_two_steps_costs_nothing(folder: Path, home: Path, paper: Path, op: str) -> None:
    keys = MemberKeys.open(home / "member")
    made_before = keys.prepare_next() if op == "rotate" else keys.prepare_recovery().current
    prepared = contents(home / "member")
    # Before the entry is published: what was prepared is used.
    told = done(home, op, "--file", paper)
    used = made_before.peer_id if op == "recover" else keys.ids["current"]
    assert (told["key"], told["finished"]) == (used, False)
    final = key_ids(home / "member")
    assert made_before.peer_id in final.values()
    # After it, before the keys are taken over: that is all that is left to do.
    for each in contents(home / "member"):
        each.unlink()
    for place, content in prepared.items():
        place.write_bytes(content)
        place.chmod(0o600)
    told = done(home, op, "--file", paper)
    assert (told["seq"], told["key"], told["finished"]) == (2, used, True)
    assert key_ids(home / "member") == final
    assert [each[1] for each in entries(home, "--file", paper)] == ["inception", op]


def test_encrypted_keys_need_their_passphrase_and_new_ones_have_it_too(folder: Path) -> None:
    words = folder / "words"
    words.write_text(WORDS + "\n")
    home = folder / "mill"
    assert covm("init", "--home", home, "--preset", "local", "--name", "Mill", "--passphrase-file", words).code == 0
    needed = covm("federation", "create", "Three Valleys", "--home", home)
    assert (needed.code, "a passphrase is needed" in needed.err) == (2, True)
    create = covm("federation", "create", "Three Valleys", "--home", home, "--passphrase-file", words)
    assert create.code == 0, create
    needed = identity(home, "rotate")
    assert (needed.code, "a passphrase is needed" in needed.err) == (2, True)
    wrong = identity(home, "rotate", COVM_PASSPHRASE="another horse entirely")
    assert (wrong.code, "another horse" in wrong.err) == (1, False), wrong
    assert done(home, "rotate", "--passphrase-file", words)["seq"] == 2
    assert done(home, "recover", COVM_PASSPHRASE_FILE=str(words))["seq"] == 3
    for file in (home / "member").iterdir():
        assert "encrypted with a passphrase" in file.read_text().splitlines()[0], file
    shown = identity(home, "show")
    assert shown.code == 0, "what is no secret needs no passphrase"


def test_nodes_with_encrypted_keys_found_and_join(folder: Path, start: NodeStarter) -> None:
    words, charter = folder / "words", folder / "charter.json"
    words.write_text(WORDS + "\n")
    homes = [folder / name for name in ("mill", "farm", "shop")]
    mill, farm, shop = homes
    for home in homes:
        init = ("init", "--home", home, "--preset", "local", "--name", home.name.title())
        assert covm(*init, "--passphrase-file", words).code == 0
    opened = ("--passphrase-file", words)
    assert done(farm, "export", folder / "farm.json", *opened)["name"] == "Farm"
    create = ("federation", "create", "Three Valleys", "--founder", folder / "farm.json", "--charter", charter)
    for command, home in (
        (create, mill),
        (("federation", "charter", "sign", charter), farm),
        (("federation", "charter", "sign", charter), mill),
    ):
        needed = covm(*command, "--home", home, "--no-input")
        assert (needed.code, "a passphrase is needed" in needed.err) == (2, True), needed
        signed = covm(*command, "--home", home, *opened)
        assert signed.code == 0, signed
    node = start("mill", "--passphrase-file", str(words))
    link = node.ask("invite")["link"]
    assert covm("federation", "join", link, "--home", shop, "--no-input").code == 2
    joining = covm("federation", "join", link, "--home", shop, *opened)
    assert joining.code == 0, joining
    for home in homes:
        for file in (home / "member").iterdir():
            assert "encrypted with a passphrase" in file.read_text().splitlines()[0], file


def test_what_is_wrong_is_told_and_nothing_is_changed(folder: Path, home: Path, paper: Path) -> None:
    old = folder / "old.json"
    shutil.copy(paper, old)
    before = key_ids(home / "member")
    copy = folder / "copy"
    shutil.copytree(home / "member", copy)
    done(home, "rotate", "--file", paper)
    other = made(folder, "farm", "Hill Farm")
    done(other, "export", folder / "farm.json")
    whole = json.loads(old.read_text())
    spoiled = folder / "spoiled.json"
    spoiled.write_text(json.dumps({**whole, "entries": [whole["entries"][0][:-8] + "AAAAAAA="]}))
    wrong: list[tuple[list[str | Path], str]] = [
        (["rotate", "--file", old], "which was replaced since"),
        (["rotate", "--file", paper, "--keys", copy], "rotated to next.key, and not with the keys in"),
        (["rotate", "--file", folder / "farm.json"], "are not those of the log"),
        (["recover", "--file", folder / "farm.json"], "is another member's, or was used already"),
        (["recover", "--file", paper, "--after", "9"], "no entry 9 is in force"),
        (["recover", "--file", paper, "--after", "0"], "no entry 0 is in force"),
        (["rotate", "--file", paper, "--after", "1"], "did not commit to next.key"),
        (["rotate", "--file", spoiled], "does not verify"),
        (["import", folder / "farm.json"], "of another member"),
        (["import", spoiled], "does not verify"),
    ]
    for arguments, said in wrong:
        found = contents(home / "member", copy, paper, old, folder / "farm.json")
        outcome = identity(home, *arguments)
        assert outcome.code == 2, outcome
        assert said in outcome.err, outcome
        assert contents(home / "member", copy, paper, old, folder / "farm.json") == found
        assert entries(home) == [(1, "inception", True)]
    assert identity(home, "rotate", "--file", folder / "none.json").code == 4
    assert key_ids(copy) == before


def test_a_log_out_of_order_is_the_same_log_and_forks_are_shown(folder: Path, home: Path, paper: Path) -> None:
    thief = folder / "thief"
    shutil.copytree(home / "member", thief)
    stolen = folder / "stolen.json"
    shutil.copy(paper, stolen)
    done(home, "rotate", "--file", paper)
    done(home, "rotate", "--file", paper)
    whole = json.loads(paper.read_text())
    paper.write_text(json.dumps({**whole, "entries": whole["entries"][::-1]}))
    assert entries(home, "--file", paper) == [(1, "inception", True), (2, "rotate", True), (3, "rotate", True)]
    done(home, "import", paper)
    # The thief had the next key too, and rotates: nothing decides until the owner recovers.
    done(folder / "den", "rotate", "--file", stolen, "--keys", thief)
    done(home, "import", stolen)
    assert [each[2] for each in entries(home)] == [True, False, False, False]
    assert done(home, "show")["contested"] is True
    assert "CONTESTED" in identity(home, "log").out
    refused = identity(home, "rotate")
    assert (refused.code, "which was replaced since" in refused.err) == (2, True)
    assert done(home, "recover")["seq"] == 2
    assert done(home, "show")["contested"] is False


def test_a_recovery_and_a_rival_rotation_end_the_same_on_both_sides(folder: Path, home: Path, paper: Path) -> None:
    thief, stolen = folder / "thief", folder / "stolen.json"
    shutil.copytree(home / "member", thief)
    shutil.copy(paper, stolen)
    twin = folder / "twin"
    shutil.copytree(home, twin)
    rotated = done(folder / "den", "rotate", "--file", stolen, "--keys", thief)
    recovered = done(folder / "desk", "recover", "--file", paper, "--keys", home / "member")
    for place, papers in ((home, (stolen, paper)), (twin, (paper, stolen))):
        for each in papers:
            done(place, "import", each)
    ends = [
        [(each["op"], each["in_force"], each["signed_by"]) for each in done(place, "log")["entries"]]
        for place in (home, twin)
    ]
    assert sorted(ends[0]) == sorted(ends[1])
    assert [op for op, in_force, _ in ends[0] if in_force] == ["inception", "recover"]
    assert rotated["key"] != recovered["key"]


def test_no_secret_is_in_anything_that_is_said_or_written(folder: Path, home: Path, paper: Path) -> None:
    said = []
    for arguments in (
        ["rotate"],
        ["rotate", "--json"],
        ["recover"],
        ["recover", "--json"],
        ["log"],
        ["show"],
        ["export", paper],
    ):
        outcome = identity(home, *arguments)
        assert outcome.code == 0, outcome
        said.append(outcome.out + outcome.err)
    said.append(paper.read_text())
    for file in (home / "member").iterdir():
        [seed] = [line.removeprefix("seed ") for line in file.read_text().splitlines() if line.startswith("seed ")]
        assert len(seed) == 64
        assert not any(seed in each for each in said)


def test_the_passphrase_of_the_members_keys_is_set_changed_and_removed(folder: Path, home: Path) -> None:
    words, others = folder / "words", folder / "others"
    words.write_text(WORDS)
    others.write_text("eight geese over the mill pond")
    keys, before = home / "member", key_ids(home / "member")
    node_key = (home / "identity.key").read_bytes()
    told = done(home, "passphrase", "--keys", keys, "--new-passphrase-file", words)
    assert (told["keys"], told["encrypted"]) == (["current.key", "next.key", "recovery.key"], True)
    assert identity(home, "rotate", "--no-input").code == 2
    assert done(home, "rotate", "--passphrase-file", words)["seq"] == 2
    # One that opens with neither: nothing is changed.
    Identity.set_passphrase(keys / "recovery.key", WORDS, "the one in the safe")
    as_they_were = contents(keys)
    refused = identity(home, "passphrase", "--keys", keys, "--passphrase-file", words, "--new-passphrase-file", others)
    assert (refused.code, "recovery.key" in refused.err) == (1, True)
    assert contents(keys) == as_they_were
    # A crash in mid-change left some with the new passphrase: done again, all have it.
    Identity.set_passphrase(keys / "recovery.key", "the one in the safe", "eight geese over the mill pond")
    changed = identity(home, "passphrase", "--keys", keys, "--passphrase-file", words, "--new-passphrase-file", others)
    assert (changed.code, "4 keys in" in changed.out) == (0, True)
    assert done(home, "passphrase", "--keys", keys, "--passphrase-file", others, "--remove")["encrypted"] is False
    assert {name: each for name, each in key_ids(keys).items() if name == "recovery"} == {
        "recovery": before["recovery"]
    }
    assert done(home, "rotate")["seq"] == 3
    assert (home / "identity.key").read_bytes() == node_key
    none = identity(home, "passphrase", "--keys", folder / "nowhere", "--remove")
    assert (none.code, "nowhere" in none.err) == (1, True)
