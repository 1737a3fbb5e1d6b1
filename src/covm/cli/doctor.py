"""`covm doctor`: what is wrong with a node, its home and its machine, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from covm.cli.exits import Exit
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.control import diagnosis

VERDICTS = ("problem", "warning", "not checked", "ok")
"""In the order in which they are counted at the end."""


def doctor(*, common: Common = DEFAULT) -> int:
    """Say what is wrong with the node, its home and its machine: a verdict for each area, the cause, the next step.

    Works with the node running or not, and takes some seconds at most. Exit code 1 if there is any problem.
    """
    from covm.daemon.checkup.examination import examine

    seen = examine(common.folder)
    if common.json:
        say_json(seen)
    else:
        _tell(seen)
    return Exit.FAILED if seen.verdict == "problem" else Exit.DONE


def _tell(seen: diagnosis.Checkup) -> None:
    verdicts = max(len(each.verdict) for each in seen.findings) + 2
    areas = max(len(each.area) for each in seen.findings) + 2
    for finding in seen.findings:
        say(f"{finding.verdict:<{verdicts}}{finding.area:<{areas}}{safe(finding.what)}")
        for label, told in (("why", finding.why), ("do", finding.next_step)):
            if told:
                say(f"{'':<{verdicts + areas}}{label + ':':<5}{safe(told)}")
    say("")
    say(_counted(seen.findings))


def _counted(findings: Sequence[diagnosis.Finding]) -> str:
    """How many of each verdict there are, the worst first."""
    counts = {verdict: sum(each.verdict == verdict for each in findings) for verdict in VERDICTS}
    names = {"problem": "problem" if counts["problem"] == 1 else "problems"}
    names["warning"] = "warning" if counts["warning"] == 1 else "warnings"
    return ", ".join(f"{count} {names.get(verdict, verdict)}" for verdict, count in counts.items() if count)
