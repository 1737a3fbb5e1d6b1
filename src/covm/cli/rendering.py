"""Tables: drawn by rich on a terminal, plain columns elsewhere, where nothing is cut and programs may read them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from covm.cli.output import safe, say


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Draws rows under columns; `empty` is the sentence instead when there are none."""
    if not rows:
        say(empty)
        return
    cells = [["" if cell is None else safe(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells)
        return
    widths = [max(len(row[index]) for row in [columns, *cells]) for index in range(len(columns))]
    for row in [columns, *cells]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _draw(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


def clock_time(time_ms: int) -> str:
    """A time of day for people, here where they are."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")


def date_time(time_ms: int) -> str:
    """A date and time for people, here where they are."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(time_ms: float) -> str:
    """A span for people: `3.2 ms`, `4.0 s`, `2 h 5 min`."""
    if time_ms < 1000:
        return f"{time_ms:.1f} ms"
    seconds = time_ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d" if days else "", f"{hours} h" if hours else "", f"{minutes} min" if minutes else ""]
    return " ".join(part for part in parts[:2] if part) if days else " ".join(part for part in parts if part)


def size(size_bytes: int) -> str:
    """Bytes for people."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 1024 * 1024:
        return f"{size_bytes / 1024:.1f} KiB"
    return f"{size_bytes / 1024 / 1024:.1f} MiB"
