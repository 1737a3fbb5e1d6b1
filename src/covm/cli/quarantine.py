"""`covm federation quarantine`: messages on which a handler of this node failed for good."""

from __future__ import annotations

from covm.cli.inbox import show_list, show_one
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.control import delivery, schema
from covm.control.client import ControlClient


def list_messages(*, limit: int = schema.LIMIT_DEFAULT, common: Common = DEFAULT) -> None:
    """List the quarantined messages: a handler of this node failed on them as often as it may (handler_attempts).

    Parameters
    ----------
    limit
        How many at most, the newest.
    """
    messages = ControlClient(common.folder).quarantine(limit)
    show_list(messages, limit, empty="nothing is quarantined", common=common)


def show(id: str, /, *, common: Common = DEFAULT) -> None:
    """Show one quarantined message, and why it is there.

    Parameters
    ----------
    id
        The message's id, or the beginning of it.
    """
    show_one(ControlClient(common.folder).quarantined(id), common)


def retry(id: str, /, *, common: Common = DEFAULT) -> None:
    """Hand a quarantined message to its handlers again, once what was wrong is mended. It comes out of order.

    Parameters
    ----------
    id
        The message's id, or the beginning of it.
    """
    message = ControlClient(common.folder).on_quarantine(id, "retry")
    if common.json:
        say_json(delivery.Incoming(message=message))
    else:
        say(f"{message.id} of {_author(message)} is handed to its handlers again")


def discard(id: str, /, *, common: Common = DEFAULT) -> None:
    """Throw a quarantined message away for good. Its sender has been told that it failed here.

    Parameters
    ----------
    id
        The message's id, or the beginning of it.
    """
    message = ControlClient(common.folder).on_quarantine(id, "discard")
    if common.json:
        say_json(delivery.Incoming(message=message))
    else:
        say(f"{message.id} of {_author(message)} is thrown away")


def _author(message: delivery.IncomingMessage) -> str:
    return safe(message.author_name) or message.author
