"""Founders agree on roles and types: in a file, shown whole before anybody signs, and kept by every node."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import NodeStarter
from tests.cli.members import done, founded, made, until
from tests.cli.processes import covm

EXAMPLE = Path(__file__).parents[2] / "examples" / "rules.toml"
ENTRY = "accounts.entry"


def test_a_type_that_only_bookkeepers_read_is_agreed_on_and_shown_before_anybody_signs(
    folder: Path, start: NodeStarter
) -> None:
    mill, farm = made(folder, "mill", "Mill Bakery"), made(folder, "farm", "Hill Farm")
    paper, charter = folder / "farm.json", folder / "charter.json"
    done(farm, "export", paper)
    how: list[str | Path] = ["--founder", paper, "--charter", charter, "--rules", EXAMPLE, "--home", mill]
    assert covm("federation", "create", "Three Valleys", *how).code == 0
    shown = covm("federation", "charter", "show", charter)
    assert shown.code == 0
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert f"{ENTRY} yes owner 64.0 KiB keep_siblings bookkeeper bookkeeper bookkeeper bookkeeper" in lines
    assert "notes.price yes any 1.0 MiB last_writer_wins by role by role by role by role" in lines
    assert "bookkeeper - - * -" in lines
    told = covm("federation", "charter", "show", charter, "--json").json
    assert (told["k"], [each["name"] for each in told["roles"]]) == (1, ["bookkeeper", "member"])
    assert {each["name"]: each["signed"] for each in told["founders"]} == {"Mill Bakery": True, "Hill Farm": False}
    [entry] = [each for each in told["types"] if each["name"] == ENTRY]
    assert (entry["durable"], entry["grants"]["read"]) == (True, ["bookkeeper"])
    assert covm("federation", "charter", "sign", charter, "--home", farm).code == 0
    assert covm("federation", "charter", "sign", charter, "--home", mill).code == 0
    node = start("mill")
    link = node.ask("invite")["link"]
    assert covm("federation", "join", link, "--home", made(folder, "shop", "Corner Shop")).code == 0
    shop, hill = start("shop", "--receive", ENTRY), start("farm", "--receive", ENTRY)
    assert node.run("connect", hill.address).code == 0
    until(lambda: node.ask("status")["connected_peers"] == 2)
    until(lambda: hill.ask("status")["connected_peers"] >= 1)
    refused = shop.run("publish", ENTRY, "rent 200")
    assert (refused.code, "only bookkeeper may publish" in refused.err) == (5, True), refused
    assert node.run("publish", ENTRY, "rent 200").code == 0
    until(lambda: [each["payload"] for each in hill.ask("messages", "--type", ENTRY)["messages"]] == ["rent 200"])
    assert shop.ask("messages", "--type", ENTRY)["messages"] == []
    assert "bookkeeper" in shop.run("roles").out
    assert {each["name"] for each in shop.ask("roles")["types"]} == {"*", ENTRY, "notes.price"}


def test_rules_that_are_wrong_are_told_line_by_line_and_nobody_begins(folder: Path) -> None:
    mill, rules = made(folder, "mill", "Mill Bakery"), folder / "rules.toml"
    rules.write_text('[roles.member]\nread = ["x"]\n[types."a.b"]\ndurable = 1\nwriters = "\\u001b[2J"\n')
    refused = covm("federation", "create", "Three Valleys", "--rules", rules, "--home", mill)
    assert refused.code == 2
    assert refused.err.splitlines()[0] == "covm: the rules have 3 problems:"
    assert len(refused.err.splitlines()) == 4
    assert all(line.isprintable() for line in refused.err.splitlines())
    told = covm("federation", "create", "Three Valleys", "--rules", rules, "--home", mill, "--json").error
    assert (told["code"], len(told["details"]["problems"])) == ("bad_rules", 3)
    assert done(mill, "show")["member"] == ""
    missing = covm("federation", "create", "Three Valleys", "--rules", folder / "none.toml", "--home", mill)
    assert (missing.code, "there is no file" in missing.err) == (4, True)


def test_a_founder_gives_a_type_its_rule_later(folder: Path, start: NodeStarter) -> None:
    founded(folder)
    mill, rules = start("mill"), folder / "types.toml"
    rules.write_text(f'[types."{ENTRY}"]\ngrants = {{ read = ["member"], write = ["boss"] }}\n')
    refused = mill.run("types", "propose", str(rules))
    assert (refused.code, 'grants.write[0] = "boss": must be of the roles member, observer' in refused.err) == (2, True)
    rules.write_text(f'[types."{ENTRY}"]\ngrants = {{ read = ["member"], write = ["member"] }}\n')
    done = mill.run("types", "propose", str(rules))
    assert (done.code, done.out) == (0, f"the type {ENTRY} counts: approved by Mill Bakery\n"), done
    [entry] = [each for each in mill.ask("roles")["types"] if each["name"] == ENTRY]
    assert (entry["grants"]["write"], entry["grants"]["send"]) == (["member"], [])
    again = mill.run("types", "propose", str(rules))
    assert (again.code, "nothing changes it" in again.err) == (5, True), again
