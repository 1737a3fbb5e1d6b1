"""A node whose key is encrypted: made, shown, started, changed, backed up; and the passphrase is nowhere to be seen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.processes import START_S, Node, Outcome, covm, on_terminal, process

WORDS = "correct horse battery staple"
OTHER = "eight geese over the mill pond"

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def secret(folder: Path) -> Path:
    """A file with the passphrase."""
    file = folder / "passphrase"
    file.write_text(WORDS + "\n")
    return file


@pytest.fixture
def other(folder: Path) -> Path:
    """A file with another."""
    file = folder / "other"
    file.write_text(OTHER + "\n")
    return file


@pytest.fixture
def sealed(home: Path, secret: Path) -> Path:
    """A home with an encrypted key."""
    made = covm("init", "--home", home, "--encrypt", "--passphrase-file", secret, "--json")
    assert made.json["encrypted"] is True, made
    return home


def listed(node: Node, what: str) -> str:
    """What the system shows of the node's process: `cmdline` or `environ`."""
    return Path(f"/proc/{node.process.pid}/{what}").read_bytes().decode()


def identity(home: Path, *arguments: str | Path, **extra: Any) -> Outcome:
    command, *rest = arguments
    return covm("identity", command, "--home", home, *rest, **extra)


def shown(home: Path) -> dict[str, object]:
    return identity(home, "show", "--json").json


@pytest.mark.parametrize("way", ["COVM_PASSPHRASE", "COVM_PASSPHRASE_FILE"])
def test_init_takes_the_passphrase_from_the_environment(home: Path, secret: Path, other: Path, way: str) -> None:
    words: dict[str, Any] = {way: WORDS if way == "COVM_PASSPHRASE" else str(secret)}
    made = covm("init", "--home", home, "--encrypt", "--no-input", "--json", **words)
    assert made.json["created"] is True, made
    assert shown(home)["encrypted"] is True
    changed = identity(home, "passphrase", "--passphrase-file", secret, "--new-passphrase-file", other)
    assert changed.code == 0, changed


def test_init_asks_twice_on_a_terminal(home: Path) -> None:
    code, said = on_terminal((WORDS, WORDS), "init", "--home", home, "--encrypt")
    assert code == 0, said
    assert "encrypted" in said
    assert WORDS not in said
    assert shown(home)["encrypted"] is True


def test_two_different_passphrases_make_no_key(home: Path) -> None:
    code, said = on_terminal((WORDS, OTHER), "init", "--home", home, "--encrypt")
    assert code == 2
    assert "differ" in said
    assert not (home / "identity.key").exists()


def test_where_nobody_can_be_asked_the_ways_to_give_it_are_told(home: Path, sealed: Path) -> None:
    fresh = covm("init", "--home", home.with_name("new"), "--encrypt", "--json")
    started = process(
        "federation", "start", "--home", sealed, "--network", "covm", "--preset", "local", "--no-input", "--json"
    )
    for outcome in (fresh, started, identity(sealed, "passphrase", "--json")):
        assert (outcome.code, outcome.error["code"]) == (2, "no_passphrase")
        for way in ("--passphrase-file", "COVM_PASSPHRASE_FILE", "COVM_PASSPHRASE "):
            assert way in outcome.error["message"]


def test_a_passphrase_that_is_too_short_is_refused_without_being_told(home: Path, folder: Path) -> None:
    (folder / "short").write_text("geese")
    for command in (["init", "--encrypt"], ["federation", "start", "--network", "covm", "--preset", "local"]):
        refused = process(*command, "--home", home, "--passphrase-file", folder / "short", "--json")
        assert (refused.code, refused.error["code"]) == (2, "short_passphrase")
        assert "geese" not in refused.out
    assert not (home / "identity.key").exists()


def test_init_keeps_an_encrypted_key_and_encrypts_none_that_is_there(sealed: Path, folder: Path, secret: Path) -> None:
    kept = covm("init", "--home", sealed, "--encrypt", "--json")
    assert (kept.json["created"], kept.json["encrypted"]) == (False, True)
    plain = folder / "plain"
    covm("init", "--home", plain)
    refused = covm("init", "--home", plain, "--encrypt", "--passphrase-file", secret, "--json")
    assert (refused.code, refused.error["code"]) == (2, "key_exists")
    assert "covm identity passphrase" in refused.error["message"]


def test_show_needs_no_passphrase(sealed: Path, folder: Path) -> None:
    told = identity(sealed, "show")
    answer = shown(sealed)
    assert str(answer["peer_id"]).startswith("12D3KooW")
    assert str(answer["did_key"]).startswith("did:key:z6Mk")
    for fact in (answer["peer_id"], answer["did_key"], answer["file"], "yes, with a passphrase"):
        assert str(fact) in told.out
    covm("init", "--home", folder / "plain")
    assert "covm identity passphrase" in identity(folder / "plain", "show").out
    missing = identity(folder / "none", "show", "--json")
    assert missing.code == 1
    assert "covm init" in missing.error["message"]


