//! The connections that streams may use: which is best, and which have earned their end.

use std::collections::HashMap;

use libp2p::{PeerId, swarm::ConnectionId};

/// Connections as the swarm shows them.
#[derive(Default)]
pub(super) struct Connections {
    known: HashMap<ConnectionId, Connection>,
    condemned: Vec<(PeerId, ConnectionId)>,
}

struct Connection {
    peer: PeerId,
    relayed: bool,
    /// The swarm has shown it. A connection's task may bring a stream a moment before.
    established: bool,
    strikes: u32,
}

impl Connections {
    /// A handler was made for a connection that is to be established.
    pub(super) fn begun(&mut self, id: ConnectionId, peer: PeerId) {
        let connection = Connection { peer, relayed: false, established: false, strikes: 0 };
        self.known.insert(id, connection);
    }

    /// The handler is gone. That of a connection that was denied is the last to be heard of it.
    pub(super) fn given_up(&mut self, id: ConnectionId) {
        if self.known.get(&id).is_some_and(|c| !c.established) {
            self.known.remove(&id);
        }
    }

    pub(super) fn established(&mut self, id: ConnectionId, relayed: bool) {
        if let Some(connection) = self.known.get_mut(&id) {
            connection.established = true;
            connection.relayed = relayed;
        }
    }

    pub(super) fn moved(&mut self, id: ConnectionId, relayed: bool) {
        if let Some(connection) = self.known.get_mut(&id) {
            connection.relayed = relayed;
        }
    }

    pub(super) fn closed(&mut self, id: ConnectionId) {
        self.known.remove(&id);
    }

    /// Whether streams may arrive on it.
    pub(super) fn is_known(&self, id: ConnectionId) -> bool {
        self.known.contains_key(&id)
    }

    /// Where a stream to `peer` goes: direct before relayed, the oldest first.
    pub(super) fn best(&self, peer: &PeerId) -> Option<ConnectionId> {
        self.known
            .iter()
            .filter(|(_, c)| c.established && c.peer == *peer)
            .min_by_key(|(id, c)| (c.relayed, **id))
            .map(|(id, _)| *id)
    }

    /// Whether what is on this connection should be on a direct one.
    pub(super) fn is_relayed(&self, id: ConnectionId) -> bool {
        self.known.get(&id).is_some_and(|c| c.relayed)
    }

    /// Counts a breach of framing; true if it was the one too many, and the connection is condemned.
    pub(super) fn strike(&mut self, id: ConnectionId, limit: u32) -> bool {
        let Some(connection) = self.known.get_mut(&id) else {
            return false;
        };
        connection.strikes += 1;
        let condemned = connection.strikes == limit;
        if condemned {
            self.condemned.push((connection.peer, id));
        }
        condemned
    }

    /// A connection that is to be closed.
    pub(super) fn next_condemned(&mut self) -> Option<(PeerId, ConnectionId)> {
        self.condemned.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn established(connections: &mut Connections, number: usize, peer: PeerId, relayed: bool) {
        connections.begun(id(number), peer);
        connections.established(id(number), relayed);
    }

    #[test]
    fn a_stream_takes_a_direct_connection_before_a_relayed_one() {
        let (mut connections, peer) = (Connections::default(), PeerId::random());
        assert_eq!(connections.best(&peer), None);
        established(&mut connections, 1, peer, true);
        assert_eq!(connections.best(&peer), Some(id(1)), "better than none");
        established(&mut connections, 3, peer, false);
        established(&mut connections, 2, peer, false);
        established(&mut connections, 0, PeerId::random(), false);
        assert_eq!(connections.best(&peer), Some(id(2)));
        connections.moved(id(2), true);
        assert_eq!(connections.best(&peer), Some(id(3)));
        connections.closed(id(3));
        assert_eq!(connections.best(&peer), Some(id(1)));
    }

    #[test]
    fn a_connection_about_to_be_shown_may_receive_and_is_not_chosen() {
        let (mut connections, peer) = (Connections::default(), PeerId::random());
        connections.begun(id(1), peer);
        assert!(connections.is_known(id(1)));
        assert_eq!(connections.best(&peer), None);
        connections.established(id(1), false);
        connections.given_up(id(1));
        assert!(connections.is_known(id(1)), "its end is yet to be told");
        connections.begun(id(2), peer);
        connections.given_up(id(2));
        assert!(!connections.is_known(id(2)), "denied");
    }

    #[test]
    fn a_connection_never_shown_is_no_matter() {
        let mut connections = Connections::default();
        connections.established(id(1), false);
        connections.moved(id(1), true);
        connections.given_up(id(1));
        connections.closed(id(1));
        assert!(!connections.strike(id(1), 1));
        assert_eq!(connections.next_condemned(), None);
    }

    #[test]
    fn a_connection_is_condemned_once() {
        let (mut connections, peer) = (Connections::default(), PeerId::random());
        established(&mut connections, 1, peer, false);
        let struck = [1, 2, 3, 4].map(|_| connections.strike(id(1), 3));
        assert_eq!(struck, [false, false, true, false]);
        assert_eq!(connections.next_condemned(), Some((peer, id(1))));
        assert_eq!(connections.next_condemned(), None);
    }
}
