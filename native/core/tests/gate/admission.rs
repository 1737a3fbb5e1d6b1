//! How two nodes that admit each other begin to talk, and what they see of each other before that.

use covm_core::gate::{Phase, PhaseError};
use libp2p::{PeerId, gossipsub, swarm::ConnectionId};

use crate::support::{KAD, Node, Seen, World, all_defences_on};

const A: usize = 0;
const B: usize = 1;
const DIRECTIONS: [(usize, usize); 2] = [(A, B), (B, A)];

/// Two nodes, connected and greeted, that have admitted nobody.
async fn connected(from: usize, to: usize) -> World {
    let mut world = World::of(2).await;
    world.dial(from, to);
    world.until_greeted(A, B).await;
    world
}

fn both_know_each_other(world: &World) -> bool {
    let knows = |node: &Node, peer: PeerId| {
        node.is_open_to(peer) && node.seen.subscribed.contains(&peer) && node.seen.kad_peers.contains(&peer)
    };
    knows(&world[A], world[B].id()) && knows(&world[B], world[A].id())
}

async fn assert_gossip_travels(world: &mut World, tag: &str) {
    let (from_a, from_b) = (format!("a {tag}").into_bytes(), format!("b {tag}").into_bytes());
    world[A].publish(&from_a).unwrap();
    world[B].publish(&from_b).unwrap();
    world.until("gossip both ways", |w| w[A].got(&from_b) && w[B].got(&from_a)).await;
    for node in &world.0 {
        assert_eq!(node.seen.gossip_unsupported, 0);
    }
}

#[tokio::test]
async fn peers_that_admit_nobody_see_nothing_of_each_other() {
    let _on = all_defences_on().await;
    for (from, to) in DIRECTIONS {
        let mut world = connected(from, to).await;
        for node in &mut world.0 {
            let inside: Vec<_> = node
                .seen
                .identified
                .values()
                .flatten()
                .filter(|p| **p == KAD || p.as_ref().contains("meshsub"))
                .collect();
            assert_eq!(inside, [&KAD; 0], "a stranger is told of no protocol inside the gate");
            let published = node.publish(b"to nobody");
            assert!(matches!(published, Err(gossipsub::PublishError::NoPeersSubscribedToTopic)), "{published:?}");
            assert!(node.met_nobody());
            assert_eq!(node.phase(node.connection()), Some(Phase::Denied));
        }
    }
}

#[tokio::test]
async fn one_side_alone_admits_and_neither_side_speaks() {
    let _on = all_defences_on().await;
    for (admits, waits) in DIRECTIONS {
        for (from, to) in DIRECTIONS {
            let mut world = connected(from, to).await;
            let (connection, theirs) = (world[admits].connection(), world[waits].connection());
            world[admits].admit(connection);
            world.until("READY on the other side", |w| w[waits].seen.ready.contains(&theirs)).await;
            assert!(world[admits].publish(b"to whom?").is_err());
            // Until it ends nothing inside may have spoken or given up.
            world[waits].swarm.close_connection(theirs);
            world.until("the connection to close", |w| w.0.iter().all(|node| node.seen.connections.is_empty())).await;
            for node in &world.0 {
                assert_eq!(node.seen.gossip_unsupported, 0);
                assert!(node.seen.subscribed.is_empty() && node.seen.kad_peers.is_empty());
            }
            assert!(world[waits].met_nobody());
        }
    }
}

#[tokio::test]
async fn admitted_on_the_living_connection_they_subscribe_and_the_first_gossip_arrives() {
    let _on = all_defences_on().await;
    for (first, second) in DIRECTIONS {
        for (from, to) in DIRECTIONS {
            let mut world = connected(from, to).await;
            // Both have tried to speak before.
            assert!(world[A].publish(b"too early").is_err() && world[B].publish(b"too early").is_err());
            let (one, other) = (world[first].connection(), world[second].connection());
            world[first].admit(one);
            world.until("READY on the other side", |w| w[second].seen.ready.contains(&other)).await;
            assert_eq!(world[first].phase(one), Some(Phase::Listening));
            world[second].admit(other);
            world.until("both to know each other", |w| both_know_each_other(w)).await;
            assert_gossip_travels(&mut world, "hello").await;
            assert!(world.0.iter().all(|node| node.seen.closed.is_empty()), "on the connection that there was");
        }
    }
}

