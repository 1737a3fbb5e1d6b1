"""`covm federation sync`: how this node and its peers come to the same shared data."""

from __future__ import annotations

from covm.cli.options import DEFAULT, Common
from covm.cli.output import say, say_json
from covm.cli.rendering import age, table
from covm.control import records
from covm.control.client import ControlClient


def status(type: str | None = None, /, *, common: Common = DEFAULT) -> None:
    """Show what this node holds of shared data, and how it stands beside each connected peer.

    Parameters
    ----------
    type
        A message type, as in shop.note; left out, all of them.
    """
    _tell([each for each in ControlClient(common.folder).replicas() if type in (None, each.type)], common)


def now(type: str | None = None, /, *, common: Common = DEFAULT) -> None:
    """Fetch what connected peers have and this node lacks, and show how it stands then. It also happens by itself.

    Parameters
    ----------
    type
        A message type, as in shop.note; left out, all of them.
    """
    _tell([each for each in ControlClient(common.folder).sync(type) if type in (None, each.type)], common)


def _tell(replicas: list[records.Replica], common: Common) -> None:
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
            peer.fetched or "-",
            "-" if peer.last is None else f"{age(peer.last)} ago",
            peer.error,
        )
        for each in replicas
        for peer in each.peers
    ]
    if beside:
        say("")
        table(("TYPE", "PEER", "STATE", "FETCHED", "LAST", "ERROR"), beside, empty="")
