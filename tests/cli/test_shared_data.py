"""Shared data, typed by hand: three nodes, one away for a while, two that edit one entry at once, and who decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.members import until
from tests.cli.processes import Node, covm, on_terminal

from covm.cli import replicas, syncing
from covm.cli.options import DEFAULT
from covm.control import records
from covm.control.client import ControlClient
from covm.control.failures import Refused

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
    wanted = ("conflicts", "resolve", NOTE, KEY, "--take", taken["id"][7:15])
    asked = shop.run(*wanted)
    assert (asked.code, 'will be {"price":280}, in place of 2 versions' in asked.err) == (2, True)
    assert shop.run(*wanted, "--yes").code == 0
    until(lambda: value(mill) == value(farm) == value(shop) == {"price": 280})
    until(lambda: mill.ask("conflicts", "list")["entries"] == farm.ask("conflicts", "list")["entries"] == [])
    # The decision can be taken back: the other version, which is in the history, is what it says again.
    [other] = [each for each in shown["versions"] if each["value"] == {"price": 300}]
    assert mill.run("conflicts", "resolve", NOTE, KEY, "--take", other["id"][7:15], "--yes").code == 0
    until(lambda: value(mill) == value(farm) == value(shop) == {"price": 300})
    # And replaced in turn, and all of it is in the history.
    assert farm.run("records", "put", NOTE, KEY, '{"price": 290}').code == 0
    until(lambda: value(shop) == {"price": 290})
    history = shop.ask("records", "history", NOTE, KEY)["versions"]
    assert [each["value"]["price"] for each in history] == [250, 280, 300, 280, 300, 290]
    until(lambda: all(peer["state"] == "same" for peer in mill.ask("sync", "status")["replicas"][0]["peers"]))
    [replica] = mill.ask("sync", "now", NOTE)["replicas"]
    assert (replica["records"], replica["conflicts"], replica["held"], replica["void"]) == (7, 0, 0, 0)
    assert {each["position"] for each in replica["peers"]} == {"same"}
    told = mill.run("sync", "now", NOTE, "--peer", "Farm")
    assert (told.code, "nothing new has come" in told.out, "Shop" in told.out) == (0, True, False)
    assert "has the same" in mill.run("sync", "status", "--peer", "Shop").out
    assert mill.run("sync", NOTE).out.splitlines()[1].startswith(NOTE)
    assert mill.run("conflicts", NOTE).out.strip() == "nothing is in conflict"
    assert mill.run("sync", "now", NOTE, "--peer", "Nobody").code == 4
    for command in ("sync", "now"), ("sync",), ("sync", "status"):
        nothing = mill.run(*command, "shop.nothing")
        assert (nothing.code, "no sync type 'shop.nothing' here" in nothing.err) == (4, True), nothing
    assert mill.run("sync", "now", NOTE.title()).out.splitlines()[1].startswith(NOTE)


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
    assert mill.run("sync", "now").out.splitlines()[-1] == "nothing new has come"
    assert mill.run("records", "put", "no type name", KEY, "1").code == 2
    assert mill.run("records", "put", NOTE, "k" * 300, "1").code == 2
    assert mill.run("records", "list", NOTE, "--limit", "5000").code == 2
    assert mill.run("records", "list", NOTE, "--limit", "0").code == 2
    assert mill.run("records", "show", NOTE, "").code == 2
    mill.run("records", "put", NOTE, "red\x1b[31m", "evil\x1b[31m")
    told = mill.run("records", "list", NOTE)
    assert "\x1b" not in told.out
    assert "red" in told.out


def test_what_is_to_be_signed_is_shown_and_asked_for_on_a_terminal(folder: Path, start: NodeStarter) -> None:
    home(folder, "mill")
    mill = start("mill")
    mill.run("records", "put", NOTE, KEY, "250")
    command = ("federation", "conflicts", "resolve", NOTE, KEY, "280", "--home", mill.home)
    code, shown = on_terminal(["n"], *command)
    assert (code, "nothing was written" in shown) == (5, True)
    assert f"{NOTE} {KEY} will be 280, in place of 1 version" in shown
    assert "250" in shown
    assert value(mill) == 250
    code, shown = on_terminal(["y"], *command)
    assert (code, "wrote" in shown) == (0, True)
    assert value(mill) == 280
    entry = mill.ask("records", "show", NOTE, KEY)["entry"]
    stale = records.Resolve(type=NOTE, key=KEY, value=1, based_on=["bafyreiold"])
    with pytest.raises(Refused, match="other versions"):
        ControlClient(mill.home).resolve(stale)
    assert mill.ask("records", "show", NOTE, KEY)["entry"] == entry


def test_two_that_delete_at_once_can_be_decided_by_hand(folder: Path, start: NodeStarter) -> None:
    for name in ("mill", "farm"):
        home(folder, name)
    mill, farm = start("mill"), start("farm")
    meet(mill, farm)
    mill.run("records", "put", NOTE, KEY, "250")
    until(lambda: value(farm) == 250)
    assert farm.run("stop").code == 0
    mill.run("records", "delete", NOTE, KEY)
    assert mill.run("stop").code == 0
    farm = start("farm")
    farm.run("records", "delete", NOTE, KEY)
    mill = start("mill")
    meet(mill, farm)
    until(lambda: len(mill.ask("conflicts", "list")["entries"]) == 1)
    assert mill.run("conflicts", "show", NOTE, KEY).out.count("delete") == 2
    assert mill.run("conflicts", "resolve", NOTE, KEY, "300", "--yes").code == 0
    until(lambda: value(farm) == 300)


def test_how_far_the_fetching_is_is_told_in_lines_where_nothing_can_be_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [
        records.SyncLine(records=0, size=0, lacking=0, seconds=0.2),
        records.SyncLine(records=1000, size=400_000, lacking=3000, seconds=2.5),
        records.SyncLine(records=1500, size=600_000, lacking=2500, seconds=3.0),
        records.SyncLine(records=4000, size=1_600_000, lacking=0, seconds=8.0, replicas=[]),
    ]
    assert [line.records for line in syncing.in_lines(lines)] == [0, 1000, 1500, 4000]
    assert capsys.readouterr().out == "1,000 records, 390.6 KiB, about 3,000 to come, about 7.5 s left\n"
    assert syncing.summary(lines[-1]) == "4,000 records have come, 1.5 MiB, in 8.0 s, 500 records a second"


def test_what_peers_say_beyond_sense_is_not_foretold(capsys: pytest.CaptureFixture[str]) -> None:
    line = records.SyncLine(records=1, size=400, lacking=None, seconds=2.5)
    assert [each.lacking for each in syncing.in_lines([line])] == [None]
    assert capsys.readouterr().out == "1 records, 400 B, nobody knows how many to come\n"
    assert syncing.seconds_left(line) is None
    assert syncing.seconds_left(msgspec.structs.replace(line, lacking=999_999_999)) is None


def test_how_many_unknown_types_of_a_peer_wait_for_their_turn_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    replicas.tell([], DEFAULT, [records.PutOff(peer_id="12D3", name="Mallory", types=984)])
    assert "Mallory names 984 more types, unknown here; they are asked for in turns" in capsys.readouterr().out


def test_on_a_terminal_a_bar_is_drawn_and_then_how_it_stands(folder: Path, start: NodeStarter) -> None:
    home(folder, "mill")
    mill = start("mill")
    mill.run("records", "put", NOTE, KEY, "250")
    code, shown = on_terminal([], "federation", "sync", "now", NOTE, "--home", mill.home)
    assert code == 0
    assert NOTE in shown
    assert shown.splitlines()[-1] == "nothing new has come"


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


def test_a_version_that_says_null_is_taken_like_any_other(folder: Path, start: NodeStarter) -> None:
    home(folder, "mill")
    mill = start("mill")
    for said in ("null", "1"):
        assert mill.run("records", "put", NOTE, KEY, said).code == 0
    nothing, _ = mill.ask("records", "history", NOTE, KEY)["versions"]
    assert mill.run("conflicts", "resolve", NOTE, KEY, "--take", nothing["id"][7:15], "--yes").code == 0
    assert mill.ask("records", "show", NOTE, KEY)["entry"]["value"] is None
    assert [each["value"] for each in mill.ask("records", "history", NOTE, KEY)["versions"]] == [None, 1, None]
