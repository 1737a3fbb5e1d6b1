"""Gathers what a running node knows of itself, and asks the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from covm.federation.diagnosis.company import Acquaintance, Company, clock, peers
from covm.federation.diagnosis.finding import Finding
from covm.federation.diagnosis.upkeep import store
from covm.federation.diagnosis.ways import Ways, ways_findings
from covm.federation.peers.record import PeerState, PeerStatus
from covm.federation.wire.multiaddr import place_of

if TYPE_CHECKING:
    from covm.federation.node import Node

SHOWN_ID = 8
"""Characters at the end of a peer id that stand for a peer without a name: the beginnings are alike."""


def diagnose(node: Node) -> list[Finding]:
    """What is well with the node and what is not, a finding or more for each area that it can judge."""
    known = [peer for peer in node.peers.statuses() if peer.state != PeerState.BANNED]
    verdict = node.membership.node_verdict(node.identity.peer_id)
    company = Company(
        tuple(_acquaintance(peer) for peer in known), verdict.holds, verdict.reason, tuple(_searches(node))
    )
    own = node.network.addresses if node.is_running else ()
    ways = Ways(
        configured=tuple(node.config.listen_addresses),
        listening=tuple(each for each in own if not place_of(each).is_relayed),
        announced=tuple(node.config.announce_addresses),
        reachability=node.reach.known(),
        connected=len(company.connected),
        now_ms=node.clock.now_ms(),
        names={peer.peer_id: _name(peer) for peer in known},
    )
    return [
        store(node.store.health(), node.store_place, is_durable=node.store.is_durable),
        clock(company),
        *ways_findings(ways),
        *peers(company),
    ]


def _searches(node: Node) -> list[str]:
    config = node.config
    ways = {
        "bootstrap_peers": bool(config.bootstrap_peers),
        "mDNS": config.enable_mdns,
        "Kademlia": config.enable_kademlia and bool(config.bootstrap_peers),
    }
    return [name for name, is_on in ways.items() if is_on]


def _acquaintance(peer: PeerStatus) -> Acquaintance:
    return Acquaintance(
        name=_name(peer),
        is_connected=peer.is_connected,
        is_suspect=peer.state == PeerState.SUSPECT,
        is_kept=peer.kept,
        last_error=peer.last_error,
        clock_offset_ms=peer.clock_offset_ms if peer.is_connected else None,
        relayed_why=peer.relayed_why,
    )


def _name(peer: PeerStatus) -> str:
    return peer.name or f"...{peer.peer_id[-SHOWN_ID:]}"
