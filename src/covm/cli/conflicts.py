"""`covm federation conflicts`: entries of shared data that were written by several at once."""

from __future__ import annotations

from covm.cli.message_argument import AsText, MessageArgument, read_message
from covm.cli.options import DEFAULT, Common
from covm.cli.output import say_json
from covm.cli.records import show_entry, tell, value_of, writer
from covm.cli.rendering import table
from covm.control import records
from covm.control.client import ControlClient
from covm.control.failures import Invalid


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
    common: Common = DEFAULT,
) -> None:
    """Decide: write what replaces all versions side by side. It is a version itself, and can be replaced in turn.

    Parameters
    ----------
    type
        A message type, as in shop.note.
    key
        The entry's key.
    value
        JSON or text; - reads standard input, @FILE a file. Or leave it out and say --take.
    take
        The version whose value it is to be, as `conflicts show` tells.
    text
        Take the value as text, whatever it looks like.
    """
    if (value is None) == (not take):
        raise Invalid("give the value that is to be, or say with --take whose it is", code="usage")
    payload = None if value is None else read_message(value, as_text=text, may_ask=not common.no_input)
    tell(ControlClient(common.folder).resolve(type, key, payload, take), common)
