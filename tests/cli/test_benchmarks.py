"""The benchmarks run and tell what they found. How fast it was is for their reader, not for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BUILD_S = 600
"""The floor is there already when every test is run; alone, this test compiles it first."""


def benchmarks(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=BUILD_S
    )


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
    assert row["beside"] == "the floor"
    assert figure["beside"] > 0
    assert figure["ratio"] == pytest.approx(figure["service"] / figure["beside"])


def test_a_row_that_cannot_be_measured_says_why_and_fails_the_run(tmp_path: Path) -> None:
    no_floor = tmp_path / "floor"
    no_floor.write_text("#!/bin/sh\nexit 3\n")
    no_floor.chmod(0o700)
    ran = benchmarks("--quick", "--rows", "connect", "--floor", no_floor)
    assert ran.returncode == 1
    assert "not measured: the floor ended `connect 3` with 3, without figures" in ran.stdout


def test_durable_delivery_is_measured_alone_where_the_other_cannot_be_had(tmp_path: Path) -> None:
    ran = benchmarks(
        "--quick", "--rows", "durable-single,durable-transactional", "--disk", tmp_path, "--json", tmp_path / "figures",
        PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "figures").read_text())["rows"]
    assert [row["name"] for row in rows] == ["durable-transactional", "durable-single"]
    for row in rows:
        assert row["note"] == "NATS is missing: its server is built with Go, which is not installed"
        assert row["figures"]["per_s"]["service"] > 0
        assert row["figures"]["per_s"]["beside"] is None


def test_what_the_disk_does_alone_needs_no_service(tmp_path: Path) -> None:
    ran = benchmarks("--quick", "--rows", "disk", "--disk", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "SQLite alone: rows of 200 bytes, 256 in a transaction (beside: the disk)" in ran.stdout


def test_an_unknown_row_is_answered_with_those_there_are() -> None:
    ran = benchmarks("--rows", "consensus")
    assert ran.returncode == 2
    assert "there is no row 'consensus': connect, direct-one" in ran.stderr


def test_membership_is_measured_with_its_floor_among_the_figures(tmp_path: Path) -> None:
    no_floor = tmp_path / "floor"
    no_floor.write_text("#!/bin/sh\nexit 3\n")
    no_floor.chmod(0o700)
    ran = benchmarks("--quick", "--rows", "membership", "--floor", no_floor, "--json", tmp_path / "figures.json")
    assert ran.returncode == 0, ran.stderr
    rows = {row["name"]: row["figures"] for row in json.loads((tmp_path / "figures.json").read_text())["rows"]}
    assert rows.keys() == {"membership-verify", "membership-access", "membership-removal"}
    assert all(figure["service"] > 0 for figures in rows.values() for figure in figures.values())


def test_how_nodes_find_each_other_and_what_an_idle_one_costs_is_measured(tmp_path: Path) -> None:
    ran = benchmarks("--quick", "--rows", "found,idle", "--json", tmp_path / "figures.json")
    assert ran.returncode == 0, ran.stderr
    rows = {row["name"]: row["figures"] for row in json.loads((tmp_path / "figures.json").read_text())["rows"]}
    assert rows.keys() == {"found-4-kademlia", "found-4-exchange", "found-4-both", "idle"}
    assert all(figures["connections"]["service"] >= 1 for name, figures in rows.items() if name != "idle")
    assert all(figure["service"] is not None for figure in rows["idle"].values())


@pytest.mark.timeout(BUILD_S)
def test_what_replicas_lack_is_found_beside_negentropy(tmp_path: Path) -> None:
    ran = benchmarks("--quick", "--rows", "sync-missing", "--disk", tmp_path, "--json", tmp_path / "figures.json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads((tmp_path / "figures.json").read_text())["rows"]
    rows = {row["name"]: row["figures"] for row in told}
    assert rows.keys() == {"sync-missing-500-1-50", "sync-missing-500-50-10-both-scattered"}
    assert all(row["beside"] == "negentropy 0.5.3" for row in told)
    for figures in rows.values():
        assert figures["overhead_bytes"]["service"] > 0
        assert figures["questions"]["beside"] > 0
    assert not list(tmp_path.glob("stores-*"))


def test_a_partition_s_end_and_a_first_sync_are_measured(tmp_path: Path) -> None:
    wanted = "sync-first,sync-healed,sync-heard"
    ran = benchmarks("--quick", "--rows", wanted, "--disk", tmp_path, "--json", tmp_path / "figures.json")
    assert ran.returncode == 0, ran.stderr
    rows = {row["name"]: row["figures"] for row in json.loads((tmp_path / "figures.json").read_text())["rows"]}
    assert rows["sync-first-500-1"]["per_s"]["service"] > 0
    assert rows["sync-healed"]["took_s"]["service"] > 0
    assert rows["sync-heard"]["server_p50_ms"]["service"] > 0
