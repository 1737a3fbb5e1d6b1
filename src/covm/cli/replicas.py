"""`covm federation sync`: how this node and its peers come to the same shared data."""

from __future__ import annotations

from collections.abc import Sequence

from covm.cli.options import DEFAULT, Common
from covm.cli.output import say, say_json
from covm.cli.rendering import age, duration, size, table
from covm.control import records
from covm.control.client import ControlClient

STANDS = {
    "same": "has the same",
    "ahead": "lacks nothing",
    "behind": "lacks something",
    "unknown": "may lack something",
}
"""How this node stands beside a peer, in words."""


def status(type: str | None = None, /, *, peer: str | None = None, common: Common = DEFAULT) -> None:
    """Show what this node holds of shared data, and how it stands beside each connected peer.

    Parameters
    ----------
    type
        A message type, as in shop.note; left out, all of them.
    peer
        Beside this one alone: a peer id, the beginning of one, or a name.
    """
    found = ControlClient(common.folder).replicas(type, peer)
    tell(found.replicas, common, found.put_off)


def tell(replicas: Sequence[records.Replica], common: Common, put_off: Sequence[records.PutOff] = ()) -> None:
    """Answers with how this node stands, and which peers name types that are not looked at yet."""
    if common.json:
        say_json(records.Replicas(replicas=list(replicas), put_off=list(put_off)))
        return
    rows = [
        (each.type, each.records, each.logs, each.held or "-", each.void or "-", each.conflicts or "-", each.root[:12])
        for each in replicas
    ]
    columns = ("TYPE", "RECORDS", "LOGS", "WAITING", "VOID", "CONFLICTS", "ROOT")
    table(columns, rows, empty="there is no shared data here yet")
    beside = [
        (
            each.type,
            peer.name or peer.peer_id,
            peer.state,
            STANDS.get(peer.position, peer.position),
            duration(peer.lag_s * 1000) if peer.lag_s else "-",
            peer.fetched or "-",
            "-" if peer.last is None else f"{age(peer.last)} ago",
            peer.error,
        )
        for each in replicas
        for peer in each.peers
    ]
    if beside:
        say("")
        table(("TYPE", "PEER", "STATE", "THIS NODE", "FOR", "FETCHED", "LAST", "ERROR"), beside, empty="")
    declined = [
        (each.type, usage.name or usage.member or "(of no member known here)", usage.records, size(usage.size))
        for each in replicas
        for usage in each.usage
        if usage.declined
    ]
    if declined:
        say("")
        say("More of these is declined, as record_quota and record_quota_bytes say:")
        table(("TYPE", "MEMBER", "RECORDS", "SIZE"), declined, empty="")
    for each in put_off:
        say(f"{each.name or each.peer_id} names {each.types:,} more types, unknown here; they are asked for in turns")
