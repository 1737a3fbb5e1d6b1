"""`covm federation ban`, `unban` and `bans`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from covm.cli.durations import milliseconds
from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rendering import date_time, sentence, table
from covm.control import schema
from covm.control.client import ControlClient


def ban(
    peer: str,
    /,
    *,
    for_: Annotated[str | None, Parameter(name="--for")] = None,
    reason: str = "",
    member: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> None:
    """Have nothing more to do with a peer: its connections are closed, new ones refused. Binds this node alone.

    Parameters
    ----------
    peer
        A peer id (it need not be known), the beginning of a known one, or a name.
    for_
        How long, such as 5m or 12h. Without it, until `covm federation unban`.
    reason
        Why; it is shown in `bans`.
    member
        PEER is a member: every node that it has, or gets, is banned.
    """
    duration_ms = None if for_ is None else milliseconds(for_, "--for")
    answer = ControlClient(common.folder).ban(peer, duration_ms, reason, member=member)
    if common.json:
        say_json(answer)
    else:
        say(f"banned {answer.peer} {'until it is unbanned' if for_ is None else f'for {safe(for_)}'}")


def unban(peer: str, /, *, common: Common = DEFAULT) -> None:
    """Lift a ban.

    Parameters
    ----------
    peer
        A banned peer's id, the beginning of it, or its name.
    """
    answer = ControlClient(common.folder).unban(peer)
    if common.json:
        say_json(answer)
    else:
        say(f"unbanned {answer.peer}")


def bans(*, common: Common = DEFAULT) -> None:
    """List the bans that stand."""
    standing = ControlClient(common.folder).bans()
    if common.json:
        say_json(schema.Bans(bans=standing))
        return
    rows = [
        (each.peer_id, "unbanned" if each.until is None else date_time(each.until), sentence(each.reason))
        for each in standing
    ]
    table(("PEER ID", "UNTIL", "REASON"), rows, empty="nobody is banned")
