"""Processes of this program that a row starts by itself, and talks to by lines."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

options: list[str] = []
"""Of this process, which those that it starts are given too."""


@contextmanager
def life(*words: str, inside: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process of this program, `inside` a network namespace perhaps; ended when it is left."""
    command = [sys.executable, "-m", "benchmarks.service", *options, *words]
    if inside:
        command = ["ip", "netns", "exec", inside, *command]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ.copy())
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """Its next line."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a process of this row ended with {process.wait()} and said nothing")
    return line.strip()


def told_by(process: subprocess.Popen[str]) -> Any:
    """What its next line says, in JSON."""
    return json.loads(line_of(process))


def say(process: subprocess.Popen[str], line: str) -> None:
    """Tells it something."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def finish(process: subprocess.Popen[str]) -> None:
    """Ends it the proper way, and waits for it."""
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    process.wait()


async def told() -> str:
    """The next line of standard input; empty at its end."""
    return (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).strip()


def answer(said: object) -> None:
    """A line in JSON on standard output."""
    print(json.dumps(said), flush=True)
