"""One node of the demonstration: a process of its own on a home of its own."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from covm.cli.interruptions import Interruptions
from covm.cli.lifecycle import Ready
from covm.control.client import ControlClient
from covm.control.failures import Failed, TimedOut

START_S = 20.0
"""How long a node may take to be ready: half a second on an idle machine."""

STOP_S = 5.0
"""How long a node may take to stop in order before it is killed."""

COMMAND_S = 90.0
"""How long one command may take; joining takes a second on an idle machine."""

COVM = (sys.executable, "-m", "covm")

LOG_TAIL = 5
"""Lines of a failed node's log that are shown."""


class DemoNode:
    """`create` or `join`, then `start` and `wait_ready` before use; `end` in any case."""

    def __init__(self, name: str, home: Path, interruptions: Interruptions) -> None:
        self.name = name
        self._interruptions = interruptions
        self.client = ControlClient(home)
        self._home = home
        self._log_path = home.parent / f"{home.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def create(self, federation: str) -> None:
        """Makes the home, and founds a federation. Raises `Failed`."""
        self._command("init", "--name", self.name, "--preset", "local")
        self._command("federation", "create", federation)

    def join(self, link: str) -> None:
        """Makes the home, and joins the federation of an invite. Raises `Failed`."""
        self._command("init", "--name", self.name, "--preset", "local")
        self._command("federation", "join", link)

    def start(self) -> None:
        """Starts the node's process."""
        self._launch("federation", "start", "--json")

    def _command(self, *words: str) -> None:
        process = self._launch(*words, "--no-input")
        try:
            process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            raise TimedOut(f"{self.name}: {' '.join(words[:2])} took more than {COMMAND_S:g} s") from None
        if process.returncode:
            raise Failed(f"{self.name} could not {' '.join(words[:2])}: {self._log_tail()}", code="demo_node_failed")

    def _launch(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts a process of this node; one that is started is written down, whatever comes meanwhile."""
        with self._log_path.open("wb") as log, self._interruptions.held():
            self._process = subprocess.Popen(
                [*COVM, *words, "--home", str(self._home)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
            )
        return self._process

    def wait_ready(self) -> Ready:
        """Waits for the node's line. Raises `Failed` with the end of its log, or `TimedOut`."""
        line = self._read_line(time.monotonic() + START_S)
        try:
            return msgspec.json.decode(line, type=Ready)
        except msgspec.DecodeError as error:
            raise Failed(f"{self.name} did not start: {self._log_tail()}", code="demo_node_failed") from error

    def exit_code(self) -> int:
        """Waits for the process, which has been told to stop, and returns its exit code."""
        return self._running().wait(STOP_S)

    def end(self) -> None:
        """Ends the process whatever state it is in; does nothing if it has ended."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read_line(self, deadline_s: float) -> bytes:
        stdout = self._running().stdout
        assert stdout is not None  # noqa: S101 - it was opened as a pipe
        descriptor = stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([descriptor], [], [], left_s)[0]:
                raise TimedOut(f"{self.name} was not ready within {START_S:g} s: {self._log_tail()}")
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            line += chunk
        return line

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise Failed(f"{self.name} was not started", code="demo_node_failed")
        return self._process

    def _log_tail(self) -> str:
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-LOG_TAIL:]) or "it said nothing"


def _environment() -> dict[str, str]:
    """Without the caller's own configuration, which must not leak into the demonstration."""
    return {key: value for key, value in os.environ.items() if not key.startswith("COVM_")}
