"""`covm federation outbox`: what this node sent to single peers, and what became of it."""

from __future__ import annotations

from typing import Literal

from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rendering import age, date_time, facts, moment, sentence, size, table
from covm.control import delivery, schema
from covm.control.client import ControlClient

State = Literal["queued", "stored", "handled", "refused", "quarantined", "expired", "cancelled"]

COLUMNS = ("MESSAGE ID", "PEER", "TYPE", "STATE", "QUEUED", "UNTIL", "SIZE", "REASON")

_UNSTORED = frozenset({"queued", "expired"})
"""States in which a message's time to live matters, or has."""


def list_messages(
    *,
    peer: str | None = None,
    state: State | None = None,
    limit: int = schema.LIMIT_DEFAULT,
    common: Common = DEFAULT,
) -> None:
    """List the messages that this node sent to single peers, the newest first, with what became of them.

    Those that have come to their end are kept for a while.

    Parameters
    ----------
    peer
        Only those for this peer: a peer id, the beginning of one, or a name.
    state
        Only those in this state.
    limit
        How many at most, the newest.
    """
    messages = ControlClient(common.folder).outbox(peer, state, limit)
    if common.json:
        say_json(delivery.Outbox(messages=messages))
        return
    table(COLUMNS, [_cells(each) for each in messages], empty=_nothing(peer, state, limit))


def show(id: str, /, *, common: Common = DEFAULT) -> None:
    """Show one message: what became of it, and what it waits for.

    Parameters
    ----------
    id
        The message's id, or the beginning of it.
    """
    message = ControlClient(common.folder).outbox_message(id)
    if common.json:
        say_json(delivery.Outgoing(message=message))
        return
    facts(
        (
            ("message", message.id),
            ("for", f"{message.peer_name} ({message.peer})" if message.peer_name else message.peer),
            ("type", message.type),
            ("state", message.state),
            ("reason", message.reason),
            ("waits for", _waits_for(message)),
            ("queued", f"{date_time(message.queued_at)}, {age(message.queued_at)} ago"),
            ("tried until", date_time(message.expires_at) if message.state in _UNSTORED else ""),
            ("size", size(message.size_bytes)),
        )
    )


def retry(id: str, /, *, common: Common = DEFAULT) -> None:
    """Send a message anew that was refused, quarantined, cancelled or has expired. If it had its effect, none follows.

    Parameters
    ----------
    id
        The message's id, or the beginning of it.
    """
    message = ControlClient(common.folder).on_outbox(id, "retry")
    if common.json:
        say_json(delivery.Outgoing(message=message))
    else:
        say(f"{message.id} is queued again for {_name(message)}; will keep trying until {moment(message.expires_at)}")


def cancel(id: str, /, *, common: Common = DEFAULT) -> None:
    """Give up a message that is queued. One that the peer has stored cannot be called back.

    Parameters
    ----------
    id
        The message's id, or the beginning of it.
    """
    message = ControlClient(common.folder).on_outbox(id, "cancel")
    if common.json:
        say_json(delivery.Outgoing(message=message))
    else:
        say(f"{message.id} for {_name(message)} is {message.state}")


def _cells(message: delivery.OutgoingMessage) -> tuple[str, ...]:
    ends = moment(message.expires_at) if message.state == "queued" else "-"
    return (
        message.id,
        _name(message),
        message.type,
        message.state,
        moment(message.queued_at),
        ends,
        size(message.size_bytes),
        sentence(message.reason),
    )


def _waits_for(message: delivery.OutgoingMessage) -> str:
    if message.state == "stored":
        return f"a handler at {_name(message)}"
    if message.state != "queued":
        return ""
    if message.connected:
        return f"the acknowledgement of {_name(message)}, which is connected"
    since = "" if message.offline_since is None else f", which has been offline since {moment(message.offline_since)}"
    return f"{_name(message)}{since}" if since else f"{_name(message)}, which is not connected"


def _name(message: delivery.OutgoingMessage) -> str:
    return safe(message.peer_name) or message.peer


def _nothing(peer: str | None, state: str | None, limit: int) -> str:
    if limit == 0:
        return "--limit 0 asks for nothing; leave it out, or ask for more"
    what = f"nothing {state}" if state else "nothing"
    return f"{what} for {safe(peer)} is in the outbox" if peer else f"{what} is in the outbox"
