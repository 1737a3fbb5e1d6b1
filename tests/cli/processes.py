"""The `covm` command and its nodes as the processes that users run, on homes of their own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from unittest import mock

from tests.forked import Forked

from covm.cli.app import run

START_S = 60.0
"""A node is ready in under a second; a machine that compiles beside the tests may take longer."""

COVM = [sys.executable, "-m", "covm"]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"not one object alone on standard output: {self.out!r} {self.err!r}"
        answer: dict[str, Any] = json.loads(lines[0])
        assert answer["version"] == 1
        return answer

    @property
    def error(self) -> dict[str, Any]:
        """The error of a command with --json, after which nothing stands on standard error."""
        assert self.err == ""
        error: dict[str, Any] = self.json["error"]
        return error


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without its `COVM_*`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COVM_")}
    return {**kept, "NO_COLOR": "1", **extra}


def covm(*arguments: str | Path, stdin: bytes = b"", **extra: str) -> Outcome:
    """Runs one command to its end.

    Commands that only ask are run in this process, because starting a Python for each would take most of the time of
    all stories together. What has a life of its own is a process: nodes, and the demonstration.
    """
    words = set(map(str, arguments))
    if {"start", "join"} & words and not stdin:
        return _forked(*arguments, **extra)
    return process(*arguments, stdin=stdin, **extra) if "demo" in words else _here(*arguments, stdin=stdin, **extra)


def _here(*arguments: str | Path, stdin: bytes, **extra: str) -> Outcome:
    told, said = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environment(**extra), clear=True),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")),
        contextlib.redirect_stdout(told),
        contextlib.redirect_stderr(said),
    ):
        code = run(list(map(str, arguments)))
    return Outcome(code, told.getvalue(), said.getvalue())


def _forked(*arguments: str | Path, **extra: str) -> Outcome:
    with tempfile.NamedTemporaryFile() as said:
        running = Forked(list(map(str, arguments)), Path(said.name), environment(**extra))
        with running.stdout:
            told = running.stdout.read()
        return Outcome(running.wait(START_S), told.decode(), said.read().decode())


def within(namespace: str) -> list[str]:
    """What stands before a command that is to run in a network namespace; nothing without one."""
    return ["ip", "netns", "exec", namespace] if namespace else []


def process(*arguments: str | Path, stdin: bytes = b"", namespace: str = "", **extra: str) -> Outcome:
    """Runs one command to its end, in a process of its own."""
    command = [*within(namespace), *COVM, *map(str, arguments)]
    ended = subprocess.run(command, input=stdin, capture_output=True, timeout=60, env=environment(**extra), check=False)
    return Outcome(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def on_terminal(answers: Sequence[str], *arguments: str | Path) -> tuple[int, str]:
    """Runs one command on a terminal, types an answer at each question, and returns its exit code and what it showed.

    A node that says that it is ready is stopped.
    """
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COVM, *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=environment(),
    ) as running:
        os.close(theirs)
        shown, is_stopped = b"", False
        for answer in answers:
            asked = len(shown)
            while b": " not in shown[asked:]:
                shown += os.read(ours, 65536)
            os.write(ours, answer.encode() + b"\n")
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
                if b"is ready" in shown and not is_stopped:
                    is_stopped = True
                    running.terminate()  # once: the second does what it does to any program
        except OSError:
            pass  # the other side is closed: that is how a terminal ends
        os.close(ours)
    return running.returncode, shown.decode()


class Node:
    """A daemon on a home; call `wait_ready` before anything else. `log` is what it wrote to standard error.

    `forked` from a process that has loaded the program; where what the system lists of it matters, or it runs in a
    network `namespace`, started as users do.
    """

    process: subprocess.Popen[bytes] | Forked

    def __init__(
        self,
        home: Path,
        *arguments: str,
        as_json: bool = True,
        preset: str | None = "local",
        forked: bool = True,
        namespace: str = "",
        **extra: str,
    ) -> None:
        self.home = home
        self.log_path = home.with_name(home.name + ".log")
        command = ["federation", "start", "--home", str(home), *arguments]
        if preset is not None:
            command += ["--preset", preset]
        settings = home / "config.toml"
        given = settings.read_text() if settings.exists() else ""
        if "federation" not in given and "network" not in given and "--network" not in arguments:
            command += ["--network", "covm"]
        if as_json:
            command.append("--json")
        if forked and not namespace:
            self.process = Forked(command, self.log_path, environment(**extra))
        else:
            with self.log_path.open("wb") as log:
                self.process = subprocess.Popen(
                    [*within(namespace), *COVM, *command], stdout=subprocess.PIPE, stderr=log, env=environment(**extra)
                )
        self._as_json = as_json

    def wait_ready(self) -> Self:
        """Waits for the line that it prints when it is ready."""
        self.first_line = self.line().decode()
        self.ready = json.loads(self.first_line) if self._as_json else {}
        return self

    def line(self) -> bytes:
        """The next line on standard output."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + START_S
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(deadline - time.monotonic(), 0))
            chunk = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            assert chunk, f"the node is not ready: {self.log}"
            line += chunk
        return line

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def peer_id(self) -> str:
        return str(self.ready["peer_id"])

    @property
    def addresses(self) -> list[str]:
        return list(self.ready["addresses"])

    @property
    def address(self) -> str:
        return self.addresses[0]

    def run(self, *arguments: str | Path, stdin: bytes = b"") -> Outcome:
        """`covm federation ...` on this node."""
        command, *rest = arguments
        return covm("federation", command, "--home", self.home, *rest, stdin=stdin)

    def ask(self, *arguments: str | Path, stdin: bytes = b"") -> dict[str, Any]:
        """The same with --json; it must succeed."""
        command, *rest = arguments
        outcome = self.run(command, "--json", *rest, stdin=stdin)
        assert outcome.code == 0, outcome
        return outcome.json

    def signal(self, number: int) -> int:
        """Sends a signal and returns the exit code that follows."""
        self.process.send_signal(number)
        return self.process.wait(START_S)

    def end(self) -> None:
        """Ends the process whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Follower:
    """A command that goes on, such as `gossip-log --follow`; its lines one by one."""

    def __init__(self, node: Node, *arguments: str) -> None:
        command = [*COVM, "federation", *arguments, "--follow", "--json", "--home", str(node.home)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())

    def next(self) -> dict[str, Any]:
        """The next object. Ends when the command does."""
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def end(self) -> int:
        """Waits for the command's own end."""
        _, _ = self.process.communicate(timeout=START_S)
        return self.process.returncode
