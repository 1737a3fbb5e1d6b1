//! The gate's ledger: every connection, hidden or shown, and what is to be told at its admission.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
};

use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, swarm::ConnectionId};

use super::Phase;
use crate::limits;

/// What the gate remembers of a connection.
pub(super) struct Connection {
    pub(super) peer: PeerId,
    pub(super) endpoint: ConnectedPoint,
    /// Addresses that failed before this one was reached: Kademlia forgets them when it hears of the connection.
    pub(super) failed_addresses: Vec<Multiaddr>,
    pub(super) phase: Phase,
    pub(super) established: bool,
    /// The inner behaviour asked for this dial and is waiting to hear how it ended.
    pub(super) dialled_inside: bool,
    /// The inner behaviour has heard how this pending connection ended.
    pub(super) settled: bool,
}

impl Connection {
    pub(super) fn is_shown(&self) -> bool {
        self.established && self.phase != Phase::Denied
    }
}

/// All connections that the swarm has asked a handler for and that have not closed.
#[derive(Default)]
pub(super) struct Connections {
    entries: BTreeMap<ConnectionId, Connection>,
    /// External addresses of peers that are connected but hidden, oldest first.
    addresses: HashMap<PeerId, VecDeque<Multiaddr>>,
}

impl Connections {
    pub(super) fn insert(&mut self, id: ConnectionId, connection: Connection) {
        self.entries.insert(id, connection);
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.entries.get_mut(&id)
    }

    pub(super) fn established(&self, id: ConnectionId) -> Option<&Connection> {
        self.entries.get(&id).filter(|c| c.established)
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        let Some(connection) = self.entries.remove(&id) else {
            return;
        };
        if !self.entries.values().any(|c| c.peer == connection.peer) {
            self.addresses.remove(&connection.peer);
        }
    }

    pub(super) fn is_shown(&self, id: ConnectionId) -> bool {
        self.entries.get(&id).is_some_and(Connection::is_shown)
    }

    /// The connections of a peer that the inner behaviour knows of, oldest first.
    pub(super) fn shown(&self, peer: &PeerId) -> impl Iterator<Item = (ConnectionId, &Connection)> + use<'_> {
        let peer = *peer;
        self.entries.iter().filter(move |(_, c)| c.peer == peer && c.is_shown()).map(|(id, c)| (*id, c))
    }

    /// The connection for what may go by any: an open one if there is, and of several the oldest, so that what is
    /// sent in a row arrives in a row.
    pub(super) fn any_shown(&self, peer: &PeerId) -> Option<ConnectionId> {
        self.shown(peer).max_by_key(|(id, c)| (c.phase, Reverse(*id))).map(|(id, _)| id)
    }

    /// Keeps an address of a connected stranger for its admission. Of others nothing is kept.
    pub(super) fn remember_address(&mut self, peer: PeerId, address: &Multiaddr) {
        if !self.entries.values().any(|c| c.peer == peer && c.established) {
            return;
        }
        let known = self.addresses.entry(peer).or_default();
        if known.contains(address) {
            return;
        }
        if known.len() == limits::HIDDEN_PEER_ADDRESSES {
            known.pop_front();
        }
        known.push_back(address.clone());
    }

    pub(super) fn take_addresses(&mut self, peer: &PeerId) -> VecDeque<Multiaddr> {
        self.addresses.remove(peer).unwrap_or_default()
    }
}
