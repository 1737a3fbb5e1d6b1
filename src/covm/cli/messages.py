"""`covm federation publish` and `messages`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from covm.cli.message_argument import AsText, MessageArgument, read_message
from covm.cli.options import DEFAULT, Common
from covm.cli.output import as_text, safe, say, say_json
from covm.cli.rendering import clock_time, nothing_of
from covm.control import schema
from covm.control.client import ControlClient


def publish(
    type: str,
    message: MessageArgument,
    /,
    *,
    text: AsText = False,
    common: Common = DEFAULT,
) -> None:
    """Publish a message to the whole federation.

    Parameters
    ----------
    type
        The message's type, such as governance.proposal; see `covm federation types`.
    message
        JSON or text; `-` reads standard input, `@FILE` a file. At most 1 MiB.
    text
        Send it as text, even if it looks like JSON.
    """
    payload = read_message(message, as_text=text, may_ask=not common.no_input)
    answer = ControlClient(common.folder).publish(type, payload)
    if common.json:
        say_json(answer)
    elif answer.peers == 0:
        say(f"published {answer.type} {answer.id}, but no peer is connected: nobody else has it")
    else:
        say(f"published {answer.type} {answer.id} to {answer.peers} {'peer' if answer.peers == 1 else 'peers'}")


def messages(
    *,
    type: str | None = None,
    limit: int = schema.LIMIT_DEFAULT,
    follow: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> None:
    """Show the messages that the node received lately, with what is in them: the newest 1,000, also over restarts.

    Kept are proposals, private messages, and the types that `start --receive` named.

    Parameters
    ----------
    type
        Only this type.
    limit
        How many at most, the newest.
    follow
        Go on with those that arrive, until Ctrl-C. With --json one object a line.
    """
    client = ControlClient(common.folder)
    if follow:
        for line in client.follow_messages(type, limit):
            if common.json:
                say_json(line)
                continue
            if line.skipped:
                say(f"({line.skipped} messages came too fast to be shown)")
            _show(line.message)
        return
    answer = client.messages(type, limit)
    if common.json:
        say_json(answer)
        return
    if not answer.messages:
        say(nothing_of("nothing is held here", type, limit))
    for message in answer.messages:
        _show(message)


def _show(message: schema.Received) -> None:
    author = message.author_name or message.author
    say(f"{clock_time(message.received_at)}  {safe(message.type)}  from {safe(author)}  ({message.via}, {message.id})")
    say(f"    {as_text(message.payload)}")
