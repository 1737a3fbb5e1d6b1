//! What a stranger gets from a node.

use futures::StreamExt;
use libp2p::{
    PeerId, gossipsub, identify, kad,
    swarm::{NetworkBehaviour, SwarmEvent},
};

use crate::support::{KAD, World, all_defences_on, node, raw::RawPeer};

const A: usize = 0;

/// A whole libp2p node that never joins.
#[derive(NetworkBehaviour)]
struct Stranger {
    identify: identify::Behaviour,
    gossipsub: gossipsub::Behaviour,
    kad: kad::Behaviour<kad::store::MemoryStore>,
}

#[derive(Default, Debug)]
struct Got {
    protocols: Option<Vec<String>>,
    answers: Option<u32>,
    gossip_unsupported: bool,
    subscribed: bool,
}

/// What a stranger gets out of a node that it connects to, asks by Kademlia and subscribes to.
async fn ask(world: &mut World, enough: impl Fn(&Got) -> bool) -> Got {
    let (peer, address) = (world[A].id(), world[A].address.clone());
    let mut swarm = node::swarm(|key| {
        let id = key.public().to_peer_id();
        Stranger { identify: node::identify(key), gossipsub: node::gossipsub(), kad: node::kad(id) }
    });
    swarm.behaviour_mut().kad.add_address(&peer, address.clone());
    swarm.dial(address).unwrap();
    let mut got = Got::default();
    let asking = async {
        while !enough(&got) {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => {
                    swarm.behaviour_mut().kad.get_closest_peers(PeerId::random());
                }
                SwarmEvent::Behaviour(StrangerEvent::Identify(identify::Event::Received { info, .. })) => {
                    got.protocols = Some(info.protocols.iter().map(ToString::to_string).collect());
                }
                SwarmEvent::Behaviour(StrangerEvent::Kad(kad::Event::OutboundQueryProgressed {
                    stats, step, ..
                })) if step.last => {
                    got.answers = Some(got.answers.unwrap_or(0) + stats.num_successes());
                }
                SwarmEvent::Behaviour(StrangerEvent::Gossipsub(event)) => match event {
                    gossipsub::Event::GossipsubNotSupported { .. } => got.gossip_unsupported = true,
                    gossipsub::Event::Subscribed { .. } => got.subscribed = true,
                    _ => {}
                },
                _ => {}
            }
        }
    };
    world.during("what the stranger asks for", asking).await;
    got
}

#[tokio::test]
async fn a_stranger_gets_no_kademlia_answer_and_no_gossip() {
    let _on = all_defences_on().await;
    let mut world = World::of(1).await;
    let got = ask(&mut world, |got| got.protocols.is_some() && got.answers.is_some() && got.gossip_unsupported).await;
    assert_eq!(got.answers, Some(0));
    assert!(!got.subscribed);
    let protocols = got.protocols.unwrap();
    assert!(protocols.contains(&covm_core::join::PROTOCOL.to_string()));
    assert!(!protocols.iter().any(|p| p == KAD.as_ref() || p.contains("meshsub")), "{protocols:?}");
    assert!(world[A].met_nobody());
}

#[cfg(feature = "switches")]
#[tokio::test]
async fn without_the_gate_a_stranger_gets_both() {
    let _off = crate::support::Off::only(covm_core::switches::Defence::Gate).await;
    let mut world = World::of(1).await;
    let got = ask(&mut world, |got| got.answers.is_some_and(|answers| answers > 0) && got.subscribed).await;
    assert!(!got.gossip_unsupported);
    assert!(!world[A].met_nobody());
}

#[tokio::test]
async fn a_query_goes_on_without_a_peer_that_turned_out_a_stranger() {
    let _on = all_defences_on().await;
    let mut world = World::of(1).await;
    let stranger = RawPeer::start(vec![KAD]).await;
    let kad = &mut world[A].gate().inner_mut().kad;
    kad.add_address(&stranger.peer_id, stranger.address.clone());
    kad.get_closest_peers(PeerId::random());
    world.until("the query to end", |w| !w[A].seen.kad_answers.is_empty()).await;
    let stats = &world[A].seen.kad_answers[0];
    assert_eq!((stats.num_successes(), stats.num_failures()), (0, 1));
    assert_eq!(world[A].seen.failed.values().collect::<Vec<_>>(), [&"unsupported"]);
}
