"""A program of a test, in a namespace or not, that is told and heard in lines of JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60

Said = dict[str, Any]


class Conversation:
    """A Python module run as a program, and what it has said.

    It is told commands as lists, and says objects: `{"result": ...}` or `{"error": ...}` for each command, and what
    else happens between them.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said: list[Said] = []

    @classmethod
    async def begin(cls, module: str, *words: str, namespace: str = "") -> Self:
        within = ("ip", "netns", "exec", namespace) if namespace else ()
        process = await asyncio.create_subprocess_exec(
            *within, sys.executable, "-m", module, *words,
            cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return cls(process)

    async def hears(self, wanted: Callable[[Said], bool]) -> Said:
        """The first of what it said, or will say, that is wanted; each is taken once."""
        stdout = self._process.stdout
        assert stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for index, said in enumerate(self._said):
                    if wanted(said):
                        return self._said.pop(index)
                line = await stdout.readline()
                assert line, f"it ended; it said {self._said}"
                self._said.append(json.loads(line))

    async def hears_of(self, event: str, **fields: Any) -> Said:
        """The first event of this name and with these fields."""
        return await self.hears(
            lambda said: said.get("event") == event and all(said[name] == value for name, value in fields.items())
        )

    async def does(self, *command: Any) -> Any:
        """Gives a command; returns its result, or fails with what went wrong."""
        said = await self.tries(*command)
        assert "result" in said, said
        return said["result"]

    async def tries(self, *command: Any) -> Said:
        """Gives a command; returns its result or its error, as it said it."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps(command).encode() + b"\n")
        return await self.hears(lambda said: "result" in said or "error" in said)

    async def stop(self) -> None:
        """Ends the program, and returns when it has ended."""
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.communicate()
