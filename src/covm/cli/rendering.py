"""Tables: fitted to a terminal, plain columns elsewhere, for programs to read; and values written for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from covm.cli.output import safe, say

if TYPE_CHECKING:
    from rich.console import Console

SENTENCE_CHARACTERS = 60
"""How much of a sentence of any length stands in a table: what is longer would push everything else off the screen."""

SHOWN_ID = 8
"""Characters of an id that are shown beside a name."""

GAP = 2
"""Blanks between two columns."""


def sentence(text: str) -> str:
    """A sentence of unknown length and origin for a table; `--json` has all of it."""
    return safe(text, limit=SENTENCE_CHARACTERS)


def nothing_of(nothing: str, type_name: str | None, limit: int) -> str:
    """Why a log shows nothing: none was asked for, there is none of the type, or there is `nothing` at all."""
    if limit == 0:
        return "--limit 0 asks for nothing; leave it out, or ask for more"
    return f"{nothing} of type {safe(type_name)}" if type_name else nothing


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Draws rows under columns; `empty` is the sentence instead when there are none.

    No word is ever broken, so that ids and addresses can be copied: on a terminal too narrow for the longest words
    each row is a block of its own, with its values below each other.
    """
    if not rows:
        say(empty)
        return
    cells = [["" if cell is None else safe(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells)
        return
    widths = [max(len(row[index]) for row in [columns, *cells]) for index in range(len(columns))]
    for row in [columns, *cells]:
        say((" " * GAP).join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _draw(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    by_column = list(zip(columns, *cells, strict=True))
    needed = [max(cell_len(word) for cell in column for word in cell.split() or [""]) for column in by_column]
    spare = console.width - sum(needed) - GAP * (len(columns) - 1)
    if spare < 0:
        _draw_blocks(console, columns, cells)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column, least in zip(by_column, needed, strict=True):
        more = min(spare, max(map(cell_len, column)) - least)
        spare -= more
        drawn.add_column(column[0], width=least + more)
    for row in cells:
        drawn.add_row(*map(Text, row))
    console.print(drawn)


def _draw_blocks(console: Console, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.text import Text

    width = max(map(len, columns)) + GAP
    for index, row in enumerate(cells):
        if index:
            console.print()
        for column, cell in zip(columns, row, strict=True):
            if cell:
                # The terminal itself wraps what is longer than a line, and copies it as one.
                console.print(Text.assemble((column.ljust(width), "bold"), cell), soft_wrap=True)


def facts(pairs: Sequence[tuple[str, object]]) -> None:
    """What there is to say of one thing, a line for each fact; those that are empty are left out."""
    width = max(len(label) for label, _ in pairs) + GAP
    for label, fact in pairs:
        if (told := safe(fact)) != "":
            say(f"{label:<{width}}{told}")


def short_id(subject: str) -> str:
    """The part of the id of a member, or of what waits, that tells it from others; "" for the name of a type."""
    from covm.federation.wire.member_id import distinct, is_member_id

    return distinct(subject)[:SHOWN_ID] if is_member_id(subject) else ""


def clock_time(time_ms: int) -> str:
    """A time of day for people, here where they are."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")


def date_time(time_ms: int) -> str:
    """A date and time for people, here where they are."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def moment(time_ms: int) -> str:
    """A time as one would say it: `09:12` today, `29 Nov` in this year, `3 Jan 2027` otherwise."""
    when = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()
    today = datetime.now(UTC).astimezone()
    if when.date() == today.date():
        return when.strftime("%H:%M")
    return f"{when.day} {when:%b}" if when.year == today.year else f"{when.day} {when:%b %Y}"


def age(since_ms: int) -> str:
    """How long ago something was, for people: `12 s`, `2 h 5 min`."""
    return duration(max(time.time() * 1000 - since_ms, 0))


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
    if size_bytes < 1024 * 1024 * 1024:
        return f"{size_bytes / 1024 / 1024:.1f} MiB"
    return f"{size_bytes / 1024 / 1024 / 1024:.1f} GiB"
