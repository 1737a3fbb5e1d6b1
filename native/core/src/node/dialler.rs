//! A behaviour that dials by itself (DCUtR, AutoNAT's server), with its dials known as its own.
//!
//! Neither says which connections it made, nor why a dial failed: DCUtR's dialing side says nothing at all, the other one
//! only how often it tried.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
    },
};

use super::dials;

/// What a dialler says.
#[derive(Debug)]
pub enum DiallerEvent<E> {
    /// The behaviour's own event.
    Inner(E),
    /// A dial of the behaviour failed.
    DialFailed {
        peer: PeerId,
        /// Which side of the connection we would have been: the listening one leads when a hole is punched.
        role: Endpoint,
        why: String,
    },
}

struct Dial {
    peer: Option<PeerId>,
    role: Endpoint,
    address: Option<Multiaddr>,
}

/// Stands around a behaviour and takes note of what it dials.
pub struct Dialler<B> {
    inner: B,
    /// Under way, and connected; each ends in one failure or one close.
    dials: HashMap<ConnectionId, Dial>,
    failures: VecDeque<(PeerId, Endpoint, String)>,
}

impl<B> Dialler<B> {
    pub fn new(inner: B) -> Self {
        Self { inner, dials: HashMap::new(), failures: VecDeque::new() }
    }

    /// The connections to a peer that the behaviour has made, or is making, at this address first.
    pub fn dialled(&self, peer: &PeerId, address: &Multiaddr) -> Vec<ConnectionId> {
        let wanted = |dial: &Dial| dial.peer == Some(*peer) && dial.address.as_ref() == Some(address);
        self.dials.iter().filter(|(_, dial)| wanted(dial)).map(|(id, _)| *id).collect()
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Dialler<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = DiallerEvent<B::ToSwarm>;

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
        if let Some(dial) = self.dials.get_mut(&id) {
            dial.role = role;
            dial.address = addresses.first().cloned();
        }
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
            FromSwarm::DialFailure(failure) => {
                if let Some(Dial { peer: Some(peer), role, .. }) = self.dials.remove(&failure.connection_id) {
                    self.failures.push_back((peer, role, dials::in_words(failure.error)));
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.dials.remove(&closed.connection_id);
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer, role, why)) = self.failures.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(DiallerEvent::DialFailed { peer, role, why }));
        }
        self.inner.poll(cx).map(|command| {
            if let ToSwarm::Dial { opts } = &command {
                let dial = Dial { peer: opts.get_peer_id(), role: Endpoint::Dialer, address: None };
                self.dials.insert(opts.connection_id(), dial);
            }
            command.map_out(DiallerEvent::Inner)
        })
    }
}
