//! The gate as a behaviour: what passes between the swarm and the behaviour inside.

use std::{
    collections::{HashSet, VecDeque},
    task::{Context, Poll, Waker, ready},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour, NotifyHandler,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};

use super::{
    GateCommand, GateHandler, Phase,
    connections::{Connection, Connections},
};
use crate::switches::{self, Defence};

type Command<B> = ToSwarm<<B as NetworkBehaviour>::ToSwarm, GateCommand<THandler<B>>>;

/// Shows a behaviour only the connections that have been admitted. The module says what passes and what does not.
///
/// Whatever [`set_phase`](Gate::set_phase) causes is handed to the swarm before any behaviour that stands later in
/// the same struct is polled, and notifications of one connection keep their order: what such a behaviour sends to
/// that connection afterwards finds the new phase in force.
pub struct Gate<B: NetworkBehaviour> {
    pub(super) inner: B,
    pub(super) connections: Connections,
    /// Dials that the inner behaviour asked for and that have neither failed nor been established.
    dials: HashSet<ConnectionId>,
    pub(super) commands: VecDeque<Command<B>>,
    passes: Option<Passes>,
    waker: Option<Waker>,
}

/// Whether a stranger has a pass.
type Passes = Box<dyn Fn(&PeerId) -> bool + Send>;

impl<B: NetworkBehaviour> Gate<B> {
    /// Stands a gate around a behaviour.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            connections: Connections::default(),
            dials: HashSet::new(),
            commands: VecDeque::new(),
            passes: None,
            waker: None,
        }
    }

    /// Connections of whoever has a pass begin open: what a stranger asks for with its first bytes would otherwise come
    /// before the gate could be told.
    #[must_use]
    pub fn with_passes(mut self, passes: impl Fn(&PeerId) -> bool + Send + 'static) -> Self {
        self.passes = Some(Box::new(passes));
        self
    }

    /// The behaviour inside.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// The behaviour inside.
    pub fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }

    /// The phase of an established connection.
    pub fn phase(&self, id: ConnectionId) -> Option<Phase> {
        Some(self.connections.established(id)?.phase)
    }

    /// The connections of a peer that are [`Phase::Open`], oldest first.
    pub fn open_connections(&self, peer: &PeerId) -> impl Iterator<Item = ConnectionId> + use<'_, B> {
        self.connections.shown(peer).filter(|(_, c)| c.phase == Phase::Open).map(|(id, _)| id)
    }

    /// The swarm asks for the handler of a new connection: a closed one, unless the gate is switched off.
    fn begin(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        endpoint: ConnectedPoint,
    ) -> Result<GateHandler<THandler<B>>, ConnectionDenied> {
        let dialled_inside = self.dials.remove(&id);
        let passes = self.passes.as_ref().is_some_and(|passes| passes(&peer));
        let (handler, phase) = if switches::on(Defence::Gate) && !passes {
            (GateHandler::closed(), Phase::Denied)
        } else {
            (GateHandler::open(self.make_handler(id, peer, &endpoint)?), Phase::Open)
        };
        let connection = Connection {
            peer,
            endpoint,
            failed_addresses: Vec::new(),
            phase,
            established: false,
            dialled_inside,
            settled: false,
        };
        self.connections.insert(id, connection);
        Ok(handler)
    }

    pub(super) fn make_handler(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        endpoint: &ConnectedPoint,
    ) -> Result<THandler<B>, ConnectionDenied> {
        match endpoint {
            ConnectedPoint::Listener { local_addr, send_back_addr } => {
                self.inner.handle_established_inbound_connection(id, peer, local_addr, send_back_addr)
            }
            ConnectedPoint::Dialer { address, role_override, port_use } => {
                self.inner.handle_established_outbound_connection(id, peer, address, *role_override, *port_use)
            }
        }
    }

    /// What the inner behaviour asks of the swarm, as far as it may.
    fn translate(&mut self, command: ToSwarm<B::ToSwarm, THandlerInEvent<B>>) -> Option<Command<B>> {
        match command {
            ToSwarm::NotifyHandler { peer_id, handler, event } => {
                let id = match handler {
                    NotifyHandler::One(id) => self.connections.is_shown(id).then_some(id),
                    NotifyHandler::Any => self.connections.any_shown(&peer_id),
                }?;
                let event = GateCommand::Inner(event);
                Some(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(id), event })
            }
            ToSwarm::CloseConnection { peer_id, connection } => {
                let ids: Vec<_> = match connection {
                    CloseConnection::One(id) => self.connections.is_shown(id).then_some(id).into_iter().collect(),
                    CloseConnection::All => self.connections.shown(&peer_id).map(|(id, _)| id).collect(),
                };
                self.commands.extend(
                    ids.into_iter()
                        .map(|id| ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) }),
                );
                self.commands.pop_front()
            }
            ToSwarm::Dial { opts } => {
                self.dials.insert(opts.connection_id());
                Some(ToSwarm::Dial { opts })
            }
            other => Some(other.map_in(GateCommand::Inner)),
        }
    }

    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Gate<B> {
    type ConnectionHandler = GateHandler<THandler<B>>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local_addr, remote_addr)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Listener { local_addr: local_addr.clone(), send_back_addr: remote_addr.clone() };
        self.begin(id, peer, endpoint)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        effective_role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(id, peer, addresses, effective_role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role_override: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let endpoint = ConnectedPoint::Dialer { address: addr.clone(), role_override, port_use };
        self.begin(id, peer, endpoint)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.on_established(event),
            FromSwarm::ConnectionClosed(event) => self.on_closed(event),
            FromSwarm::AddressChange(event) => self.on_address_change(event),
            FromSwarm::NewExternalAddrOfPeer(event) => self.on_address_of_peer(event),
            FromSwarm::DialFailure(event) => {
                self.dials.remove(&event.connection_id);
                self.connections.remove(event.connection_id);
                self.inner.on_swarm_event(FromSwarm::DialFailure(event));
            }
            FromSwarm::ListenFailure(event) => {
                self.connections.remove(event.connection_id);
                self.inner.on_swarm_event(FromSwarm::ListenFailure(ListenFailure { peer_id: None, ..event }));
            }
            other => self.inner.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        if self.connections.is_shown(id) {
            self.inner.on_connection_handler_event(peer, id, event);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(command) = self.commands.pop_front() {
            return Poll::Ready(command);
        }
        self.waker = Some(cx.waker().clone());
        loop {
            let command = ready!(self.inner.poll(cx));
            if let Some(command) = self.translate(command) {
                return Poll::Ready(command);
            }
        }
    }
}
