"""What a member is called: said where it begins, kept from there, changed by a command of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.members import done, entries, founded, identity, joined, made, names, until
from tests.cli.processes import Outcome, covm


def create(home: Path, name: str, *options: str) -> Outcome:
    return covm("federation", "create", name, *options, "--home", home)


@pytest.mark.parametrize(
    ("federation", "options", "said"),
    [
        ("Three/Valleys", ["--as", "Mill Bakry"], "the federation's name has a slash in it"),
        ("Three Valleys", ["--as", "Mill/Bakry"], "the member's name has a slash in it"),
        ("Three Valleys", ["--as", "Mill Bakry", "--k", "2"], "asks for 2 electors"),
        ("Three Valleys", ["--as", ""], "the member's name is empty"),
    ],
)
def test_nobody_begins_by_a_command_that_fails(folder: Path, federation: str, options: list[str], said: str) -> None:
    home = made(folder, "mill", "node-7")
    refused = create(home, federation, *options)
    assert (refused.code, said in refused.err) == (2, True), refused
    assert done(home, "show")["member"] == ""
    assert create(home, "Three Valleys", "--as", "Mill Bakery").code == 0
    assert done(home, "show")["member_name"] == "Mill Bakery"


def test_another_name_for_a_member_that_has_begun_is_refused_and_it_can_be_renamed(folder: Path) -> None:
    home = made(folder, "mill", "node-7")
    assert done(home, "export", folder / "mill.json", "--as", "Mill Bakry")["name"] == "Mill Bakry"
    for refused in (
        create(home, "Three Valleys", "--as", "Mill Bakery"),
        identity(home, "export", folder / "again.json", "--as", "Mill Bakery"),
    ):
        assert (refused.code, "is called Mill Bakry" in refused.err, "identity rename" in refused.err) == (
            2,
            True,
            True,
        ), refused
    assert not (folder / "again.json").exists()
    assert "federation" not in (home / "config.toml").read_text()
    told = done(home, "rename", "Mill Bakery")
    assert (told["before"], told["name"], told["seq"]) == ("Mill Bakry", "Mill Bakery", 2)
    assert done(home, "rename", "Mill Bakery")["seq"] == 2, "nothing changed"
    assert identity(home, "rename", "a/b").code == 2
    assert create(home, "Three Valleys", "--as", "Mill Bakery").code == 0
    assert entries(home) == [(1, "inception", True), (2, "profile", True)]


def test_a_member_whose_invite_was_refused_keeps_its_name_and_is_renamed_while_its_node_runs(
    folder: Path, start: NodeStarter
) -> None:
    founded(folder)
    mill = start("mill")
    link = mill.ask("invite")["link"]
    joined(folder, mill, "shop", "Corner Shop")
    home = made(folder, "farm", "node-9")
    for _ in range(2):
        assert covm("federation", "join", link, "--as", "Hill Farm", "--home", home).code == 0
    refused = covm("federation", "join", link, "--as", "Hill Farms", "--home", home)
    assert (refused.code, "is called Hill Farm:" in refused.err) == (2, True), refused
    farm = start("farm")
    until(lambda: farm.ask("status")["connected_peers"] >= 1)
    paper = folder / "farm.json"
    done(home, "export", paper)
    done(folder / "desk", "rename", "Farm on the Hill", "--file", paper, "--keys", home / "member")
    done(home, "import", paper)
    until(lambda: names(mill) == ["Corner Shop", "Farm on the Hill", "Mill Bakery"])
    done(home, "rename", "Hill Farm")
    until(lambda: names(mill) == ["Corner Shop", "Hill Farm", "Mill Bakery"])
