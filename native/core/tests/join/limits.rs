//! Strangers that take their time, and strangers that are many.

use covm_core::{
    join::{Frame, PROTOCOL},
    limits,
};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, swarm::ConnectionId};

use crate::{
    A, NEVER, SOON, add_honest, one, only_failure,
    support::{World, all_defences_on, raw::RawPeer},
};

/// A peer that connects and then says nothing, until the node closes the connection.
async fn stay_silent(raw: &mut RawPeer, node: &Multiaddr) {
    raw.connect(node).await.unwrap();
    raw.closed().await;
}

/// A peer that sends the largest HELLO, one byte at a time, until the node closes the stream.
async fn drip(raw: &mut RawPeer, node: &Multiaddr) {
    raw.connect(node).await.unwrap();
    let Ok(mut stream) = raw.open(PROTOCOL).await else {
        raw.closed().await;
        return;
    };
    let hello = Frame::Hello(vec![0; limits::JOIN_HELLO]).encode().unwrap();
    let mut pace = tokio::time::interval(SOON / 20);
    for byte in hello {
        pace.tick().await;
        if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
            break;
        }
    }
    raw.closed().await;
}

#[tokio::test]
async fn a_join_that_drags_ends_at_its_deadline() {
    let _on = all_defences_on().await;
    for drips in [false, true] {
        let mut world = one(SOON).await;
        let mut raw = RawPeer::start(vec![]).await;
        let address = world[A].address.clone();
        let attack =
            async { if drips { drip(&mut raw, &address).await } else { stay_silent(&mut raw, &address).await } };
        world.during("the deadline", attack).await;
        world.until("the node to see it closed", |w| w[A].seen.closed.len() == 1).await;
        assert_eq!(only_failure(&world[A]), Some("deadline"));
        assert_eq!(world[A].join().strangers(), 0, "its place is free");
    }
}

#[tokio::test]
async fn a_dialled_peer_that_accepts_the_stream_and_says_nothing_ends_at_the_deadline() {
    let _on = all_defences_on().await;
    let mut world = one(5 * SOON).await;
    let mut raw = RawPeer::start(vec![PROTOCOL]).await;
    world[A].dial(raw.peer_id, &raw.address.clone());
    let mut stream = world.during("our stream", raw.accept()).await;
    let mut said = Vec::new();
    let heard = stream.read_to_end(&mut said);
    let _ = world.during("the deadline", heard).await;
    world.until("the node to see it closed", |w| w[A].seen.closed.len() == 1).await;
    assert_eq!(only_failure(&world[A]), Some("deadline"));
    assert_eq!(said[..3], [0, 1 + world[A].id().to_bytes().len() as u8, 0], "it heard our HELLO");
}

#[cfg(feature = "switches")]
#[tokio::test]
async fn without_the_deadline_a_join_drags_on() {
    let _off = crate::support::Off::only(covm_core::switches::Defence::JoinDeadline).await;
    for drips in [false, true] {
        let mut world = one(SOON).await;
        let mut raw = RawPeer::start(vec![]).await;
        let address = world[A].address.clone();
        let attack =
            async { if drips { drip(&mut raw, &address).await } else { stay_silent(&mut raw, &address).await } };
        let outlasted = world.during("a while", tokio::time::timeout(4 * SOON, attack)).await;
        assert!(outlasted.is_err(), "the attacker is still there");
        assert!(world[A].seen.failed.is_empty());
        assert_eq!(world[A].join().strangers(), 1, "and holds its place");
    }
}

#[tokio::test]
async fn a_connection_that_carries_others_joins_has_longer_and_holds_no_strangers_place() {
    let _on = all_defences_on().await;
    let mut world = one(SOON).await;
    let mut raw = RawPeer::start(vec![]).await;
    let address = world[A].address.clone();
    let connection = world.during("a joiner", raw.connect(&address)).await.unwrap();
    world.until("it to be a stranger", |w| w[A].join().strangers() == 1).await;
    let carrier = world[A].connection();
    world[A].join().carry(carrier).unwrap();
    assert_eq!(world[A].join().strangers(), 0);
    let outlasted = world.during("a while", tokio::time::timeout(4 * SOON, raw.closed())).await;
    assert!(outlasted.is_err(), "it is still there");
    assert!(world[A].seen.failed.is_empty());
    raw.close(connection);
    world.until("it to be gone", |w| w[A].seen.closed.len() == 1).await;
    assert!(world[A].join().carry(carrier).is_err());
}

/// As many strangers as there are places, and then an honest node that dials.
async fn crowd() -> (World, RawPeer, Vec<ConnectionId>, usize) {
    let mut world = one(NEVER).await;
    world[A].admits_all = true;
    let raw = RawPeer::start(vec![]).await;
    let address = world[A].address.clone();
    let mut strangers = Vec::new();
    for _ in 0..limits::STRANGERS_INBOUND {
        strangers.push(world.during("a stranger", raw.connect(&address)).await.unwrap());
    }
    world.until("the strangers", |w| w[A].join().strangers() == limits::STRANGERS_INBOUND).await;
    let honest = add_honest(&mut world).await;
    world.dial(honest, A);
    (world, raw, strangers, honest)
}

#[tokio::test]
async fn one_stranger_too_many_is_denied_and_joins_once_a_place_is_free() {
    let _on = all_defences_on().await;
    let (mut world, raw, strangers, honest) = crowd().await;
    world.until("the seventeenth to be denied", |w| w[A].seen.denied == 1).await;
    assert!(!world[A].is_open_to(world[honest].id()));
    assert_eq!(world[A].join().strangers(), limits::STRANGERS_INBOUND);

    raw.close(strangers[0]);
    world.until("a free place", |w| w[A].join().strangers() < limits::STRANGERS_INBOUND).await;
    world.dial(honest, A);
    world.until("it to be admitted", |w| w[A].is_open_to(w[honest].id()) && w[honest].is_open_to(w[A].id())).await;
    // Who is admitted is no stranger and holds no place.
    let next = add_honest(&mut world).await;
    world.dial(next, A);
    world.until("the next to be admitted", |w| w[A].is_open_to(w[next].id())).await;
    assert_eq!(world[A].join().strangers(), limits::STRANGERS_INBOUND - 1);
}

#[cfg(feature = "switches")]
#[tokio::test]
async fn without_the_cap_strangers_come_without_end() {
    let _off = crate::support::Off::only(covm_core::switches::Defence::JoinStrangers).await;
    let (mut world, raw, _, _) = crowd().await;
    let address = world[A].address.clone();
    world.during("one more stranger", raw.connect(&address)).await.unwrap();
    world.until("one too many", |w| w[A].join().strangers() > limits::STRANGERS_INBOUND).await;
    assert_eq!(world[A].seen.denied, 0);
}
