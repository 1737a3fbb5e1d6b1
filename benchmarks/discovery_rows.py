"""The rows of discovery: how soon nodes that know one address find all, and what one costs that is idle."""

from __future__ import annotations

from benchmarks.row import Figure, Goal, Row
from benchmarks.service.found import WAYS

NODES = (2, 10, 30)

IDLE_PEERS = 50
IDLE_S = 120
"""Four heartbeats at the default interval."""


def rows(*, quick: bool) -> list[Row]:
    """All of them, in the order of the table."""
    if quick:
        return [*(found(4, way) for way in WAYS), idle(3, 2)]
    return [*(found(nodes, way) for nodes in NODES for way in WAYS), idle(IDLE_PEERS, IDLE_S)]


def found(nodes: int, way: str) -> Row:
    figures = (
        Figure("took_s", "s until all are connected with all", 2, Goal(at_most=10)),
        Figure("cpu_s", "CPU s, all nodes", 2),
        Figure("connections", "connections for each pair", 2),
    )
    title = f"{nodes} nodes that know one of them, by {way}"
    return Row(f"found-{nodes}-{way}", title, ("found", str(nodes), way), figures, beside="none")


def idle(peers: int, window_s: int) -> Row:
    figures = (
        Figure("cpu_percent", "% of a core", 2, Goal(at_most=1)),
        Figure("bytes_per_s", "bytes/s for each peer, both ways", 0, Goal(at_most=200)),
        Figure("packets_per_s", "TCP segments/s for each peer, both ways", 2),
    )
    title = f"a node with {peers} peers and nothing to do, for {window_s} s"
    return Row("idle", title, ("idle", str(peers), str(window_s)), figures, beside="none", timeout_s=window_s + 120)
