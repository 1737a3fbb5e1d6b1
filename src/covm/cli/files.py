"""`covm federation send-file` and `transfers`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, safe, say, say_json
from covm.cli.rendering import sentence, size, table
from covm.cli.sending import SHORT_ID
from covm.control import delivery
from covm.control.client import ControlClient
from covm.control.failures import Failed, Invalid, NotFound

STEPS = 10
"""Lines that tell how far a file is, where there is no terminal to draw on: one for each tenth."""

COLUMNS = ("TRANSFER", "WAY", "PEER", "NAME", "DONE", "SIZE", "STATE", "REASON", "PATH")


def send_file(peer: str, path: Path, /, *, common: Common = DEFAULT) -> None:
    """Send a file of any size to one peer, and show how far it is until it has arrived.

    Ctrl-C ends the showing, not the sending: the node goes on, also over restarts of either side.

    Parameters
    ----------
    peer
        A peer id, the beginning of one, or a name.
    path
        The file. It must stay as it is until it has arrived.
    """
    file = path.expanduser().absolute()
    if not file.exists():
        raise NotFound(f"there is no file {path}", code="no_file")
    if not file.is_file():
        raise Invalid(f"{path} is not a file; pack a folder into one first, as with tar", code="not_a_file")
    client = ControlClient(common.folder)
    begun = client.send_file(peer, file)
    states = (line.transfer for line in client.follow_transfer(begun.id))
    try:
        last = _followed(begun, states, common)
    except KeyboardInterrupt:
        note(f"detached: {safe(begun.name)} goes on in the node; `covm federation transfers` shows how far it is")
        raise
    if last.state != "done":
        raise Failed(
            f"{safe(last.name)} did not arrive at {_name(last)}: {last.reason or last.state}", code="transfer_failed"
        )
    if not common.json:
        say(f"{safe(last.name)} has arrived at {_name(last)}, {size(last.size_bytes)} ({last.id[:SHORT_ID]})")


def transfers(*, common: Common = DEFAULT) -> None:
    """List the files on their way, to this node and from it, and those that ended lately."""
    listed = ControlClient(common.folder).transfers()
    if common.json:
        say_json(delivery.Transfers(transfers=listed))
        return
    rows = [
        (
            each.id,
            each.direction,
            _name(each),
            sentence(each.name),
            f"{_percent(each)} %",
            size(each.size_bytes),
            each.state,
            sentence(each.reason),
            each.path,
        )
        for each in listed
    ]
    table(COLUMNS, rows, empty="no file is on its way")


def _followed(begun: delivery.Transfer, states: Iterator[delivery.Transfer], common: Common) -> delivery.Transfer:
    """Shows each state; the last of them is the answer."""
    if common.json:
        return _last(begun, _in_json(states))
    if sys.stdout.isatty():
        return _drawn(begun, states)
    return _last(begun, _in_lines(begun, states))


def _last(begun: delivery.Transfer, states: Iterable[delivery.Transfer]) -> delivery.Transfer:
    ends = deque(states, maxlen=1)
    last = ends.pop() if ends else begun
    if not last.is_final:
        raise Failed(
            f"the node stopped before {safe(last.name)} had arrived; it goes on when the node runs again",
            code="stopped",
        )
    return last


def _in_json(states: Iterator[delivery.Transfer]) -> Iterator[delivery.Transfer]:
    for state in states:
        say_json(delivery.TransferLine(transfer=state))
        yield state


def _in_lines(begun: delivery.Transfer, states: Iterator[delivery.Transfer]) -> Iterator[delivery.Transfer]:
    say(f"sending {safe(begun.name)} to {_name(begun)}, {size(begun.size_bytes)} ({begun.id[:SHORT_ID]})")
    told = 0
    for state in states:
        step = _percent(state) * STEPS // 100
        if step > told:
            say(f"{_percent(state)} %, {size(state.done_bytes)} of {size(state.size_bytes)}")
            told = step
        yield state


def _drawn(begun: delivery.Transfer, states: Iterator[delivery.Transfer]) -> delivery.Transfer:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), TaskProgressColumn(), DownloadColumn(True), TransferSpeedColumn(), TimeRemainingColumn())
    # A name may look like rich's markup: it is shown as it is.
    with Progress(TextColumn("{task.description}", markup=False), *columns, transient=True) as bar:
        task = bar.add_task(safe(begun.name), total=begun.size_bytes, completed=begun.done_bytes)

        def shown() -> Iterator[delivery.Transfer]:
            for state in states:
                bar.update(task, completed=state.done_bytes)
                yield state

        return _last(begun, shown())


def _percent(transfer: delivery.Transfer) -> int:
    if transfer.size_bytes == 0:
        return 100 if transfer.state == "done" else 0
    return transfer.done_bytes * 100 // transfer.size_bytes


def _name(transfer: delivery.Transfer) -> str:
    return safe(transfer.peer_name) or transfer.peer
