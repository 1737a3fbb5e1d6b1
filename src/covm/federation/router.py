"""Hands each event of the network to the component it is for, in order; consecutive gossip goes as one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from covm.federation.blobs.protocol import BlobProtocol
from covm.federation.dispatch.direct import DirectProtocol
from covm.federation.errors import NodeFailed, NotStarted
from covm.federation.gossip.protocol import GossipProtocol
from covm.federation.membership.hearing import Hearings
from covm.federation.network import interface as net
from covm.federation.peers.manager import PeerManager
from covm.federation.peers.reach import Reach
from covm.federation.supervisor import Supervisor
from covm.federation.sync.streams import SyncStreams


class Router:
    """The network's `Handler`. A fault in taking one event loses no other."""

    def __init__(
        self,
        peers: PeerManager,
        reach: Reach,
        hearings: Hearings | None,
        direct: DirectProtocol,
        gossip: GossipProtocol,
        blobs: BlobProtocol,
        sync: SyncStreams,
        addresses_changed: Callable[[net.AddressesChanged], None],
        failed: Callable[[net.NetworkFailed], None],
        supervisor: Supervisor,
    ) -> None:
        self._direct = direct
        self._gossip = gossip
        self._blobs = blobs
        self._sync = sync
        self._failed = failed
        self._supervisor = supervisor
        self._is_open = True
        hear_closed: tuple[Callable[[Any], None], ...] = ()
        hear_admitted = hear_closed
        if hearings is not None:
            hear_closed = (lambda event: hearings.on_closed(event.connection),)
            hear_admitted = (lambda event: hearings.on_admitted(event.connection, event.peer),)
        connections = peers.connections
        self._routes: dict[type, tuple[Callable[[Any], None], ...]] = {
            net.AddressesChanged: (addresses_changed,),
            net.ConnectionOpened: (connections.on_opened, reach.on_opened),
            net.ConnectionClosed: (*hear_closed, connections.on_closed, reach.detours.on_closed),
            net.HelloReceived: (connections.on_hello,),
            net.JoinTalked: (hearings.on_event if hearings is not None else peers.door.on_talked,),
            net.JoinTalkSent: (),
            net.JoinRefused: (peers.door.on_join_refused,),
            net.JoinFailed: (peers.door.on_join_failed,),
            net.PeerAdmitted: (
                connections.on_admitted,
                *hear_admitted,
                direct.on_admitted,
                blobs.on_admitted,
                sync.on_admitted,
            ),
            net.PeerUnadmitted: (
                direct.on_unadmitted,
                blobs.on_unadmitted,
                sync.on_unadmitted,
                connections.on_unadmitted,
            ),
            net.TopicJoined: (connections.on_topic_joined,),
            net.TopicLeft: (connections.on_topic_left,),
            net.GossipRejected: (gossip.on_rejected,),
            net.StreamOpened: (self._stream_opened,),
            net.FramesReceived: (lambda event: self._owner(event.stream).on_frames(event),),
            net.StreamWritable: (lambda event: self._owner(event.stream).on_writable(event),),
            net.StreamClosed: (lambda event: self._owner(event.stream).on_closed(event),),
            net.StreamRefused: (self._stream_refused,),
            net.PeerIdentified: (connections.on_identified,),
            net.PeerDiscovered: (connections.on_discovered,),
            net.PingMeasured: (connections.on_ping,),
            net.ReachabilityChanged: (reach.on_reachability,),
            net.ExternalAddressChanged: (reach.on_external_address,),
            net.ReservationChanged: (reach.on_reservation,),
            net.HolePunched: (reach.detours.on_punched,),
            net.NetworkFailed: (failed,),
        }

    def _stream_opened(self, event: net.StreamOpened) -> None:
        self._of(event.protocol).on_stream_opened(event)

    def _stream_refused(self, event: net.StreamRefused) -> None:
        self._of(event.protocol).on_refused(event)

    def _of(self, protocol: str) -> BlobProtocol | SyncStreams | DirectProtocol:
        match protocol:
            case net.BLOB_PROTOCOL:
                return self._blobs
            case net.SYNC_PROTOCOL:
                return self._sync
        return self._direct

    def _owner(self, stream: int) -> BlobProtocol | SyncStreams | DirectProtocol:
        if self._blobs.owns(stream):
            return self._blobs
        return self._sync if self._sync.owns(stream) else self._direct

    def close(self) -> None:
        """What comes from now on is dropped: the node is stopping."""
        self._is_open = False

    def on_network_events(self, events: Sequence[net.NetworkEvent]) -> None:
        try:
            self._hand_out(events)
        except (NotStarted, NodeFailed):
            # Whoever was at work noticed before the event came that says so; nothing else of the batch matters.
            for event in events:
                if type(event) is net.NetworkFailed:
                    self._failed(event)

    def _hand_out(self, events: Sequence[net.NetworkEvent]) -> None:
        guard = self._supervisor.guard
        gossip: list[net.GossipReceived] = []
        for event in events:
            if type(event) is net.GossipReceived:
                gossip.append(event)
                continue
            if gossip:
                self._hand_out_gossip(gossip)
                gossip = []
            for take in self._routes[type(event)]:
                if not self._is_open:
                    return
                guard(take, event, "taking an event of the network")
        if gossip:
            self._hand_out_gossip(gossip)

    def _hand_out_gossip(self, gossip: Sequence[net.GossipReceived]) -> None:
        if self._is_open:
            self._supervisor.guard(self._gossip.on_gossip, gossip, "taking gossip")
