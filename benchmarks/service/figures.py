"""What a process says of itself, as the floor says it."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

Figures = dict[str, float]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which the given share lies; zero without values, as JSON knows no NaN."""
    ordered = sorted(values)
    return ordered[round((len(ordered) - 1) * share)] if ordered else 0.0


def cpu_s() -> float:
    """Processor time of this process so far, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def rss_mib() -> float:
    """Resident memory in MiB; zero where the system does not tell it this way."""
    return rss_mib_of(os.getpid())


def rss_mib_of(process: int) -> float:
    """The same of another process."""
    statm = Path(f"/proc/{process}/statm")
    pages = int(statm.read_text().split()[1]) if statm.is_file() else 0
    return pages * resource.getpagesize() / 1024 / 1024


def milliseconds_since(began_ns: int) -> float:
    return (time.perf_counter_ns() - began_ns) / 1e6
