//! The node's behaviours, in the order in which they are asked and polled.
//!
//! Limits and bans come first, so that nothing else is built for a connection that they deny. The gate stands before
//! the join exchange: what `set_phase` queues reaches the connection before the READY that invites the peer to use it.

use std::{num::NonZeroUsize, time::Duration};

use libp2p::{
    StreamProtocol, allow_block_list,
    connection_limits::{self, ConnectionLimits},
    identify, kad, mdns, ping,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

use super::config::{NodeConfig, Reachability};
use crate::{
    gate::Gate,
    gossip::{self, Gossipsub},
    join::{Join, Talks},
    limits,
    streams::Streams,
};

/// What only admitted peers may see. Relay and NAT servers join it when they come.
#[derive(NetworkBehaviour)]
pub struct Guarded {
    pub gossipsub: Gossipsub,
    pub kademlia: Toggle<kad::Behaviour<kad::store::MemoryStore>>,
    pub streams: Streams,
}

/// Everything, outermost first.
#[derive(NetworkBehaviour)]
pub struct Behaviour {
    pub limits: connection_limits::Behaviour,
    pub bans: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub identify: identify::Behaviour,
    pub ping: ping::Behaviour,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    pub gate: Gate<Guarded>,
    pub join: Join,
}

/// Builds the behaviours of a node.
///
/// # Errors
/// A sentence, when a protocol name is none or multicast cannot be used.
pub fn build(config: &NodeConfig, streams: Streams, talks: Talks) -> Result<Behaviour, String> {
    let peer = config.keypair.public().to_peer_id();
    let identify = identify::Config::new("/covm/1.0.0".into(), config.keypair.public())
        .with_agent_version(config.agent.clone())
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    let mdns = if config.mdns {
        let mdns = mdns::tokio::Behaviour::new(mdns::Config::default(), peer)
            .map_err(|error| format!("mDNS cannot be used ({error}); turn enable_mdns off"))?;
        Some(mdns)
    } else {
        None
    };
    let guarded = Guarded { gossipsub: gossip::behaviour(), kademlia: kademlia(config)?.into(), streams };
    Ok(Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits(config.max_connections)),
        bans: allow_block_list::Behaviour::default(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(15))),
        mdns: mdns.into(),
        gate: Gate::new(guarded),
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
    if config.reachability == Reachability::Private {
        kademlia.set_mode(Some(kad::Mode::Client));
    }
    Ok(Some(kademlia))
}
