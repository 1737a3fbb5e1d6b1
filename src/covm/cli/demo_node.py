"""One node of the demonstration: a process of its own on a home of its own."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from covm.cli.lifecycle import Ready
from covm.control.client import ControlClient
from covm.control.failures import Failed, TimedOut

START_S = 20.0
"""How long a node may take to be ready: half a second on an idle machine."""

STOP_S = 5.0
"""How long a node may take to stop in order before it is killed."""

LOG_TAIL = 5
"""Lines of a failed node's log that are shown."""


class DemoNode:
    """Started when made; `wait_ready` before use; `end` in any case."""

    def __init__(self, name: str, home: Path, network: str) -> None:
        self.name = name
        self.client = ControlClient(home)
        self._log_path = home.parent / f"{home.name}.log"
        command = [sys.executable, "-m", "covm", "federation", "start", "--json", "--home", str(home)]
        settings = ["--name", name, "--preset", "local", "--network", network]
        # The caller's own configuration must not leak into the demonstration.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COVM_")}
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *settings],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )

    def wait_ready(self) -> Ready:
        """Waits for the node's line. Raises `Failed` with the end of its log, or `TimedOut`."""
        line = self._read_line(time.monotonic() + START_S)
        try:
            return msgspec.json.decode(line, type=Ready)
        except msgspec.DecodeError as error:
            raise Failed(f"{self.name} did not start: {self._log_tail()}", code="demo_node_failed") from error

    def exit_code(self) -> int:
        """Waits for the process, which has been told to stop, and returns its exit code."""
        return self._process.wait(STOP_S)

    def end(self) -> None:
        """Ends the process whatever state it is in; does nothing if it has ended."""
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
        assert self._process.stdout is not None  # noqa: S101 - it was opened as a pipe
        descriptor = self._process.stdout.fileno()
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

    def _log_tail(self) -> str:
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-LOG_TAIL:]) or "it said nothing"
