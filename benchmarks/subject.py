"""A subject: a program that takes the benchmarks' commands and answers each with one line of JSON."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

START_S = 60.0
"""A server says its address in a second; on a machine that compiles something, later."""

END_S = 15.0
"""After its peer left, a server answers at once; QUIC and TCP would take longer only if a close was lost."""

Answer = dict[str, float]


class SubjectFailed(Exception):
    """A subject did not answer; the message says which, to what, and why. What it wrote stands on standard error."""


@dataclass(frozen=True)
class Subject:
    """`command` begins every process of it."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]

    def ask(self, words: Sequence[str], timeout_s: float) -> Answer:
        """Runs one command to its end and returns its figures. Raises `SubjectFailed`."""
        with self._process(words) as process:
            return self._answer(process, words, timeout_s)

    def ask_pair(
        self, server_words: Sequence[str], words: Sequence[str], timeout_s: float, end_s: float
    ) -> tuple[Answer, Answer]:
        """Runs a command against a server in another process, whose address stands for `ADDRESS` in `words`.

        Returns the figures of the command and those of the server. Raises `SubjectFailed`.
        """
        with self._process(server_words) as server:
            address = self._line(server)
            with self._process([address if word == "ADDRESS" else word for word in words]) as client:
                said = self._answer(client, words, timeout_s)
            return said, self._answer(server, server_words, end_s)

    @contextmanager
    def _process(self, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [*self.command, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env={**os.environ, **self.environment},
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _answer(self, process: subprocess.Popen[bytes], words: Sequence[str], timeout_s: float) -> Answer:
        try:
            out, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise SubjectFailed(
                f"the {self.name} did not finish `{' '.join(words)}` within {timeout_s:.0f} s"
            ) from None
        lines = out.splitlines()
        if process.returncode or not lines:
            raise SubjectFailed(f"the {self.name} ended `{' '.join(words)}` with {process.returncode}, without figures")
        answer: Answer = json.loads(lines[-1])
        return answer

    def _line(self, server: subprocess.Popen[bytes]) -> str:
        """The server's first line: its address. It is short enough to come in one piece or few."""
        assert server.stdout is not None
        deadline, line = time.monotonic() + START_S, b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([server.stdout], [], [], max(deadline - time.monotonic(), 0.0))
            piece = os.read(server.stdout.fileno(), 4096) if readable else b""
            if not piece:
                raise SubjectFailed(f"the {self.name}'s server did not say its address within {START_S:.0f} s")
            line += piece
        return line.decode().strip()
