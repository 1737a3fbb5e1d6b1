//! The node's behaviours, in the order in which they are asked and polled.
//!
//! Limits and bans come first, so that nothing else is built for a connection that they deny. The gate stands before
//! the join exchange: what `set_phase` queues reaches the connection before the READY that invites the peer to use it.
//! The clients of relays, AutoNAT and UPnP stand outside of it: what they do begins at us, and all that they take from
//! others is a circuit that we reserved and an answer that we asked for.

use std::{num::NonZeroUsize, time::Duration};

use libp2p::{
    StreamProtocol, allow_block_list, autonat,
    connection_limits::{self, ConnectionLimits},
    dcutr, identify, kad, ping, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    upnp,
};

use super::{
    config::{NodeConfig, Reachability},
    dialler::Dialler,
};
use crate::{
    gate::Gate,
    gossip::{self, Gossipsub},
    join::{Join, Talks},
    limits,
    observed::Observed,
    relay::RelayAccess,
    retest::Retest,
    streams::Streams,
};

/// What only admitted peers may see.
#[derive(NetworkBehaviour)]
pub struct Guarded {
    pub gossipsub: Gossipsub,
    pub kademlia: Toggle<kad::Behaviour<kad::store::MemoryStore>>,
    pub streams: Streams,
    pub dcutr: Toggle<Dialler<dcutr::Behaviour>>,
    pub autonat: Toggle<Dialler<autonat::v2::server::Behaviour>>,
}

/// Everything, outermost first.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub limits: connection_limits::Behaviour,
    pub bans: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub identify: Observed,
    pub ping: ping::Behaviour,
    pub relay_client: Toggle<relay::client::Behaviour>,
    pub autonat: Toggle<Retest>,
    pub upnp: Toggle<upnp::tokio::Behaviour>,
    pub gate: Gate<Guarded>,
    /// Behind a gate of its own, which opens for passes too.
    pub relay: Gate<Toggle<relay::Behaviour>>,
    pub join: Join,
}

/// Builds the behaviours of a node.
///
/// # Errors
/// A sentence, when a protocol name is none.
pub fn build(
    config: &NodeConfig,
    streams: Streams,
    talks: Talks,
    relay_access: &RelayAccess,
    relay_client: relay::client::Behaviour,
) -> Result<Behaviour, String> {
    let peer = config.keypair.public().to_peer_id();
    let reachability = config.reachability;
    let identify = identify::Config::new("/covm/1.0.0".into(), config.keypair.public())
        .with_agent_version(config.agent.clone())
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    let tests_others = config.autonat && reachability != Reachability::Private;
    let guarded = Guarded {
        gossipsub: gossip::behaviour(),
        kademlia: kademlia(config)?.into(),
        streams,
        dcutr: config.dcutr.then(|| Dialler::new(dcutr::Behaviour::new(peer))).into(),
        autonat: tests_others.then(|| Dialler::new(autonat::v2::server::Behaviour::default())).into(),
    };
    let tests_us = config.autonat && reachability == Reachability::Auto;
    let asks_router = config.upnp && reachability != Reachability::Private;
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits(config.max_connections)),
        bans: allow_block_list::Behaviour::default(),
        identify: Observed::new(identify::Behaviour::new(identify)),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(15))),
        relay_client: config.relay_client.then_some(relay_client).into(),
        autonat: tests_us.then(Retest::default).into(),
        upnp: asks_router.then(upnp::tokio::Behaviour::default).into(),
        gate: Gate::new(guarded),
        relay: relay(config, relay_access),
        join: Join::new(config.hello.clone()).map_err(|error| error.to_string())?.with_talks(talks),
    })
}

fn connection_limits(max: u32) -> ConnectionLimits {
    ConnectionLimits::default()
        // Connections, not peers: two that dial each other at once have two.
        .with_max_established(Some(max.saturating_mul(2)))
        .with_max_established_per_peer(Some(limits::CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(limits::PENDING_INBOUND))
        .with_max_pending_outgoing(Some(limits::PENDING_OUTBOUND))
}

/// Our relay, shut until others can reach us.
fn relay(config: &NodeConfig, access: &RelayAccess) -> Gate<Toggle<relay::Behaviour>> {
    let serves = config.relay_server && config.reachability != Reachability::Private;
    let relay = serves.then(|| {
        let peer = config.keypair.public().to_peer_id();
        let mut relay = relay::Behaviour::new(peer, access.config(config.relay_terms));
        relay.set_status(Some(relay::Status::Disable));
        relay
    });
    let access = access.clone();
    Gate::new(relay.into()).with_passes(move |peer| access.holds_pass(peer))
}

fn kademlia(config: &NodeConfig) -> Result<Option<kad::Behaviour<kad::store::MemoryStore>>, String> {
    let Some(name) = &config.kademlia else {
        return Ok(None);
    };
    let protocol = StreamProtocol::try_from_owned(name.clone())
        .map_err(|_| format!("{name:?} is not a protocol name: it must begin with a slash"))?;
    let peer = config.keypair.public().to_peer_id();
    let mut settings = kad::Config::new(protocol);
    settings
        .set_query_timeout(Duration::from_secs(30))
        .set_periodic_bootstrap_interval(Some(Duration::from_secs(120)))
        // We look for peers and keep no records, for nobody.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_kbucket_size(NonZeroUsize::new(limits::KADEMLIA_BUCKET).unwrap_or(kad::K_VALUE));
    let mut kademlia = kad::Behaviour::with_config(peer, kad::store::MemoryStore::new(peer), settings);
    // Until others can reach us, which `reach` decides: an address through a relay would make libp2p think so.
    kademlia.set_mode(Some(kad::Mode::Client));
    Ok(Some(kademlia))
}
