"""Files at the command line: sent, followed, left to the node, resumed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.processes import COVM, START_S, Node, environment
from tests.cli.test_terminals import on_terminal

MEBIBYTE = 1024 * 1024


@pytest.fixture
def pictures(folder: Path) -> Path:
    """Something to send: 9 MiB that nothing compresses."""
    file = folder / "pictures.tar"
    file.write_bytes(os.urandom(9 * MEBIBYTE + 17))
    return file


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_arrives_whole_and_how_far_it_is_is_told(pair: tuple[Node, Node], pictures: Path) -> None:
    bakery, farm = pair
    sent = bakery.run("send-file", "Riverside Farm", pictures)
    assert sent.code == 0, sent
    first, *_, last = sent.out.splitlines()
    assert first.startswith("sending pictures.tar to Riverside Farm, 9.0 MiB (")
    assert last.startswith("pictures.tar has arrived at Riverside Farm, 9.0 MiB (")
    [arrived] = farm.ask("transfers")["transfers"]
    assert (arrived["direction"], arrived["state"], arrived["name"]) == ("in", "done", "pictures.tar")
    assert digest(Path(arrived["path"])) == digest(pictures)
    assert Path(arrived["path"]).is_relative_to(farm.home)
    [gone] = bakery.ask("transfers")["transfers"]
    assert (gone["direction"], gone["state"], gone["done_bytes"]) == ("out", "done", pictures.stat().st_size)
    assert "pictures.tar" in bakery.run("transfers").out


def test_with_json_each_line_is_how_far_it_is(pair: tuple[Node, Node], pictures: Path) -> None:
    bakery, farm = pair
    sent = bakery.run("send-file", "--json", farm.peer_id, pictures)
    lines = [json.loads(line)["transfer"] for line in sent.out.splitlines()]
    assert [line["done_bytes"] for line in lines] == sorted(line["done_bytes"] for line in lines)
    assert (lines[-1]["state"], lines[-1]["done_bytes"]) == ("done", pictures.stat().st_size)


def test_on_a_terminal_a_bar_is_drawn(pair: tuple[Node, Node], pictures: Path) -> None:
    bakery, _ = pair
    lines = on_terminal(100, bakery, "send-file", "Riverside Farm", str(pictures))
    assert "pictures.tar has arrived at Riverside Farm" in lines[-1]


def test_an_empty_file_arrives_too(pair: tuple[Node, Node], folder: Path) -> None:
    bakery, farm = pair
    (folder / "empty").touch()
    assert bakery.run("send-file", farm.peer_id, folder / "empty").code == 0
    [arrived] = farm.ask("transfers")["transfers"]
    assert Path(arrived["path"]).stat().st_size == 0


def test_ctrl_c_leaves_the_file_to_the_node(bakery: Node, farm: Node, start: NodeStarter, pictures: Path) -> None:
    bakery.ask("connect", farm.address)
    farm.ask("stop")
    farm.process.wait(START_S)
    command = [*COVM, "federation", "send-file", "--home", str(bakery.home), "Riverside Farm", str(pictures)]
    showing = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert showing.stdout is not None
    assert showing.stdout.readline().startswith("sending pictures.tar")
    showing.send_signal(signal.SIGINT)
    _, said = showing.communicate(timeout=START_S)
    assert showing.returncode == 130
    assert "detached: pictures.tar goes on in the node" in said
    assert "covm federation transfers" in said
    [waiting] = bakery.ask("transfers")["transfers"]
    assert (waiting["name"], waiting["done_bytes"]) == ("pictures.tar", 0)

    # The node goes on with it, also after it was killed.
    bakery.signal(signal.SIGKILL)
    bakery = start("a", "--name", "Mill Bakery")
    farm = start("b", "--name", "Riverside Farm", "--bootstrap", bakery.address)
    last: dict[str, object] = {}
    while last.get("state") != "done":
        listed = farm.ask("transfers")["transfers"]
        last = listed[0] if listed else {}
        assert last.get("state") != "failed"
    assert digest(Path(str(last["path"]))) == digest(pictures)


@pytest.mark.parametrize(("path", "code"), [("nowhere.tar", 4), (".", 2)])
def test_what_is_no_file_is_not_sent(shop: Node, path: str, code: int) -> None:
    outcome = shop.run("send-file", "nobody", path, "--json")
    assert outcome.code == code
    assert path in outcome.error["message"]


def test_a_name_is_only_a_name(pair: tuple[Node, Node], folder: Path) -> None:
    bakery, farm = pair
    hostile = folder / "\x1b[2J\u202e[bold]..evil"
    hostile.write_bytes(b"rye")
    for form in ([], ["--json"]):
        sent = bakery.run("send-file", farm.peer_id, hostile, *form)
        assert sent.code == 0, sent
        assert all(line.isprintable() for line in (sent.out + sent.err).splitlines())
    for node in pair:
        assert all(line.isprintable() for line in node.run("transfers").out.splitlines())
    for arrived in farm.ask("transfers")["transfers"]:
        assert Path(arrived["path"]).is_relative_to(farm.home / "files" / bakery.peer_id)
