"""`covm federation gossip-log`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.rendering import clock_time, nothing_of, size, table
from covm.control import schema
from covm.control.client import ControlClient

COLUMNS = ("TIME", "WAY", "TYPE", "AUTHOR", "SIZE", "VERDICT", "MESSAGE ID", "REASON")


def gossip_log(
    *,
    type: str | None = None,
    limit: int = schema.LIMIT_DEFAULT,
    follow: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> None:
    """Show what was published and received in the federation, and how each was judged.

    Parameters
    ----------
    type
        Only this type.
    limit
        How many entries at most, the newest.
    follow
        Go on with what comes, until Ctrl-C. With --json one object a line.
    """
    client = ControlClient(common.folder)
    if follow:
        for entry in client.follow_gossip_log(type, limit):
            if common.json:
                say_json(schema.GossipLine(entry=entry))
            else:
                say("  ".join(safe(cell) for cell in _cells(entry) if cell))
        return
    entries = client.gossip_log(type, limit)
    if common.json:
        say_json(schema.GossipLog(entries=entries))
        return
    table(COLUMNS, [_cells(entry) for entry in entries], empty=nothing_of("the gossip log has nothing", type, limit))


def _cells(entry: schema.GossipEntry) -> tuple[str, ...]:
    author = entry.author_name or entry.author
    moment, way = clock_time(entry.time), entry.direction
    return (moment, way, entry.type, author, size(entry.size_bytes), entry.verdict, entry.id, entry.reason)
