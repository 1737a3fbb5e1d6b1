"""`covm federation peers`, `connect` and `disconnect`. All of one peer is shown by `peer_details`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from covm.cli.options import DEFAULT, Common
from covm.cli.output import safe, say, say_json
from covm.cli.peer_details import show_all
from covm.cli.rendering import age, clock_time, duration, sentence, size, table
from covm.control import schema
from covm.control.client import ControlClient

COLUMNS = ("NAME", "PEER ID", "STATE", "ROUND TRIP", "QUEUED", "WAY", "ADDRESS", "WHY", "LAST ERROR", "NEXT TRY")


def peers(
    peer: str | None = None,
    /,
    *,
    connected: Annotated[bool, Parameter(negative=())] = False,
    long: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> None:
    """List the peers that the node knows: their state, how far away they are, what is queued for them, and why.

    Parameters
    ----------
    peer
        Everything about one alone: a peer id, the beginning of one, or a name.
    connected
        Only those that are connected.
    long
        Everything about each: how it is connected, its clock and versions, and all its addresses.
    """
    known = ControlClient(common.folder).peers(peer)
    listed = [each for each in known if each.connected or not connected]
    if common.json:
        say_json(schema.Peers(peers=listed))
        return
    if (peer or long) and listed:
        show_all(listed)
        return
    rows = [
        (
            each.name or "-",
            each.peer_id,
            each.state,
            _distance(each),
            _queue(each),
            ("relayed" if each.relayed else "direct") if each.connected else "-",
            each.addresses[0] if each.addresses else "-",
            sentence(each.why),
            sentence(each.last_error),
            _next_try(each),
        )
        for each in listed
    ]
    empty = "no peer is known yet; connect to one with `covm federation connect ADDRESS`"
    table(COLUMNS, rows, empty=empty)


def connect(address: str, /, *, common: Common = DEFAULT) -> None:
    """Connect to a peer and wait until both sides are open. Tries again as configured (connection_retry).

    Parameters
    ----------
    address
        A multiaddr, such as /ip4/203.0.113.5/tcp/9000/p2p/12D3KooW..., or a peer that is known.
    """
    answer = ControlClient(common.folder).connect(address)
    if common.json:
        say_json(answer)
    else:
        say(f"connected to {safe(answer.name or answer.peer)} in {duration(answer.elapsed_ms)} ({answer.peer})")


def disconnect(peer: str, /, *, common: Common = DEFAULT) -> None:
    """Close every connection to a peer. It may connect again; to keep it away, ban it.

    Parameters
    ----------
    peer
        A peer id, the beginning of one, or a name.
    """
    answer = ControlClient(common.folder).disconnect(peer)
    if common.json:
        say_json(answer)
    else:
        say(f"disconnected from {answer.peer}")


def _distance(peer: schema.Peer) -> str:
    return "-" if peer.round_trip_ms is None else duration(peer.round_trip_ms)


def _queue(peer: schema.Peer) -> str:
    if not peer.queued:
        return "-"
    since = "" if peer.oldest_queued is None else f", oldest {age(peer.oldest_queued)}"
    return f"{peer.queued} ({size(peer.queued_bytes)}){since}"


def _next_try(peer: schema.Peer) -> str:
    return "" if peer.next_try is None else clock_time(peer.next_try)
