"""`covm federation conflicts`: entries of shared data that were written by several at once."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from covm.cli.message_argument import AsText, MessageArgument, read_message
from covm.cli.options import DEFAULT, Common
from covm.cli.output import note, safe, say_json
from covm.cli.records import cells, show_entry, tell, value_of, writer
from covm.cli.rendering import table
from covm.control import records
from covm.control.client import ControlClient
from covm.control.failures import Invalid, Refused


def list_conflicts(type: str | None = None, /, *, common: Common = DEFAULT) -> None:
    """List the entries with several versions side by side, the oldest conflict first.

    Parameters
    ----------
    type
        A message type, as in shop.note; left out, all of them.
    """
    found = ControlClient(common.folder).conflicts(type)
    if common.json:
        say_json(records.Entries(entries=found))
        return
    rows = [
        (
            each.type,
            each.key,
            len(each.versions),
            ", ".join(dict.fromkeys(writer(version) for version in each.versions)),
            value_of(each.value),
        )
        for each in found
    ]
    table(("TYPE", "KEY", "VERSIONS", "BY", "SHOWN NOW"), rows, empty="nothing is in conflict")


def show(type: str, key: str, /, *, common: Common = DEFAULT) -> None:
    """Show the versions of an entry side by side, with author and time.

    Parameters
    ----------
    type
        A message type, as in shop.note.
    key
        The entry's key.
    """
    show_entry(ControlClient(common.folder).entry(type, key), common)


def resolve(
    type: str,
    key: str,
    value: MessageArgument | None = None,
    /,
    *,
    take: str = "",
    text: AsText = False,
    yes: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> None:
    """Decide: write what replaces all versions side by side. What it is to be is shown before it is signed.

    It is a version itself, and can be replaced in turn: to take it back, resolve again, with --take and an older one.

    Parameters
    ----------
    type
        A message type, as in shop.note.
    key
        The entry's key.
    value
        JSON or text; - reads standard input, @FILE a file. Or leave it out and say --take.
    take
        The version whose value it is to be: one of those side by side, as `conflicts show` tells, or an older one, as
        `records history` does.
    text
        Take the value as text, whatever it looks like.
    yes
        Ask nothing.
    """
    if (value is None) == (not take):
        raise Invalid("give the value that is to be, or say with --take whose it is", code="usage")
    payload = None if value is None else read_message(value, as_text=text, may_ask=not common.no_input)
    client = ControlClient(common.folder)
    asked = records.Resolve(type=type, key=key, value=payload, take=take)
    preview = client.preview(asked)
    if not yes:
        _ask(preview, common)
    # Signed is what was shown, or nothing.
    based_on = [each.id for each in preview.replaces]
    tell(client.resolve(msgspec.structs.replace(asked, based_on=based_on)), common)


def _number(preview: records.Preview) -> str:
    number = len(preview.replaces)
    return "1 version" if number == 1 else f"{number} versions"


def _ask(preview: records.Preview, common: Common) -> None:
    """Shows what is to be written and in place of what, beside the answer, and has it confirmed."""
    becomes = "that there is no value any more" if preview.op == "delete" else value_of(preview.value)
    told = f"{safe(preview.type)} {safe(preview.key)} will be {becomes}, in place of {_number(preview)}"
    if common.no_input or not sys.stdin.isatty():
        raise Invalid(f"{told}; if that is meant, give --yes", code="not_confirmed")
    for each in preview.replaces:
        note("  ".join(cells(each)))
    note(told)
    print("Sign it? [y/N]: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise Refused("nothing was written", code="not_confirmed")
