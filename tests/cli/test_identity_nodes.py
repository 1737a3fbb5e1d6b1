"""A member's nodes change: another machine asks, is added, works; one goes, and what it wrote stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.members import done, entries, founded, identity, joined, made, names, until
from tests.cli.processes import Node, covm, on_terminal


def added(mill: Node, folder: Path, place: str, name: str, *options: str) -> dict[str, Any]:
    """A machine that has become a node of the mill's member, whose node runs; its home is configured."""
    home, asked, paper = made(folder, place, name), folder / f"{place}.request", folder / f"{place}.json"
    done(mill.home, "export", paper)
    done(home, "request", paper, asked)
    told = done(mill.home, "add-node", asked, *options)
    done(mill.home, "export", paper)
    assert done(home, "import", paper)["federation"]
    return told


def nodes_of(node: Node, member: str = "Mill Bakery") -> list[str]:
    [found] = [each for each in node.ask("members")["members"] if each["name"] == member]
    return sorted(each["name"] for each in found["nodes"])


def test_a_second_machine_asks_is_added_finds_the_federation_and_works(folder: Path, start: NodeStarter) -> None:
    federation = founded(folder)
    mill = start("mill")
    joined(folder, mill, "farm", "Hill Farm")
    farm = start("farm")
    until(lambda: farm.ask("status")["connected_peers"] == 1)
    told = added(mill, folder, "oven", "Oven House")
    assert (told["op"], told["seq"], told["name"], told["changed"]) == ("add_node", 2, "Oven House", True)
    oven = start("oven")
    until(lambda: oven.ask("status")["connected_peers"] == 2 and oven.ask("status")["takes_part"])
    assert oven.ask("status")["federation"] == federation
    assert names(oven) == ["Hill Farm", "Mill Bakery"]
    until(lambda: nodes_of(farm) == ["Mill Bakery", "Oven House"])
    sent = oven.run("send-msg", "Hill Farm", "private.message", "the bread is out", "--wait", "stored")
    assert sent.code == 0, sent
    # It can be said again without anything changing, and then it goes.
    again = done(mill.home, "add-node", folder / "oven.request")
    assert (again["changed"], again["seq"]) == (False, 2)
    gone = identity(mill.home, "remove-node", "oven house")
    assert gone.code == 0, gone
    assert "is no node of Mill Bakery by entry 3" in gone.out
    until(lambda: oven.ask("status")["connected_peers"] == 0)
    until(lambda: nodes_of(farm) == ["Mill Bakery"])
    until(lambda: "was removed by its member" in oven.run("status").out)
    assert farm.ask("status")["connected_peers"] == 1


