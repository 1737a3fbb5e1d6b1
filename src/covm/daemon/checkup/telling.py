"""Findings as they travel between a node and `covm doctor`."""

from __future__ import annotations

from collections.abc import Sequence

from covm.control import diagnosis
from covm.federation.diagnosis.finding import Area, Finding, Verdict


def as_told(findings: Sequence[Finding]) -> list[diagnosis.Finding]:
    """Findings as the control API has them."""
    return [
        diagnosis.Finding(area=each.area, verdict=each.verdict, what=each.what, why=each.why, next_step=each.next_step)
        for each in findings
    ]


def read_back(findings: Sequence[diagnosis.Finding]) -> list[Finding]:
    """What was told, as findings again."""
    return [Finding(Area(each.area), Verdict(each.verdict), each.what, each.why, each.next_step) for each in findings]
