"""What every suite shares: which tests need what, and the time table by suite at the end."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
IN_CI = os.environ.get("CI", "") not in {"", "0", "false"}


@dataclass
class Row:
    """One suite in the time table."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


_rows: dict[str, Row] = defaultdict(Row)


def suite_of(path: str) -> str:
    """The folder of tests/ that a file lies in, or the file's own name when it lies in none."""
    parts = Path(path).parts
    return parts[1] if len(parts) > 2 else Path(path).stem


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot do; in CI nothing is skipped for that, so that no defence goes untested unseen."""
    if IN_CI or (os.geteuid() == 0 and all(map(shutil.which, ("ip", "nft", "miniupnpd")))):
        return
    for item in items:
        if item.get_closest_marker("namespaces"):
            item.add_marker(pytest.mark.skip(reason="needs root, iproute2, nftables and miniupnpd"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what each suite took; set-up and tear-down count too."""
    row = _rows[suite_of(report.nodeid.partition("::")[0])]
    row.seconds += report.duration
    if report.when == "call" or report.outcome != "passed":
        setattr(row, report.outcome, getattr(row, report.outcome) + 1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The time table: the suites that ran before pytest, then pytest's own."""
    earlier = json.loads(os.environ.get("HOUSE_EARLIER_SUITES", "[]"))
    rows = [(each["name"], Row(each["passed"], each["failed"], 0, each["seconds"])) for each in earlier]
    rows += sorted(_rows.items())
    if not rows:
        return
    terminalreporter.section("time by suite", sep="-")
    width = max(len(name) for name, _ in rows)
    terminalreporter.write_line(f"{'':{width}}  passed  failed  skipped  seconds")
    total = Row()
    for name, row in rows:
        terminalreporter.write_line(_line(name.ljust(width), row))
        total = Row(*(getattr(total, field) + getattr(row, field) for field in Row.__dataclass_fields__))
    terminalreporter.write_line(_line("all".ljust(width), total))


def _line(name: str, row: Row) -> str:
    return f"{name}  {row.passed:6}  {row.failed:6}  {row.skipped:7}  {row.seconds:7.1f}"
