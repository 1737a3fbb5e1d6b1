//! Which event of the swarm goes where.

use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    identify, kad, ping, relay,
    swarm::{ConnectionId, SwarmEvent},
};

use super::{
    behaviour::{BehaviourEvent, GuardedEvent},
    changes,
    driver::{Connection, Driver},
    paths::Path,
};
use crate::{
    addresses,
    event::{Event, HintSource},
    limits,
};

impl Driver {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(connection_id, peer_id, &endpoint)
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, cause, .. } => {
                let reason = cause.map_or_else(|| "closed".into(), |cause| cause.to_string());
                self.on_closed(connection_id, peer_id, reason, num_established);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error, .. } => {
                self.on_dial_error(connection_id, peer_id, &error)
            }
            SwarmEvent::NewListenAddr { listener_id, address } => self.on_listen_address(listener_id, address),
            SwarmEvent::ExpiredListenAddr { listener_id, address } => self.on_expired_address(listener_id, &address),
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => self.on_listener_closed(listener_id, &reason),
            SwarmEvent::ExternalAddrConfirmed { address } => self.on_external_confirmed(address),
            SwarmEvent::ExternalAddrExpired { address } => self.on_address_expired(&address),
            SwarmEvent::ListenerError { error, .. } => {
                tracing::debug!(%error, "a listener had an error");
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(%error, "an inbound connection failed");
            }
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                self.on_protocols(connection_id, peer_id, info.protocols.contains(&relay::HOP_PROTOCOL_NAME));
                self.on_identified(peer_id, info);
            }
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(round_trip), .. }) => {
                self.queue.push(Event::Ping { peer, round_trip })
            }
            BehaviourEvent::Gate(GuardedEvent::Gossipsub(event)) => self.on_gossip_event(event),
            BehaviourEvent::Gate(GuardedEvent::Kademlia(event)) => self.on_kademlia(event),
            BehaviourEvent::Gate(GuardedEvent::Dcutr(event)) => self.on_punch(event),
            BehaviourEvent::Gate(GuardedEvent::Autonat(event)) => self.on_autonat_server(event),
            BehaviourEvent::Relay(event) => self.on_relay(&event),
            BehaviourEvent::RelayClient(event) => self.on_relay_client(&event),
            BehaviourEvent::Autonat(event) => self.on_autonat(event),
            BehaviourEvent::Upnp(event) => self.on_upnp(event),
            BehaviourEvent::Join(event) => self.on_join_event(event),
            _ => {}
        }
    }

    fn on_established(&mut self, id: ConnectionId, peer: PeerId, endpoint: &ConnectedPoint) {
        let connection = Connection {
            peer,
            outbound: endpoint.is_dialer(),
            path: self.path(endpoint),
            own_ip: changes::own_ip(endpoint),
            carries: false,
            asked: self.dials.contains_key(&id),
            admitted: false,
            ready: false,
            open: false,
            leaving: false,
        };
        let Path { address, relayed, relay } = connection.path.clone();
        self.queue.push(Event::Opened { connection: id, peer, address, outbound: connection.outbound, relayed, relay });
        self.connections.insert(id, connection);
        self.gauge();
        self.let_pass(id, peer);
        self.carry_ours(relay.unwrap_or(peer));
        self.on_dialled(id, peer);
    }

    fn on_closed(&mut self, id: ConnectionId, peer: PeerId, reason: String, remaining: u32) {
        self.serving.remove(&id);
        let closed = self.connections.remove(&id);
        let (was_open, was_left) = closed.map_or((false, false), |closed| (closed.open, closed.leaving));
        if was_open && !self.is_open(&peer) {
            self.relay_access.set_admitted(peer, false);
            self.punch_failures.remove(&peer);
            self.forget_topics_of(peer);
            self.queue.push(Event::Unadmitted { peer });
        }
        if remaining == 0 {
            self.identified.remove(&peer);
            if was_left {
                self.dial_relay(peer);
            } else {
                self.give_up_relay(peer, &reason);
            }
            self.begin_waits();
        }
        self.gauge();
        self.queue.push(Event::Closed { connection: id, peer, reason, remaining });
    }

    fn on_identified(&mut self, peer: PeerId, info: identify::Info) {
        let known: Vec<Multiaddr> = info
            .listen_addrs
            .into_iter()
            .take(limits::ADDRESSES_PER_PEER)
            .map(|address| addresses::split_peer(address).0)
            .collect();
        self.identified.insert(peer, known.clone());
        self.tell_kademlia(peer);
        let agent: String = info.agent_version.chars().take(limits::AGENT_CHARS).collect();
        let protocols = info.protocols.iter().take(limits::PROTOCOLS_PER_PEER);
        self.queue.push(Event::Identified {
            peer,
            agent,
            protocols: protocols.map(ToString::to_string).collect(),
            addresses: known,
            observed: info.observed_addr,
        });
    }

    pub(super) fn on_mdns(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        for (peer, address) in found.into_iter().take(limits::HINTS_PER_TURN) {
            self.queue.push(Event::Discovered {
                peer,
                addresses: vec![addresses::split_peer(address).0],
                source: HintSource::Mdns,
            });
        }
    }

    fn on_kademlia(&mut self, event: kad::Event) {
        if let kad::Event::RoutingUpdated { peer, addresses, is_new_peer: true, .. } = event {
            let addresses = addresses
                .iter()
                .take(limits::ADDRESSES_PER_PEER)
                .map(|address| addresses::split_peer(address.clone()).0)
                .collect();
            self.queue.push(Event::Discovered { peer, addresses, source: HintSource::Kademlia });
        }
    }
}
