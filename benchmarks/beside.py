"""What a row may stand beside: a program that does the same work without the service, found or built when wanted."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tools.places import ROOT

from benchmarks import floor
from benchmarks.jetstream import server
from benchmarks.negentropy import program as negentropy
from benchmarks.row import Beside
from benchmarks.subject import Subject

NAMES: dict[Beside, str] = {
    "floor": "the floor",
    "nats": f"NATS JetStream {server.VERSION.removeprefix('v')}",
    "disk": "the disk",
    "negentropy": f"negentropy {negentropy.VERSION}",
    "none": "nothing",
}


@dataclass(frozen=True)
class Missing:
    """It cannot be had on this machine; the row is measured alone."""

    why: str


Found: TypeAlias = Subject | Missing | None
"""None for `none`."""


def python_environment(folder: Path) -> dict[str, str]:
    """For subjects that are modules of ours. `folder` is where homes and files are made, all on one disk."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "BENCHMARK_FOLDER": str(folder)}


def find(beside: Beside, folder: Path, loop: str, built_floor: Path | None) -> Found:
    """The subject, built if need be. Raises `CommandFailed` when the floor does not build."""
    environment = python_environment(folder)
    if beside == "floor":
        return Subject("floor", (str(built_floor or floor.build()),), {})
    if beside == "disk":
        return Subject("disk", (sys.executable, "-m", "benchmarks.disk"), environment)
    if beside == "nats":
        try:
            program = server.build()
        except server.NotToBeHad as error:
            return Missing(f"NATS is missing: {error}")
        command = (sys.executable, "-m", "benchmarks.jetstream", "--loop", loop, str(program))
        return Subject("NATS server with its Python client", command, environment)
    if beside == "negentropy":
        try:
            built = negentropy.build()
        except negentropy.NotToBeHad as error:
            return Missing(f"negentropy is missing: {error}")
        return Subject(NAMES[beside], (sys.executable, "-m", "benchmarks.negentropy", str(built)), environment)
    return None
