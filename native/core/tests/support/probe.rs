//! A behaviour that writes down what it is shown, and a gate around it, driven as a swarm drives it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use covm_core::gate::{Gate, GateCommand, GateHandler};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{ConnectedPoint, Endpoint, transport::PortUse, upgrade::ReadyUpgrade},
    swarm::{
        AddressChange, CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent,
        ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler, ToSwarm,
        behaviour::ConnectionEstablished,
        handler::{ConnectionEvent, ProtocolsChange},
    },
};

pub const PROBE: StreamProtocol = StreamProtocol::new("/probe");
pub const TIMEOUT: Duration = Duration::from_secs(77);

pub type Log = Arc<Mutex<Vec<String>>>;

/// A behaviour that writes down what it is shown, and says to the swarm what the test wants.
#[derive(Default)]
pub struct Probe {
    pub log: Log,
    pub refuses: bool,
    pub says: VecDeque<ToSwarm<(), &'static str>>,
}

pub struct ProbeHandler(pub Log);

pub fn note(log: &Log, line: impl Into<String>) {
    log.lock().unwrap().push(line.into());
}

impl Probe {
    fn handler(&self) -> Result<ProbeHandler, ConnectionDenied> {
        if self.refuses { Err(ConnectionDenied::new("not today")) } else { Ok(ProbeHandler(self.log.clone())) }
    }
}

impl NetworkBehaviour for Probe {
    type ConnectionHandler = ProbeHandler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler()
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handler()
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        let line = match event {
            FromSwarm::ConnectionEstablished(e) => {
                format!("established {} others {} at {}", e.connection_id, e.other_established, remote(e.endpoint))
            }
            FromSwarm::ConnectionClosed(e) => {
                format!("closed {} remaining {}", e.connection_id, e.remaining_established)
            }
            FromSwarm::AddressChange(e) => {
                format!("moved {} to {}", e.connection_id, remote(e.new))
            }
            FromSwarm::DialFailure(e) => format!("dial {} failed, peer {}", e.connection_id, e.peer_id.is_some()),
            FromSwarm::ListenFailure(e) => format!("listen {} failed, peer {}", e.connection_id, e.peer_id.is_some()),
            FromSwarm::NewExternalAddrOfPeer(e) => format!("peer at {}", e.addr),
            _ => return,
        };
        note(&self.log, line);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, id: ConnectionId, event: &'static str) {
        note(&self.log, format!("{id} says {event}"));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<(), &'static str>> {
        self.says.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

impl ConnectionHandler for ProbeHandler {
    type FromBehaviour = &'static str;
    type ToBehaviour = &'static str;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROBE), ()).with_timeout(TIMEOUT)
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, event: &'static str) {
        note(&self.0, format!("told {event}"));
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        note(&self.0, "polled");
        Poll::Pending
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Option<&'static str>> {
        note(&self.0, "closing");
        Poll::Ready(None)
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol>) {
        let line = match event {
            ConnectionEvent::FullyNegotiatedInbound(_) => "inbound stream".to_owned(),
            ConnectionEvent::AddressChange(change) => {
                format!("handler moved to {}", change.new_address)
            }
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Added(added)) => {
                let mut added: Vec<_> = added.map(ToString::to_string).collect();
                added.sort();
                format!("remote has {}", added.join(" "))
            }
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Removed(_)) => "remote lost some".to_owned(),
            ConnectionEvent::LocalProtocolsChange(ProtocolsChange::Added(added)) => {
                format!("local has {}", added.map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
            _ => "something else".to_owned(),
        };
        note(&self.0, line);
    }
}

pub fn remote(endpoint: &ConnectedPoint) -> String {
    endpoint.get_remote_address().to_string()
}

pub fn address(port: u16) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

pub fn inbound(port: u16) -> ConnectedPoint {
    ConnectedPoint::Listener { local_addr: address(1), send_back_addr: address(port) }
}

pub fn outbound(port: u16) -> ConnectedPoint {
    ConnectedPoint::Dialer { address: address(port), role_override: Endpoint::Dialer, port_use: PortUse::Reuse }
}

/// The gate, driven as a swarm drives it.
pub struct Driven {
    pub gate: Gate<Probe>,
    pub log: Log,
    pub endpoints: HashMap<ConnectionId, (PeerId, ConnectedPoint)>,
}

impl Driven {
    pub fn new() -> Self {
        let log = Log::default();
        let gate = Gate::new(Probe { log: log.clone(), ..Probe::default() });
        Self { gate, log, endpoints: HashMap::new() }
    }

    /// With a gate that knows of passes.
    pub fn with_passes(passes: impl Fn(&PeerId) -> bool + Send + 'static) -> Self {
        let Self { gate, log, endpoints } = Self::new();
        Self { gate: gate.with_passes(passes), log, endpoints }
    }

    pub fn establish(&mut self, id: ConnectionId, peer: PeerId, endpoint: ConnectedPoint) -> GateHandler<ProbeHandler> {
        let handler = match &endpoint {
            ConnectedPoint::Listener { local_addr, send_back_addr } => {
                self.gate.handle_established_inbound_connection(id, peer, local_addr, send_back_addr)
            }
            ConnectedPoint::Dialer { address, role_override, port_use } => {
                self.gate.handle_established_outbound_connection(id, peer, address, *role_override, *port_use)
            }
        };
        let other_established = self.endpoints.values().filter(|(p, _)| *p == peer).count();
        self.gate.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: id,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established,
        }));
        self.endpoints.insert(id, (peer, endpoint));
        handler.unwrap()
    }

    pub fn close(&mut self, id: ConnectionId) {
        let (peer_id, endpoint) = self.endpoints.remove(&id).unwrap();
        let remaining_established = self.endpoints.values().filter(|(p, _)| *p == peer_id).count();
        self.gate.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id,
            connection_id: id,
            endpoint: &endpoint,
            cause: None,
            remaining_established,
        }));
    }

    pub fn move_to(&mut self, id: ConnectionId, new: ConnectedPoint) {
        let (peer_id, old) = self.endpoints.insert(id, (self.endpoints[&id].0, new.clone())).unwrap();
        self.gate.on_swarm_event(FromSwarm::AddressChange(AddressChange {
            peer_id,
            connection_id: id,
            old: &old,
            new: &new,
        }));
    }

    pub fn poll(&mut self) -> Option<ToSwarm<(), GateCommand<ProbeHandler>>> {
        match self.gate.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(command) => Some(command),
            Poll::Pending => None,
        }
    }

    /// All that the gate has for the swarm, spelled out.
    pub fn commands(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.poll())
            .map(|command| match command {
                ToSwarm::NotifyHandler { handler: NotifyHandler::One(id), event, .. } => format!("to {id}: {event:?}"),
                ToSwarm::CloseConnection { connection: CloseConnection::One(id), .. } => format!("close {id}"),
                ToSwarm::Dial { .. } => "dial".into(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

pub fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}
