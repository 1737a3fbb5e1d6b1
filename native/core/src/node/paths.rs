//! Direct or relayed: which way each connection goes, and what moves when a direct one comes.
//!
//! A relayed connection carries everything until a direct one is open beside it. Then our streams leave it in good order,
//! and once it is empty whoever dialled it closes it, so that the relay is not kept busy; the other side waits for that,
//! since of two that close at once each would cut off what the other still says.

use libp2p::{
    Multiaddr, PeerId, autonat,
    core::{ConnectedPoint, Endpoint},
    dcutr,
    multiaddr::Protocol,
    swarm::ConnectionId,
};
use tokio::time::Instant;

use super::{dialler::DiallerEvent, driver::Driver};
use crate::{addresses, event::Event, limits};

/// The way that a connection goes.
#[derive(Debug, Clone)]
pub(super) struct Path {
    /// Where the peer is, as far as this connection shows it.
    pub address: Multiaddr,
    pub relayed: bool,
    /// The relay between us.
    pub relay: Option<PeerId>,
}

impl Driver {
    pub(super) fn path(&self, endpoint: &ConnectedPoint) -> Path {
        let way = match endpoint {
            ConnectedPoint::Dialer { address, .. } => address,
            ConnectedPoint::Listener { local_addr, .. } => local_addr,
        };
        let Some((at, named)) = addresses::split_relay(way) else {
            return Path { address: endpoint.get_remote_address().clone(), relayed: false, relay: None };
        };
        // Who was dialled by its relay is told the relay's address alone.
        let relay = named.or_else(|| self.peer_at(&at));
        let address = match relay {
            Some(relay) => at.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit),
            None => at.with(Protocol::P2pCircuit),
        };
        Path { address, relayed: true, relay }
    }

    fn peer_at(&self, address: &Multiaddr) -> Option<PeerId> {
        let at = |path: &Path| addresses::split_peer(path.address.clone()).0 == *address;
        self.connections.values().find(|known| at(&known.path)).map(|known| known.peer)
    }

    fn is_open_by(&self, peer: &PeerId, relayed: bool) -> bool {
        self.connections.values().any(|known| known.open && known.peer == *peer && known.path.relayed == relayed)
    }

    /// A connection is open: what is on a relayed one moves to a direct one.
    pub(super) fn on_open_path(&mut self, id: ConnectionId, peer: PeerId) {
        if !self.is_open_by(&peer, false) || !self.is_open_by(&peer, true) {
            return;
        }
        let opened = self.connections.get(&id).filter(|known| !known.path.relayed && !known.asked);
        let direct = self.connections.values().filter(|known| known.open && known.peer == peer && !known.path.relayed);
        // Of the two dials that punch a hole, whichever came through, on both sides.
        if self.config.dcutr && opened.is_some() && direct.count() == 1 {
            self.queue.push(Event::HolePunch { peer, connection: Some(id), reason: String::new() });
        }
        self.swarm.behaviour().gate.inner().streams.handle().move_to_direct(&peer);
        self.leave_at.get_or_insert_with(|| Instant::now() + limits::RELAYED_LINGER);
    }

    /// Closes relayed connections that are empty and have a direct one beside them.
    pub(super) fn leave_relays(&mut self) {
        self.leave_at = None;
        let streams = self.swarm.behaviour().gate.inner().streams.handle();
        let beside: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, known)| known.open && known.path.relayed && self.is_open_by(&known.peer, false))
            .map(|(id, known)| (*id, known.peer, known.outbound))
            .collect();
        for (id, peer, outbound) in beside {
            self.leave_at = Some(Instant::now() + limits::RELAYED_LINGER);
            streams.move_to_direct(&peer);
            if outbound && streams.carried_by(id) == 0 {
                self.swarm.close_connection(id);
            }
        }
    }

    /// Success is told when the connection is open. The side that leads tries again by itself, and says when it gives up;
    /// the other one says nothing.
    pub(super) fn on_punch(&mut self, event: DiallerEvent<dcutr::Event>) {
        let (peer, reason) = match event {
            DiallerEvent::Inner(dcutr::Event { result: Ok(_), .. }) => return,
            DiallerEvent::Inner(dcutr::Event { remote_peer_id: peer, result: Err(error) }) => {
                let why = self.punch_failures.remove(&peer).map(|why| format!(": {why}")).unwrap_or_default();
                (peer, format!("{error}{why}"))
            }
            DiallerEvent::DialFailed { peer, role: Endpoint::Dialer, why } => (peer, why),
            DiallerEvent::DialFailed { peer, role: Endpoint::Listener, why } => {
                if self.is_open(&peer) {
                    self.punch_failures.insert(peer, why);
                }
                return;
            }
        };
        // Of two dials at each other one may lose.
        if !self.is_open_by(&peer, false) {
            self.queue.push(Event::HolePunch { peer, connection: None, reason });
        }
    }

    /// The connection by which a peer's address was tested has no other purpose, unless it is the only direct one.
    pub(super) fn on_autonat_server(&mut self, event: DiallerEvent<autonat::v2::server::Event>) {
        let DiallerEvent::Inner(autonat::v2::server::Event { client, tested_addr, .. }) = event else {
            return;
        };
        let inner = self.swarm.behaviour().gate.inner();
        let dialled = inner.autonat.as_ref().map(|server| server.dialled(&client, &tested_addr)).unwrap_or_default();
        for id in dialled {
            let mut others = self.connections.iter().filter(|(other, known)| **other != id && known.peer == client);
            if others.any(|(_, known)| known.open && !known.path.relayed) {
                self.swarm.close_connection(id);
            }
        }
    }
}
