"""A node on a machine whose resolver never answers, as its operator meets it. In namespaces of the test's own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import silent_names
from tests.cli.processes import COVM, START_S, covm, environment
from tests.docs.pages import ROOT

NAMED = "/dns4/coop.example/tcp/9/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"

pytestmark = pytest.mark.namespaces


@pytest.fixture
def lost(home: Path) -> Iterator[Path]:
    """The home of a node that knows the others by name alone."""
    start = [*COVM, "federation", "start", "--home", str(home), "--network", "covm", "--preset", "local"]
    command = silent_names.command(*start, "--bootstrap", NAMED)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as node:
        assert node.stdout is not None
        assert b"is ready" in node.stdout.readline()
        yield home
        covm("federation", "stop", "--home", home)
        node.communicate(timeout=START_S)
        assert node.returncode == 0


def test_a_node_starts_answers_and_stops_while_no_name_does_and_says_which_name_it_is(lost: Path) -> None:
    assert covm("federation", "status", "--home", lost).code == 0
    errors = [""]
    while "coop.example" not in errors[0]:
        answer = covm("federation", "peers", "--home", lost, "--json")
        errors = [peer["last_error"] for peer in answer.json["peers"]]
    [error] = errors
    assert NAMED.partition("/p2p/")[0] in error
