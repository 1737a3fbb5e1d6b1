//! From a connection to an admitted peer: the join exchange decides, the gate opens.

use libp2p::{PeerId, kad, swarm::ConnectionId};

use super::driver::Driver;
use crate::{
    event::Event,
    gate::Phase,
    join::{JoinEvent, Talk},
    limits,
};

impl Driver {
    /// Our side says yes. The handler is installed first, then READY is said: the gate stands before the join
    /// exchange in the behaviour, and what both send to a connection keeps its order.
    pub(super) fn admit(&mut self, connection: usize) {
        let id = ConnectionId::new_unchecked(connection);
        let Some(known) = self.connections.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut known.admitted, true) {
            return;
        }
        let behaviour = self.swarm.behaviour_mut();
        if behaviour.gate.set_phase(id, Phase::Listening).is_ok() {
            // Of one that came with a pass it is open already.
            let _ = behaviour.relay.set_phase(id, Phase::Listening);
            // It may have closed in between; its end is told as such.
            let _ = behaviour.join.admit(id);
            self.open_if_both(id);
        }
    }

    /// Our side says no; the join exchange says why and closes.
    pub(super) fn refuse(&mut self, connection: usize, reason: &str) {
        let id = ConnectionId::new_unchecked(connection);
        // It may have closed already; that is as good as refused.
        let _ = self.swarm.behaviour_mut().join.refuse(id, reason);
    }

    pub(super) fn talk(&mut self, connection: usize, talk: Talk) {
        // It may have closed in between; what was said is lost with it.
        let _ = self.swarm.behaviour_mut().join.talk(ConnectionId::new_unchecked(connection), talk);
    }

    pub(super) fn grant(&mut self, connection: usize, bytes: usize) {
        // It may have closed in between, and then says nothing more.
        let _ = self.swarm.behaviour_mut().join.grant(ConnectionId::new_unchecked(connection), bytes);
    }

    pub(super) fn on_join_event(&mut self, event: JoinEvent) {
        match event {
            JoinEvent::Hello { connection, peer, hello, outbound } => {
                self.queue.push(Event::Hello { connection, peer, hello, outbound })
            }
            JoinEvent::Talked { connection, peer, data } => self.queue.push(Event::Talked { connection, peer, data }),
            JoinEvent::TalkSent { connection, peer } => self.queue.push(Event::TalkSent { connection, peer }),
            JoinEvent::Ready { connection, .. } => {
                if let Some(known) = self.connections.get_mut(&connection) {
                    known.ready = true;
                    self.open_if_both(connection);
                }
            }
            JoinEvent::Refused { connection, peer, reason } => {
                self.queue.push(Event::Refused { connection, peer, reason })
            }
            JoinEvent::Failed { connection, peer, reason } => {
                self.queue.push(Event::JoinFailed { connection, peer, reason: reason.to_string() })
            }
        }
    }

    fn open_if_both(&mut self, id: ConnectionId) {
        let Some(known) = self.connections.get_mut(&id) else {
            return;
        };
        if !(known.admitted && known.ready) || known.open {
            return;
        }
        let behaviour = self.swarm.behaviour_mut();
        if behaviour.gate.set_phase(id, Phase::Open).is_err() {
            return;
        }
        known.open = true;
        let peer = known.peer;
        self.relay_access.set_admitted(peer, true);
        let _ = behaviour.relay.set_phase(id, Phase::Open);
        behaviour.identify.trust(id);
        self.queue.push(Event::Admitted { connection: id, peer });
        self.gauge();
        self.tell_kademlia(peer);
        self.on_open_path(id, peer);
    }

    /// Whether any connection to the peer is open on both sides.
    pub(super) fn is_open(&self, peer: &PeerId) -> bool {
        self.connections.values().any(|connection| connection.open && connection.peer == *peer)
    }

    /// Kademlia learns the addresses that an admitted peer gave of itself, and of nobody else.
    pub(super) fn tell_kademlia(&mut self, peer: PeerId) {
        if !self.is_open(&peer) {
            return;
        }
        let addresses = self.identified.get(&peer).cloned().unwrap_or_default();
        let guarded = self.swarm.behaviour_mut().gate.inner_mut();
        let Some(kademlia) = guarded.kademlia.as_mut() else {
            return;
        };
        for address in addresses.into_iter().take(limits::ADDRESSES_PER_PEER) {
            // An update that is refused (a full bucket) leaves the table as it was.
            let _: kad::RoutingUpdate = kademlia.add_address(&peer, address);
        }
    }

    /// Whoever is sent away is not called again by a query that passes its address.
    pub(super) fn tell_kademlia_to_forget(&mut self, peer: &PeerId) {
        let guarded = self.swarm.behaviour_mut().gate.inner_mut();
        if let Some(kademlia) = guarded.kademlia.as_mut() {
            kademlia.remove_peer(peer);
        }
    }
}
