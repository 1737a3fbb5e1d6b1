"""A bash session that types what a page says, and compares what is printed with what the page says is printed."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cli.processes import within
from tests.docs.pages import ROOT, Block

ANSWER_S = 60.0
"""A command answers within a second; a machine that compiles beside the tests may take longer."""

DONE = "<<done with "

# What differs from run to run, each by the word that stands for it. The order matters: long before short.
VARYING = [
    (re.compile(r"12D3KooW[1-9A-Za-z]{44}|12D3KooW[1-9A-Za-z]*\.\.\."), "PEER"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?= \d)"), "DATE"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? (ms|s|min|h)\b"), "SPAN"),
    (re.compile(r"\b\d+ B\b"), "SIZE"),
    (re.compile(r"(?<=/tcp/)\d+|(?<=/udp/)\d+"), "PORT"),
    (re.compile(r"(?<=process )\d+"), "PID"),
    (re.compile(r"[ \t]+"), " "),
]


class Terminal:
    """One bash with `covm` on its path, in the repository's folder, with a home folder of its own. Whatever it started
    ends with it.

    With the name of a network namespace it is on that machine.
    """

    def __init__(self, namespace: str = "") -> None:
        self._namespace = namespace

    def __enter__(self) -> Self:
        # Short, because a socket's path has to fit into some hundred bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="covm-docs-", dir="/tmp"))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COVM_")}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
            "HOME": str(self._folder),
            "TMPDIR": str(self._folder),
            "NO_COLOR": "1",
        }
        self._bash = subprocess.Popen(
            [*within(self._namespace), "bash", "--norc", "--noprofile"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._unread = ""
        return self

    @property
    def home(self) -> Path:
        """The home of a node that is made without `--home`."""
        return self._folder / ".covm"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)

    def follow(self, block: Block) -> list[str]:
        """Types every command of a block; each must end with 0 and print what stands below it.

        Returns what all of them printed.
        """
        said: list[str] = []
        for command, printed in commands(block.text):
            self._type(command)
            expected = _pattern(printed)
            lines: list[str] = []
            code = None
            in_background = command.rstrip().endswith("&")
            while code is None or (in_background and not expected.fullmatch(_even(lines))):
                line = self._line(f"{block.place}: {command}", lines)
                if line.startswith(DONE):
                    code = int(line.removeprefix(DONE).strip().rstrip(">"))
                else:
                    lines.append(line)
            assert code == 0, f"{block.place}: {command}\nended with {code}:\n" + "\n".join(lines)
            # What a command leaves unsaid below it is not looked at only where the page shows nothing of it.
            if printed:
                assert expected.fullmatch(_even(lines)), (
                    f"{block.place}: {command}\nprinted:\n"
                    + "\n".join(lines)
                    + "\n\nthe page says:\n"
                    + "\n".join(printed)
                )
            said += lines
        return said

    def _type(self, command: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{command}\necho '{DONE}'$?'>>'\n".encode())
        self._bash.stdin.flush()

    def _line(self, doing: str, so_far: list[str]) -> str:
        assert self._bash.stdout is not None
        deadline_s = time.monotonic() + ANSWER_S
        while "\n" not in self._unread:
            left_s = max(deadline_s - time.monotonic(), 0)
            readable, _, _ = select.select([self._bash.stdout], [], [], left_s)
            chunk = os.read(self._bash.stdout.fileno(), 65536) if readable else b""
            assert chunk, f"{doing}\nsays no more than:\n" + "\n".join(so_far)
            self._unread += chunk.decode()
        line, _, self._unread = self._unread.partition("\n")
        return line


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block with the lines that it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            assert found, f"a console block begins with a command, not with {line!r}"
            found[-1][1].append(line)
    return found


def _even(lines: list[str]) -> str:
    """Printed lines with what varies evened out."""
    return "".join(f"{_evened(line)}\n" for line in lines)


def _evened(line: str) -> str:
    for varying, word in VARYING:
        line = varying.sub(word, line)
    return line.rstrip()


def _pattern(printed: list[str]) -> re.Pattern[str]:
    parts = []
    for line in printed:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(map(re.escape, _evened(line).split("..."))) + r"\n")
    return re.compile("".join(parts))
