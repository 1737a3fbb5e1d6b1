"""What a node says about itself: status, statistics, types."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from covm.federation.version import software_version
from covm.federation.wire.system import PROTOCOL_VERSION

if TYPE_CHECKING:
    from covm.federation.counters import Counters
    from covm.federation.node import Node

OPEN_WARNING = (
    "membership is open: any node that states the same network name may take part; "
    "use it for trials, not for what only members may see"
)


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A registered message type."""

    name: str
    """As messages carry it: two or more parts joined by dots, in small letters."""
    version: int
    """Counted up when the meaning of a field changes."""
    size_limit: int
    """Bytes of the largest encoded payload; gossip has 64 KiB besides."""
    json_schema: dict[str, Any]
    """The form of a payload, for programs in other languages."""
    durable: bool = False
    """Whether what is published of it is kept, and reaches who was away: as members have agreed, else as registered."""


def types(node: Node) -> list[TypeInfo]:
    schema, is_durable = node.registry.json_schema, node.recorder.is_durable
    return [
        TypeInfo(each.name, each.version, each.size_limit_bytes, schema(each.name), is_durable(each.name))
        for each in node.registry.types()
    ]


def status(node: Node) -> dict[str, Any]:
    own = node.desk.own() if node.desk is not None else None
    return {
        "peer_id": node.identity.peer_id,
        "name": node.name,
        "addresses": list(node.network.addresses) if node.is_running else [],
        "membership": node.config.membership,
        "warning": OPEN_WARNING if node.members is None else "",
        "federation_name": node.desk.federation_name if node.desk is not None else "",
        "member": own.name if own is not None else "",
        "takes_part": node.membership.node_verdict(node.identity.peer_id).holds,
        "why": node.membership.node_verdict(node.identity.peer_id).reason,
        "clock": _clock(node),
        "network": node.config.network,
        "federation": str(node.federation.cid),
        "uptime_s": _uptime_s(node),
        "connected": len(node.peers.connected_peers()),
        "running": node.is_running,
        "incarnation": str(node.post.incarnation) if node.post.incarnation is not None else None,
        "store": _store(node),
        "forks": node.forks.by_author(),
        "void": {name: count for name, count in sorted(node.sync.keeper.logs.void.items()) if count},
    }


def _clock(node: Node) -> str:
    """What is wrong with this node's clock, by those of its peers; empty for nothing."""
    ahead_ms = node.peers.own_clock_ahead_ms
    if ahead_ms is None:
        return ""
    way = "ahead of" if ahead_ms > 0 else "behind"
    return f"it is {abs(ahead_ms) / 1000:.1f} s {way} those of most peers; set it, best by NTP"


def _store(node: Node) -> dict[str, Any]:
    from covm.federation.store.migrations import REVISIONS  # with it comes the database's library

    health, told = node.store.health(), node.store.stats()
    return {
        "engine": told["engine"],
        "version": told["version"],
        "where": node.store_place,
        "schema": REVISIONS[-1],
        "durable": node.store.is_durable,
        "size_bytes": told["size_bytes"],
        "state": health.state,
        "why": health.why,
        "since_ms": health.since_ms,
    }


def stats(node: Node) -> dict[str, Any]:
    counters = node.counters
    waiting, waiting_bytes = node.direct.waiting()
    network = node.network.stats()
    return {
        "uptime_s": _uptime_s(node),
        "versions": {
            "covm": software_version(),
            "protocol": ".".join(map(str, PROTOCOL_VERSION)),
            "python": platform.python_version(),
        },
        "messages": _messages(counters),
        "peers": {**node.peers.count_by_state(), "banned": len(node.peers.bans())},
        "queues": {
            "outbox": {"messages": waiting, "bytes": waiting_bytes},
            "handlers": node.dispatcher.queued(),
            "inbox": node.dispatcher.inbox(),
        },
        "dropped": dict(sorted({**counters.dropped, **_dropped_by(network)}.items())),
        "handlers": dict(sorted(counters.handlers.items())),
        "faults": node.supervisor.failures,
        "network": network,
        "store": node.store.stats(),
    }


def _dropped_by(network: dict[str, Any]) -> dict[str, int]:
    """What the network dropped for want of room, by reason; what never happened is left out."""
    reasons = {
        "gossip_arrived_too_fast": network.get("gossip_dropped", 0) + network.get("gossip_unverified_dropped", 0),
        "gossip_send_queues_full": network.get("gossip_send_failures", 0),
    }
    return {reason: count for reason, count in reasons.items() if count}


def _messages(counters: Counters) -> dict[str, Any]:
    ways = {
        "gossip": {"in": counters.gossip_in, "out": counters.gossip_out},
        "direct": {"in": counters.direct_in, "out": counters.direct_out},
    }
    return {
        way: {
            direction: {"messages": traffic.messages, "bytes": traffic.bytes, "by_type": traffic.by_type()}
            for direction, traffic in directions.items()
        }
        for way, directions in ways.items()
    }


def _uptime_s(node: Node) -> float:
    return 0.0 if node.started_s is None else node.clock.monotonic_s() - node.started_s
