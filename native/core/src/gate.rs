//! The gate: what stands inside it meets nobody who has not been admitted.
//!
//! [`Gate`] wraps any [`NetworkBehaviour`](libp2p::swarm::NetworkBehaviour). Every connection begins [`Denied`](Phase::Denied):
//! its handler accepts no protocol and the inner behaviour hears nothing of it. Admission happens on the living
//! connection, in two phases, because handlers give up for good on a peer that refuses their protocol once (gossipsub
//! does): first both sides accept ([`Listening`](Phase::Listening)), and only when each knows that of the other do
//! they begin to speak ([`Open`](Phase::Open)). The way back is to close the connection. A gate may know of
//! [passes](Gate::with_passes): connections of a stranger that has one begin `Open`, as if there were no gate; only our
//! [relay](crate::relay) stands behind such a gate, alone.
//!
//! What the inner behaviour sees:
//!
//! | event | seen |
//! |---|---|
//! | pending connections, in and out | always: neither names who is at the other end, or we chose to dial it |
//! | established, closed, address change | of admitted connections only; established comes at admission, with the endpoint of that moment, and the counts of other connections are those of the admitted ones |
//! | a connection that closes without having been admitted | as a failed one, so that each pending connection has one end: a listen failure without a peer, or a dial failure that names the peer if the inner behaviour itself dialled it (a Kademlia query must go on without it), and no peer otherwise |
//! | dial failures | all: what we dial is our own doing, and addresses that failed are worth forgetting |
//! | listen failures | all, without the peer |
//! | listeners, our external addresses | all |
//! | external addresses of a peer | of admitted peers; those of a connected stranger are kept, bounded, and told at its admission |
//!
//! What it may do: everything towards admitted connections. Notifications and closings that aim at hidden connections
//! are dropped; `NotifyHandler::Any` reaches an open connection, or else a listening one; `CloseConnection::All`
//! closes the admitted connections.
//!
//! A handler that is installed late is told what it has missed: the protocols of the remote and its last change of
//! address. Of our own protocols the swarm tells it those that appear with the installation, which are all that are
//! inside the gate; of those outside of it a late handler hears nothing (libp2p has no way to construct that event, and
//! of its protocols only identify, which stays outside, listens to it).

mod admission;
mod behaviour;
mod connections;
mod handler;

use std::fmt;

use libp2p::swarm::ConnectionId;

pub use behaviour::Gate;
pub use handler::{GateCommand, GateHandler};

/// How far a connection has been admitted. It only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing inside the gate knows of the connection.
    Denied,
    /// The inner behaviour knows of the connection and its handler accepts streams, but does not act yet.
    Listening,
    /// The connection is as if there were no gate.
    Open,
}

/// Why a connection did not change its phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhaseError {
    /// There is no such established connection; it may have closed a moment ago.
    UnknownConnection(ConnectionId),
    /// A connection cannot be admitted less than it is; close it instead.
    Backwards {
        /// The phase that the connection has.
        from: Phase,
        /// The phase that was asked for.
        to: Phase,
    },
    /// The inner behaviour does not want this connection, with its reason; the gate closes it.
    RefusedInside(String),
}

impl fmt::Display for PhaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownConnection(id) => {
                write!(f, "connection {id} is not established, or no longer")
            }
            Self::Backwards { from, to } => {
                write!(f, "a connection cannot go back from {from:?} to {to:?}; close it instead")
            }
            Self::RefusedInside(reason) => {
                write!(f, "a protocol inside the gate refused the connection: {reason}")
            }
        }
    }
}

impl std::error::Error for PhaseError {}
