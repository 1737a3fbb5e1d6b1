"""What cooperatives do to found a federation, join one, and part: typed by their people."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import NodeStarter
from tests.cli.members import founded, joined, names, until
from tests.cli.processes import covm


def test_one_founds_another_joins_and_they_write_to_each_other(folder: Path, start: NodeStarter) -> None:
    federation = founded(folder)
    mill = start("mill")
    assert mill.ask("status")["federation"] == federation
    assert "Three Valleys: Mill Bakery, a member (a founder)" in mill.run("status").out
    joined(folder, mill, "farm", "Hill Farm")
    farm = start("farm")
    until(lambda: farm.ask("status")["connected_peers"] == 1)
    assert names(mill) == names(farm) == ["Hill Farm", "Mill Bakery"]
    sent = farm.run("send-msg", "Mill Bakery", "private.message", "hello", "--wait", "stored")
    assert sent.code == 0, sent
    who = farm.ask("whoami")
    assert (who["federation_name"], who["member"]["name"], who["member"]["roles"]) == (
        "Three Valleys",
        "Hill Farm",
        ["member"],
    )
    assert "Hill Farm (this node's)" in farm.run("members").out
    assert "observer" in farm.run("roles").out


def test_who_is_removed_is_refused_by_everybody_and_reads_why(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill = start("mill")
    joined(folder, mill, "farm", "Hill Farm")
    joined(folder, mill, "shop", "Corner Shop")
    farm, shop = start("farm"), start("shop")
    until(lambda: len(mill.ask("peers")["peers"]) == 2 and farm.ask("status")["connected_peers"] >= 1)
    until(lambda: shop.ask("status")["connected_peers"] >= 1)
    told = mill.run("remove", "Hill Farm", "--reason", "it has closed")
    assert (told.code, told.out) == (0, "Hill Farm is removed: approved by Mill Bakery\n")
    until(lambda: names(shop) == ["Corner Shop", "Mill Bakery"])
    until(lambda: farm.ask("status")["connected_peers"] == 0)
    until(lambda: "no member (the member was removed (it has closed))" in farm.run("status").out)
    refused = farm.run("send-msg", "Mill Bakery", "private.message", "hello")
    assert refused.code == 5
    assert "it has closed" in refused.err
    assert "was removed (it has closed)" in mill.run("members").out


def test_a_member_that_calls_its_node_by_anothers_name_is_shown_by_the_name_that_it_signed(
    folder: Path, start: NodeStarter
) -> None:
    founded(folder)
    mill = start("mill")
    joined(folder, mill, "farm", "Hill Farm")
    config = folder / "farm" / "config.toml"
    config.write_text(config.read_text().replace("Hill Farm", "Mill Bakery"))
    farm = start("farm")
    until(lambda: [each["name"] for each in mill.ask("peers")["peers"] if each["connected"]] == ["Hill Farm"])
    assert farm.ask("status")["name"] == "Mill Bakery", "it does call itself so"


def test_two_founders_on_two_machines_sign_one_charter(folder: Path, start: NodeStarter) -> None:
    for place, name in (("mill", "Mill Bakery"), ("farm", "Hill Farm")):
        assert covm("init", "--home", folder / place, "--preset", "local", "--name", name).code == 0
    identity = folder / "farm.json"
    assert covm("identity", "export", identity, "--home", folder / "farm").code == 0
    charter = folder / "charter.json"
    drafted = covm(
        "federation",
        "create",
        "Three Valleys",
        "--founder",
        identity,
        "--k",
        "2",
        "--charter",
        charter,
        "--home",
        folder / "mill",
        "--json",
    ).json
    assert (drafted["federation"], drafted["lacking"]) == ("", ["Hill Farm"])
    assert "has not signed" in covm("federation", "charter", "show", charter).out
    signed = covm("federation", "charter", "sign", charter, "--home", folder / "farm", "--json").json
    again = covm("federation", "charter", "sign", charter, "--home", folder / "mill", "--json").json
    assert signed["federation"] == again["federation"] != ""
    mill, farm = start("mill"), start("farm")
    assert mill.run("connect", farm.address).code == 0
    until(lambda: farm.ask("status")["connected_peers"] == 1)

    # Two have to admit: an invite becomes a request.
    link = mill.ask("invite")["link"]
    assert covm("init", "--home", folder / "shop", "--preset", "local", "--name", "Corner Shop").code == 0
    asked = covm("federation", "join", link, "--home", folder / "shop")
    assert asked.code == 0, asked
    assert "waits for approval: 1 of 2" in asked.out
    until(lambda: len(farm.ask("requests")["requests"]) == 1)
    assert "Corner Shop" in farm.run("requests").out
    approved = farm.run("approve", "Corner Shop")
    assert (approved.code, approved.out) == (0, "Corner Shop is admitted: approved by Hill Farm, Mill Bakery\n")
    shop = start("shop")
    until(lambda: shop.ask("status")["takes_part"] and shop.ask("status")["connected_peers"] >= 1)


def test_a_charter_that_was_altered_or_lacks_a_signature_founds_nothing(folder: Path) -> None:
    for place in ("mill", "farm"):
        assert covm("init", "--home", folder / place, "--preset", "local", "--name", place).code == 0
    identity, charter = folder / "farm.json", folder / "charter.json"
    assert covm("identity", "export", identity, "--home", folder / "farm").code == 0
    how: list[str | Path] = ["--founder", identity, "--charter", charter, "--home", folder / "mill"]
    assert covm("federation", "create", "Three Valleys", *how).code == 0
    assert "federation" not in (folder / "mill" / "config.toml").read_text(), "not all have signed"
    paper = json.loads(charter.read_text())
    entry = paper["identities"][0][0]
    for spoiled in (
        {**paper, "charter": paper["charter"][:-8] + "AAAAAAA="},
        {**paper, "identities": [[entry[:-8] + "AAAAAAA="], *paper["identities"][1:]]},
        {**paper, "covm": "identity"},
    ):
        charter.write_text(json.dumps(spoiled))
        outcome = covm("federation", "charter", "sign", charter, "--home", folder / "farm")
        assert outcome.code == 2, outcome


def test_invites_that_are_none_are_told_before_anything_is_done(folder: Path, start: NodeStarter) -> None:
    federation = founded(folder)
    mill = start("mill")
    link = mill.ask("invite")["link"]
    home = folder / "shop"
    assert covm("init", "--home", home, "--preset", "local", "--name", "Corner Shop").code == 0
    for spoiled in (link[:-3], link.replace("A", "B", 1), "covm-invite:", "https://valley.example/join"):
        outcome = covm("federation", "join", spoiled, "--home", home)
        assert outcome.code == 2, outcome
        assert "covm: " in outcome.err
        assert link[40:80] not in outcome.err, "a secret is never repeated"
    assert covm("federation", "join", link, "--home", home).code == 0
    left = [file for file in home.rglob("*") if file.is_file() and link.encode() in file.read_bytes()]
    assert left == [], "a link that was used is nowhere in the home, also if it lets in somebody else"
    smith = folder / "smith"
    assert covm("init", "--home", smith, "--preset", "local", "--name", "Smith").code == 0
    used = covm("federation", "join", link, "--home", smith)
    assert (used.code, "used up" in used.err) == (5, True)
    until(lambda: any("used up" in each["text"] for each in mill.ask("status")["notices"]))
    # A home of one federation does not join another.
    assert covm("init", "--home", folder / "other", "--preset", "local", "--name", "Other").code == 0
    other = covm("federation", "create", "Other", "--home", folder / "other", "--json").json
    assert other["federation"] != federation
    outcome = covm("federation", "join", mill.ask("invite")["link"], "--home", folder / "other")
    assert (outcome.code, "is of another federation" in outcome.err) == (5, True)


def test_commands_about_members_say_what_is_wrong(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill = start("mill")
    for arguments, code, said in (
        (["invite", "--role", "boss"], 2, "the charter has no role boss; its roles are member, observer"),
        (["invite", "--expires", "1000d"], 2, "an invite is good for up to 90 days"),
        (["approve", "nobody"], 4, "no request is called 'nobody' here"),
        (["remove", "nobody", "--reason", "x"], 4, "no member is called 'nobody' here"),
        (["remove", "Mill Bakery", "--reason", "x"], 5, "others decide that"),
    ):
        outcome = mill.run(*arguments)
        assert outcome.code == code, outcome
        assert said in outcome.err, outcome


def test_a_node_without_a_federation_says_how_to_get_one(folder: Path) -> None:
    assert covm("init", "--home", folder / "mill", "--preset", "local").code == 0
    (folder / "mill" / "config.toml").write_text('membership = "members"\npreset = "local"\n')
    outcome = covm("federation", "start", "--home", folder / "mill")
    assert outcome.code == 5
    assert "found one with `covm federation create NAME`" in outcome.err
