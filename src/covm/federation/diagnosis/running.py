"""Gathers what a running node knows of itself, and asks the rules."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from covm.federation.diagnosis.company import Acquaintance, Company, clock, peers
from covm.federation.diagnosis.finding import Finding
from covm.federation.diagnosis.upkeep import store
from covm.federation.diagnosis.ways import Ways, ways_findings
from covm.federation.peers.record import PeerState, PeerStatus
from covm.federation.wire.multiaddr import Host, place_of

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
        listening=tuple(each for each in own if _listens(node, each)),
        announced=tuple(node.config.announce_addresses),
        reachability=node.reach.known(),
        connected=len(company.connected),
        now_ms=node.clock.now_ms(),
        names={peer.peer_id: _name(peer) for peer in known},
        relayed=frozenset(peer.peer_id for peer in known if peer.is_connected and peer.relayed_why),
    )
    return [
        store(node.store.health(), node.store_place, is_durable=node.store.is_durable),
        clock(company),
        *ways_findings(ways),
        *peers(company),
    ]


def _listens(node: Node, address: str) -> bool:
    """Whether an own address is one at which the node itself listens, and not a relay's, or the router's outside."""
    announced = {each.partition("/p2p/")[0] for each in node.config.announce_addresses}
    place = place_of(address)
    if place.is_relayed:
        return False
    return address.partition("/p2p/")[0] not in announced or _is_of_this_machine(place.host)


def _is_of_this_machine(host: Host | None) -> bool:
    """Whether it is an address of one of this machine's interfaces; a name is none."""
    if host is None:
        return False
    try:
        with socket.socket(socket.AF_INET6 if host.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.bind((str(host), 0))
    except OSError:
        return False
    return True


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
