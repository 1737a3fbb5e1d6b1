"""Processes that begin with everything imported: loading a node's program takes longer than most of their lives."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

PROCESSES = multiprocessing.get_context("forkserver")
"""Forks from a process that has imported what is named here and has started nothing."""
PROCESSES.set_forkserver_preload(["pytest", "covm.cli.app", "covm.daemon.process", "covm.federation.node"])


class Forked:
    """The `covm` command in a process of its own; what tests use of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], stderr: Path, environment: Mapping[str, str]) -> None:
        reader, writer = PROCESSES.Pipe(duplex=False)
        self._process = PROCESSES.Process(target=_covm, args=(list(arguments), dict(environment), writer, stderr))
        self._process.start()
        writer.close()
        self.stdout: IO[bytes] = open(os.dup(reader.fileno()), "rb", buffering=0)  # noqa: SIM115
        reader.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout_s: float | None = None) -> int:
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("covm", timeout_s or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _covm(arguments: list[str], environment: dict[str, str], stdout: Connection, stderr: Path) -> None:
    """A process's life, as if it had been started with these arguments and this environment."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["covm", *arguments]
    os.dup2(stdout.fileno(), sys.stdout.fileno())
    stdout.close()
    with stderr.open("wb") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    from covm.cli import main

    main()
