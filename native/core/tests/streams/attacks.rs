//! Raw bytes from peers that mean harm.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use covm_core::streams::{Config, Reason, StreamEvent, StreamId};
use libp2p::Stream;
use tokio::sync::Notify;

use crate::{
    node::{DIRECT, Node, SYNC, TCP, echo, soon},
    raw::{Raw, ended, framed, put},
    switch::defended,
};

const FOUR_GIB: [u8; 4] = [0xff; 4];

/// A victim, an attacker connected to it, and a stream of the attacker's that has said hello.
async fn attacked(config: Config) -> (Node, Raw, Stream, StreamId) {
    let mut victim = Node::with(config, TCP).await;
    let mut raw = Raw::connect(&victim.address).await;
    let mut stream = raw.open(DIRECT).await;
    let shown = said_hello(&mut victim, &mut stream).await;
    (victim, raw, stream, shown)
}

async fn said_hello(victim: &mut Node, stream: &mut Stream) -> StreamId {
    put(stream, &framed(b"hello")).await;
    let shown = victim.inbound().await;
    assert_eq!(victim.exactly(shown, 1).await, [b"hello"]);
    shown
}

fn over(stream: StreamId, reason: Reason) -> StreamEvent {
    StreamEvent::Closed { stream, reason }
}

async fn refused(victim: &mut Node) -> Reason {
    match victim.next().await {
        StreamEvent::Refused { reason, .. } => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_4_gib_is_refused_on_its_prefix_and_only_its_stream_falls() {
    let _all = defended().await;
    let (mut victim, mut raw, mut bad, shown) = attacked(Config::default()).await;
    let mut good = raw.open(SYNC).await;
    let good_shown = said_hello(&mut victim, &mut good).await;
    put(&mut bad, &FOUR_GIB).await;
    assert_eq!(victim.next().await, over(shown, Reason::FrameTooLarge));
    soon(ended(&mut bad)).await;
    put(&mut good, &framed(b"still here")).await;
    assert_eq!(victim.exactly(good_shown, 1).await, [b"still here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_begins_with_a_bad_frame_is_never_shown_but_charged() {
    let _all = defended().await;
    let (mut victim, mut raw, _good, _) = attacked(Config::default()).await;
    for (prefix, reason) in [(FOUR_GIB, Reason::FrameTooLarge), ([0; 4], Reason::EmptyFrame)] {
        let mut stream = raw.open(DIRECT).await;
        put(&mut stream, &prefix).await;
        assert_eq!(refused(&mut victim).await, reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_the_framing_again_and_again_is_closed() {
    let _all = defended().await;
    let (mut victim, mut raw, _good, shown) = attacked(Config::default()).await;
    for _ in 0..Config::default().strikes {
        let mut stream = raw.open(SYNC).await;
        put(&mut stream, &FOUR_GIB).await;
        assert_eq!(refused(&mut victim).await, Reason::FrameTooLarge);
    }
    raw.cut_off().await;
    let last = victim.next().await;
    assert!(matches!(last, StreamEvent::Closed { stream, .. } if stream == shown), "{last:?}");
}

#[cfg(feature = "switches")]
#[tokio::test(flavor = "multi_thread")]
async fn without_a_frame_size_a_frame_of_any_size_comes_through() {
    let _off = crate::switch::without("frame_size").await;
    let (mut victim, _raw, mut stream, shown) = attacked(Config::default()).await;
    put(&mut stream, &framed(&vec![7; 4 << 20])).await;
    assert!(victim.exactly(shown, 1).await == [vec![7; 4 << 20]]);
}

/// Opens `count` streams that say nothing, and counts those that the victim has ended.
async fn open_unused(raw: &mut Raw, count: usize, fallen: &Arc<(AtomicUsize, Notify)>) {
    for _ in 0..count {
        let mut stream = raw.open(DIRECT).await;
        let fallen = fallen.clone();
        tokio::spawn(async move {
            ended(&mut stream).await;
            fallen.0.fetch_add(1, Ordering::SeqCst);
            fallen.1.notify_one();
        });
    }
}

async fn until(fallen: &(AtomicUsize, Notify), count: usize) {
    while fallen.0.load(Ordering::SeqCst) < count {
        soon(fallen.1.notified()).await;
    }
}

/// An honest peer of the victim's, with a stream that has said hello.
async fn honest_peer(victim: &mut Node) -> (Node, StreamId, StreamId) {
    let mut honest = Node::start().await;
    honest.dial(&victim.address).await;
    let to_victim = honest.open(victim.peer, DIRECT).await;
    honest.send(to_victim, &[b"hello".to_vec()]).await;
    let on_victim = victim.inbound().await;
    victim.exactly(on_victim, 1).await;
    (honest, to_victim, on_victim)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_unused_streams_are_capped_and_an_honest_peer_keeps_its_own() {
    let _all = defended().await;
    let config = Config { first_frame_timeout: Duration::from_secs(600), ..Config::default() };
    let cap = config.streams_per_connection;
    let mut victim = Node::with(config, TCP).await;
    let (mut honest, to_victim, on_victim) = honest_peer(&mut victim).await;
    let mut raw = Raw::connect(&victim.address).await;
    let fallen = Arc::default();
    for _ in 0..10 {
        open_unused(&mut raw, 1000, &fallen).await;
        // Nothing but the honest peer's frames reaches the victim's owner.
        echo(&mut honest, to_victim, &mut victim, on_victim).await;
    }
    until(&fallen, 10_000 - cap).await;
    assert_eq!(fallen.0.load(Ordering::SeqCst), 10_000 - cap);
    assert_eq!(victim.streams.refused_over_cap(), (10_000 - cap) as u64);
    echo(&mut honest, to_victim, &mut victim, on_victim).await;
}

#[cfg(feature = "switches")]
#[tokio::test(flavor = "multi_thread")]
async fn without_a_cap_every_stream_is_kept_and_shown() {
    let _off = crate::switch::without("stream_cap").await;
    let mut victim = Node::start().await;
    let mut raw = Raw::connect(&victim.address).await;
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut stream = raw.open(DIRECT).await;
        said_hello(&mut victim, &mut stream).await;
        kept.push(stream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_one_stream_of_a_protocol_and_the_newer_replaces_the_older() {
    let _all = defended().await;
    let (mut victim, mut raw, mut older, first) = attacked(Config::default()).await;
    let mut newer = raw.open(DIRECT).await;
    put(&mut older, &framed(b"still the one")).await;
    assert_eq!(victim.exactly(first, 1).await, [b"still the one"]);
    put(&mut newer, &framed(b"hello")).await;
    assert_eq!(victim.next().await, over(first, Reason::Replaced));
    let second = victim.inbound().await;
    assert_eq!(victim.exactly(second, 1).await, [b"hello"]);
    soon(ended(&mut older)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_drips_is_dropped_at_its_deadline() {
    let _all = defended().await;
    let (mut victim, _raw, mut stream, shown) = attacked(hasty()).await;
    let dripping = tokio::spawn(async move { drip(&mut stream, 1_000_000).await });
    assert_eq!(victim.next().await, over(shown, Reason::FrameDeadline));
    assert!(!soon(dripping).await.unwrap(), "the attacker's stream fell");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_says_nothing_is_dropped_at_its_deadline_and_its_place_is_free() {
    let _all = defended().await;
    let config = Config { streams_per_connection: 1, first_frame_timeout: Duration::from_secs(1), ..Config::default() };
    let mut victim = Node::with(config, TCP).await;
    let mut raw = Raw::connect(&victim.address).await;
    let mut silent = raw.open(DIRECT).await;
    assert_eq!(refused(&mut victim).await, Reason::FirstFrameDeadline);
    soon(ended(&mut silent)).await;
    let mut next = raw.open(DIRECT).await;
    said_hello(&mut victim, &mut next).await;
}

#[cfg(feature = "switches")]
#[tokio::test(flavor = "multi_thread")]
async fn without_a_deadline_a_frame_may_drip_for_as_long_as_it_likes() {
    let _off = crate::switch::without("frame_deadline").await;
    let (mut victim, _raw, mut stream, shown) = attacked(hasty()).await;
    assert!(drip(&mut stream, 50).await);
    assert_eq!(victim.exactly(shown, 1).await, [[7; 50]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_cut_amid_a_frame_was_reset() {
    let _all = defended().await;
    let (mut victim, _raw, mut stream, shown) = attacked(Config::default()).await;
    put(&mut stream, &framed(b"never whole")[..9]).await;
    drop(stream);
    assert_eq!(victim.next().await, over(shown, Reason::ResetByPeer));
}

fn hasty() -> Config {
    Config { frame_timeout: Duration::from_millis(200), ..Config::default() }
}

/// Sends a frame of `size` bytes, one every 10 ms; whether it could. The pace is the attack.
async fn drip(stream: &mut Stream, size: usize) -> bool {
    use futures::AsyncWriteExt;
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    for byte in framed(&vec![7; size]) {
        pace.tick().await;
        if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
            return false;
        }
    }
    true
}
