"""`covm federation export` and `import`: records of shared data to a file, and from one."""

from __future__ import annotations

from pathlib import Path

from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, safe, say, say_json
from covm.cli.rendering import size
from covm.control.client import ControlClient
from covm.control.failures import NotFound

_WHY_REFUSED = (
    "their author forked a log too often, or began too many, or their member has as much as it may have here "
    "(record_quota, record_quota_bytes)"
)


def export(type: str, file: Path, /, *, common: Common = DEFAULT) -> None:
    """Write all records of a type that are here to a file of content blocks (CAR), which any IPLD tool reads.

    Void ones and those that wait are among them. An older export of the type is written over, anything else is not.

    Parameters
    ----------
    type
        A message type, as in shop.note.
    file
        Where to write it.
    """
    target = file.expanduser().absolute()
    if not target.parent.is_dir():
        raise NotFound(f"there is no folder {target.parent} for the file; make it first", code="no_folder")
    made = ControlClient(common.folder).export_records(type, target)
    if common.json:
        say_json(made)
        return
    say(f"exported {_records(made.records)} of {safe(made.type)} to {safe(made.path)}, {size(made.size_bytes)}")
    say(f"its root is {made.root}")
    if made.left_out:
        note(f"{_records(made.left_out)} went without a value: it is not held here any more")


def import_(file: Path, /, *, common: Common = DEFAULT) -> None:
    """Take the records in such a file, as if they came from a peer. All of it is verified before anything is taken.

    Records that are here without their values are given them, but for what was erased. A second time changes nothing;
    what was interrupted goes on when it is done again.

    Parameters
    ----------
    file
        The file.
    """
    source = file.expanduser().absolute()
    if not source.exists():
        raise NotFound(f"there is no file {file}", code="no_file")
    taken = ControlClient(common.folder).import_records(source)
    if common.json:
        say_json(taken)
        return
    here = taken.records - taken.new
    told = f"all {_records(taken.records)} were here already" if not taken.new else f"{taken.new:,} of them new"
    if taken.new and not here:
        told = "all of them new"
    say(f"imported {_records(taken.records)} of {safe(taken.type)} from {safe(taken.path)}, {told}")
    if taken.completed:
        were = "was here without a value has" if taken.completed == 1 else "were here without a value have"
        say(f"{_records(taken.completed)} that {were} it now")
    if taken.left_out:
        note(f"{_records(taken.left_out)} came without a value: it was not held where the file was made")
    if taken.refused:
        note(f"{_records(taken.refused)} found no place: {_WHY_REFUSED}")
    if taken.postponed:
        note("too many records wait to be judged here; import the file again later")


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"
