"""Everything that judges the code without running it. One line per check; what a check said only if it failed.

`make check` runs all; `make check ARGS="ruff mypy"` those whose names begin so. A check whose data is not to be had
(the advisories on a machine without that network) says so in its line; it neither passes nor fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools import cargo_deny
from tools.places import BIN, BUILD, ROOT, clippy_env

# Asking for advisories must not hold up a machine that has no way to them.
ADVISORY_TIMEOUT_S = 120

CLIPPY_DENIED = ("warnings", "clippy::too_many_lines", "clippy::todo", "clippy::unimplemented", "clippy::dbg_macro",
                 "clippy::undocumented_unsafe_blocks")  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What a check found. `passed` is None where it could not be made; then `said` tells why in a line."""

    passed: bool | None
    said: str = ""


def runs(*argv: str) -> Callable[[], Verdict]:
    """The check that `argv`, a program of `.venv` or of the PATH, ends with 0."""

    def check() -> Verdict:
        done = _run(argv)
        return Verdict(done.returncode == 0, done.stdout + done.stderr)

    return check


def stub_of_native() -> Verdict:
    """`_native.pyi` says what the compiled module has, no more and no less."""
    if not (ROOT / "src" / "covm" / "_native.pyi").is_file():
        return Verdict(False, "src/covm/_native.pyi is missing.")
    argv = ["python", "-m", "mypy.stubtest", "covm._native", "--mypy-config-file", "pyproject.toml"]
    allowed = ROOT / "tools" / "stubtest-allowed.txt"
    done = _run([*argv, "--allowlist", str(allowed)] if allowed.is_file() else argv)
    return Verdict(done.returncode == 0, done.stdout + done.stderr)


def deny(*what: str) -> Callable[[], Verdict]:
    """cargo-deny's verdict on `what`."""

    def check() -> Verdict:
        program = cargo_deny.find()
        if not program:
            return Verdict(False, "cargo-deny is missing: `make tools` builds it.")
        done = _run([program, "--all-features", "check", "--hide-inclusion-graph", *what])
        return Verdict(done.returncode == 0, done.stdout + done.stderr)

    return check


def rust_advisories() -> Verdict:
    """No crate that is locked has a known hole."""
    program = cargo_deny.find()
    if not program:
        return Verdict(False, "cargo-deny is missing: `make tools` builds it.")
    if _run([program, "fetch", "db"], timeout_s=ADVISORY_TIMEOUT_S).returncode:
        return Verdict(None, "the advisory database for Rust cannot be reached from here")
    return deny("advisories")()


def python_advisories() -> Verdict:
    """No Python package that is locked has a known hole."""
    argv = ["pip-audit", "--disable-pip", "--require-hashes", "-r", "requirements/dev.txt", "--format", "json"]
    done = _run([*argv, "--progress-spinner", "off", "--timeout", "15"], timeout_s=ADVISORY_TIMEOUT_S)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        packages = []
    if all("skip_reason" in package for package in packages):
        return Verdict(None, "the advisory service for Python cannot be reached from here")
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}, mended in {hole['fix_versions'] or 'no version yet'}"
        for package in packages
        for hole in package.get("vulns", ())
    ]
    return Verdict(not holes and done.returncode == 0, "\n".join(holes) or done.stderr)


def shell_scripts() -> Verdict:
    """Shellcheck has nothing to say about the scripts."""
    scripts = [str(path) for path in (ROOT / ".ci" / "run", *sorted((ROOT / "tools").glob("*.sh")))]
    done = _run(["shellcheck", *scripts])
    return Verdict(done.returncode == 0, done.stdout + done.stderr)


def python_folders() -> list[str]:
    """The folders whose types are checked, among those that exist."""
    return [name for name in ("src", "tests", "tools", "benchmarks", "examples") if any((ROOT / name).rglob("*.py"))]


def checks() -> dict[str, Callable[[], Verdict]]:
    """Every check by name, the quick ones first."""
    denied = [flag for lint in CLIPPY_DENIED for flag in ("-D", lint)]
    clippy = ["cargo", "clippy", "--release", "--locked", "--workspace", "--all-targets", "--features", "switches"]
    docs = ["sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "-d", "build/doctrees", "docs", "build/docs"]
    return {
        "ruff format": runs("ruff", "format", "--check", "--diff", "--quiet", "."),
        "ruff": runs("ruff", "check", "--quiet", "."),
        "cargo fmt": runs("cargo", "fmt", "--all", "--check"),
        "shellcheck": shell_scripts,
        "import contracts": runs("lint-imports", "--no-cache", "--no-logo"),
        "mypy": runs("mypy", *python_folders()),
        "stubtest": stub_of_native,
        "docs": runs(*docs),
        "clippy": runs(*clippy, "--quiet", "--", *denied),
        "licences, sources": deny("licenses", "bans", "sources"),
        "holes in crates": rust_advisories,
        "holes in packages": python_advisories,
    }


def _run(argv: Sequence[str], timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
    program = BIN / argv[0]
    command = [str(program) if program.exists() else argv[0], *argv[1:]]
    try:
        return subprocess.run(
            command, cwd=ROOT, env=clippy_env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=timeout_s,
        )  # fmt: skip
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"{Path(command[0]).name} is not installed: `make setup`.")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {timeout_s:.0f} s")


def main(wanted: Sequence[str]) -> int:
    """Run the checks whose names begin with a word of `wanted`, or all; fail if any failed."""
    BUILD.mkdir(exist_ok=True)
    counts = {True: 0, False: 0, None: 0}
    for name, check in checks().items():
        if wanted and not name.startswith(tuple(wanted)):
            continue
        started = time.monotonic()
        verdict = check()
        counts[verdict.passed] += 1
        mark = {True: "ok     ", False: "FAILED ", None: "skipped"}[verdict.passed]
        why = f"  {verdict.said}" if verdict.passed is None else ""
        print(f"{mark} {name:<18} {time.monotonic() - started:6.1f} s{why}", flush=True)
        if verdict.passed is False:
            print("    " + verdict.said.strip().replace("\n", "\n    "), flush=True)
    print(f"{counts[True]} passed, {counts[False]} failed, {counts[None]} skipped", flush=True)
    return int(counts[False] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
