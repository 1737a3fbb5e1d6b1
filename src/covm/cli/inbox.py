"""`covm federation inbox`: what arrived for this node and is not dealt with yet."""

from __future__ import annotations

from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say_json
from covm.cli.rendering import age, date_time, facts, moment, sentence, size, table
from covm.control import delivery, schema
from covm.control.client import ControlClient

COLUMNS = ("MESSAGE ID", "AUTHOR", "TYPE", "STATE", "RECEIVED", "SIZE", "TRIES", "REASON")


def list_messages(*, limit: int = schema.LIMIT_DEFAULT, common: Common = DEFAULT) -> None:
    """List the messages for this node that are not dealt with: waiting, quarantined, or of a type nobody handles yet.

    Parameters
    ----------
    limit
        How many at most, the newest.
    """
    show_list(ControlClient(common.folder).inbox(limit), limit, empty="the inbox is empty", common=common)


def show(id: str, /, *, common: Common = DEFAULT) -> None:
    """Show one message of the inbox.

    Parameters
    ----------
    id
        The message's id, or the beginning of it.
    """
    show_one(ControlClient(common.folder).inbox_message(id), common)


def show_list(messages: list[delivery.IncomingMessage], limit: int, *, empty: str, common: Common) -> None:
    """Answers with a list of messages that are not dealt with."""
    if common.json:
        say_json(delivery.Inbox(messages=messages))
        return
    nothing = "--limit 0 asks for nothing; leave it out, or ask for more" if limit == 0 else empty
    table(COLUMNS, [_cells(each) for each in messages], empty=nothing)


def show_one(message: delivery.IncomingMessage, common: Common) -> None:
    """Answers with one message that is not dealt with."""
    if common.json:
        say_json(delivery.Incoming(message=message))
        return
    facts(
        (
            ("message", message.id),
            ("from", f"{message.author_name} ({message.author})" if message.author_name else message.author),
            ("type", message.type),
            ("state", message.state),
            ("reason", message.reason),
            ("tries", message.attempts),
            ("received", f"{date_time(message.received_at)}, {age(message.received_at)} ago"),
            ("size", size(message.size_bytes)),
        )
    )


def _cells(message: delivery.IncomingMessage) -> tuple[str, ...]:
    return (
        message.id,
        safe(message.author_name) or message.author,
        message.type,
        message.state,
        moment(message.received_at),
        size(message.size_bytes),
        str(message.attempts),
        sentence(message.reason),
    )
