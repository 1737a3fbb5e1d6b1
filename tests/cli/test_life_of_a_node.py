"""A node's process: one on a home, from its ready line to leaving nothing behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import NodeStarter
from tests.cli.processes import START_S, Node, covm, environment

ON_A_NETWORK_THAT_FAILS = """
import asyncio, signal, sys
from covm.cli.app import run
from covm.daemon import process
from covm.federation import FederationService
from covm.federation.network.simulated import SimulatedFabric

def service(identity, config, types):
    network = SimulatedFabric().network(identity.keypair, listen=["/ip4/127.0.0.1/tcp/0"], max_connections=50)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, network.fail, "a panic")
    return Service(identity, config, types=types, network=network)

class Service(FederationService):
    async def start(self):
        await super().start()
        if self.name == "Hasty":
            self._node.network.fail("a panic")

process.FederationService = service
sys.exit(run(sys.argv[1:]))
"""
"""A node like any other, but on the simulated network, whose core fails when it is told to, or at once when hasty."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_node_in_order(bakery: Node, number: int) -> None:
    assert bakery.signal(number) == 0
    assert not (bakery.home / "control.sock").exists()


def test_a_second_node_on_one_home_is_refused_and_the_first_goes_on(bakery: Node) -> None:
    second = covm("federation", "start", "--home", bakery.home, "--network", "covm", "--preset", "local", "--json")
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


def test_a_home_that_lost_its_key_is_told_and_gets_no_other(bakery: Node) -> None:
    bakery.ask("stop")
    bakery.process.wait(START_S)
    key = bakery.home / "identity.key"
    key.rename(bakery.home / "elsewhere")
    # Also one whose files were copied without the note that there is a store.
    (bakery.home / "store.id").unlink()
    for command in (["federation", "start"], ["init"]):
        refused = covm(*command, "--home", str(bakery.home))
        assert refused.code == 1
        assert "has a store and no key" in refused.err
        assert "covm store restore" in refused.err
        assert not key.exists()


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
    outcome = covm("federation", "start", "--home", home, "--network", "covm", "--preset", "local")
    assert outcome.code == 2
    assert "in the way" in outcome.err
    assert (home / "control.sock").read_text() == "mine"


def test_a_home_open_to_others_is_refused(folder: Path) -> None:
    home = folder / "a"
    covm("init", "--home", home)
    home.chmod(0o755)
    outcome = covm("federation", "start", "--home", home, "--network", "covm", "--preset", "local")
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
    outcome = covm("federation", "start", "--home", home, "--network", "covm", "--preset", "local", "--json")
    assert outcome.code == 1
    assert outcome.json["error"]["code"] == "identity_error"
    assert outcome.json["error"]["details"]["code"] == "permissions"


def test_a_node_whose_core_fails_ends_with_1_and_one_sentence(home: Path) -> None:
    command = [
        sys.executable,
        "-c",
        ON_A_NETWORK_THAT_FAILS,
        "federation",
        "start",
        "--network",
        "covm",
        "--home",
        str(home),
    ]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    assert node.stdout is not None
    assert "is ready" in node.stdout.readline()
    node.send_signal(signal.SIGUSR1)
    told, log = node.communicate(timeout=START_S)
    assert (node.returncode, told) == (1, "")
    said = [line for line in log.splitlines() if line.startswith("covm: ")]
    assert said == [log.splitlines()[-1]], log
    assert "the network core failed and was ended: a panic" in said[0]
    assert "Traceback" not in log
    assert not (home / "control.sock").exists()
    # The home is free: another node takes it.
    again = Node(home)
    again.wait_ready()
    again.end()


def test_a_core_that_fails_before_anybody_looks_is_not_missed(home: Path) -> None:
    command = [
        sys.executable,
        "-c",
        ON_A_NETWORK_THAT_FAILS,
        "federation",
        "start",
        "--network",
        "covm",
        "--home",
        str(home),
    ]
    node = subprocess.run(
        [*command, "--name", "Hasty"], capture_output=True, text=True, env=environment(), timeout=START_S, check=False
    )
    assert node.returncode == 1
    assert "covm: the network core failed and was ended: a panic" in node.stderr


def test_a_port_that_is_taken_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address = f"/ip4/127.0.0.1/tcp/{port}"
        outcome = covm(
            "federation", "start", "--home", home, "--network", "covm", "--preset", "local", "--listen", address
        )
    assert outcome.code == 1
    assert str(port) in outcome.err
