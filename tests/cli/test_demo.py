"""`covm demo`: the whole story from real nodes, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from tests.cli.processes import COVM, START_S, covm, environment

CLONE = Path(__file__).parents[2]

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


def test_a_proposal_file_that_is_not_there_gets_advice_that_fits(folder: Path) -> None:
    outcome = covm("demo", "--proposal", folder / "nowhere.json")
    assert outcome.code == 4
    assert str(folder / "nowhere.json") in outcome.err
    assert "--proposal" in outcome.err
    assert "echo" not in outcome.err


@pytest.mark.parametrize("content", ["{rye", "rye bread", "", '{"id": "p-1", "id": "p-2"}'])
def test_a_proposal_file_without_a_proposal_gets_advice_that_fits(folder: Path, content: str) -> None:
    file = folder / "proposal.json"
    file.write_text(content)
    outcome = covm("demo", "--proposal", file)
    assert outcome.code == 2
    assert str(file) in outcome.err
    assert "--text" not in outcome.err
    assert "message" not in outcome.err
    assert len(outcome.err.splitlines()) == 1


# Stands for Ctrl-C while the named module is being imported: the signal comes when its import begins.
INTERRUPTED_AT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv = ["covm", "demo"]
from covm.cli import main
main()
"""


@pytest.mark.parametrize(
    "module", ["covm.cli.app", "cyclopts", "msgspec", "covm.cli.demo", "covm.cli.interruptions", "covm.cli.demo_node"]
)
def test_ctrl_c_while_the_command_is_still_loading_is_one_line(tmp: Path, module: str) -> None:
    program = [sys.executable, "-c", INTERRUPTED_AT.format(module=module)]
    ended = subprocess.run(program, capture_output=True, text=True, env=environment(TMPDIR=str(tmp)), check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (130, 1), ended.stderr
    assert "interrupted" in ended.stderr
    assert list(tmp.iterdir()) == []


# Stands for Ctrl-C while a tool is being asked for its version, or a package installed.
SET_UP_INTERRUPTED = """
import os, signal, sys
if {during!r} == "loading":
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "json":
                os.kill(os.getpid(), signal.SIGINT)
    sys.meta_path.insert(0, Finder())
    for name in [name for name in sys.modules if name.split(".")[0] == "json"]:
        del sys.modules[name]
from tools import setup
setup._answers = setup.set_up = lambda *_: os.kill(os.getpid(), signal.SIGINT)
if {during!r} == "building":
    setup.missing_tools = lambda: []
sys.exit(setup.main())
"""


@pytest.mark.parametrize("during", ["loading", "looking", "building"])
def test_ctrl_c_while_the_clone_is_being_set_up_is_one_line(during: str) -> None:
    program = [sys.executable, "-c", SET_UP_INTERRUPTED.format(during=during)]
    ended = subprocess.run(program, capture_output=True, text=True, cwd=CLONE, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (130, 1), ended.stderr
    assert "interrupted" in ended.stderr


@pytest.mark.parametrize(
    ("number", "after_lines"),
    [*product((signal.SIGINT, signal.SIGTERM), (0, 1, 4)), (signal.SIGHUP, 0), (signal.SIGHUP, 4)],
)
def test_an_interrupted_demo_leaves_nothing(tmp: Path, number: int, after_lines: int) -> None:
    demo = subprocess.Popen(
        [*COVM, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(TMPDIR=str(tmp))
    )
    assert demo.stdout is not None
    if after_lines == 0:
        while not any(tmp.iterdir()):
            assert demo.poll() is None
    for _ in range(after_lines):
        assert demo.stdout.readline()
    demo.send_signal(number)
    _, said = demo.communicate(timeout=START_S)
    assert demo.returncode == 128 + number
    assert said == "covm: interrupted; both nodes have stopped, and nothing is left behind\n"
    assert list(tmp.iterdir()) == []
    assert processes_under(tmp) == []
