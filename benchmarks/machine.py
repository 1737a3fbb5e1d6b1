"""On what the figures were taken: without that they mean nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Hardware, versions, and how busy the machine was when the run began (its own tasks not counted yet)."""

    processor: str
    cores: int
    system: str
    python: str
    loop: str
    rust: str
    covm: str
    load: float

    def sentence(self) -> str:
        """One line."""
        return (
            f"covm {self.covm} on {self.cores} cores ({self.processor}), {self.system}; {self.python}, {self.loop}; "
            f"{self.rust}; load {self.load:.1f} at the start"
        )


def describe(loop: str) -> Machine:
    """This machine, and the loop that `--loop` comes to."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        loop=loop_name(loop),
        rust=_rust(),
        covm=importlib.metadata.version("covm"),
        load=os.getloadavg()[0],
    )


def loop_name(loop: str) -> str:
    """`uvloop` with its version, or `asyncio`."""
    if loop == "auto" and importlib.util.find_spec("uvloop"):
        return f"uvloop {importlib.metadata.version('uvloop')}"
    return "asyncio"


def _processor() -> str:
    """The model as Linux tells it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found[1] if found else platform.processor() or "unknown"


def _rust() -> str:
    try:
        said = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "Rust unknown"
    return " ".join(said.split()[:2])
