//! Who says what, in which order, and how it ends otherwise.

use covm_core::{
    gate::Phase,
    join::{Frame, HelloTooLarge, Join, NotJoining, PROTOCOL},
    limits,
};
use futures::AsyncWriteExt;

use crate::{
    A, B, NEVER, SOON, add_honest, one, only_failure,
    support::{World, all_defences_on, raw::RawPeer},
};

fn hello() -> Vec<u8> {
    Frame::Hello(b"raw".to_vec()).encode().unwrap()
}

/// A raw peer opens the join stream, says these bytes, and this is how the node ends it.
async fn failure_after(bytes: &[u8]) -> &'static str {
    let mut world = one(NEVER).await;
    let mut raw = RawPeer::start(vec![]).await;
    let address = world[A].address.clone();
    let attack = async {
        raw.connect(&address).await.unwrap();
        let mut stream = raw.open(PROTOCOL).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        raw.closed().await;
    };
    world.during("the node to close the connection", attack).await;
    world.until("the node to see it closed", |w| w[A].seen.closed.len() == 1).await;
    assert!(world[A].met_nobody());
    only_failure(&world[A]).unwrap()
}

#[tokio::test]
async fn two_nodes_say_hello_admit_each_other_and_are_open_on_both_sides() {
    let _on = all_defences_on().await;
    let mut world = World::admitting_all(2).await;
    world.dial(A, B);
    world.until("both open", |w| w[A].is_open_to(w[B].id()) && w[B].is_open_to(w[A].id())).await;
    for (me, other) in [(A, B), (B, A)] {
        let connection = world[me].connection();
        assert_eq!(world[me].seen.hello[&connection], world[other].id().to_bytes());
        assert_eq!(world[me].phase(connection), Some(Phase::Open));
        assert_eq!(world[me].join().strangers(), 0);
    }
    // An admitted connection lives although nothing uses it: longer than the swarm's idle timeout, without traffic.
    world.during("a while", tokio::time::sleep(4 * SOON)).await;
    assert!(world.0.iter().all(|node| node.seen.closed.is_empty() && node.seen.failed.is_empty()));
}

#[tokio::test]
async fn a_joined_connection_outlives_the_deadline_of_the_join() {
    let _on = all_defences_on().await;
    let deadline = 5 * SOON;
    let mut world = one(deadline).await;
    world[A].admits_all = true;
    let honest = add_honest(&mut world).await;
    world.dial(honest, A);
    world.until("both open", |w| w[A].is_open_to(w[honest].id()) && w[honest].is_open_to(w[A].id())).await;
    world.during("the deadline", tokio::time::sleep(2 * SOON)).await;
    assert!(world[A].seen.failed.is_empty() && world[A].seen.closed.is_empty());
}

#[tokio::test]
async fn the_reason_of_a_refusal_arrives_whoever_dialled() {
    let _on = all_defences_on().await;
    for (from, to) in [(A, B), (B, A)] {
        let mut world = World::of(2).await;
        world.dial(from, to);
        world.until_greeted(A, B).await;
        let (ours, theirs) = (world[A].connection(), world[B].connection());
        let reason = format!("you are of network “north”, this is “south”{}", "!".repeat(limits::JOIN_REASON));
        world[A].join().refuse(ours, &reason).unwrap();
        assert_eq!(world[A].join().admit(ours), Err(NotJoining(ours)), "a decision is made once");
        world.until("the connection to close", |w| w.0.iter().all(|n| n.seen.closed.len() == 1)).await;
        let heard = &world[B].seen.refused[&theirs];
        assert!(reason.starts_with(heard.as_str()) && heard.len() > limits::JOIN_REASON - 4, "{heard}");
        assert!(world.0.iter().all(|node| node.seen.failed.is_empty() && node.met_nobody()));
    }
}

#[tokio::test]
async fn a_peer_that_does_not_listen_to_its_refusal_is_cut_off() {
    let _on = all_defences_on().await;
    let mut world = one(NEVER).await;
    let mut raw = RawPeer::start(vec![]).await;
    let address = world[A].address.clone();
    world.during("connecting", raw.connect(&address)).await.unwrap();
    world.until("the connection", |w| w[A].seen.connections.len() == 1).await;
    let connection = world[A].connection();
    world[A].join().refuse(connection, "banned").unwrap();
    world.during("the node to close the connection", raw.closed()).await;
    assert!(world[A].seen.failed.is_empty());
}

