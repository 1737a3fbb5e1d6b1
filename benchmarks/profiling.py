"""Where a row's time goes in Python: the row once under cProfile, in each process of the service."""

from __future__ import annotations

import pstats
import sys
from collections.abc import Callable
from pathlib import Path

from tools.places import BUILD

from benchmarks.measuring import answer_of
from benchmarks.row import Row
from benchmarks.subject import Subject, SubjectFailed

FUNCTIONS = 30
"""Functions shown for each process: below them nothing is worth a change."""


def show(row: Row, service: Callable[..., Subject]) -> int:
    """Prints what took longest by itself, in each process; the files stay in build/profile for other viewers.

    Time that the loop waited counts as its `run`; the core's own threads are not seen.
    """
    folder = BUILD / "profile" / row.name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.prof"):
        old.unlink()
    try:
        answer = answer_of(row, service("--profile", str(folder)))
    except SubjectFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    print(", ".join(f"{key} {value:g}" for key, value in answer.items()))
    for path in sorted(folder.glob("*.prof")):
        _print(path)
    return 0


def _print(path: Path) -> None:
    print(f"\n{path}")
    pstats.Stats(str(path)).strip_dirs().sort_stats("tottime").print_stats(FUNCTIONS)