def test_what_a_removed_node_approved_still_counts(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill = start("mill")
    added(mill, folder, "oven", "Oven House", "--approver")
    oven = start("oven")
    until(lambda: oven.ask("status")["connected_peers"] == 1)
    joined(folder, oven, "farm", "Hill Farm")
    until(lambda: names(mill) == ["Hill Farm", "Mill Bakery"])
    done(mill.home, "remove-node", oven.peer_id[:14])
    until(lambda: oven.ask("status")["connected_peers"] == 0)
    assert names(mill) == ["Hill Farm", "Mill Bakery"]


def test_what_a_stolen_node_approved_counts_no_more_if_its_owner_says_so(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill = start("mill")
    added(mill, folder, "oven", "Oven House", "--approver")
    oven = start("oven")
    until(lambda: oven.ask("status")["connected_peers"] == 1)
    joined(folder, oven, "thief", "Quick Fox")
    until(lambda: names(mill) == ["Mill Bakery", "Quick Fox"])
    paper = folder / "mill.json"
    done(mill.home, "export", paper)
    keys = ("--keys", mill.home / "member")
    refused = identity(folder / "desk", "remove-node", "Oven House", "--file", paper, *keys)
    assert (refused.code, "--nothing-of-it-counts" in refused.err) == (2, True)
    done(folder / "desk", "remove-node", "Oven House", "--file", paper, *keys, "--nothing-of-it-counts", "--yes")
    done(mill.home, "import", paper)
    until(lambda: names(mill) == ["Mill Bakery"])


def test_removing_this_node_or_the_last_one_is_asked_about(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    home = folder / "mill"
    asked = identity(home, "remove-node", "Mill Bakery", "--no-input")
    assert (asked.code, "it is this node" in asked.err, "it is the last node" in asked.err) == (2, True, True)
    code, said = on_terminal(("n",), "identity", "remove-node", "Mill Bakery", "--home", home)
    assert (code, "nothing was removed" in said) == (5, True)
    assert entries(home) == [(1, "inception", True)]
    assert done(home, "remove-node", "Mill Bakery", "--no-input", "--yes")["seq"] == 2
    mill = start("mill")
    assert mill.ask("status")["takes_part"] is False


def test_a_node_that_removes_itself_tells_everybody_before_it_is_out(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill = start("mill")
    joined(folder, mill, "farm", "Hill Farm")
    farm = start("farm")
    until(lambda: farm.ask("status")["connected_peers"] == 1)
    done(mill.home, "remove-node", mill.peer_id, "--yes")
    until(lambda: nodes_of(farm) == [])
    until(lambda: farm.ask("status")["connected_peers"] == 0)


HOSTILE = ["../../etc/passwd", "\x1b[2Jmill", "\u202ellim", "x" * 10_240, ""]


@pytest.mark.parametrize("name", HOSTILE, ids=["path", "escape", "direction", "long", "empty"])
def test_a_name_that_is_a_weapon_gets_nowhere(folder: Path, name: str) -> None:
    founded(folder)
    mill, paper, asked = folder / "mill", folder / "mill.json", folder / "asked"
    done(mill, "export", paper)
    done(made(folder, "oven", "Oven House"), "request", paper, asked)
    asked.write_text(json.dumps({**json.loads(asked.read_text()), "name": name}))
    for outcome in (
        identity(mill, "add-node", asked),
        covm("identity", "export", paper, "--home", made(folder, "b", "b"), f"--as={name}") if name else None,
        identity(mill, "remove-node", name or "nobody"),
    ):
        if outcome is not None:
            assert outcome.code in (2, 4), outcome
            assert outcome.out == ""
            assert all(line.isprintable() for line in outcome.err.splitlines())
    assert entries(mill) == [(1, "inception", True)]


def test_a_request_that_was_altered_or_is_for_another_member_is_told(folder: Path) -> None:
    founded(folder)
    mill, paper, asked = folder / "mill", folder / "mill.json", folder / "asked"
    done(mill, "export", paper)
    oven = made(folder, "oven", "Oven House")
    done(oven, "request", paper, asked)
    other = made(folder, "farm", "Hill Farm")
    done(other, "export", folder / "farm.json")
    done(oven, "request", folder / "farm.json", folder / "other")
    whole, others = json.loads(asked.read_text()), json.loads((folder / "other").read_text())
    for spoiled, said in (
        ({**whole, "consent": whole["consent"][:-8] + "AAAAAAA="}, "does not verify"),
        ({**whole, "node": done(other, "show")["peer_id"]}, "does not verify"),
        (others, "of another member than Mill Bakery"),
        ({**others, "member": whole["member"]}, "of another member than Mill Bakery"),
        ({**whole, "covm": "identity"}, "not a node's request"),
        ({**whole, "consent": "A" * 10_240}, "not a node's request"),
        ([], "not a node's request"),
    ):
        asked.write_text(json.dumps(spoiled))
        outcome = identity(mill, "add-node", asked)
        assert (outcome.code, said in outcome.err) == (2, True), outcome
        assert entries(mill) == [(1, "inception", True)]
    refused = identity(other, "request", paper, folder / "third")
    assert (refused.code, "of another member already" in refused.err) == (5, True)
    assert not (folder / "third").exists()


def test_an_identity_does_not_make_a_member_of_a_node_that_it_does_not_name(folder: Path) -> None:
    founded(folder)
    paper = folder / "mill.json"
    done(folder / "mill", "export", paper)
    oven = made(folder, "oven", "Oven House")
    refused = identity(oven, "import", paper)
    assert (refused.code, "add it first" in refused.err) == (5, True)
    assert "federation" not in (oven / "config.toml").read_text()


def test_a_federation_in_an_identity_that_does_not_fit_changes_nothing(folder: Path) -> None:
    founded(folder)
    mill, paper, asked = folder / "mill", folder / "mill.json", folder / "asked"
    done(mill, "export", paper)
    oven = made(folder, "oven", "Oven House")
    done(oven, "request", paper, asked)
    done(mill, "add-node", asked)
    done(mill, "export", paper)
    whole, before = json.loads(paper.read_text()), (oven / "config.toml").read_text()
    for spoiled in (
        {**whole, "federation": done(mill, "show")["member"]},
        {**whole, "charter": []},
        {**whole, "charter": [whole["charter"][0][:-8] + "AAAAAAA="]},
        {**whole, "addresses": ["/etc/passwd"]},
        {**whole, "addresses": ["/ip4/10.0.0.1/tcp/1"] * 1000},
    ):
        paper.write_text(json.dumps(spoiled))
        outcome = identity(oven, "import", paper)
        assert outcome.code == 2, outcome
        assert (oven / "config.toml").read_text() == before
        assert done(oven, "show")["member"] == ""


def test_a_log_that_is_a_thousand_deep_is_carried_and_goes_on(folder: Path, start: NodeStarter) -> None:
    from covm.federation.identity.drafts import draft_rename
    from covm.federation.identity.log import IdentityLog
    from covm.federation.identity.member_keys import MemberKeys
    from covm.federation.identity.update import member_of, open_updates, seal_update
    from covm.federation.membership.papers import identity_paper, read_identity, write_paper

    founded(folder)
    mill, paper = start("mill"), folder / "mill.json"
    done(mill.home, "export", paper)
    key = MemberKeys.open(mill.home / "member").current
    assert key is not None
    updates = read_identity(paper.read_bytes())
    log = IdentityLog(member_of(updates[0]))
    log.add(updates[0])
    for number in range(1000):
        assert log.head is not None
        [update] = open_updates([seal_update(key, draft_rename(log.head, f"Mill {number}"))])
        log.add(update)  # type: ignore[arg-type]
    paper.write_bytes(write_paper(identity_paper(log.held(), "Mill")))
    assert done(mill.home, "import", paper)["entries"] == 1001
    assert done(mill.home, "rotate")["seq"] == 1002
    assert names(mill) == ["Mill 999"]
