"""Run a long command and say how far it is: a living line on a terminal, one line every few seconds elsewhere."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.places import ROOT, cargo_env

# Often enough to see that it lives; seldom enough that a log of five minutes stays short.
LOG_EVERY_S = 10.0
TERMINAL_EVERY_S = 0.5


class CommandFailed(Exception):
    """A command ended with an error; `output` is what it said, for whoever shows it."""

    def __init__(self, argv: Sequence[str], code: int, output: str) -> None:
        """Keep the command, its exit code and its output."""
        super().__init__(f"{Path(argv[0]).name} {argv[1] if len(argv) > 1 else ''} ended with {code}")
        self.output = output


def run_showing_progress(
    what: str, argv: Sequence[str], *, counting: Sequence[str], total: int, env: Mapping[str, str]
) -> str:
    """Run `argv` in the clone and return its output; each line that begins with a word of `counting` is a step done.

    Raises CommandFailed, with all that the command said.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines = _lines_of(process)
    output: list[str] = []
    meter = _Meter(what, total, started)
    open_ended = True
    while open_ended:
        try:
            line = lines.get(timeout=TERMINAL_EVERY_S)
        except queue.Empty:
            line = ""
        if line is None:
            open_ended = False
        elif line:
            output.append(line)
            meter.hear(line.strip(), step=line.strip().startswith(tuple(counting)))
        meter.show()
    code = process.wait()
    meter.close(code == 0)
    if code:
        raise CommandFailed(argv, code, "".join(output))
    return "".join(output)


def crates_to_compile(package: str, features: str) -> int:
    """How many crates `package` is built from on this machine; 0 if cargo cannot say."""
    command = ["cargo", "tree", "--locked", "-p", package, "-e", "normal,build", "--prefix", "none", "--format", "{p}"]
    if features:
        command += ["--features", features]
    tree = subprocess.run(command, cwd=ROOT, env=cargo_env(), capture_output=True, text=True, check=False)
    return len({line.removesuffix(" (*)") for line in tree.stdout.splitlines() if line.strip()})


def _lines_of(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


class _Meter:
    """The line that says how far a command is; silent for what takes no time."""

    def __init__(self, what: str, total: int, started: float) -> None:
        self._what, self._total, self._started = what, total, started
        self._done, self._now, self._last = 0, "", started
        self._terminal = sys.stdout.isatty()

    def hear(self, line: str, *, step: bool) -> None:
        """Take in a line: a step done, or why nothing moves (another cargo is at work, crates are on their way)."""
        self._done += step
        self._now = (" ".join(line.split()[1:3]) if step else line)[:60]

    def show(self) -> None:
        every = TERMINAL_EVERY_S if self._terminal else LOG_EVERY_S
        if time.monotonic() - self._last >= every:
            self._last = time.monotonic()
            of = f" of about {self._total}" if self._total >= self._done else ""
            self._write(f"{self._done}{of}, {self._elapsed()}  {self._now}")

    def close(self, succeeded: bool) -> None:
        self._write(f"{'done' if succeeded else 'failed'} in {self._elapsed()}")
        if self._terminal:
            print()

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._started:.0f} s"

    def _write(self, text: str) -> None:
        line = f"  {self._what}: {text}"
        if self._terminal:
            print(f"\r\033[K{line[:118]}", end="", flush=True)
        else:
            print(line, flush=True)
