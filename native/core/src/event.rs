//! What the core tells its owner, and how commands fail.

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};

/// A command's number; its result carries the same one.
pub type CommandId = u64;

/// A gossiped message's number until its verdict.
pub type GossipHandle = u64;

/// How a command failed: a stable code for programs, a sentence for people, and details (address, error).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: FailureCode,
    pub message: String,
    pub details: Vec<(String, String)>,
}

impl Failure {
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }
}

/// The kinds of failure, as programs see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCode {
    /// No address answered.
    Unreachable,
    /// Somebody else answered; details: address, expected, found.
    WrongPeer,
    /// The address cannot be used.
    InvalidAddress,
    /// A connection limit is reached.
    Limit,
    /// The peer is blocked here.
    Blocked,
    /// An address to listen on could not be bound.
    Listen,
    /// There is no admitted connection to the peer.
    NotConnected,
    /// A stream could not be opened.
    Stream,
    /// The message exceeds its limit.
    TooLarge,
    /// A relay cannot be used, or does not want us.
    Relay,
    /// The node is stopped.
    Stopped,
}

impl FailureCode {
    /// The code as programs see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::WrongPeer => "wrong_peer",
            Self::InvalidAddress => "invalid_address",
            Self::Limit => "limit",
            Self::Blocked => "blocked",
            Self::Listen => "listen",
            Self::NotConnected => "not_connected",
            Self::Stream => "stream",
            Self::TooLarge => "too_large",
            Self::Relay => "relay",
            Self::Stopped => "stopped",
        }
    }
}

/// What became of one envelope handed to gossip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// SHA-256 over topic and bytes.
    pub id: Vec<u8>,
    /// Admitted peers that had subscribed to the topic.
    pub peers: usize,
}

/// A command's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Nothing,
    Addresses(Vec<Multiaddr>),
    Peer(PeerId),
    Stream(u64),
    Published(Vec<Published>),
    Sealed(Vec<Vec<u8>>),
    Opened(Vec<Result<(PeerId, Vec<u8>), &'static str>>),
}

/// A gossiped envelope that verified and waits for its verdict.
#[derive(Debug, Clone)]
pub struct GossipMessage {
    pub handle: GossipHandle,
    pub topic: String,
    pub source: PeerId,
    pub author: PeerId,
    pub id: Vec<u8>,
    pub body: Vec<u8>,
    /// Size of the envelope as it travelled.
    pub size: usize,
}

/// Where a hint about a peer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintSource {
    Mdns,
    Kademlia,
}

impl HintSource {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mdns => "mdns",
            Self::Kademlia => "kademlia",
        }
    }
}

/// Who says that others can reach us at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSource {
    /// The operator: it is announced, or the node is said to be public.
    Announced,
    /// A peer that has reached us there (AutoNAT v2).
    Autonat,
    /// The router, which has opened a port for us.
    Upnp,
    /// A relay at which we have a reservation.
    Relay,
}

impl AddressSource {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Autonat => "autonat",
            Self::Upnp => "upnp",
            Self::Relay => "relay",
        }
    }
}

/// What became of an address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressState {
    Confirmed,
    /// It was confirmed and is no longer.
    Expired,
    /// It was tested and did not answer; without an address, none could be had from this source.
    Unreachable,
}

impl AddressState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Expired => "expired",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Whether others can connect to us without a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    Unknown,
    Public,
    Private,
}

impl Reached {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// What became of a place that we reserved at a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReservationState {
    Accepted,
    Renewed,
    Lost,
}

impl ReservationState {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Renewed => "renewed",
            Self::Lost => "lost",
        }
    }
}

/// What happened, in order.
#[derive(Debug)]
pub enum Event {
    Done {
        id: CommandId,
        result: Result<Outcome, Failure>,
    },
    Addresses(Vec<Multiaddr>),
    Opened {
        connection: ConnectionId,
        peer: PeerId,
        address: Multiaddr,
        outbound: bool,
        relayed: bool,
        /// The relay between us, if there is one and it is known.
        relay: Option<PeerId>,
    },
    Closed {
        connection: ConnectionId,
        peer: PeerId,
        reason: String,
        remaining: u32,
    },
    Hello {
        connection: ConnectionId,
        peer: PeerId,
        hello: Vec<u8>,
        outbound: bool,
    },
    /// The peer's application said something before its decision.
    Talked {
        connection: ConnectionId,
        peer: PeerId,
        data: Vec<u8>,
    },
    /// All that was said on a connection is written, after a `talk` had found no room.
    TalkSent {
        connection: ConnectionId,
        peer: PeerId,
    },
    Refused {
        connection: ConnectionId,
        peer: PeerId,
        reason: String,
    },
    JoinFailed {
        connection: ConnectionId,
        peer: PeerId,
        reason: String,
    },
    Admitted {
        connection: ConnectionId,
        peer: PeerId,
    },
    Unadmitted {
        peer: PeerId,
    },
    TopicJoined {
        peer: PeerId,
        topic: String,
    },
    TopicLeft {
        peer: PeerId,
        topic: String,
    },
    Gossip(GossipMessage),
    GossipRejected {
        topic: String,
        source: PeerId,
        reason: &'static str,
        size: usize,
    },
    StreamInbound {
        stream: u64,
        peer: PeerId,
        protocol: String,
    },
    Frames {
        stream: u64,
        peer: PeerId,
        frames: Vec<Vec<u8>>,
    },
    Writable {
        stream: u64,
    },
    StreamClosed {
        stream: u64,
        reason: &'static str,
    },
    /// An inbound stream broke the rules before it said anything.
    StreamRefused {
        peer: PeerId,
        protocol: String,
        reason: &'static str,
    },
    Identified {
        peer: PeerId,
        agent: String,
        protocols: Vec<String>,
        addresses: Vec<Multiaddr>,
        observed: Multiaddr,
    },
    Discovered {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        source: HintSource,
    },
    Ping {
        peer: PeerId,
        round_trip: std::time::Duration,
    },
    /// Whether others can reach us has changed.
    Reachability(Reached),
    /// What became of an address at which others may reach us.
    ExternalAddress {
        address: Multiaddr,
        source: AddressSource,
        state: AddressState,
        detail: String,
    },
    /// What became of a place at a relay.
    Reservation {
        relay: PeerId,
        state: ReservationState,
        reason: String,
    },
    /// A hole punch led to a connection that is open now, or an attempt failed, with the reason.
    HolePunch {
        peer: PeerId,
        connection: Option<ConnectionId>,
        reason: String,
    },
    /// The node ended by itself; nothing follows.
    Failed {
        reason: String,
    },
}

/// A connection's number, as commands name it. libp2p shows it only as text.
#[must_use]
pub fn connection_number(connection: ConnectionId) -> usize {
    connection.to_string().parse().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_keeps_its_number() {
        assert_eq!(connection_number(ConnectionId::new_unchecked(4711)), 4711);
    }
}