#[tokio::test]
async fn of_two_connections_of_a_peer_only_the_admitted_one_counts() {
    let _on = all_defences_on().await;
    let mut world = connected(A, B).await;
    let (a1, b1) = (world[A].connection(), world[B].connection());
    world[A].admit(a1);
    world[B].admit(b1);
    world.until("both to know each other", |w| both_know_each_other(w)).await;

    world.dial(B, A);
    world.until("a second connection", |w| w.0.iter().all(|n| n.seen.connections.len() == 2)).await;
    world.until_greeted(A, B).await;
    let second = |node: &Node, first| *node.seen.connections.keys().find(|id| **id != first).unwrap();
    let (a2, b2) = (second(&world[A], a1), second(&world[B], b1));
    assert_eq!((world[A].phase(a2), world[B].phase(b2)), (Some(Phase::Denied), Some(Phase::Denied)));
    let open: Vec<_> = world[A].swarm.behaviour().gate.open_connections(&world[B].id()).collect();
    assert_eq!(open, [a1]);
    assert_gossip_travels(&mut world, "over the first").await;

    // The hidden one goes: the inner behaviours must not take it for the one they have.
    world[B].swarm.close_connection(b2);
    world.until("the second to close", |w| w.0.iter().all(|n| n.seen.connections.len() == 1)).await;
    assert_gossip_travels(&mut world, "still over the first").await;

    // The admitted one goes while a hidden one stays: now they have none, until that one is admitted.
    world.dial(A, B);
    world.until("a third connection", |w| w.0.iter().all(|n| n.seen.connections.len() == 2)).await;
    world.until_greeted(A, B).await;
    let (a3, b3) = (second(&world[A], a1), second(&world[B], b1));
    world[A].swarm.close_connection(a1);
    world.until("the first to close", |w| w.0.iter().all(|n| n.seen.connections.len() == 1)).await;
    assert!(world[A].publish(b"to nobody").is_err() && world[B].publish(b"to nobody either").is_err());
    world.0.iter_mut().for_each(|n| n.seen.subscribed.clear());
    world[B].admit(b3);
    world[A].admit(a3);
    world.until("both to know each other", |w| both_know_each_other(w)).await;
    assert_gossip_travels(&mut world, "over the third").await;
}

#[tokio::test]
async fn a_second_admitted_connection_carries_on_when_the_first_closes() {
    let _on = all_defences_on().await;
    let mut world = World::admitting_all(2).await;
    world.dial(A, B);
    world.until("both to know each other", |w| both_know_each_other(w)).await;
    let first = world[A].connection();
    world.dial(B, A);
    let open = |node: &Node, peer| node.swarm.behaviour().gate.open_connections(&peer).count();
    let (pa, pb) = (world[A].id(), world[B].id());
    world.until("two open connections", |w| open(&w[A], pb) == 2 && open(&w[B], pa) == 2).await;
    world[A].swarm.close_connection(first);
    world.until("one to close", |w| open(&w[A], pb) == 1 && open(&w[B], pa) == 1).await;
    assert_gossip_travels(&mut world, "over the second").await;
}

#[tokio::test]
async fn an_admitted_peer_that_returns_begins_as_a_stranger() {
    let _on = all_defences_on().await;
    let mut world = connected(A, B).await;
    let (a, b) = (world[A].connection(), world[B].connection());
    world[A].admit(a);
    world[B].admit(b);
    world.until("both to know each other", |w| both_know_each_other(w)).await;
    let peer = world[A].id();
    world[B].swarm.disconnect_peer_id(peer).unwrap();
    world.until("the connection to close", |w| w.0.iter().all(|n| n.seen.connections.is_empty())).await;
    assert_eq!(world[A].gate().set_phase(a, Phase::Open), Err(PhaseError::UnknownConnection(a)));
    for node in &mut world.0 {
        node.seen = Seen::default();
    }

    world.dial(B, A);
    world.until_greeted(A, B).await;
    assert!(world[A].met_nobody() && world[B].met_nobody());
    let (a, b) = (world[A].connection(), world[B].connection());
    assert_eq!((world[A].phase(a), world[B].phase(b)), (Some(Phase::Denied), Some(Phase::Denied)));
    world[A].admit(a);
    world[B].admit(b);
    world
        .until("both to know each other again", |w| {
            w.0.iter().all(|n| n.seen.subscribed.len() == 1) && w[A].is_open_to(w[B].id()) && w[B].is_open_to(w[A].id())
        })
        .await;
    assert_gossip_travels(&mut world, "again").await;
}

#[tokio::test]
async fn peers_that_dial_each_other_at_once_meet_on_both_connections() {
    let _on = all_defences_on().await;
    for _ in 0..5 {
        let mut world = World::admitting_all(2).await;
        world.dial(A, B);
        world.dial(B, A);
        world.until("both to know each other", |w| both_know_each_other(w)).await;
        world
            .until("every connection to open", |w| {
                w.0.iter().all(|node| node.seen.connections.keys().all(|id| node.phase(*id) == Some(Phase::Open)))
            })
            .await;
        assert_gossip_travels(&mut world, "at once").await;
    }
}

#[tokio::test]
async fn a_phase_only_grows_and_only_on_a_connection_that_is_there() {
    let _on = all_defences_on().await;
    let mut world = connected(A, B).await;
    let connection = world[A].connection();
    let nobody = ConnectionId::new_unchecked(usize::MAX);
    let gate = world[A].gate();
    assert_eq!(gate.phase(nobody), None);
    assert_eq!(gate.set_phase(nobody, Phase::Open), Err(PhaseError::UnknownConnection(nobody)));
    gate.set_phase(connection, Phase::Listening).unwrap();
    gate.set_phase(connection, Phase::Listening).unwrap();
    gate.set_phase(connection, Phase::Open).unwrap();
    for back in [Phase::Denied, Phase::Listening] {
        let expected = PhaseError::Backwards { from: Phase::Open, to: back };
        assert_eq!(gate.set_phase(connection, back), Err(expected));
    }
}
