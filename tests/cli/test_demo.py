"""`covm demo`: the whole story from real nodes, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from itertools import product
from pathlib import Path

import pytest
from tests.cli.processes import COVM, START_S, covm, environment

PROPOSAL = {
    "id": "p-1",
    "title": "Ein Lastenrad für alle: „gemeinsam“",
    "author": "Mill Bakery",
    "options": ["ja", "nein"],
    "created_at": 1_900_000_000_000,
    "metadata": {"cents": 120_000},
}


def processes_under(folder: Path) -> list[str]:
    """Command lines of running processes that name the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(folder) in command:
                found.append(command)
    return found


@pytest.fixture
def tmp(folder: Path) -> Path:
    place = folder / "tmp"
    place.mkdir()
    return place


def test_the_demo_tells_what_happened_and_leaves_nothing(tmp: Path) -> None:
    # The caller's own configuration, right or wrong, does not leak into it.
    outcome = covm("demo", TMPDIR=str(tmp), COVM_MAX_CONNECTIONS="nonsense", COVM_NAME="Mine")
    assert outcome.code == 0, outcome
    assert "Mine" not in outcome.out
    lines = outcome.out.splitlines()
    assert len(lines) <= 15
    for fact in ("Mill Bakery", "Riverside Farm", "Buy a delivery van together", "handled", "governance.proposal"):
        assert fact in outcome.out
    assert list(tmp.iterdir()) == []
    assert processes_under(tmp) == []


def test_the_demo_publishes_whatever_proposal_it_is_given(tmp: Path, folder: Path) -> None:
    file = folder / "proposal.json"
    file.write_text(json.dumps(PROPOSAL))
    outcome = covm("demo", "--proposal", file, "--json", TMPDIR=str(tmp))
    assert outcome.code == 0, outcome
    received = [line for line in outcome.json["lines"] if line.startswith("Riverside Farm received")]
    assert PROPOSAL["title"] in received[0]
    assert list(tmp.iterdir()) == []


def test_a_proposal_that_is_none_fails_with_its_path_and_leaves_nothing(tmp: Path, folder: Path) -> None:
    file = folder / "proposal.json"
    file.write_text(json.dumps({**PROPOSAL, "title": 7}))
    outcome = covm("demo", "--proposal", file, TMPDIR=str(tmp))
    assert outcome.code == 2
    assert "payload.title" in outcome.err
    assert list(tmp.iterdir()) == []
    assert processes_under(tmp) == []


@pytest.mark.parametrize(
    ("number", "after_lines"),
    [*product((signal.SIGINT, signal.SIGTERM), (0, 1, 4)), (signal.SIGHUP, 0), (signal.SIGHUP, 4)],
)
def test_an_interrupted_demo_leaves_nothing(tmp: Path, number: int, after_lines: int) -> None:
    demo = subprocess.Popen([*COVM, "demo"], stdout=subprocess.PIPE, env=environment(TMPDIR=str(tmp)))
    assert demo.stdout is not None
    if after_lines == 0:
        while not any(tmp.iterdir()):
            assert demo.poll() is None
    for _ in range(after_lines):
        assert demo.stdout.readline()
    demo.send_signal(number)
    demo.communicate(timeout=START_S)
    assert demo.returncode == 128 + number
    assert list(tmp.iterdir()) == []
    assert processes_under(tmp) == []
