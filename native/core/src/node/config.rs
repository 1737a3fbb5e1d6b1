//! What a node is told when it starts.

use std::time::Duration;

use libp2p::{Multiaddr, identity::Keypair};

use crate::limits;

/// Whether others can reach us from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// Found out: Kademlia stays a client, and our relay is shut, until an address is confirmed.
    Auto,
    /// Stated by the operator: every listen address counts as confirmed.
    Public,
    /// Stated by the operator: nobody can, so we serve nobody: no Kademlia answers, no relay, no tests of addresses.
    Private,
}

/// What our relay grants each of those whom it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayTerms {
    /// How long a reservation lasts. Its holder renews it after three quarters of that.
    pub reservation: Duration,
    /// How long a circuit lasts. Then its ends connect anew.
    pub circuit: Duration,
    /// Bytes of one circuit, both ways. Beyond that its ends connect anew.
    pub circuit_bytes: u64,
}

impl Default for RelayTerms {
    /// What suits members who stay for hours.
    fn default() -> Self {
        Self {
            reservation: limits::RELAY_RESERVATION_DURATION,
            circuit: limits::RELAY_CIRCUIT_DURATION,
            circuit_bytes: limits::RELAY_CIRCUIT_BYTES,
        }
    }
}

/// A node's settings; all that a federation decides is in here, the rest is in `limits`.
pub struct NodeConfig {
    pub keypair: Keypair,
    /// What the join stream says first.
    pub hello: Vec<u8>,
    /// Name and version, shown to others by identify.
    pub agent: String,
    /// The kind of envelope that gossip carries.
    pub gossip_kind: String,
    /// The protocols on which framed streams are spoken.
    pub stream_protocols: Vec<String>,
    /// Kademlia's protocol name, or none to do without.
    pub kademlia: Option<String>,
    pub mdns: bool,
    pub reachability: Reachability,
    /// Addresses to tell others beside those we listen on.
    pub announce: Vec<Multiaddr>,
    /// Connections in all, in and out.
    pub max_connections: u32,
    /// Carry circuits for members, once others can reach us.
    pub relay_server: bool,
    /// How long, and how much.
    pub relay_terms: RelayTerms,
    /// Reserve places at relays and dial through them.
    pub relay_client: bool,
    /// Test each other's addresses (AutoNAT v2): ours only where reachability is to be found out.
    pub autonat: bool,
    /// Replace relayed connections by direct ones (DCUtR).
    pub dcutr: bool,
    /// Ask the router for a port (UPnP), unless nobody is to reach us.
    pub upnp: bool,
}
