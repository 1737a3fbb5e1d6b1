"""What `covm doctor` says of a home's running node, for stories that wait for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.processes import covm


def told(home: Path, area: str) -> dict[str, Any]:
    """What the doctor says of an area, by what the node itself knows."""
    findings = covm("doctor", "--home", home, "--json").json["findings"]
    found: dict[str, Any] = [finding for finding in findings if finding["area"] == area][-1]
    return found


def says(home: Path, area: str, verdict: str, *words: str) -> bool:
    """Whether it says all this of the area."""
    finding = told(home, area)
    text = f"{finding['what']} {finding['why']} {finding['next_step']}"
    return finding["verdict"] == verdict and all(word in text for word in words)
