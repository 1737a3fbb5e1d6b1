"""The benchmarks run and tell what they found. How fast it was is for their reader, not for a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BUILD_S = 600
"""The floor is there already when every test is run; alone, this test compiles it first."""


def benchmarks(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=BUILD_S)


@pytest.mark.timeout(BUILD_S)
def test_a_row_stands_beside_its_floor(tmp_path: Path) -> None:
    ran = benchmarks("--quick", "--rows", "connect", "--json", tmp_path / "figures.json")
    assert ran.returncode == 0, ran.stderr
    assert "connect: dial until both sides count each other as connected" in ran.stdout
    told = json.loads((tmp_path / "figures.json").read_text())
    assert {"processor", "cores", "python", "rust", "loop"} <= told["machine"].keys()
    (row,) = told["rows"]
    assert (row["name"], row["error"]) == ("connect", None)
    figure = row["figures"]["p50_ms"]
    assert figure["service"] > 0
    assert figure["floor"] > 0
    assert figure["ratio"] == pytest.approx(figure["service"] / figure["floor"])


def test_a_row_that_cannot_be_measured_says_why_and_fails_the_run(tmp_path: Path) -> None:
    no_floor = tmp_path / "floor"
    no_floor.write_text("#!/bin/sh\nexit 3\n")
    no_floor.chmod(0o700)
    ran = benchmarks("--quick", "--rows", "connect", "--floor", no_floor)
    assert ran.returncode == 1
    assert "not measured: the floor ended `connect 3` with 3, without figures" in ran.stdout


def test_an_unknown_row_is_answered_with_those_there_are() -> None:
    ran = benchmarks("--rows", "sync")
    assert ran.returncode == 2
    assert "there is no row 'sync': connect, direct-one" in ran.stderr
