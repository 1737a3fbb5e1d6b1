//! Identify, believed only from admitted peers in what they say of us.
//!
//! Every peer tells which address it sees us at, a stranger too, and may say another each time. AutoNAT's client tests
//! each of these candidates and forgets none; DCUtR offers the newest to whoever punches a hole. So what a connection says
//! waits here until its peer is admitted ([`Observed::trust`]), and of new addresses only so many pass in time.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll, Waker},
    time::Instant,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    identify,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
    },
};

use crate::limits;

/// Which candidates pass: those that came lately again and again, new ones at a bounded rate.
#[derive(Debug)]
struct Candidates {
    recent: VecDeque<Multiaddr>,
    left: u32,
    refilled_at: Instant,
}

impl Candidates {
    fn new(now: Instant) -> Self {
        Self { recent: VecDeque::new(), left: limits::CANDIDATES_AT_ONCE, refilled_at: now }
    }

    fn pass(&mut self, address: &Multiaddr, now: Instant) -> bool {
        if self.recent.contains(address) {
            return true;
        }
        while self.left < limits::CANDIDATES_AT_ONCE && now >= self.refilled_at + limits::CANDIDATE_INTERVAL {
            self.refilled_at += limits::CANDIDATE_INTERVAL;
            self.left += 1;
        }
        if self.left == 0 {
            return false;
        }
        if self.left == limits::CANDIDATES_AT_ONCE {
            self.refilled_at = now;
        }
        self.left -= 1;
        self.recent.push_back(address.clone());
        if self.recent.len() > limits::CANDIDATES_RECENT {
            self.recent.pop_front();
        }
        true
    }
}

/// What one connection said of us.
#[derive(Debug, Default)]
struct Said {
    trusted: bool,
    /// Its other end sees a relay, not us.
    relayed: bool,
    held: Vec<Multiaddr>,
}

/// Identify, with what peers see of us held back until they are admitted.
pub struct Observed {
    inner: identify::Behaviour,
    connections: HashMap<ConnectionId, Said>,
    /// Whose words identify is passing on: it names no peer with a candidate, but says first who was identified.
    speaking: Option<ConnectionId>,
    candidates: Candidates,
    passed: VecDeque<Multiaddr>,
    waker: Option<Waker>,
}

impl Observed {
    /// Stands around identify.
    #[must_use]
    pub fn new(inner: identify::Behaviour) -> Self {
        Self {
            inner,
            connections: HashMap::new(),
            speaking: None,
            candidates: Candidates::new(Instant::now()),
            passed: VecDeque::new(),
            waker: None,
        }
    }

    /// The peer of this connection is admitted: what it said of us, and what it will say, counts.
    pub fn trust(&mut self, connection: ConnectionId) {
        let Some(said) = self.connections.get_mut(&connection) else {
            return;
        };
        said.trusted = true;
        for address in std::mem::take(&mut said.held) {
            self.tell(address);
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What peers have said so far was of another network.
    pub fn forget(&mut self) {
        self.candidates = Candidates::new(Instant::now());
        self.passed.clear();
        for said in self.connections.values_mut() {
            said.held.clear();
        }
    }

    fn tell(&mut self, address: Multiaddr) {
        if self.candidates.pass(&address, Instant::now()) {
            self.passed.push_back(address);
        }
    }

    fn on_candidate(&mut self, address: Multiaddr) {
        let said = self.speaking.and_then(|id| self.connections.get_mut(&id));
        let Some(said) = said.filter(|said| !said.relayed) else {
            return;
        };
        if said.trusted {
            self.tell(address);
        } else if said.held.len() < limits::CANDIDATES_HELD {
            said.held.push(address);
        }
    }
}

impl NetworkBehaviour for Observed {
    type ConnectionHandler = <identify::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = identify::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match &event {
            FromSwarm::ConnectionEstablished(event) => {
                let relayed = event.endpoint.is_relayed();
                self.connections.insert(event.connection_id, Said { relayed, ..Said::default() });
            }
            FromSwarm::ConnectionClosed(event) => {
                self.connections.remove(&event.connection_id);
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(address) = self.passed.pop_front() {
                return Poll::Ready(ToSwarm::NewExternalAddrCandidate(address));
            }
            match self.inner.poll(cx) {
                Poll::Ready(ToSwarm::NewExternalAddrCandidate(address)) => self.on_candidate(address),
                Poll::Ready(command) => {
                    if let ToSwarm::GenerateEvent(identify::Event::Received { connection_id, .. }) = &command {
                        self.speaking = Some(*connection_id);
                    }
                    return Poll::Ready(command);
                }
                Poll::Pending => {
                    self.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{number}").parse().unwrap()
    }

    #[test]
    fn the_same_address_passes_always_and_new_ones_only_so_often() {
        let start = Instant::now();
        let mut candidates = Candidates::new(start);
        let most = limits::CANDIDATES_AT_ONCE as usize;
        let passed = (1..1000).filter(|number| candidates.pass(&address(*number), start)).count();
        assert_eq!(passed, most);
        assert!(candidates.pass(&address(most), start));
        let later = start + limits::CANDIDATE_INTERVAL * 3;
        let passed = (1000..2000).filter(|number| candidates.pass(&address(*number), later)).count();
        assert_eq!(passed, 3);
        assert!(candidates.recent.len() <= limits::CANDIDATES_RECENT);
    }

    #[test]
    fn what_was_not_used_in_a_quiet_time_does_not_add_up() {
        let start = Instant::now();
        let mut candidates = Candidates::new(start);
        let much_later = start + limits::CANDIDATE_INTERVAL * 10_000;
        let passed = (1..1000).filter(|number| candidates.pass(&address(*number), much_later)).count();
        assert_eq!(passed, limits::CANDIDATES_AT_ONCE as usize);
        let soon = much_later + limits::CANDIDATE_INTERVAL / 2;
        assert!(!candidates.pass(&address(5000), soon));
    }
}
