//! Admission: when the behaviour inside begins and ceases to know of a connection.

use std::error::Error;

use libp2p::{
    PeerId,
    core::ConnectedPoint,
    swarm::{
        AddressChange, CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialError, DialFailure,
        FromSwarm, ListenError, ListenFailure, NetworkBehaviour, NewExternalAddrOfPeer, NotifyHandler, ToSwarm,
        behaviour::ConnectionEstablished,
    },
};

use super::{Gate, GateCommand, Phase, PhaseError};

impl<B: NetworkBehaviour> Gate<B> {
    /// Admits a connection further. From [`Phase::Denied`] the inner behaviour's handler is installed; asking for the
    /// phase that a connection already has changes nothing.
    ///
    /// # Errors
    /// [`PhaseError`], if there is no such connection, if it is further already, or if the inner behaviour refuses it.
    pub fn set_phase(&mut self, id: ConnectionId, phase: Phase) -> Result<(), PhaseError> {
        let connection = self
            .connections
            .get_mut(id)
            // One that was refused inside is about to close.
            .filter(|c| c.established && (c.is_shown() || !c.settled))
            .ok_or(PhaseError::UnknownConnection(id))?;
        let (peer_id, from) = (connection.peer, connection.phase);
        if phase < from {
            return Err(PhaseError::Backwards { from, to: phase });
        }
        if phase == from {
            return Ok(());
        }
        if from == Phase::Denied {
            self.install(id, phase)?;
        } else {
            connection.phase = phase;
            self.commands.push_back(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(id),
                event: GateCommand::Open,
            });
        }
        self.wake();
        Ok(())
    }

    fn install(&mut self, id: ConnectionId, phase: Phase) -> Result<(), PhaseError> {
        let connection = self.connections.established(id).ok_or(PhaseError::UnknownConnection(id))?;
        let (peer_id, endpoint) = (connection.peer, connection.endpoint.clone());
        let failed_addresses = connection.failed_addresses.clone();
        let other_established = self.connections.shown(&peer_id).count();
        let handler = match self.make_handler(id, peer_id, &endpoint) {
            Ok(handler) => Box::new(handler),
            Err(cause) => return Err(self.refuse(id, peer_id, cause)),
        };
        self.commands.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(id),
            event: GateCommand::Install(handler, phase),
        });
        if let Some(connection) = self.connections.get_mut(id) {
            connection.phase = phase;
            connection.settled = true;
        }
        self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id,
            connection_id: id,
            endpoint: &endpoint,
            failed_addresses: &failed_addresses,
            other_established,
        }));
        for addr in &self.connections.take_addresses(&peer_id) {
            self.inner.on_swarm_event(FromSwarm::NewExternalAddrOfPeer(NewExternalAddrOfPeer { peer_id, addr }));
        }
        Ok(())
    }

    /// The inner behaviour does not want the connection: it closes, and counts inside as one that failed.
    fn refuse(&mut self, id: ConnectionId, peer_id: PeerId, cause: ConnectionDenied) -> PhaseError {
        let reason = cause.source().map_or_else(|| cause.to_string(), ToString::to_string);
        self.settle_as_failed(id, Some(cause));
        self.commands.push_back(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) });
        self.wake();
        PhaseError::RefusedInside(reason)
    }

    fn settle_as_failed(&mut self, id: ConnectionId, cause: Option<ConnectionDenied>) {
        let Some(connection) = self.connections.get_mut(id).filter(|c| !c.settled) else {
            return;
        };
        connection.settled = true;
        match &connection.endpoint {
            ConnectedPoint::Dialer { .. } => {
                let error = cause.map_or(DialError::Aborted, |cause| DialError::Denied { cause });
                self.inner.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                    peer_id: connection.dialled_inside.then_some(connection.peer),
                    error: &error,
                    connection_id: id,
                }));
            }
            ConnectedPoint::Listener { local_addr, send_back_addr } => {
                let error = cause.map_or(ListenError::Aborted, |cause| ListenError::Denied { cause });
                self.inner.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
                    local_addr,
                    send_back_addr,
                    error: &error,
                    connection_id: id,
                    peer_id: None,
                }));
            }
        }
    }

    pub(super) fn on_established(&mut self, event: ConnectionEstablished) {
        let other_established = self.connections.shown(&event.peer_id).count();
        let Some(connection) = self.connections.get_mut(event.connection_id) else {
            return;
        };
        connection.established = true;
        connection.failed_addresses = event.failed_addresses.to_vec();
        if connection.is_shown() {
            connection.settled = true;
            self.inner
                .on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished { other_established, ..event }));
        }
    }

    pub(super) fn on_closed(&mut self, event: ConnectionClosed) {
        let (id, peer) = (event.connection_id, event.peer_id);
        if self.connections.is_shown(id) {
            self.connections.remove(id);
            let remaining_established = self.connections.shown(&peer).count();
            self.inner.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed { remaining_established, ..event }));
        } else {
            self.settle_as_failed(id, None);
            self.connections.remove(id);
        }
    }

    pub(super) fn on_address_change(&mut self, event: AddressChange) {
        let Some(connection) = self.connections.get_mut(event.connection_id) else {
            return;
        };
        connection.endpoint = event.new.clone();
        if connection.is_shown() {
            self.inner.on_swarm_event(FromSwarm::AddressChange(event));
        }
    }

    pub(super) fn on_address_of_peer(&mut self, event: NewExternalAddrOfPeer) {
        if self.connections.shown(&event.peer_id).next().is_some() {
            return self.inner.on_swarm_event(FromSwarm::NewExternalAddrOfPeer(event));
        }
        self.connections.remember_address(event.peer_id, event.addr);
    }
}
