"""Shared data, typed by hand: three nodes, one away for a while, two that edit one entry at once, and who decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.conftest import NodeStarter
from tests.cli.members import until
from tests.cli.processes import Node, covm

NOTE = "shop.note"
KEY = "night van"


def home(folder: Path, name: str) -> None:
    made = covm("init", "--home", folder / name, "--preset", "local", "--name", name.title(), "--network", "valley")
    assert made.code == 0, made


def meet(one: Node, other: Node) -> None:
    address = one.ask("status")["addresses"][0]
    assert other.run("connect", address).code == 0


def versions(node: Node) -> list[str]:
    """The values that stand side by side."""
    entry = node.ask("records", "show", NOTE, KEY)["entry"]
    return sorted(str(each["value"]) for each in entry["versions"])


def value(node: Node, key: str = KEY) -> Any:
    shown = node.run("records", "show", NOTE, key, "--json")
    return shown.json["entry"]["value"] if shown.code == 0 else None


def test_two_edit_one_entry_at_once_one_is_away_and_one_person_decides(folder: Path, start: NodeStarter) -> None:
    for name in ("mill", "farm", "shop"):
        home(folder, name)
    mill, farm, shop = start("mill"), start("farm"), start("shop")
    meet(mill, farm)
    meet(mill, shop)
    meet(farm, shop)
    wrote = mill.run("records", "put", NOTE, KEY, '{"price": 250}')
    assert wrote.out.startswith(f"wrote {NOTE} {KEY}: version ")
    until(lambda: value(farm) == value(shop) == {"price": 250})
    # The shop is away; the mill and the farm do not see each other.
    assert shop.run("stop").code == 0
    assert farm.run("stop").code == 0
    mill.run("records", "put", NOTE, KEY, '{"price": 280}')
    assert mill.run("stop").code == 0
    farm = start("farm")
    farm.run("records", "put", NOTE, KEY, '{"price": 300}')
    farm.run("records", "put", NOTE, "bread", "rye")
    mill, shop = start("mill"), start("shop")
    meet(mill, farm)
    meet(farm, shop)
    meet(mill, shop)
    both = ["{'price': 280}", "{'price': 300}"]
    until(lambda: versions(mill) == versions(farm) == versions(shop) == both)
    listed = shop.run("conflicts", "list")
    assert KEY in listed.out
    assert "Farm, Mill" in listed.out or "Mill, Farm" in listed.out
    assert "conflict: 2 versions" in mill.run("records", "list", NOTE).out
    refused = mill.run("records", "put", NOTE, KEY, "1")
    assert (refused.code, "conflicts resolve" in refused.err) == (5, True)
    shown = shop.ask("conflicts", "show", NOTE, KEY)["entry"]
    taken = next(each for each in shown["versions"] if each["value"] == {"price": 280})
    assert shop.run("conflicts", "resolve", NOTE, KEY, "--take", taken["id"][7:15]).code == 0
    until(lambda: value(mill) == value(farm) == value(shop) == {"price": 280})
    until(lambda: mill.ask("conflicts", "list")["entries"] == farm.ask("conflicts", "list")["entries"] == [])
    # The decision can be replaced in turn, and all of it is in the history.
    assert farm.run("records", "put", NOTE, KEY, '{"price": 290}').code == 0
    until(lambda: value(shop) == {"price": 290})
    history = shop.ask("records", "history", NOTE, KEY)["versions"]
    assert [each["value"]["price"] for each in history] == [250, 280, 300, 280, 290]
    until(lambda: all(peer["state"] == "same" for peer in mill.ask("sync", "status")["replicas"][0]["peers"]))
    [replica] = mill.ask("sync", "now", NOTE)["replicas"]
    assert (replica["records"], replica["conflicts"], replica["held"], replica["void"]) == (6, 0, 0, 0)
    assert "same" in mill.run("sync").out or "same" in mill.run("sync", "status").out


def test_what_is_asked_for_and_is_not_there_is_said_with_an_exit_code(folder: Path, start: NodeStarter) -> None:
    home(folder, "mill")
    mill = start("mill")
    assert mill.run("records", "list", NOTE).out.strip() == f"there is nothing of {NOTE} here"
    assert mill.run("conflicts").out.strip() == "nothing is in conflict"
    for command in (("show",), ("history",), ("delete",)):
        outcome = mill.run("records", *command, NOTE, "no\x1b[31msuch")
        assert outcome.code == 4
        assert "\x1b" not in outcome.err
    assert mill.run("conflicts", "resolve", NOTE, KEY).code == 2
    assert mill.run("conflicts", "resolve", NOTE, KEY, "1").code == 4
    assert mill.run("records", "put", "no type name", KEY, "1").code == 2
    assert mill.run("records", "put", NOTE, "k" * 300, "1").code == 2
    assert mill.run("records", "list", NOTE, "--limit", "5000").code == 2
    mill.run("records", "put", NOTE, "red\x1b[31m", "evil\x1b[31m")
    told = mill.run("records", "list", NOTE)
    assert "\x1b" not in told.out
    assert "red" in told.out


def test_what_should_never_have_been_written_is_erased_everywhere_and_every_history_says_why(
    folder: Path, start: NodeStarter
) -> None:
    for name in ("mill", "farm"):
        home(folder, name)
    mill, farm = start("mill"), start("farm")
    meet(mill, farm)
    written = mill.ask("records", "put", NOTE, KEY, '{"guest": "Ada, aged 7"}')["written"]["id"]
    until(lambda: value(farm) == {"guest": "Ada, aged 7"})
    shown = written[7:15]
    refused = farm.run("records", "erase", shown, "--reason", "spite")
    assert (refused.code, "only who wrote" in refused.err) == (5, True)
    assert mill.run("records", "erase", "zzzz", "--reason", "typed wrong").code == 4
    assert mill.run("records", "erase", shown).code == 2
    erased = mill.run("records", "erase", shown, "--reason", "it names a child")
    assert (erased.code, "erased version" in erased.out) == (0, True), erased
    until(lambda: value(farm) is None)
    for node in (mill, farm):
        told = node.run("records", "history", NOTE, KEY).out
        assert "erased by Mill: it names a child" in " ".join(told.split())
        assert "Ada" not in told
        put = node.ask("records", "history", NOTE, KEY)["versions"][0]
        assert (put["id"], put["value"], put["lacks_value"]) == (written, None, True)
        assert put["erased"]["reason"] == "it names a child"
        assert "was erased" in node.ask("records", "show", NOTE, KEY)["entry"]["trouble"]
