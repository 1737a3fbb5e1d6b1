"""Backups, restores and checks at the command line, of a store that a node uses or used."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from pathlib import Path

import pysqlite3
import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.processes import START_S, Node, Outcome, covm, on_terminal

PASSPHRASE = "seven geese over the mill pond"


@pytest.fixture
def secret(folder: Path) -> Path:
    """A file with a passphrase."""
    file = folder / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    return file


@pytest.fixture
def written(bakery: Node) -> Node:
    """Mill Bakery, running, with a message in its list and a ban."""
    bakery.ask("publish", "governance.proposal", '{"id": "p", "title": "t", "author": "m", "created_at": 1}')
    bakery.ask("ban", "12D3KooWAnbduJvaiCWzYZGkh6x5NHkfxaJyHKtcUKbYGoTfNhXL")
    return bakery


def store(home: Path, *arguments: str | Path) -> Outcome:
    command, *rest = arguments
    return covm("store", command, "--home", home, *rest)


def stopped(node: Node) -> Path:
    node.ask("stop")
    node.process.wait(START_S)
    return node.home


# --- backup and restore


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_backup_brings_the_node_back_elsewhere_under_a_new_incarnation(
    written: Node, start: NodeStarter, folder: Path, secret: Path, running: bool
) -> None:
    before = written.ask("status")
    messages = written.ask("messages")["messages"]
    bans = written.ask("bans")["bans"]
    if not running:
        stopped(written)
    file = folder / "mill.backup"
    made = store(written.home, "backup", file, "--passphrase-file", secret)
    assert made.code == 0, made
    assert str(file) in made.out
    assert file.stat().st_mode & 0o777 == 0o600
    if running:
        written.signal(signal.SIGKILL)

    restored = store(folder / "new", "restore", file, "--passphrase-file", secret, "--json")
    assert restored.code == 0, restored
    assert (restored.json["peer_id"], restored.json["moved_aside"]) == (before["peer_id"], "")
    node = start("new", "--name", "Mill Bakery")
    after = node.ask("status")
    assert after["peer_id"] == before["peer_id"]
    assert after["incarnation"] != before["incarnation"]
    assert node.ask("messages")["messages"] == messages
    assert node.ask("bans")["bans"] == bans


def test_a_store_that_is_there_is_moved_aside_and_only_when_that_is_said(
    written: Node, folder: Path, secret: Path
) -> None:
    home, file = stopped(written), folder / "mill.backup"
    store(home, "backup", file, "--passphrase-file", secret)
    refused = store(home, "restore", file, "--passphrase-file", secret, "--json")
    assert refused.code in (1, 2, 5)
    assert "--replace" in refused.error["message"]
    replaced = store(home, "restore", file, "--passphrase-file", secret, "--replace", "--json")
    assert replaced.code == 0, replaced
    assert Path(replaced.json["moved_aside"]).exists()


@pytest.mark.parametrize(
    "there", ['store_url = "postgresql://covm@127.0.0.1:1/gone"', "name = 'not finished"], ids=["elsewhere", "broken"]
)
def test_the_configuration_that_is_moved_aside_does_not_say_where_the_store_goes(
    written: Node, start: NodeStarter, folder: Path, secret: Path, there: str
) -> None:
    home, file = stopped(written), folder / "mill.backup"
    store(home, "backup", file, "--passphrase-file", secret)
    (home / "config.toml").write_text(there + "\n")
    restored = store(home, "restore", file, "--passphrase-file", secret, "--replace", "--json")
    assert restored.code == 0, restored
    assert restored.json["moved_schema"] == ""
    again = start(home.name, "--name", "Mill Bakery").ask("status")
    assert (again["peer_id"], again["store"]["state"]) == (written.peer_id, "ok")


def test_nothing_is_restored_under_a_node_that_runs(written: Node, folder: Path, secret: Path) -> None:
    file = folder / "mill.backup"
    store(written.home, "backup", file, "--passphrase-file", secret)
    refused = store(written.home, "restore", file, "--passphrase-file", secret, "--replace", "--json")
    assert (refused.code, refused.error["code"]) == (1, "home_in_use")
    assert written.ask("status")["store"]["state"] == "ok"


def test_a_backup_opens_only_with_its_secret(written: Node, folder: Path, secret: Path) -> None:
    """A wrong passphrase is told as wrong, also a short one: how long a new one must be is no matter when opening."""
    file = folder / "mill.backup"
    store(written.home, "backup", file, "--passphrase-file", secret)
    assert written.peer_id.encode() not in file.read_bytes()
    wrong = folder / "wrong"
    for words in ("eight geese over the mill pond", "geese", ""):
        wrong.write_text(words)
        refused = store(folder / "new", "restore", file, "--passphrase-file", wrong)
        assert refused.code == 1, refused
        assert "the passphrase is wrong" in refused.err
        assert "Traceback" not in refused.err
        assert not (folder / "new" / "identity.key").exists()


def test_a_backup_for_an_age_recipient_opens_with_its_secret_key(written: Node, folder: Path) -> None:
    from pyrage import x25519

    key = x25519.Identity.generate()
    (folder / "key.txt").write_text(f"# created by age-keygen\n{key}\n")
    file = folder / "mill.backup"
    made = store(written.home, "backup", file, "--recipient", str(key.to_public()), "--json")
    assert made.json["size_bytes"] == file.stat().st_size
    restored = store(folder / "new", "restore", file, "--identity-file", folder / "key.txt", "--json")
    assert restored.json["peer_id"] == written.peer_id
    nobody = store(written.home, "backup", folder / "other", "--recipient", "age1nobody", "--json")
    assert nobody.code == 1
    assert "age1" in nobody.error["message"]


def test_after_the_restore_of_an_old_backup_both_sides_say_so_and_what_is_held_comes_again(
    pair: tuple[Node, Node], start: NodeStarter, folder: Path, secret: Path
) -> None:
    bakery, farm = pair

    def send(text: str) -> None:
        bakery.ask("send-msg", farm.peer_id, "private.message", text, "--wait", "handled")

    send("before the backup")
    made = store(farm.home, "backup", folder / "old", "--passphrase-file", secret)
    assert made.code == 0, made
    send("after the backup")
    home = stopped(farm)
    restored = store(home, "restore", folder / "old", "--passphrase-file", secret, "--replace")
    assert restored.code == 0, restored
    farm = start(home.name, "--name", "Riverside Farm", "--bootstrap", bakery.address)
    send("after the restore")
    read = [each["payload"] for each in farm.ask("messages")["messages"]]
    assert read == ["before the backup", "after the backup", "after the restore"]
    [theirs] = bakery.ask("status")["notices"]
    assert "Riverside Farm went back in time" in theirs["text"]
    [ours] = farm.ask("status")["notices"]
    assert "Mill Bakery says that this node acknowledged" in ours["text"]
    assert "notice" in bakery.run("status").out


def test_a_file_that_is_there_is_not_written_over(written: Node, folder: Path, secret: Path) -> None:
    file = folder / "mill.backup"
    file.write_text("mine")
    outcome = store(written.home, "backup", file, "--passphrase-file", secret, "--json")
    assert outcome.code in (1, 2)
    assert str(file) in outcome.error["message"]
    assert file.read_text() == "mine"


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_backup_is_not_restored(written: Node, folder: Path, secret: Path, damage: str) -> None:
    file = folder / "mill.backup"
    store(written.home, "backup", file, "--passphrase-file", secret)
    content = bytearray(file.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    file.write_bytes(content)
    outcome = store(folder / "new", "restore", file, "--passphrase-file", secret, "--json")
    assert outcome.code in (1, 2)
    assert not (folder / "new" / "identity.key").exists()


# --- passphrases


def test_without_a_terminal_the_passphrase_comes_from_a_file(written: Node, folder: Path) -> None:
    outcome = store(written.home, "backup", folder / "mill.backup", "--json")
    assert (outcome.code, outcome.error["code"]) == (2, "no_passphrase")
    assert "--passphrase-file" in outcome.error["message"]
    assert "--recipient" in outcome.error["message"]


def test_a_short_passphrase_is_refused(written: Node, folder: Path) -> None:
    (folder / "short").write_text("geese\n")
    outcome = store(written.home, "backup", folder / "mill.backup", "--passphrase-file", folder / "short", "--json")
    assert (outcome.code, outcome.error["code"]) == (2, "short_passphrase")
    assert "geese" not in outcome.error["message"]


@pytest.mark.parametrize(("answers", "code"), [((PASSPHRASE, PASSPHRASE), 0), ((PASSPHRASE, "other words"), 2)])
def test_on_a_terminal_it_is_asked_for_twice_and_never_shown(
    written: Node, folder: Path, answers: tuple[str, str], code: int
) -> None:
    ended, shown = on_terminal(answers, "store", "backup", "--home", written.home, folder / "mill.backup")
    assert ended == code, shown
    assert PASSPHRASE not in shown
    assert (folder / "mill.backup").exists() == (code == 0)


# --- check and salvage


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_sound_store_is_said_to_be_sound(written: Node, running: bool) -> None:
    if not running:
        stopped(written)
    outcome = store(written.home, "check")
    assert outcome.code == 0, outcome
    assert "is sound" in outcome.out
    assert store(written.home, "check", "--json").json["problems"] == []


def test_a_damaged_store_is_told_not_started_and_salvaged(written: Node, folder: Path) -> None:
    home = stopped(written)
    file = home / "store.db"
    with contextlib.closing(pysqlite3.connect(file)) as connection:
        [[page]] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'covm_inbox'").fetchall()
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096 : page * 4096] = os.urandom(4096)
    file.write_bytes(content)
    told = store(home, "check", "--json")
    assert told.code == 1
    assert told.json["problems"]
    salvaged = store(home, "check", "--salvage", folder / "saved.db")
    assert salvaged.code in (0, 1), salvaged
    assert str(folder / "saved.db") in salvaged.out
    assert (folder / "saved.db").stat().st_size > 0


def test_a_truncated_store_is_refused_with_what_to_do(written: Node) -> None:
    home = stopped(written)
    file = home / "store.db"
    os.truncate(file, file.stat().st_size // 2)
    refused = covm("federation", "start", "--home", home, "--network", "covm", "--preset", "local", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "store_corrupt")
    for advice in ("covm store restore FILE", "covm store check --salvage FILE"):
        assert advice in refused.json["error"]["message"]


def test_a_home_without_a_store_is_told(home: Path) -> None:
    covm("init", "--home", home)
    for command in (["check"], ["backup", home / "file", "--passphrase-file", home / "nowhere"]):
        outcome = store(home, *command)
        assert outcome.code in (1, 4), outcome
        assert "Traceback" not in outcome.err


@pytest.mark.parametrize("command", [["check"], ["backup", "file", "--passphrase-file", "secret"]])
def test_a_home_too_long_for_a_socket_is_told(
    folder: Path, secret: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(folder)
    secret.rename(folder / "secret")
    outcome = store(folder / ("x" * 100), *command, "--json")
    assert (outcome.code, outcome.error["code"]) == (2, "unusable_home")
    assert "too long" in outcome.error["message"]


# --- a disk without room


def test_a_node_that_cannot_write_says_so_and_goes_on_when_it_can(written: Node, farm: Node) -> None:
    written.ask("connect", farm.address)
    pid = written.process.pid
    former = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    # No file of the node's may be written beyond its first byte: what the system answers is what a full disk does.
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, former[1]))
    try:
        refused = written.run("send-msg", farm.peer_id, "private.message", "hello", "--wait", "queued", "--json")
        assert refused.code == 1
        assert refused.error["code"] in ("store_full", "store_unavailable")
        troubled = written.ask("status")["store"]
        assert troubled["state"] in ("full", "failing")
        assert troubled["why"]
        assert troubled["since"] > 0
        assert f"; {troubled['state']} since " in written.run("status").out
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, former)
    while written.ask("status")["store"]["state"] != "ok":
        assert written.process.poll() is None
    sent = written.ask("send-msg", farm.peer_id, "private.message", "hello again", "--wait", "handled")
    assert [each["id"] for each in farm.ask("messages")["messages"] if each["via"] == "direct"] == [sent["id"]]
