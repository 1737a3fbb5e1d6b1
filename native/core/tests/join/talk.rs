//! What applications say to each other before they decide, and how much of it a stranger may.

use std::time::Duration;

use covm_core::{
    join::{Frame, Join, PROTOCOL},
    limits,
};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;

use crate::{
    A, B, NEVER, SOON, add_honest, one, only_failure,
    support::{Node, World, all_defences_on, raw::RawPeer},
};

fn hello() -> Vec<u8> {
    Frame::Hello(b"raw".to_vec()).encode().unwrap()
}

fn talk(data: &[u8]) -> Vec<u8> {
    Frame::Talk(data.to_vec()).encode().unwrap()
}

/// As many frames as a peer may say without being asked.
fn as_much_as_allowed() -> Vec<u8> {
    talk(&[7; 1024]).repeat(limits::JOIN_TALK / 1024)
}

/// A raw peer that has said its HELLO.
async fn greeting(world: &mut World) -> (RawPeer, Stream) {
    let raw = RawPeer::start(vec![]).await;
    let address = world[A].address.clone();
    let stream = async {
        raw.connect(&address).await.unwrap();
        let mut stream = raw.open(PROTOCOL).await.unwrap();
        say(&mut stream, &hello()).await;
        stream
    };
    let stream = world.during("HELLO", stream).await;
    world.until("HELLO to arrive", |w| w[A].seen.hello.len() == 1).await;
    (raw, stream)
}

