"""What another member wrote is erased at the command line: asked for, seen by who decides, approved, told."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import NodeStarter
from tests.cli.members import founded, joined, until

NOTE, KEY = "shop.note", "flour"


def test_a_member_asks_a_founder_approves_and_every_history_says_who_and_why(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill = start("mill")
    joined(folder, mill, "farm", "Hill Farm")
    joined(folder, mill, "shop", "Corner Shop")
    farm, shop = start("farm"), start("shop")
    until(lambda: all(each.ask("status")["connected_peers"] == 2 for each in (mill, farm, shop)))
    written = shop.ask("records", "put", NOTE, KEY, '"the flour of the farm is mouldy"')["written"]["id"]
    shown = written[7:15]
    until(lambda: farm.run("records", "show", NOTE, KEY).code == 0 and mill.run("records", "show", NOTE, KEY).code == 0)

    asked = farm.run("records", "erase", shown, "--reason", "it is slander")
    assert asked.code == 0, asked
    assert asked.out.startswith(
        f"version {shown} of {NOTE} {KEY} by Corner Shop is erased once enough founders have approved it: 0 of 1. "
        "The others: covm federation approve "
    )
    decision = farm.ask("records", "erase", written, "--reason", "it is slander")["decision"]
    assert (decision["kind"], decision["record"], decision["needed"]) == ("erasure", written, 1)
    until(lambda: len(mill.ask("requests")["requests"]) == 1)
    row = " ".join(mill.run("requests").out.split())
    assert f"erasure Corner Shop {decision['subject_short_id']}" in row
    assert f"version {shown} of {NOTE} {KEY}: it is slander 0 of 1" in row
    assert farm.run("approve", decision["short_id"]).code == 5
    mine = mill.ask("records", "put", NOTE, "oven", "250")["written"]["id"]
    until(lambda: farm.run("records", "show", NOTE, "oven").code == 0)
    refused = farm.run("records", "erase", mine, "--reason", "spite")
    assert (refused.code, "the only founder" in refused.err) == (5, True)

    approved = mill.run("approve", shown)
    about = f"version {shown} of {NOTE} {KEY} by Corner Shop"
    assert (approved.code, approved.out) == (0, f"{about} is erased: approved by Mill Bakery\n")
    for node in (mill, farm, shop):
        until(lambda node=node: node.ask("records", "history", NOTE, KEY)["versions"][0]["value"] is None)  # type: ignore[misc]
        told = " ".join(node.run("records", "history", NOTE, KEY).out.split())
        assert "erased, approved by Mill Bakery: it is slander" in told
        put = node.ask("records", "history", NOTE, KEY)["versions"][0]
        assert put["erased"]["approved_by"] == ["Mill Bakery"]
        assert (put["erased"]["reason"], put["erased"]["name"]) == ("it is slander", "Hill Farm")
        assert node.ask("requests")["requests"] == []
    too_long = mill.run("records", "erase", written, "--reason", "x" * 257)
    assert (too_long.code, "at most 256" in too_long.err) == (2, True), too_long
    # What is one's own is erased without asking, as ever.
    assert "erased version" in mill.run("records", "erase", mine, "--reason", "typed wrong").out
