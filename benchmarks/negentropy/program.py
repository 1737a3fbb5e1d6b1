"""The program around the crate: a workspace of its own, so that nothing else waits for it or is judged by it."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.places import ROOT, build_lock, cargo_env, target_dir
from tools.progress import CommandFailed, run_showing_progress

VERSION = "0.5.3"
"""As the manifest pins it."""

MANIFEST = ROOT / "benchmarks" / "negentropy" / "Cargo.toml"


class NotToBeHad(Exception):
    """It cannot be built here; the message says why."""


def build() -> Path:
    """The program, built if anything changed. Raises `NotToBeHad`."""
    if shutil.which("cargo", path=cargo_env()["PATH"]) is None:
        raise NotToBeHad("it is built with cargo, which is not installed")
    argv = ["cargo", "build", "--release", "--locked", "--manifest-path", str(MANIFEST)]
    try:
        with build_lock():
            run_showing_progress("negentropy", argv, counting=("Compiling",), total=2, env=cargo_env())
    except CommandFailed as failure:
        said = failure.output.strip().splitlines() or ["it said nothing"]
        raise NotToBeHad(f"`cargo build` failed: {said[-1]}") from None
    return target_dir() / "release" / "covm-negentropy"
