"""The table, on a terminal, as Markdown and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.beside import NAMES
from benchmarks.machine import Machine
from benchmarks.measuring import Measured, Pair

_WIDTHS = (34, 12, 12, 8)


def heading(machine: Machine) -> str:
    names = ("", "service", "beside", "ratio")
    return f"{machine.sentence()}\n\n{_columns(names)}  goal"


def lines(measured: Measured) -> str:
    """A row: its title, then a line for each figure."""
    title = f"{measured.row.name}: {_title(measured)}"
    if measured.error:
        return f"{title}\n  not measured: {measured.error}"
    return "\n".join([title, *(f"{_columns(_cells(pair))}  {_goal(pair)}".rstrip() for pair in measured.pairs)])


def markdown(machine: Machine, results: Sequence[Measured]) -> str:
    """What docs/measurements.md holds."""
    head = [
        f"Measured with `make bench`: {machine.sentence()}.",
        "",
        "| row | figure | service | beside | ratio | goal |",
        "|---|---|---:|---:|---:|---|",
    ]
    body: list[str] = []
    for measured in results:
        title = _title(measured)
        if measured.error:
            body.append(f"| {title} | not measured: {measured.error} | | | | |")
        for pair in measured.pairs:
            label, service, beside, ratio = _cells(pair)
            body.append(f"| {title} | {label} | {service} | {beside} | {ratio} | {_goal(pair)} |")
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
            "beside": pair.beside,
            "ratio": pair.ratio,
            "goal": str(pair.figure.goal) if pair.figure.goal else None,
            "is_met": pair.is_met,
        }
        for pair in measured.pairs
    }
    row = measured.row
    return {
        "name": row.name,
        "title": row.title,
        "beside": NAMES[row.beside],
        "figures": figures,
        "error": measured.error or None,
        "note": measured.note or None,
    }


def _title(measured: Measured) -> str:
    """With what stands beside, where that is not the floor, or why nothing does."""
    row = measured.row
    if measured.note:
        return f"{row.title} ({measured.note})"
    return row.title if row.beside in {"floor", "none"} else f"{row.title} (beside: {NAMES[row.beside]})"


def _cells(pair: Pair) -> tuple[str, ...]:
    digits = pair.figure.digits
    return (
        pair.figure.label,
        *("-" if value is None else f"{value:,.{digits}f}" for value in (pair.service, pair.beside)),
        "-" if pair.ratio is None else f"{pair.ratio:.2f}",
    )


def _goal(pair: Pair) -> str:
    if pair.figure.goal is None or pair.is_met is None:
        return ""
    return f"{pair.figure.goal}: {'met' if pair.is_met else 'missed'}"


def _columns(cells: tuple[str, ...]) -> str:
    first, *others = cells
    return f"  {first:<{_WIDTHS[0]}}" + "".join(
        f"{cell:>{width}}" for cell, width in zip(others, _WIDTHS[1:], strict=True)
    )
