"""A member's key is stolen: what its owner does, and what everybody sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.members import done, entries, founded, identity, joined, made, until
from tests.cli.processes import Node


def robbed(folder: Path, start: NodeStarter) -> tuple[Node, Node, Node]:
    """The mill, the farm, and a thief that has the mill's key, and by it a node among them."""
    founded(folder)
    mill = start("mill")
    joined(folder, mill, "farm", "Hill Farm")
    farm = start("farm")
    until(lambda: farm.ask("status")["connected_peers"] == 1)
    # The thief copied the key, and the identity, which is no secret.
    keys, paper, asked = folder / "stolen", folder / "stolen.json", folder / "asked"
    keys.mkdir(mode=0o700)
    shutil.copy(mill.home / "member" / "current.key", keys)
    done(mill.home, "export", paper)
    den = made(folder, "den", "Mill Bakery 2")
    done(den, "request", paper, asked)
    done(den, "add-node", asked, "--file", paper, "--keys", keys, "--approver")
    done(den, "import", paper)
    thief = start("den")
    until(lambda: thief.ask("status")["connected_peers"] == 2)
    return mill, farm, thief


def in_force(home: Path) -> list[tuple[int, str, str]]:
    told = done(home, "log")["entries"]
    return [(each["seq"], each["op"], each["signed_by"]) for each in told if each["in_force"]]


def nodes_of_the_mill(node: Node) -> list[str]:
    [mill] = [each for each in node.ask("members")["members"] if each["name"] == "Mill Bakery"]
    return sorted(each["name"] for each in mill["nodes"])


@pytest.mark.parametrize("op", ["rotate", "recover"])
def test_who_stole_the_key_and_added_a_node_is_sent_away_by_everybody(
    folder: Path, start: NodeStarter, op: str
) -> None:
    mill, farm, thief = robbed(folder, start)
    until(lambda: entries(mill.home) == [(1, "inception", True), (2, "add_node", True)])
    assert "Mill Bakery 2" in identity(mill.home, "log").out, "the owner sees the stranger"
    told = done(mill.home, op, "--after", "1")
    assert told["undone"] == [thief.peer_id]
    until(lambda: thief.ask("status")["connected_peers"] == 0)
    until(lambda: nodes_of_the_mill(farm) == nodes_of_the_mill(mill) == ["Mill Bakery"])
    assert entries(mill.home) == [(1, "inception", True), (2, "add_node", False), (2, op, True)]
    # The thief's own node learns it too, and says so.
    until(lambda: thief.ask("status")["takes_part"] is False)
    assert in_force(thief.home) == in_force(mill.home)
    assert farm.ask("status")["connected_peers"] == 1
    again = identity(thief.home, "add-node", folder / "asked", "--keys", folder / "stolen")
    assert (again.code, "are not those of the log" in again.err) == (2, True)


def test_a_node_that_was_away_when_it_was_undone_is_shown_why_when_it_comes_back(
    folder: Path, start: NodeStarter
) -> None:
    mill, farm, thief = robbed(folder, start)
    until(lambda: len(entries(mill.home)) == 2)
    assert thief.run("stop").code == 0
    done(mill.home, "recover", "--after", "1")
    until(lambda: nodes_of_the_mill(farm) == ["Mill Bakery"])
    thief = start("den")
    until(lambda: thief.ask("status")["takes_part"] is False)
    assert in_force(thief.home) == in_force(mill.home)
    assert thief.ask("status")["connected_peers"] == 0


def test_a_machine_that_is_lost_is_replaced_by_one_that_nobody_has_heard_of(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill, paper, asked, drawer = start("mill"), folder / "farm.json", folder / "asked", folder / "drawer"
    joined(folder, mill, "farm", "Hill Farm")
    farm = start("farm")
    until(lambda: farm.ask("status")["connected_peers"] == 1)
    done(farm.home, "export", paper)
    shutil.move(farm.home / "member", drawer)
    assert farm.run("stop").code == 0
    shutil.rmtree(farm.home)

    barn = made(folder, "barn", "Barn")
    done(barn, "request", paper, asked)
    done(barn, "add-node", asked, "--file", paper, "--keys", drawer)
    done(barn, "remove-node", farm.peer_id, "--nothing-of-it-counts", "--file", paper, "--keys", drawer)
    done(barn, "import", paper)
    new = start("barn")
    until(lambda: new.ask("status")["connected_peers"] == 1)
    [hill] = [each for each in mill.ask("members")["members"] if each["name"] == "Hill Farm"]
    assert [(each["name"], each["connected"]) for each in hill["nodes"]] == [("Barn", True)]


def test_two_that_sign_with_one_key_stop_the_log_until_its_owner_decides(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill, paper = start("mill"), folder / "mill.json"
    joined(folder, mill, "farm", "Hill Farm")
    farm = start("farm")
    until(lambda: farm.ask("status")["connected_peers"] == 1)
    done(mill.home, "export", paper)
    stolen = folder / "stolen.json"
    shutil.copy(paper, stolen)
    keys = ("--keys", mill.home / "member")
    for place, into in (("oven", paper), ("den", stolen)):
        asked = folder / f"{place}.request"
        done(made(folder, place, place), "request", into, asked)
        done(folder / "desk", "add-node", asked, "--file", into, *keys)
        done(mill.home, "import", into)
    assert done(mill.home, "show")["contested"] is True
    until(lambda: "contested" in farm.run("members").out)
    assert nodes_of_the_mill(farm) == ["Mill Bakery"], "neither counts"
    refused = identity(mill.home, "add-node", folder / "oven.request")
    assert (refused.code, "the log is contested" in refused.err) == (5, True)
    done(mill.home, "rotate")
    done(mill.home, "add-node", folder / "oven.request")
    until(
        lambda: (
            nodes_of_the_mill(farm) == ["Mill Bakery", "oven"]
            or sorted(nodes_of_the_mill(farm)) == ["Mill Bakery", "oven"]
        )
    )
    assert done(mill.home, "show")["contested"] is False
