"""`covm federation records`: shared data, entry by entry."""

from __future__ import annotations

from covm.cli.members import told
from covm.cli.message_argument import AsText, MessageArgument, read_message
from covm.cli.options import DEFAULT, Common
from covm.cli.output import as_text, safe, say, say_json
from covm.cli.rendering import date_time, facts, table
from covm.control import records, schema
from covm.control.client import ControlClient

SHOWN_VALUE = 60
"""Characters of a value in a table."""

SHOWN_ID = slice(7, 15)
"""Of a record's id: the first characters are the same for all."""

VERSIONS = ("VERSION", "WRITTEN", "BY", "SAYS", "VALUE", "STATE")


def list_entries(
    type: str,
    /,
    *,
    prefix: str = "",
    after: str = "",
    limit: int = schema.LIMIT_DEFAULT,
    common: Common = DEFAULT,
) -> None:
    """List the entries of a type by key.

    Parameters
    ----------
    type
        A message type, as in shop.note.
    prefix
        Those whose keys begin so.
    after
        Those behind this key.
    limit
        How many at most.
    """
    found = ControlClient(common.folder).entries(type, prefix, after, limit)
    if common.json:
        say_json(records.Entries(entries=found))
        return
    rows = [
        (
            each.key,
            value_of(each.value),
            writer(each.versions[0]),
            date_time(each.versions[0].written_at),
            f"conflict: {len(each.versions)} versions" if each.conflict else "",
        )
        for each in found
    ]
    table(("KEY", "VALUE", "BY", "WRITTEN", ""), rows, empty=f"there is nothing of {type} here")


def show(type: str, key: str, /, *, common: Common = DEFAULT) -> None:
    """Show one entry, with the versions that stand side by side.

    Parameters
    ----------
    type
        A message type, as in shop.note.
    key
        The entry's key.
    """
    show_entry(ControlClient(common.folder).entry(type, key), common)


def history(type: str, key: str, /, *, common: Common = DEFAULT) -> None:
    """List everything that was ever written of a key, void records and those that wait too.

    Parameters
    ----------
    type
        A message type, as in shop.note.
    key
        The entry's key.
    """
    found = ControlClient(common.folder).history(type, key)
    if common.json:
        say_json(found)
    else:
        table(VERSIONS, [cells(each) for each in found.versions], empty="there is nothing")


def put(type: str, key: str, value: MessageArgument, /, *, text: AsText = False, common: Common = DEFAULT) -> None:
    """Write a value; it replaces the one that is shown, and goes to every node that may read the type.

    Parameters
    ----------
    type
        A message type, as in shop.note.
    key
        The entry's key.
    value
        JSON or text; - reads standard input, @FILE a file.
    text
        Take the value as text, whatever it looks like.
    """
    payload = read_message(value, as_text=text, may_ask=not common.no_input)
    tell(ControlClient(common.folder).put(type, key, payload), common)


def delete(type: str, key: str, /, *, common: Common = DEFAULT) -> None:
    """Say that a key has no value any more. What was written of it stays in its history.

    Parameters
    ----------
    type
        A message type, as in shop.note.
    key
        The entry's key.
    """
    tell(ControlClient(common.folder).delete(type, key), common)


def erase(id: str, /, *, reason: str, common: Common = DEFAULT) -> None:
    """Take away for good what a version says, on every node. That it was there, who erased it and why stays.

    What another member wrote is erased once as many founders have approved it as would remove that member.

    Parameters
    ----------
    id
        The version's id, or the beginning of it as `records history` shows it.
    reason
        Why; everybody who may read the entry sees it.
    """
    done = ControlClient(common.folder).erase(id, reason)
    if common.json:
        say_json(done)
    elif done.decision is not None:
        say(told(done.decision))
    else:
        what = f"version {safe(id)} of {safe(done.type)} {safe(done.key)}"
        say(f"erased {what}; other nodes do so as this reaches them")


def tell(written: records.Written, common: Common) -> None:
    """Answers with a record that was written."""
    if common.json:
        say_json(written)
    else:
        done = "wrote" if written.written.op == "put" else "deleted"
        say(f"{done} {safe(written.type)} {safe(written.key)}: version {written.written.id[SHOWN_ID]}")


def show_entry(entry: records.Entry, common: Common) -> None:
    """Answers with one entry."""
    if common.json:
        say_json(records.OneEntry(entry=entry))
        return
    several = f"{len(entry.versions)} versions side by side" if entry.conflict else ""
    facts(
        (
            ("key", entry.key),
            ("value", as_text(entry.value)),
            ("conflict", several),
            ("trouble", entry.trouble),
        )
    )
    table(VERSIONS, [cells(each) for each in entry.versions], empty="there is nothing")


def cells(version: records.Version) -> tuple[str, ...]:
    """A version as a row of `VERSIONS`."""
    reason = version.reason
    if version.erased is not None:
        why = f": {version.erased.reason}" if version.erased.reason else ""
        by = f" by {version.erased.name or version.erased.author}"
        by = f", approved by {', '.join(version.erased.approved_by)}" if version.erased.approved_by else by
        reason = f"erased{by}{why}"
    state = f"{version.state}: {reason}" if reason else version.state
    value = value_of(version.value) if version.op == "put" and not version.lacks_value else "-"
    return (version.id[SHOWN_ID], date_time(version.written_at), writer(version), version.op, value, state)


def writer(version: records.Version) -> str:
    """Who wrote a version."""
    return version.name or version.author


def value_of(value: object) -> str:
    """A value in one line, shortened."""
    return safe(as_text(value), limit=SHOWN_VALUE)
