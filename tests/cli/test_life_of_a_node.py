"""A node's process: one on a home, from its ready line to leaving nothing behind."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.processes import Node, covm


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_node_in_order(bakery: Node, number: int) -> None:
    assert bakery.signal(number) == 0
    assert not (bakery.home / "control.sock").exists()


def test_a_second_node_on_one_home_is_refused_and_the_first_goes_on(bakery: Node) -> None:
    second = covm("federation", "start", "--home", bakery.home, "--preset", "local", "--json")
    assert second.code == 1
    assert second.json["error"]["code"] == "home_in_use"
    assert bakery.ask("status")["peer_id"] == bakery.peer_id


def test_a_home_left_by_a_killed_node_is_started_again(bakery: Node, start: NodeStarter) -> None:
    bakery.signal(signal.SIGKILL)
    assert (bakery.home / "control.sock").exists()
    assert bakery.run("status").code == 3
    again = start("a")
    assert again.peer_id == bakery.peer_id
    assert again.ask("status")["pid"] == again.process.pid


def test_the_first_start_makes_a_key_and_says_so(bakery: Node) -> None:
    assert f"made one, {bakery.peer_id}" in bakery.log
    assert (bakery.home / "identity.key").stat().st_mode & 0o777 == 0o600


def test_the_ready_line_for_people_names_the_node_and_where_it_is(start: NodeStarter) -> None:
    node = start("a", "--name", "Mill Bakery", as_json=False)
    status = node.ask("status")
    for fact in ("Mill Bakery", status["peer_id"], *status["addresses"]):
        assert fact in node.first_line


def test_a_home_too_long_for_a_socket_is_told(folder: Path) -> None:
    outcome = covm("federation", "start", "--home", folder / ("x" * 100))
    assert outcome.code == 2
    assert "too long" in outcome.err
    assert "shorter --home" in outcome.err


def test_something_else_in_the_sockets_place_is_not_removed(folder: Path) -> None:
    home = folder / "a"
    covm("init", "--home", home)
    (home / "control.sock").write_text("mine")
    outcome = covm("federation", "start", "--home", home, "--preset", "local")
    assert outcome.code == 2
    assert "in the way" in outcome.err
    assert (home / "control.sock").read_text() == "mine"


def test_a_home_open_to_others_is_refused(folder: Path) -> None:
    home = folder / "a"
    covm("init", "--home", home)
    home.chmod(0o755)
    outcome = covm("federation", "start", "--home", home, "--preset", "local")
    assert outcome.code == 2
    assert "chmod 700" in outcome.err


def test_an_empty_folder_becomes_a_closed_home(folder: Path) -> None:
    home = folder / "a"
    home.mkdir(mode=0o755)
    assert covm("init", "--home", home).code == 0
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_key_that_is_there_is_kept(home: Path) -> None:
    first = covm("init", "--home", home, "--json").json
    second = covm("init", "--home", home, "--json").json
    assert (first["created"], second["created"]) == (True, False)
    assert first["peer_id"] == second["peer_id"]


def test_a_key_that_others_may_read_is_refused(home: Path) -> None:
    covm("init", "--home", home)
    (home / "identity.key").chmod(0o644)
    outcome = covm("federation", "start", "--home", home, "--preset", "local", "--json")
    assert outcome.code == 1
    assert outcome.json["error"]["code"] == "identity_error"
    assert outcome.json["error"]["details"]["code"] == "permissions"


def test_a_port_that_is_taken_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address = f"/ip4/127.0.0.1/tcp/{port}"
        outcome = covm("federation", "start", "--home", home, "--preset", "local", "--listen", address)
    assert outcome.code == 1
    assert str(port) in outcome.err
