"""Run every test: Rust's, then Python's, on a wheel built from the same sources. Pytest prints the times of both."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tools import native
from tools.places import BIN, BUILD, DEVELOPMENT_FEATURES, ROOT, cargo_env
from tools.progress import CommandFailed, run_showing_progress

CARGO_TEST = [
    "cargo", "test", "--release", "--locked", "-p", "covm-core", "--features", DEVELOPMENT_FEATURES,
]  # fmt: skip

PYTEST = [str(BIN / "python"), "-m", "pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
"""A process for each core. A file's tests stay together, since they share nodes that are dear to start; files in their
order, which has the long ones before the many short ones."""


@dataclass
class Suite:
    """One row of the time table."""

    name: str
    passed: int
    failed: int
    seconds: float


def rust_suites() -> list[Suite]:
    """Build and run the native core's tests; a build that fails counts as one failure."""
    started = time.monotonic()
    try:
        run_showing_progress("Rust tests", [*CARGO_TEST, "--no-run"], counting=("Compiling",), total=0, env=cargo_env())
    except CommandFailed as failure:
        print(failure.output, flush=True)
        return [Suite("rust build", 0, 1, time.monotonic() - started)]
    suites = [Suite("rust build", 0, 0, time.monotonic() - started)]
    ran = subprocess.Popen(
        [*CARGO_TEST, "--no-fail-fast"], cwd=ROOT, env=cargo_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    assert ran.stdout is not None
    said = []
    name, began = "rust", time.monotonic()
    for line in ran.stdout:
        said.append(line)
        if starting := re.match(r"\s+(?:Running (?:unittests )?(\S+)|Doc-tests)", line):
            name, began = f"rust {Path(starting[1] or 'doc').stem}".replace("rust lib", "rust unit"), time.monotonic()
        elif result := re.match(r"test result: \w+\. (\d+) passed; (\d+) failed", line):
            suites.append(Suite(name, int(result[1]), int(result[2]), time.monotonic() - began))
            print(f"  {name}: {line.strip()}", flush=True)
    if ran.wait() and not any(suite.failed for suite in suites):
        suites.append(Suite("rust (ended early)", 0, 1, 0.0))
    if any(suite.failed for suite in suites):
        print("".join(said), flush=True)
    return [suite for suite in suites if suite.passed or suite.failed or suite.name == "rust build"]


def wheel_for_the_tests() -> Path | None:
    """The wheel that tests/packaging installs: one given in HOUSE_WHEEL, or one built now without the switches."""
    if given := os.environ.get("HOUSE_WHEEL"):
        return Path(given).resolve()
    try:
        return native.wheel("release", BUILD / "wheel")
    except CommandFailed as failure:
        print(f"{failure.output}\n{failure}; what it said stands above.", flush=True)
        return None


def main() -> int:
    """Run all and fail if any failed; pytest's own summary is the last thing said."""
    suites = rust_suites()
    started = time.monotonic()
    wheel = wheel_for_the_tests()
    suites.append(Suite("wheel build", 0, int(wheel is None), time.monotonic() - started))
    env = os.environ | {"HOUSE_EARLIER_SUITES": json.dumps([asdict(suite) for suite in suites])}
    if wheel:
        env["HOUSE_WHEEL"] = str(wheel)
    pytest = subprocess.run([*PYTEST, *sys.argv[1:]], cwd=ROOT, env=env, check=False)
    return pytest.returncode or int(any(suite.failed for suite in suites))


if __name__ == "__main__":
    sys.exit(main())
