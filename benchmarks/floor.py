"""Builds the floor: the native core's own benchmark program, with the features of the extension beside it."""

from __future__ import annotations

from pathlib import Path

from tools.places import DEVELOPMENT_FEATURES, build_lock, cargo_env, target_dir
from tools.progress import crates_to_compile, run_showing_progress

PACKAGE = "covm-core"


def build() -> Path:
    """The program, built if anything changed. Raises CommandFailed with what cargo said."""
    argv = [
        "cargo", "build", "--release", "--locked", "-p", PACKAGE, "--features", DEVELOPMENT_FEATURES,
        "--example", "floor",
    ]  # fmt: skip
    with build_lock():
        total = crates_to_compile(PACKAGE, DEVELOPMENT_FEATURES)
        run_showing_progress("floor", argv, counting=("Compiling",), total=total, env=cargo_env())
    return target_dir() / "release" / "examples" / "floor"
