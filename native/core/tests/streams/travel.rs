//! What is sent arrives: whole, in order, both ways.

use covm_core::streams::{Config, Reason, StreamEvent};

use crate::{
    node::{DIRECT, Node, QUIC, SYNC, TCP, echo, pair},
    switch::defended,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_tcp_carries_frames_both_ways() {
    let _all = defended().await;
    let (mut a, on_a, mut b, on_b) = pair(Config::default(), TCP).await;
    for _ in 0..10 {
        echo(&mut a, on_a, &mut b, on_b).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_quic_carries_frames_both_ways() {
    let _all = defended().await;
    let (mut a, on_a, mut b, on_b) = pair(Config::default(), QUIC).await;
    for _ in 0..10 {
        echo(&mut a, on_a, &mut b, on_b).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_frames_arrive_in_order() {
    let _all = defended().await;
    let (mut a, on_a, mut b, on_b) = pair(Config::default(), TCP).await;
    let receiving = tokio::spawn(async move {
        let frames = b.exactly(on_b, 100_000).await;
        for (number, frame) in frames.iter().enumerate() {
            assert_eq!(frame[..4], (number as u32).to_be_bytes());
            assert_eq!(frame.len(), 4 + number % 61);
        }
    });
    for start in (0..100_000u32).step_by(1000) {
        let batch: Vec<_> =
            (start..start + 1000).map(|n| [&n.to_be_bytes()[..], &vec![7; n as usize % 61]].concat()).collect();
        a.send(on_a, &batch).await;
    }
    receiving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_frames_arrive_whole() {
    let _all = defended().await;
    let (mut a, on_a, mut b, on_b) = pair(Config::default(), TCP).await;
    let largest = Config::default().frame_bytes;
    let receiving = tokio::spawn(async move {
        for fill in 0..4u8 {
            assert!(b.exactly(on_b, 1).await == [vec![fill; largest]]);
        }
    });
    for fill in 0..4 {
        a.send(on_a, &[vec![fill; largest]]).await;
    }
    receiving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_before_the_stream_is_open_goes_out_with_it() {
    let _all = defended().await;
    let mut b = Node::start().await;
    let mut a = Node::start().await;
    a.dial(&b.address).await;
    let first = a.open(b.peer, SYNC).await;
    a.send(first, &[b"hello".to_vec()]).await;
    b.inbound().await;
    let on_a = a.ask(b.peer, DIRECT);
    // The table knows the name once the swarm has taken the command, perhaps before it is open.
    while a.streams.send(on_a, &[b"early"]).is_err() {
        tokio::task::yield_now().await;
    }
    let mut seen = Vec::new();
    while !matches!(&seen[..], [.., StreamEvent::Frames { frames, .. }] if frames[..] == [b"early"]) {
        seen.push(b.next().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_may_open_a_stream_of_the_same_protocol() {
    let _all = defended().await;
    let (mut a, on_a, mut b, on_b) = pair(Config::default(), TCP).await;
    let back_on_b = b.open(a.peer, DIRECT).await;
    b.send(back_on_b, &[b"mine".to_vec()]).await;
    let back_on_a = a.inbound().await;
    assert_eq!(a.exactly(back_on_a, 1).await, [b"mine"]);
    echo(&mut a, on_a, &mut b, on_b).await;
    echo(&mut b, back_on_b, &mut a, back_on_a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_says_why_it_failed() {
    let _all = defended().await;
    let (mut a, on_a, mut b, on_b) = pair(Config::default(), TCP).await;
    let stranger = libp2p::PeerId::random();
    let unknown = libp2p::StreamProtocol::new("/covm/unknown/1.0.0");
    for (peer, protocol, reason) in [
        (stranger, DIRECT, Reason::NotConnected),
        (b.peer, DIRECT, Reason::AlreadyOpen),
        (b.peer, unknown, Reason::Unsupported),
    ] {
        let stream = a.ask(peer, protocol);
        assert_eq!(a.next().await, StreamEvent::OpenFailed { stream, reason });
    }
    echo(&mut a, on_a, &mut b, on_b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_open_in_time_has_failed() {
    let _all = defended().await;
    let b = Node::deaf().await;
    let config = Config { open_timeout: std::time::Duration::from_millis(50), ..Config::default() };
    let mut a = Node::with(config, TCP).await;
    a.dial(&b.address).await;
    let stream = a.ask(b.peer, DIRECT);
    let reason = Reason::OpenTimedOut;
    assert_eq!(a.next().await, StreamEvent::OpenFailed { stream, reason });
}
