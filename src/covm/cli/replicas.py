"""`covm federation sync`: how this node and its peers come to the same shared data."""

from __future__ import annotations

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
    tell([each for each in ControlClient(common.folder).replicas(peer) if type in (None, each.type)], common)


def tell(replicas: list[records.Replica], common: Common) -> None:
    """Answers with how this node stands."""
    if common.json:
        say_json(records.Replicas(replicas=replicas))
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