#[tokio::test]
async fn a_frame_that_says_it_is_too_large_is_refused_on_its_prefix() {
    let _on = all_defences_on().await;
    assert_eq!(failure_after(&4097_u16.to_be_bytes()).await, "frame_too_large");
    assert_eq!(failure_after(&[0xff, 0xff]).await, "frame_too_large");
}

#[tokio::test]
async fn frames_out_of_order_and_frames_that_are_none_end_the_join() {
    let _on = all_defences_on().await;
    let ready = Frame::Ready.encode().unwrap();
    let refused = Frame::refused("no").encode().unwrap();
    assert_eq!(failure_after(&ready).await, "out_of_order");
    assert_eq!(failure_after(&refused).await, "out_of_order");
    assert_eq!(failure_after(&[hello(), hello()].concat()).await, "out_of_order");
    assert_eq!(failure_after(&[hello(), ready.clone(), ready].concat()).await, "out_of_order");
    assert_eq!(failure_after(&[0, 0]).await, "frame_empty");
    assert_eq!(failure_after(&[0, 1, 9]).await, "frame_unknown_kind");
}

#[tokio::test]
async fn the_largest_hello_arrives_and_a_larger_one_is_not_taken() {
    let _on = all_defences_on().await;
    let largest = vec![7; limits::JOIN_HELLO];
    let larger = [largest.as_slice(), &[7]].concat();
    let error = HelloTooLarge { size: 4096 };
    assert_eq!(Join::new(larger.clone()).err(), Some(error));
    let mut world = World::of(2).await;
    world[A].join().set_hello(largest.clone()).unwrap();
    assert_eq!(world[A].join().set_hello(larger), Err(error));
    world.dial(A, B);
    world.until_greeted(A, B).await;
    let connection = world[B].connection();
    assert_eq!(world[B].seen.hello[&connection], largest);
}

#[tokio::test]
async fn a_connection_has_one_join_stream() {
    let _on = all_defences_on().await;
    let mut world = one(NEVER).await;
    let mut raw = RawPeer::start(vec![]).await;
    let address = world[A].address.clone();
    let attack = async {
        raw.connect(&address).await.unwrap();
        let _first = raw.open(PROTOCOL).await.unwrap();
        let _second = raw.open(PROTOCOL).await;
        raw.closed().await;
    };
    world.during("the node to close the connection", attack).await;
    assert_eq!(only_failure(&world[A]), Some("extra_stream"));
}

#[tokio::test]
async fn who_was_dialled_does_not_open_the_join_stream() {
    let _on = all_defences_on().await;
    let mut world = one(NEVER).await;
    let mut raw = RawPeer::start(vec![PROTOCOL]).await;
    let (peer, address) = (raw.peer_id, raw.address.clone());
    world[A].dial(peer, &address);
    let attack = async {
        let _ours = raw.accept().await;
        let _theirs = raw.open(PROTOCOL).await;
        raw.closed().await;
    };
    world.during("the node to close the connection", attack).await;
    assert_eq!(only_failure(&world[A]), Some("extra_stream"));
}

#[tokio::test]
async fn a_peer_that_does_not_speak_the_protocol_is_told_apart() {
    let _on = all_defences_on().await;
    let mut world = one(NEVER).await;
    let raw = RawPeer::start(vec![]).await;
    world[A].dial(raw.peer_id, &raw.address);
    world.until("the join to fail", |w| w[A].seen.closed.len() == 1).await;
    assert_eq!(only_failure(&world[A]), Some("unsupported"));
}

#[tokio::test]
async fn a_peer_that_hangs_up_in_the_middle_is_told_apart() {
    let _on = all_defences_on().await;
    let mut world = one(NEVER).await;
    let mut raw = RawPeer::start(vec![]).await;
    let address = world[A].address.clone();
    let attack = async {
        raw.connect(&address).await.unwrap();
        let mut stream = raw.open(PROTOCOL).await.unwrap();
        stream.write_all(&hello()).await.unwrap();
        stream.close().await.unwrap();
        raw.closed().await;
    };
    world.during("the node to close the connection", attack).await;
    assert_eq!(only_failure(&world[A]), Some("closed"));
}
