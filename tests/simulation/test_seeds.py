"""Two hundred stories in which everything fails that can: no promise is broken, and each can be told again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.simulation.scenario import Told
from tools import simulate

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS = 200


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.simulate", *arguments],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "PYTHONHASHSEED"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(900)
def test_two_hundred_stories_break_no_promise() -> None:
    done = run("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SEEDS} seeds" in done.stdout


@pytest.mark.parametrize("seed", [40, 143, 377])
def test_a_story_that_once_broke_a_promise_breaks_none(seed: int) -> None:
    done = run("--seed", str(seed), "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", [1, 8, 15])
def test_a_story_told_again_leaves_the_same_trace(seed: int) -> None:
    traces = {re.findall(r"^trace (\w+)$", run("--seed", str(seed), "--quiet").stdout, re.MULTILINE)[0] for _ in "ab"}
    assert len(traces) == 1


def test_a_seed_that_fails_is_printed_with_the_command_that_tells_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Told(7, "crashes", "0123456789abcdef", 1, 1.0, {}, ("ada>ben/note/1: it is gone",))
    monkeypatch.setattr(simulate, "tell_all", lambda seeds, processes, story: iter([(7, told), (8, "a traceback")]))
    monkeypatch.setattr(sys, "argv", ["simulate", "--seeds", "2", "--first", "7"])
    monkeypatch.setenv("PYTHONHASHSEED", simulate.HASH_SEED)
    assert simulate.main() == 1
    said = capsys.readouterr().out
    assert "ada>ben/note/1: it is gone\ntrace 0123456789abcdef\nagain: make simulate SEED=7\n" in said
    assert "a traceback\nagain: make simulate SEED=8\n" in said
