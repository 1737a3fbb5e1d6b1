"""`covm doctor` as an operator runs it: on nodes that run, that stand still, that are down, and on broken homes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests import silent_names
from tests.cli.conftest import NodeStarter
from tests.cli.processes import COVM, START_S, Node, Outcome, covm, environment

AREAS = [
    "node", "configuration", "permissions", "socket path", "disk", "store", "clock", "DNS", "listening",
    "reachability", "relay", "peers",
]  # fmt: skip

NOBODY = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"


def doctor(home: Path, code: int) -> dict[str, list[dict[str, Any]]]:
    """The findings by area."""
    outcome = covm("doctor", "--home", home, "--json")
    assert outcome.code == code, outcome
    assert outcome.err == ""
    return by_area(outcome)


def by_area(outcome: Outcome) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in outcome.json["findings"]:
        found.setdefault(finding["area"], []).append(finding)
    assert list(found) == AREAS, "every area has its verdict, in order"
    return found


def made_home(home: Path, settings: str = "") -> Path:
    assert covm("init", "--home", home).code == 0
    (home / "config.toml").write_text(f'membership = "open"\nnetwork = "covm"\npreset = "local"\n{settings}')
    return home


def test_two_connected_nodes_are_well(neighbours: tuple[Node, Node]) -> None:
    bakery, _ = neighbours
    found = doctor(bakery.home, 0)
    assert not [each for findings in found.values() for each in findings if each["verdict"] == "problem"]
    assert found["node"][0]["what"] == f"it runs, process {bakery.process.pid}"
    assert found["peers"][0]["what"] == "1 peer connected: Riverside Farm"
    assert found["store"][0]["verdict"] == found["permissions"][0]["verdict"] == "ok"


def test_people_read_verdict_cause_and_next_step(neighbours: tuple[Node, Node]) -> None:
    told = covm("doctor", "--home", neighbours[0].home)
    assert told.code == 0
    assert "why: listen_addresses names this machine alone" in told.out
    assert "do:  to be reached from elsewhere" in told.out
    assert told.out.rstrip().splitlines()[-1].endswith(" ok")


def test_a_node_that_is_down_is_looked_at_from_outside(home: Path) -> None:
    found = doctor(made_home(home), 0)
    assert found["node"][0]["verdict"] == "not checked"
    assert "covm federation start" in found["node"][0]["next_step"]
    for area in ("reachability", "relay", "peers"):
        assert (found[area][0]["verdict"], found[area][0]["why"]) == ("not checked", "")
    assert {found[area][0]["verdict"] for area in AREAS[1:9]} == {"ok"}


def test_without_a_home_it_says_how_to_begin(home: Path) -> None:
    found = doctor(home, 1)
    assert found["permissions"][0]["next_step"].startswith("make it with `covm init")
    assert not home.exists(), "a look changes nothing"


def test_a_home_that_was_never_of_a_federation_is_told_how_to_begin(home: Path) -> None:
    covm("init", "--home", home)
    assert "covm federation join" in doctor(home, 1)["configuration"][0]["next_step"]


def test_a_port_that_another_program_has_is_told_with_the_program(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = doctor(made_home(home, f'listen_addresses = ["/ip4/127.0.0.1/tcp/{port}"]'), 1)
    [listening] = found["listening"]
    assert listening["what"] == f"/ip4/127.0.0.1/tcp/{port} is taken"
    assert listening["why"].startswith(f"process {os.getpid()} (")


def test_an_address_of_another_machine_cannot_be_listened_on(home: Path) -> None:
    [listening] = doctor(made_home(home, 'listen_addresses = ["/ip4/192.0.2.1/udp/9000/quic-v1"]'), 1)["listening"]
    assert listening["what"] == "/ip4/192.0.2.1/udp/9000/quic-v1 is no address of this machine"


def test_a_configuration_that_is_wrong_is_told_and_the_rest_is_still_looked_at(home: Path) -> None:
    found = doctor(made_home(home, "max_connections = 0"), 1)
    assert "max_connections" in found["configuration"][0]["why"]
    assert found["permissions"][0]["verdict"] == "ok"
    assert found["listening"][0]["verdict"] == "not checked"
    told = covm("doctor", "--home", home).out
    assert all(line.isprintable() for line in told.splitlines())


def test_a_key_that_others_may_read_is_told(home: Path) -> None:
    (made_home(home) / "identity.key").chmod(0o644)
    [finding] = doctor(home, 1)["permissions"]
    assert finding["next_step"].startswith(f"`chmod 600 {home}/identity.key`")


def test_a_home_that_is_open_to_others_is_told(home: Path) -> None:
    made_home(home).chmod(0o755)
    [finding] = doctor(home, 1)["permissions"]
    assert finding["next_step"] == f"`chmod 700 {home}`"


def test_a_store_that_is_no_store_is_told(bakery: Node) -> None:
    bakery.ask("stop")
    bakery.process.wait(START_S)
    (bakery.home / "store.db").write_bytes(b"no database" * 1_000)
    [finding] = doctor(bakery.home, 1)["store"]
    assert finding["verdict"] == "problem"
    assert finding["why"]


def test_files_from_the_future_show_that_the_clock_was_set_back(home: Path) -> None:
    made_home(home)
    tomorrow_s = time.time() + 86_400
    os.utime(home / "config.toml", (tomorrow_s, tomorrow_s))
    [finding] = doctor(home, 1)["clock"]
    assert (finding["what"], finding["verdict"]) == ("the clock was set back", "problem")


def test_a_home_too_long_for_its_socket_is_told(folder: Path) -> None:
    long = folder / ("a" * 60) / ("b" * 60)
    long.mkdir(parents=True, mode=0o700)
    [finding] = doctor(long, 1)["socket path"]
    assert finding["verdict"] == "problem"


def test_a_killed_node_left_its_socket_and_that_is_no_problem(bakery: Node) -> None:
    bakery.signal(signal.SIGKILL)
    [finding] = covm_findings(bakery.home, "socket path")
    assert finding["verdict"] == "ok"
    assert "killed" in finding["why"]


def covm_findings(home: Path, area: str) -> list[dict[str, Any]]:
    """Of a home without a configuration of its own, whatever else there is to say."""
    return by_area(covm("doctor", "--home", home, "--json"))[area]


def test_a_node_that_stands_still_is_a_problem_and_holds_nobody_up(bakery: Node) -> None:
    bakery.process.send_signal(signal.SIGSTOP)
    try:
        [finding] = covm_findings(bakery.home, "node")
    finally:
        bakery.process.send_signal(signal.SIGCONT)
    assert finding["verdict"] == "problem"
    assert "gave no answer within 5 s" in finding["why"]
    assert f"kill {bakery.process.pid}" in finding["next_step"]
    assert covm_findings(bakery.home, "node")[0]["verdict"] == "ok"


def test_a_bootstrap_peer_that_nobody_answers_at_is_told_with_its_error(start: NodeStarter, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    node = start("a", "--bootstrap", f"/ip4/127.0.0.1/tcp/{port}/p2p/{NOBODY}")
    while "refused" not in (finding := covm_findings(folder / "a", "peers")[0])["why"]:
        assert node.process.poll() is None
    assert finding["verdict"] == "problem"
    assert finding["what"] == "none of 1 known peer is connected"


def test_names_of_its_addresses_are_looked_up(home: Path) -> None:
    made_home(home, f'bootstrap_peers = ["/dns4/localhost/tcp/9/p2p/{NOBODY}"]')
    assert doctor(home, 0)["DNS"][0]["what"] == "localhost: resolved"


@pytest.mark.namespaces
def test_a_resolver_that_never_answers_is_told_and_holds_nobody_up(home: Path) -> None:
    made_home(home, f'bootstrap_peers = ["/dns4/coop.example/tcp/9/p2p/{NOBODY}"]')
    ended = subprocess.run(
        silent_names.command(*COVM, "doctor", "--home", str(home), "--json"),
        capture_output=True,
        timeout=START_S,
        env=environment(),
        check=False,
    )
    outcome = Outcome(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
    [finding] = by_area(outcome)["DNS"]
    assert finding["verdict"] == "problem"
    assert finding["why"] == "coop.example: no answer within 3 s"
    assert outcome.code == 1


def test_the_doctor_starts_without_what_only_a_node_needs() -> None:
    """Loaded lazily: the command line is quick, and the doctor works where a library of the node's does not load."""
    script = "import covm.cli.doctor, sys; sys.exit(any(name.startswith('covm.federation') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_database_server_that_is_down_is_a_problem_and_holds_nobody_up(home: Path) -> None:
    made_home(home, 'store_url = "postgresql://covm@127.0.0.1:1/gone"\n')
    [store] = doctor(home, 1)["store"]
    assert store["verdict"] == "problem"
    assert "127.0.0.1" in store["what"] + store["why"]


def test_a_name_of_whole_addresses_is_not_said_to_be_none(home: Path) -> None:
    peer = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
    made_home(home, f'bootstrap_peers = ["/dnsaddr/nowhere.invalid/p2p/{peer}"]\n')
    [dns] = covm_findings(home, "DNS")
    assert (dns["verdict"], "nowhere.invalid" in dns["what"]) == ("not checked", True)