@linux
def test_a_node_starts_with_its_passphrase_and_nothing_shows_it(
    sealed: Path, secret: Path, start: NodeStarter, folder: Path
) -> None:
    node = start(sealed.name, "--passphrase-file", str(secret), "--log-level", "debug", forked=False)
    assert node.peer_id == shown(sealed)["peer_id"]
    told = [node.first_line, node.log, str(node.ask("status")), identity(sealed, "show").out]
    assert secret.name in listed(node, "cmdline")
    told += [listed(node, "cmdline"), listed(node, "environ")]
    changed = identity(sealed, "passphrase", "--passphrase-file", secret, "--remove", "--json")
    assert (changed.code, changed.json["encrypted"]) == (0, False)
    [seed] = [line[5:] for line in (sealed / "identity.key").read_text().splitlines() if line.startswith("seed ")]
    node.ask("stop")
    node.process.wait(START_S)
    told += [node.log, changed.out]
    assert WORDS not in "".join(told)
    assert seed not in "".join(told)


@linux
def test_a_passphrase_from_the_environment_is_not_listed_there_any_longer(sealed: Path) -> None:
    node = Node(sealed, forked=False, COVM_PASSPHRASE=WORDS)
    try:
        node.wait_ready()
        assert "NO_COLOR=1" in listed(node, "environ")
        assert WORDS not in listed(node, "environ") + listed(node, "cmdline") + node.log
    finally:
        node.end()


def test_a_node_is_started_with_a_passphrase_that_is_typed(sealed: Path) -> None:
    code, said = on_terminal([WORDS], "federation", "start", "--home", sealed, "--network", "covm", "--preset", "local")
    assert code == 0, said
    assert "is ready" in said
    assert WORDS not in said


@pytest.mark.parametrize("way", ["COVM_PASSPHRASE", "COVM_PASSPHRASE_FILE", "--passphrase-file"])
def test_a_wrong_passphrase_is_told_as_wrong_and_not_shown(sealed: Path, other: Path, way: str) -> None:
    is_option = way.startswith("--")
    option = [way, str(other)] if is_option else []
    words: dict[str, Any] = {} if is_option else {way: OTHER if way == "COVM_PASSPHRASE" else str(other)}
    started = ["federation", "start", "--network", "covm", "--preset", "local", "--home", str(sealed), "--json"]
    refused = process(*started, *option, **words)
    assert (refused.code, refused.error["code"]) == (1, "wrong_passphrase")
    assert OTHER not in refused.out


def test_a_home_without_a_key_gets_an_encrypted_one_where_a_passphrase_is_given(
    home: Path, secret: Path, start: NodeStarter
) -> None:
    node = start(home.name, "--passphrase-file", str(secret))
    told = shown(home)
    assert (told["peer_id"], told["did_key"]) == (node.peer_id, node.ask("status")["did_key"])
    assert (told["file"], told["encrypted"]) == (str(home / "identity.key"), True)
    assert (told["member"], told["member_why"], told["member_keys"]) == ("", "none yet", [])


def test_the_passphrase_is_set_changed_and_removed(home: Path, secret: Path, other: Path) -> None:
    covm("init", "--home", home)
    before = shown(home)
    set_first = identity(home, "passphrase", "--new-passphrase-file", secret)
    assert (set_first.code, shown(home)) == (0, before | {"encrypted": True})
    assert "is encrypted with the passphrase" in set_first.out
    changed = identity(home, "passphrase", "--new-passphrase-file", other, COVM_PASSPHRASE=WORDS)
    assert (changed.code, shown(home)) == (0, before | {"encrypted": True})
    assert "the new passphrase" in changed.out
    wrong = identity(home, "passphrase", "--remove", "--passphrase-file", secret, "--json")
    assert (wrong.code, wrong.error["code"]) == (1, "wrong_passphrase")
    removed = identity(home, "passphrase", "--remove", "--passphrase-file", other)
    assert (removed.code, shown(home)) == (0, before)
    assert "not encrypted any more" in removed.out
    assert identity(home, "passphrase", "--remove").code == 0
    both = identity(home, "passphrase", "--remove", "--new-passphrase-file", other, "--json")
    assert (both.code, both.error["code"]) == (2, "two_wishes")
    for outcome in (set_first, changed, wrong, removed):
        assert not [words for words in (WORDS, OTHER) if words in outcome.out + outcome.err]


def test_the_passphrase_is_changed_on_a_terminal(sealed: Path, other: Path) -> None:
    code, said = on_terminal((WORDS, OTHER, OTHER), "identity", "passphrase", "--home", sealed)
    assert code == 0, said
    assert not [words for words in (WORDS, OTHER) if words in said]
    assert identity(sealed, "passphrase", "--remove", "--passphrase-file", other).code == 0


def test_a_slip_in_the_variables_name_does_not_tell_the_passphrase(home: Path) -> None:
    outcome = process("federation", "start", "--home", home, "--json", COVM_PASSPHRSE=WORDS)
    assert (outcome.code, outcome.error["code"]) == (2, "config_error")
    assert "passphrse" in outcome.error["message"]
    assert WORDS not in outcome.out
    assert "details" in outcome.out


def test_a_backup_has_the_key_as_it_is_and_the_restored_node_needs_its_passphrase(
    sealed: Path, secret: Path, other: Path, start: NodeStarter, folder: Path
) -> None:
    node = start(sealed.name, "--passphrase-file", str(secret))
    backup, new = folder / "backup", folder / "new"
    assert covm("store", "backup", "--home", sealed, backup, "--passphrase-file", other).code == 0
    restored = covm("store", "restore", "--home", new, backup, "--passphrase-file", other)
    assert restored.code == 0, restored
    assert (new / "identity.key").read_bytes() == (sealed / "identity.key").read_bytes()
    peer_id = node.peer_id
    node.end()
    assert start(new.name, "--passphrase-file", str(secret)).peer_id == peer_id
