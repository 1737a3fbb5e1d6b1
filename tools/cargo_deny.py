"""Build cargo-deny, which judges licences, sources and known holes of the Rust crates, once per machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tools.places import cache_dir
from tools.progress import CommandFailed, run_showing_progress

VERSION = "0.20.2"

# How many crates it is built from; only for the line that says how far it is.
CRATES = 140


def find() -> str | None:
    """The cargo-deny of this machine: ours, or one on the PATH of the same minor version."""
    for candidate in (str(cache_dir() / "tools" / "bin" / "cargo-deny"), shutil.which("cargo-deny")):
        if candidate and _version(candidate).startswith(VERSION.rpartition(".")[0] + "."):
            return candidate
    return None


def _version(program: str) -> str:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.split()[-1]


def main() -> int:
    """Build it if it is not there."""
    if find():
        return 0
    target = cache_dir() / "tools-target"
    # Unoptimised: it runs for a second, and builds in a third of the time.
    argv = ["cargo", "install", "cargo-deny", "--locked", "--version", VERSION, "--debug"]
    argv += ["--root", str(cache_dir() / "tools"), "--target-dir", str(target)]
    env = os.environ | {"CARGO_PROFILE_DEV_DEBUG": "0"}
    try:
        run_showing_progress("cargo-deny", argv, counting=("Compiling",), total=CRATES, env=env)
    except CommandFailed as failure:
        print(f"{failure.output}\n{failure}; what it said stands above.", file=sys.stderr)
        return 1
    shutil.rmtree(target, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
