"""The table, on a terminal, as Markdown and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.machine import Machine
from benchmarks.measuring import Measured, Pair

_WIDTHS = (30, 12, 12, 8)


def heading(machine: Machine) -> str:
    names = ("", "service", "floor", "ratio")
    return f"{machine.sentence()}\n\n{_columns(names)}  goal"


def lines(measured: Measured) -> str:
    """A row: its title, then a line for each figure."""
    title = f"{measured.row.name}: {measured.row.title}"
    if measured.error:
        return f"{title}\n  not measured: {measured.error}"
    return "\n".join([title, *(f"{_columns(_cells(pair))}  {_goal(pair)}".rstrip() for pair in measured.pairs)])


def markdown(machine: Machine, results: Sequence[Measured]) -> str:
    """What docs/measurements.md holds."""
    head = [
        f"Measured with `make bench`: {machine.sentence()}.",
        "",
        "| row | figure | service | floor | ratio | goal |",
        "|---|---|---:|---:|---:|---|",
    ]
    body: list[str] = []
    for measured in results:
        title = measured.row.title
        if measured.error:
            body.append(f"| {title} | not measured: {measured.error} | | | | |")
        for pair in measured.pairs:
            label, service, floor, ratio = _cells(pair)
            body.append(f"| {title} | {label} | {service} | {floor} | {ratio} | {_goal(pair)} |")
            title = ""
    return "\n".join([*head, *body])


def plain(machine: Machine, results: Sequence[Measured]) -> dict[str, Any]:
    """Everything as JSON has it."""
    return {"version": 1, "machine": asdict(machine), "rows": [_plain_row(measured) for measured in results]}


def _plain_row(measured: Measured) -> dict[str, Any]:
    figures = {
        pair.figure.key: {
            "label": pair.figure.label,
            "service": pair.service,
            "floor": pair.floor,
            "ratio": pair.ratio if pair.floor else None,
            "goal": str(pair.figure.goal) if pair.figure.goal else None,
            "is_met": pair.is_met,
        }
        for pair in measured.pairs
    }
    row = measured.row
    return {"name": row.name, "title": row.title, "figures": figures, "error": measured.error or None}


def _cells(pair: Pair) -> tuple[str, str, str, str]:
    digits = pair.figure.digits
    return (
        pair.figure.label,
        f"{pair.service:,.{digits}f}",
        f"{pair.floor:,.{digits}f}",
        f"{pair.ratio:.2f}" if pair.floor else "-",
    )


def _goal(pair: Pair) -> str:
    return f"{pair.figure.goal}: {'met' if pair.is_met else 'missed'}" if pair.figure.goal else ""


def _columns(cells: tuple[str, str, str, str]) -> str:
    first, *others = cells
    return f"  {first:<{_WIDTHS[0]}}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(others, _WIDTHS[1:], strict=True)
    )
