"""What the service says, put into the control API's schema."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from covm.control import schema
from covm.federation.version import software_version

if TYPE_CHECKING:
    from covm.daemon.node import RunningNode
    from covm.federation import FederationService, GossipLogEntry, PeerStatus
    from covm.federation.dispatch.outbox_queries import PeerOutbox


def status(node: RunningNode) -> schema.Status:
    """Who the node is and how it is."""
    service = node.service
    said = service.status()
    return schema.Status(
        name=node.name,
        peer_id=service.peer_id,
        did_key=node.did_key,
        addresses=list(service.addresses),
        home=str(node.home),
        pid=os.getpid(),
        membership=said["membership"],
        network=said["network"],
        federation=str(service.federation_id.cid),
        federation_name=said["federation_name"],
        member=said["member"],
        takes_part=said["takes_part"],
        why=said["why"],
        warning=said["warning"],
        clock=said["clock"],
        connected_peers=len(service.connected_peers()),
        started_at=node.started_at_ms,
        uptime_ms=round((time.monotonic() - node.started_s) * 1000),
        software=f"covm {software_version()}",
        store=_store(said["store"]),
        incarnation=said["incarnation"] or "",
        notices=node.notices.latest(),
        forkers=[
            schema.Forker(peer_id=peer, name=node.name_of(peer), forks=count)
            for peer, count in sorted(said["forks"].items())
        ],
        void=said["void"],
    )


async def peers(node: RunningNode, only: str | None = None) -> schema.Peers:
    """All peers that the node knows, or one: the connected first, and those for whom something waits."""
    listed = [_peer(node, peer) for peer in node.service.peers() if only in (None, peer.peer_id)]
    known = {peer.peer_id for peer in listed}
    listed += [_waited_for(node, each) for each in await node.service.outbox.summary() if each.peer not in known]
    listed = [peer for peer in listed if only in (None, peer.peer_id)]
    return schema.Peers(peers=sorted(listed, key=lambda peer: (not peer.connected, peer.name.casefold(), peer.peer_id)))


def bans(service: FederationService) -> schema.Bans:
    """All bans that stand."""
    standing = [
        schema.Ban(peer_id=ban.peer, reason=ban.reason, since=ban.since_ms, until=ban.until_ms)
        for ban in service.bans()
    ]
    return schema.Bans(bans=standing)


def gossip_log(node: RunningNode, type_name: str | None, limit: int) -> schema.GossipLog:
    """The newest entries of the gossip log."""
    entries = node.service.gossip_log(limit, type_name)
    names = {**node.names(), node.service.peer_id: node.name}
    return schema.GossipLog(entries=[_gossip_entry(entry, names.get(entry.author, "")) for entry in entries])


async def gossip_lines(node: RunningNode, type_name: str | None, limit: int) -> AsyncIterator[schema.GossipLine]:
    """The newest entries, then each as it is made."""
    coming = node.service.follow_gossip_log(type_name)
    for made in gossip_log(node, type_name, limit).entries:
        yield schema.GossipLine(entry=made)
    async for entry in coming:
        yield schema.GossipLine(entry=_gossip_entry(entry, node.name_of(entry.author)))


def types(node: RunningNode) -> schema.Types:
    """The registered types, and those whose messages are held."""
    registered = [
        schema.TypeInfo(
            name=each.name,
            version=each.version,
            size_limit_bytes=each.size_limit,
            schema=each.json_schema,
            durable=each.durable,
        )
        for each in node.service.types()
    ]
    return schema.Types(types=registered, received=list(node.received_types))


def _store(said: dict[str, Any]) -> schema.StoreStatus:
    return schema.StoreStatus(
        engine=said["engine"],
        where=said["where"],
        state=said["state"],
        why=said["why"],
        since=said["since_ms"],
        size_bytes=said["size_bytes"],
        durable=said["durable"],
        version=said["version"],
    )


def _peer(node: RunningNode, peer: PeerStatus) -> schema.Peer:
    return schema.Peer(
        peer_id=peer.peer_id,
        name=node.name_of(peer.peer_id),
        state=peer.state,
        why=peer.why,
        since=peer.since_ms,
        connected=peer.is_connected,
        addresses=list(peer.addresses),
        direction=peer.direction,
        # Measured over a connection that is gone, they would say how far away nobody is.
        round_trip_ms=peer.round_trip_ms if peer.is_connected else None,
        clock_offset_ms=peer.clock_offset_ms if peer.is_connected else None,
        software=peer.version,
        agent=peer.agent,
        kept=peer.kept,
        queued=peer.queued,
        queued_bytes=peer.queued_bytes,
        oldest_queued=peer.oldest_queued_ms,
        last_error=peer.last_error,
        next_try=peer.next_try_ms,
        offline_since=None if peer.is_connected else node.acquaintances.offline_since_ms(peer.peer_id),
        messages_in=peer.messages_in,
        bytes_in=peer.bytes_in,
        messages_out=peer.messages_out,
        bytes_out=peer.bytes_out,
        ways=[
            schema.Way(
                address=each.address,
                source=each.source,
                first_heard=each.first_ms,
                last_heard=each.heard_ms,
                last_tried=each.tried_ms,
                last_worked=each.worked_ms,
                error=each.error,
            )
            for each in peer.ways
        ],
        relayed=peer.relayed,
        relayed_why=peer.relayed_why,
        protocol=peer.protocol,
        pinned=peer.pinned,
    )


def _waited_for(node: RunningNode, waiting: PeerOutbox) -> schema.Peer:
    """A peer of whom nothing is known here but what waits for it."""
    return schema.Peer(
        peer_id=waiting.peer,
        name=node.name_of(waiting.peer),
        state="known",
        why="it has not been here since this node started",
        since=node.started_at_ms,
        connected=False,
        addresses=[],
        direction="",
        round_trip_ms=None,
        clock_offset_ms=None,
        software="",
        agent="",
        kept=False,
        queued=waiting.messages,
        queued_bytes=waiting.size_bytes,
        oldest_queued=waiting.oldest_ms,
        last_error=waiting.last_error,
        next_try=waiting.next_try_ms,
        offline_since=node.acquaintances.offline_since_ms(waiting.peer),
        messages_in=0,
        bytes_in=0,
        messages_out=0,
        bytes_out=0,
    )


def _gossip_entry(entry: GossipLogEntry, author_name: str) -> schema.GossipEntry:
    return schema.GossipEntry(
        time=entry.time_ms,
        direction=entry.direction,
        type=entry.type,
        id=entry.id,
        author=entry.author,
        author_name=author_name,
        carrier=entry.carrier,
        size_bytes=entry.size_bytes,
        verdict=entry.verdict,
        reason=entry.reason,
    )
