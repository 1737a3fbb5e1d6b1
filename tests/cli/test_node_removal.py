"""A node of a founder goes: who would be no member any more is told first, and what it wrote counts as is said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.members import done, entries, founded, identity, joined, names, until
from tests.cli.processes import Node, on_terminal
from tests.cli.test_identity_nodes import added

from covm.cli.rendering import date_time

NOTE = "notes.note"


def with_an_oven(folder: Path, start: NodeStarter) -> tuple[Node, Node]:
    """The only founder's two nodes."""
    founded(folder)
    mill = start("mill")
    added(mill, folder, "oven", "Oven House", "--approver")
    oven = start("oven")
    until(lambda: oven.ask("status")["connected_peers"] == 1)
    return mill, oven


def test_what_would_count_no_more_is_told_and_asked_about_before_it_does(folder: Path, start: NodeStarter) -> None:
    mill, oven = with_an_oven(folder, start)
    joined(folder, oven, "farm", "Hill Farm")
    joined(folder, oven, "shop", "Corner Shop")
    until(lambda: names(mill) == ["Corner Shop", "Hill Farm", "Mill Bakery"])
    gone = ("remove-node", "Oven House", "--nothing-of-it-counts")
    asked = identity(mill.home, *gone, "--no-input")
    assert asked.code == 2, asked
    assert "2 members would be none any more: Corner Shop (" in asked.err
    assert "Hill Farm (" in asked.err
    assert "give --yes" in asked.err
    code, said = on_terminal(("n",), "identity", *gone, "--home", mill.home)
    assert (code, "nothing was removed" in said, "admission of Hill Farm" in said) == (5, True, True), said
    assert len(entries(mill.home)) == 2
    told = done(mill.home, *gone, "--yes")
    assert [(each["kind"], each["name"]) for each in told["undone"]] == [
        ("member", "Corner Shop"),
        ("member", "Hill Farm"),
    ]
    until(lambda: names(mill) == ["Mill Bakery"])
    # A founder gives it again.
    waiting = {each["name"]: each["status"] for each in mill.ask("requests")["requests"]}
    assert waiting == {"Corner Shop": "waiting", "Hill Farm": "waiting"}
    assert mill.run("approve", "Hill Farm").code == 0
    assert names(mill) == ["Hill Farm", "Mill Bakery"]


def test_a_node_that_approved_nothing_is_removed_without_a_question(folder: Path, start: NodeStarter) -> None:
    mill, _ = with_an_oven(folder, start)
    assert identity(mill.home, "approvals").out == "it has approved nothing\n"
    assert done(mill.home, "remove-node", "Oven House", "--nothing-of-it-counts", "--no-input")["undone"] == []


@pytest.mark.parametrize("is_running", [True, False], ids=["at the node", "at its home"])
def test_what_it_wrote_up_to_a_time_counts_and_nothing_later(
    folder: Path, start: NodeStarter, is_running: bool
) -> None:
    mill, oven = with_an_oven(folder, start)
    joined(folder, oven, "farm", "Hill Farm")
    assert oven.run("records", "put", NOTE, "honest", "bread").code == 0
    at = date_time(time.time_ns() // 1_000_000)
    time.sleep(1.1)
    joined(folder, oven, "thief", "Quick Fox")
    assert oven.run("records", "put", NOTE, "thief's", "nothing").code == 0
    until(lambda: names(mill) == ["Hill Farm", "Mill Bakery", "Quick Fox"])
    until(lambda: mill.ask("records", "list", NOTE)["entries"][1:])
    listed = done(mill.home, "approvals", "Oven House")["approvals"]
    assert [(each["kind"], each["name"], each["counts"]) for each in listed] == [
        ("admission", "Hill Farm", True),
        ("admission", "Quick Fox", True),
    ]
    # As it is shown, to the second.
    assert date_time(listed[0]["time"]) in identity(mill.home, "approvals").out
    if not is_running:
        assert mill.run("stop").code == 0
    gone = ("remove-node", "Oven House", "--until", at)
    asked = identity(mill.home, *gone, "--no-input")
    assert (asked.code, "1 member would be none any more: Quick Fox (" in asked.err) == (2, True), asked
    assert "Hill Farm" not in asked.err
    told = done(mill.home, *gone, "--yes")
    assert ([each["name"] for each in told["undone"]], told["records"]) == (["Quick Fox"], 1)
    if not is_running:
        mill = start("mill")
    until(lambda: names(mill) == ["Hill Farm", "Mill Bakery"])
    until(lambda: [each["key"] for each in mill.ask("records", "list", NOTE)["entries"]] == ["honest"])
    assert mill.ask("status")["void"] == {NOTE: 1}
    assert f"void         1 of {NOTE}; `covm federation records history` says why" in mill.run("status").out


def test_a_home_without_its_node_keeps_the_records_of_the_node_that_goes(folder: Path, start: NodeStarter) -> None:
    mill, oven = with_an_oven(folder, start)
    assert oven.run("records", "put", NOTE, "bread", "rye").code == 0
    until(lambda: mill.ask("records", "list", NOTE)["entries"])
    assert mill.run("stop").code == 0
    assert done(mill.home, "remove-node", "Oven House", "--no-input")["records"] == 0
    mill = start("mill")
    assert [each["key"] for each in mill.ask("records", "list", NOTE)["entries"]] == ["bread"]


def test_a_file_does_not_tell_what_was_approved_so_it_is_asked_about(folder: Path, start: NodeStarter) -> None:
    mill, _ = with_an_oven(folder, start)
    paper = folder / "mill.json"
    done(mill.home, "export", paper)
    gone = ("remove-node", "Oven House", "--nothing-of-it-counts", "--file", paper, "--keys", mill.home / "member")
    asked = identity(folder / "desk", *gone, "--no-input")
    assert (asked.code, "the member may be a founder" in asked.err) == (2, True), asked
    assert done(folder / "desk", *gone, "--yes")["seq"] == 3


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01 10:00", "0001-01-01", "99999999999", "\x1b[2J"])
def test_a_time_that_is_none_is_told(folder: Path, text: str) -> None:
    founded(folder)
    refused = identity(folder / "mill", "remove-node", "Mill Bakery", f"--until={text}")
    assert (refused.code, "a date and a time" in refused.err or "later than 1970" in refused.err) == (2, True), refused
    both = identity(folder / "mill", "remove-node", "x", "--until", "2026-03-01 14:30", "--nothing-of-it-counts")
    assert (both.code, "not both" in both.err) == (2, True)