async fn say(stream: &mut Stream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// Says what the node may not let it finish.
async fn provoke(stream: &mut Stream, bytes: &[u8]) {
    if stream.write_all(bytes).await.is_ok() {
        let _ = stream.flush().await;
    }
}

/// What the node heard of a peer that says these bytes behind its HELLO, and how it ended the join.
async fn failure_after(bytes: &[u8]) -> (usize, &'static str) {
    let mut world = one(NEVER).await;
    let (mut raw, mut stream) = greeting(&mut world).await;
    let attack = async {
        provoke(&mut stream, bytes).await;
        raw.closed().await;
    };
    world.during("the node to close the connection", attack).await;
    world.until("the node to see it closed", |w| w[A].seen.closed.len() == 1).await;
    assert!(world[A].met_nobody());
    (world[A].heard().len(), only_failure(&world[A]).unwrap())
}

#[tokio::test]
async fn both_sides_talk_and_then_admit_each_other() {
    let _on = all_defences_on().await;
    let mut world = World::of(2).await;
    world.dial(A, B);
    world.until_greeted(A, B).await;
    world[A].talk(&[b"here is my invite", b", and its proof"]);
    world.until("it to be heard", |w| w[B].heard() == b"here is my invite, and its proof").await;
    world[B].talk(&[&[5; limits::JOIN_HELLO]]);
    world.until("the answer", |w| w[A].heard() == [5; limits::JOIN_HELLO]).await;
    assert!(world.0.iter().all(Node::met_nobody), "talk opens no gate");
    let (ours, theirs) = (world[A].connection(), world[B].connection());
    // Who has admitted still listens, until the other has answered too.
    world[A].admit(ours);
    world.until("READY", |w| !w[B].seen.ready.is_empty()).await;
    world[B].talk(&[b"welcome"]);
    world[B].admit(theirs);
    world.until("both open", |w| w[A].is_open_to(w[B].id()) && w[B].is_open_to(w[A].id())).await;
    assert!(world[A].heard().ends_with(b"welcome"));
    assert!(world.0.iter().all(|node| node.seen.failed.is_empty()));
}

#[tokio::test]
async fn who_has_talked_can_still_be_refused_also_after_ready() {
    let _on = all_defences_on().await;
    for admits_first in [false, true] {
        let mut world = World::of(2).await;
        world.dial(A, B);
        world.until_greeted(A, B).await;
        let (ours, theirs) = (world[A].connection(), world[B].connection());
        if admits_first {
            world[B].admit(theirs);
        }
        world[A].talk(&[b"an invite of last year"]);
        world.until("it to be heard", |w| !w[B].heard().is_empty()).await;
        world[B].join().refuse(theirs, "it has expired").unwrap();
        world.until("the connection to close", |w| w.0.iter().all(|node| node.seen.closed.len() == 1)).await;
        assert_eq!(world[A].seen.refused[&ours], "it has expired");
        assert!(world.0.iter().all(|node| node.seen.failed.is_empty() && node.met_nobody()));
    }
}

#[tokio::test]
async fn after_ready_nothing_more_is_said() {
    let _on = all_defences_on().await;
    let mut world = World::of(2).await;
    world.dial(A, B);
    world.until_greeted(A, B).await;
    let ours = world[A].connection();
    world[A].admit(ours);
    world[A].talk(&[b"one thing more"]);
    let theirs = world[B].connection();
    world[B].admit(theirs);
    world.until("both open", |w| w[A].is_open_to(w[B].id()) && w[B].is_open_to(w[A].id())).await;
    assert!(world[B].heard().is_empty() && world[B].seen.failed.is_empty());
}

#[tokio::test]
async fn talk_before_hello_after_ready_and_without_words_ends_the_join() {
    let _on = all_defences_on().await;
    let ready = Frame::Ready.encode().unwrap();
    assert_eq!(failure_after(&[ready, talk(b"late")].concat()).await, (0, "out_of_order"));
    assert_eq!(failure_after(&[0, 1, 3]).await, (0, "frame_empty_talk"));
    let mut world = one(NEVER).await;
    let mut raw = RawPeer::start(vec![]).await;
    let address = world[A].address.clone();
    let attack = async {
        raw.connect(&address).await.unwrap();
        let mut stream = raw.open(PROTOCOL).await.unwrap();
        provoke(&mut stream, &talk(b"early")).await;
        raw.closed().await;
    };
    world.during("the node to close the connection", attack).await;
    assert_eq!(only_failure(&world[A]), Some("out_of_order"));
}

#[tokio::test]
async fn a_stranger_that_talks_on_is_cut_off_at_its_bound_however_it_cuts_its_words() {
    let _on = all_defences_on().await;
    let one_more = [as_much_as_allowed(), talk(b"x")].concat();
    assert_eq!(failure_after(&one_more).await, (limits::JOIN_TALK, "talk_too_much"));
    let tiny = talk(b"x").repeat(limits::JOIN_TALK / limits::JOIN_TALK_LEAST + 1);
    assert_eq!(failure_after(&tiny).await, (limits::JOIN_TALK / limits::JOIN_TALK_LEAST, "talk_too_much"));
}

#[tokio::test]
async fn who_was_granted_more_says_more_and_not_a_frame_beyond() {
    let _on = all_defences_on().await;
    let mut world = one(NEVER).await;
    let (mut raw, mut stream) = greeting(&mut world).await;
    let connection = world[A].connection();
    world[A].join().grant(connection, 1 << 20).unwrap();
    let much = talk(&[7; 1024]).repeat(1024);
    world.during("a mebibyte", say(&mut stream, &much)).await;
    world.during("the rest", say(&mut stream, &as_much_as_allowed())).await;
    world.until("all of it", |w| w[A].heard().len() == (1 << 20) + limits::JOIN_TALK).await;
    assert!(world[A].seen.failed.is_empty());
    let more = async {
        provoke(&mut stream, &talk(b"x")).await;
        raw.closed().await;
    };
    world.during("the node to close the connection", more).await;
    assert_eq!(only_failure(&world[A]), Some("talk_too_much"));
}

/// A node with these deadlines, and a stranger that it answers with talk, with a grant, or not at all.
async fn waiting(deadline: Duration, talk_deadline: Duration, answer: &str) -> (World, RawPeer, Stream) {
    let change = |join: Join| join.with_deadline(deadline).with_talk_deadline(talk_deadline);
    let mut world = World(vec![Node::with(change).await]);
    let (raw, mut stream) = greeting(&mut world).await;
    let connection = world[A].connection();
    match answer {
        "talk" => world[A].talk(&[b"one moment"]),
        "grant" => world[A].join().grant(connection, 1).unwrap(),
        _ => {}
    }
    world.during("a word", say(&mut stream, &talk(b"wait for me"))).await;
    (world, raw, stream)
}

#[tokio::test]
async fn only_our_own_talk_or_grant_gives_a_join_more_time() {
    let _on = all_defences_on().await;
    for answer in ["none", "talk", "grant"] {
        let (mut world, mut raw, _stream) = waiting(5 * SOON, NEVER, answer).await;
        if answer == "none" {
            world.during("the deadline", raw.closed()).await;
            assert_eq!(only_failure(&world[A]), Some("deadline"));
        } else {
            let closed = tokio::time::timeout(6 * SOON, raw.closed());
            assert!(world.during("a while", closed).await.is_err(), "it is waited for");
            assert_eq!(world[A].join().strangers(), 1);
        }
    }
}

#[tokio::test]
async fn a_talker_that_never_decides_is_dropped_at_the_later_deadline() {
    let _on = all_defences_on().await;
    for answer in ["talk", "grant"] {
        let (mut world, mut raw, _stream) = waiting(NEVER, 5 * SOON, answer).await;
        world.during("the deadline", raw.closed()).await;
        assert_eq!(only_failure(&world[A]), Some("deadline"));
        assert_eq!(world[A].join().strangers(), 0, "its place is free");
    }
}

#[tokio::test]
async fn a_join_that_was_given_time_is_joined_late_and_lives() {
    let _on = all_defences_on().await;
    let longer = |join: Join| join.with_deadline(5 * SOON).with_talk_deadline(NEVER);
    let mut world = World(vec![Node::with(longer).await]);
    let honest = add_honest(&mut world).await;
    world.dial(honest, A);
    world.until_greeted(A, honest).await;
    world[A].talk(&[b"let me ask"]);
    world.during("more than a stranger gets", tokio::time::sleep(6 * SOON)).await;
    let connection = world[A].connection();
    world[A].admit(connection);
    world.until("both open", |w| w[A].is_open_to(w[honest].id()) && w[honest].is_open_to(w[A].id())).await;
    world.during("a while", tokio::time::sleep(Duration::from_millis(100))).await;
    assert!(world[A].seen.failed.is_empty() && world[A].seen.closed.is_empty());
}

#[tokio::test]
async fn what_we_say_waits_for_a_peer_that_reads_slowly_and_arrives_in_order() {
    let _on = all_defences_on().await;
    let mut world = one(NEVER).await;
    let (_raw, mut stream) = greeting(&mut world).await;
    let parts: Vec<[u8; 1024]> = (0..1024_usize).map(|number| [number as u8; 1024]).collect();
    world[A].talk(&parts.iter().map(|part| part.as_slice()).collect::<Vec<_>>());
    let prefix = 2 + 1 + world[A].id().to_bytes().len();
    let mut said = vec![0; prefix + 1024 * (2 + 1 + 1024)];
    world.during("reading", stream.read_exact(&mut said)).await.unwrap();
    let expected: Vec<u8> = parts.iter().flat_map(|part| talk(part)).collect();
    assert!(said[prefix..] == expected);
}

#[cfg(feature = "switches")]
#[tokio::test]
async fn without_the_bound_a_stranger_talks_without_end() {
    let _off = crate::support::Off::only(covm_core::switches::Defence::JoinTalk).await;
    let mut world = one(NEVER).await;
    let (_raw, mut stream) = greeting(&mut world).await;
    for _ in 0..8 {
        world.during("more than it may", say(&mut stream, &as_much_as_allowed())).await;
    }
    world.until("all of it", |w| w[A].heard().len() == 8 * limits::JOIN_TALK).await;
    assert!(world[A].seen.failed.is_empty());
}
