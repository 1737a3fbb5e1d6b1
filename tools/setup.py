"""Set up this clone: look at the tools, make `.venv`, install what is locked, build the native core.

Does nothing, in a moment, when nothing changed. Runs on the system's Python with the standard library alone.
"""

from __future__ import annotations

import os
import sys

_INTERRUPTED = "The set-up was interrupted; `make setup` goes on where it stopped."

try:
    import json
    import re
    import shutil
    import subprocess
except KeyboardInterrupt:
    # On a cold disk these take most of the first second.
    print(_INTERRUPTED, file=sys.stderr)
    sys.exit(130)

PYTHON_AT_LEAST = (3, 11)
RUST_AT_LEAST = (1, 88)

# Whatever the user's pip is set to for other projects, packages go into `.venv`.
_PIP_ELSEWHERE = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PYTHONHOME", "PYTHONPATH")


def missing_tools() -> list[str]:
    """One sentence for each tool that is absent or too old, with what to install; empty if all is well."""
    found = [_python_problem(), _pip_problem(), _rust_problem("rustc"), _rust_problem("cargo")]
    found += [_absent(os.environ.get("CC", "cc").split()[0], "A C compiler", "`apt-get install gcc libc6-dev`")]
    found += [_absent("make", "make", "`apt-get install make`")]
    return [problem for problem in found if problem]


def _python_problem() -> str:
    if sys.version_info >= PYTHON_AT_LEAST:
        return ""
    return (
        f"Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}: install python3.11 "
        "or a later one, and name it with `make setup PYTHON=python3.11`."
    )


def _pip_problem() -> str:
    if _answers([sys.executable, "-m", "pip", "--version"]):
        return ""
    return f"pip is needed, and {sys.executable} has none: install it with `apt-get install python3-pip`."


def _rust_problem(tool: str) -> str:
    wanted = ".".join(map(str, RUST_AT_LEAST))
    said = _answers([tool, "--version"])
    version = re.search(r" (\d+)\.(\d+)", said)
    if not version:
        return f"Rust {wanted} or newer is needed, and {tool} is missing or has no toolchain: install it with rustup."
    if (int(version[1]), int(version[2])) < RUST_AT_LEAST:
        return f"Rust {wanted} or newer is needed, and {tool} is {version[0].strip()}: get one with `rustup update`."
    return ""


def _absent(tool: str, name: str, remedy: str) -> str:
    return "" if shutil.which(tool) else f"{name} is needed, and `{tool}` is not on the PATH: install it with {remedy}."


def _answers(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def set_up() -> None:
    """Bring `.venv` and the native core up to date; raises CommandFailed with what went wrong."""
    from tools import native
    from tools.places import VENV, clone_lock

    with clone_lock():
        stamp = VENV / "covm-setup.json"
        done = json.loads(stamp.read_text()) if stamp.is_file() else {}
        wanted = _wanted()
        if done.get("environment") != wanted["environment"]:
            stamp.unlink(missing_ok=True)
            _make_environment()
            done = {"environment": wanted["environment"]}
            stamp.write_text(json.dumps(done))
        if done.get("native") != wanted["native"] or not _native_is_there():
            native.develop()
            stamp.write_text(json.dumps(wanted))
        _compile_sources()


def _compile_sources() -> None:
    """Bytecode beside the sources, also where Python is told to write none: each command would compile them anew."""
    import compileall

    from tools.places import ROOT

    compileall.compile_dir(ROOT / "src", quiet=2)


def _wanted() -> dict[str, str]:
    from tools.places import DEVELOPMENT_FEATURES, ROOT, content_hash, native_hash

    locked = content_hash([ROOT / "requirements" / "runtime.txt", ROOT / "requirements" / "dev.txt"])
    rust = _answers(["rustc", "--version"]).strip()
    return {
        "environment": f"{ROOT} python {sys.version.split()[0]} locked {locked}",
        "native": f"{rust} {DEVELOPMENT_FEATURES} {native_hash()}",
    }


def _native_is_there() -> bool:
    from tools.places import BIN, ROOT

    return any((ROOT / "src" / "covm").glob("_native*.so")) and (BIN / "covm").is_file()


def _make_environment() -> None:
    from tools.places import BIN, ROOT, VENV
    from tools.progress import run_showing_progress

    env = {name: value for name, value in os.environ.items() if name not in _PIP_ELSEWHERE}
    # Without pip, since some systems ship venv without ensurepip; the system's own pip installs into it from outside.
    # Its output is held back, since a Ctrl-C makes it print a traceback of its own.
    venv = [sys.executable, "-m", "venv", "--without-pip", "--clear", str(VENV)]
    subprocess.run(venv, env=env, check=True, capture_output=True, text=True)
    locked = ROOT / "requirements" / "dev.txt"
    pip = [sys.executable, "-m", "pip", "--python", str(BIN / "python"), "--disable-pip-version-check", "--no-input"]
    run_showing_progress(
        "Python packages",
        [*pip, "install", "--progress-bar", "off", "--require-hashes", "-r", str(locked)],
        counting=("Collecting",),
        total=len(re.findall(r"^\S+==", locked.read_text(), re.MULTILINE)),
        env=env,
    )


def main() -> int:
    """Set up, and say in one sentence what is missing if something is, or that it was interrupted."""
    try:
        return _set_up_or_say_why_not()
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # ends the line that shows how far it is
        print(_INTERRUPTED, file=sys.stderr)
        return 130


def _set_up_or_say_why_not() -> int:
    problems = missing_tools()
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1

    from tools.progress import CommandFailed

    try:
        set_up()
    except CommandFailed as failure:
        print(f"{failure.output}\n{failure}; what it said stands above.", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failure:
        said = f"{failure.stdout or ''}{failure.stderr or ''}"
        print(f"{said}{' '.join(map(str, failure.cmd))} ended with {failure.returncode}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
