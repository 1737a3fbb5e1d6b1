"""`covm federation sync now`: fetches, and shows how far it is."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator

from covm.cli import replicas
from covm.cli.exits import Exit
from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, say
from covm.cli.rendering import duration, size
from covm.control import records
from covm.control.client import ControlClient
from covm.control.failures import Failed

LINE_EVERY_S = 2.0
"""How often a line tells how far it is, where there is no terminal to draw on."""


LONGEST_S = 30 * 24 * 3600.0
"""What would take longer at the rate so far is not foretold."""


def now(type: str | None = None, /, *, peer: str | None = None, common: Common = DEFAULT) -> int:
    """Fetch what connected peers have and this node lacks, and show how it stands then. It also happens by itself.

    Ctrl-C ends the showing, not the fetching. The exit code is 1 where a peer was interrupted: what came is kept, and
    it is asked again.

    Parameters
    ----------
    type
        A message type, as in shop.note; left out, all of them.
    peer
        From this one alone: a peer id, the beginning of one, or a name.
    """
    lines = ControlClient(common.folder).sync(type, peer)
    if common.json:
        last = _last(lines)
    elif sys.stdout.isatty():
        last = _drawn(lines)
    else:
        last = _last(in_lines(lines))
    told = last.replicas or []
    replicas.tell(told, common)
    interrupted = sorted(
        {beside.name or beside.peer_id for each in told for beside in each.peers if beside.state == "interrupted"}
    )
    if not common.json:
        say(summary(last))
    if interrupted:
        note(f"covm: interrupted: {', '.join(interrupted)}; what came is kept, and they are asked again")
        return Exit.FAILED
    return Exit.DONE


def summary(line: records.SyncLine) -> str:
    """What came, in a sentence."""
    if not line.records:
        return "nothing new has come"
    rate = f", {line.records / line.seconds:,.0f} records a second" if line.seconds else ""
    return f"{line.records:,} records have come, {size(line.size)}, in {duration(line.seconds * 1000)}{rate}"


def in_lines(lines: Iterable[records.SyncLine]) -> Iterator[records.SyncLine]:
    """Says every few seconds how far it is, and hands on what it read."""
    told_s = 0.0
    for line in lines:
        if line.replicas is None and line.seconds - told_s >= LINE_EVERY_S:
            told_s = line.seconds
            left = f", about {duration(1000 * left_s)} left" if (left_s := seconds_left(line)) is not None else ""
            lacking = "nobody knows how many" if line.lacking is None else f"about {line.lacking:,}"
            say(f"{line.records:,} records, {size(line.size)}, {lacking} to come{left}")
        yield line


def seconds_left(line: records.SyncLine) -> float | None:
    """How long it takes at the rate so far; None where that cannot be told."""
    if not line.records or not line.lacking or not line.seconds:
        return None
    left_s = line.lacking * line.seconds / line.records
    return left_s if left_s <= LONGEST_S else None


def _last(lines: Iterable[records.SyncLine]) -> records.SyncLine:
    ends = deque(lines, maxlen=1)
    if not ends or ends[0].replicas is None:
        raise Failed("the node stopped before it was through; it goes on when it runs again", code="stopped")
    return ends[0]


def _drawn(lines: Iterable[records.SyncLine]) -> records.SyncLine:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    with Progress(
        BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False), transient=True
    ) as bar:
        task = bar.add_task("asking", total=None)

        def shown() -> Iterator[records.SyncLine]:
            for line in lines:
                total = line.records + (line.lacking or 0)
                bar.update(
                    task,
                    completed=line.records,
                    total=total if total and line.lacking is not None else None,
                    description=_told(line),
                )
                yield line

        return _last(shown())


def _told(line: records.SyncLine) -> str:
    """Records, bytes, rate and time left, beside a bar."""
    rate = f" {line.records / line.seconds:,.0f}/s" if line.seconds and line.records else ""
    left = f" {duration(1000 * left_s)} left" if (left_s := seconds_left(line)) is not None else ""
    of = "" if line.lacking is None else f" of {line.records + line.lacking:,}"
    return f"{line.records:,}{of} records {size(line.size)}{rate}{left}"
