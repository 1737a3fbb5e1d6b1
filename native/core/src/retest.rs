//! AutoNAT's client, made to test again what it has tested.
//!
//! It tests each address once and holds on to the result for ever, whatever becomes of the router. Here it can be replaced
//! by a new one that knows nothing yet ([`Retest::anew`]). The new one has to hear which connections stand, and which
//! peers offer the test; the handlers on the connections stay, and tell it that when they see the protocol go and come.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    autonat::v2::client,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        NewExternalAddrCandidate, NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
        behaviour::ConnectionEstablished,
        handler::{ConnectionEvent, ProtocolSupport, ProtocolsChange},
    },
};

use crate::limits;

/// What a peer that tests others speaks (AutoNAT v2).
const TESTS: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-request");

/// AutoNAT's client, which can begin anew.
#[derive(Default)]
pub struct Retest {
    inner: client::Behaviour,
    connections: HashMap<ConnectionId, (PeerId, ConnectedPoint)>,
    /// What peers see us at, oldest first.
    candidates: VecDeque<Multiaddr>,
    repeat: Vec<(PeerId, ConnectionId)>,
    waker: Option<Waker>,
}

impl Retest {
    /// Tests every address again that peers have seen us at lately.
    pub fn anew(&mut self) {
        self.inner = client::Behaviour::default();
        for (id, (peer, endpoint)) in &self.connections {
            self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: *peer,
                connection_id: *id,
                endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
        }
        for addr in &self.candidates {
            self.inner.on_swarm_event(FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }));
        }
        self.repeat = self.connections.iter().map(|(id, (peer, _))| (*peer, *id)).collect();
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn remember(&mut self, address: &Multiaddr) {
        if self.candidates.contains(address) {
            return;
        }
        self.candidates.push_back(address.clone());
        if self.candidates.len() > limits::CANDIDATES_RECENT {
            self.candidates.pop_front();
        }
    }
}

impl NetworkBehaviour for Retest {
    type ConnectionHandler = RetestHandler<THandler<client::Behaviour>>;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote).map(RetestHandler::new)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use).map(RetestHandler::new)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match &event {
            FromSwarm::ConnectionEstablished(event) => {
                self.connections.insert(event.connection_id, (event.peer_id, event.endpoint.clone()));
            }
            FromSwarm::ConnectionClosed(event) => {
                self.connections.remove(&event.connection_id);
            }
            FromSwarm::NewExternalAddrCandidate(event) => self.remember(event.addr),
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id)) = self.repeat.pop() {
            let handler = NotifyHandler::One(id);
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event: RetestCommand::Repeat });
        }
        self.waker = Some(cx.waker().clone());
        self.inner.poll(cx).map(|command| command.map_in(RetestCommand::Inner))
    }
}

/// What the handler of a connection is told.
#[derive(Debug)]
pub enum RetestCommand<E> {
    /// Say again whether the peer tests others.
    Repeat,
    /// Of AutoNAT's own.
    Inner(E),
}

/// AutoNAT's handler, which can be made to say again whether the peer tests others.
pub struct RetestHandler<H> {
    inner: H,
    tests: bool,
    reports: VecDeque<ProtocolSupport>,
    waker: Option<Waker>,
}

impl<H> RetestHandler<H> {
    fn new(inner: H) -> Self {
        Self { inner, tests: false, reports: VecDeque::new(), waker: None }
    }
}

impl<H: ConnectionHandler> ConnectionHandler for RetestHandler<H> {
    type FromBehaviour = RetestCommand<H::FromBehaviour>;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn on_behaviour_event(&mut self, command: Self::FromBehaviour) {
        match command {
            RetestCommand::Inner(event) => self.inner.on_behaviour_event(event),
            // Only the swarm can construct the event that tells what a peer speaks, and it tells differences only.
            RetestCommand::Repeat if self.tests && self.reports.is_empty() => {
                self.reports.push_back(ProtocolSupport::Removed([TESTS].into()));
                self.reports.push_back(ProtocolSupport::Added([TESTS].into()));
                if let Some(waker) = self.waker.take() {
                    waker.wake();
                }
            }
            RetestCommand::Repeat => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if let Some(report) = self.reports.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::ReportRemoteProtocols(report));
        }
        self.waker = Some(cx.waker().clone());
        self.inner.poll(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx)
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        match &event {
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Added(added)) => {
                self.tests |= added.clone().any(|protocol| *protocol == TESTS);
            }
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Removed(removed)) => {
                self.tests &= !removed.clone().any(|protocol| *protocol == TESTS);
            }
            _ => {}
        }
        self.inner.on_connection_event(event);
    }
}
