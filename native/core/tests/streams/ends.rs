//! Every stream ends once, and says why.

use covm_core::streams::{Config, Reason, SendError, StreamEvent, StreamId};

use crate::{
    node::{DIRECT, Node, QUIC, SYNC, TCP, echo, pair},
    switch::defended,
};

async fn closed(node: &mut Node, stream: StreamId) -> Reason {
    match node.next().await {
        StreamEvent::Closed { stream: of, reason } if of == stream => reason,
        other => panic!("expected the end of {stream}, got {other:?}"),
    }
}

/// The streams that the next `count` events end, in the order of their names.
async fn ended(node: &mut Node, count: usize) -> Vec<StreamId> {
    let mut streams = Vec::new();
    for _ in 0..count {
        match node.next().await {
            StreamEvent::Closed { stream, .. } => streams.push(stream),
            other => panic!("expected an end, got {other:?}"),
        }
    }
    sorted(streams)
}

fn sorted(streams: impl Into<Vec<StreamId>>) -> Vec<StreamId> {
    let mut streams = streams.into();
    streams.sort();
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_sends_what_was_queued_first() {
    let _all = defended().await;
    for transport in [TCP, QUIC] {
        let (mut a, on_a, mut b, on_b) = pair(Config::default(), transport).await;
        a.send(on_a, &vec![vec![7; 1000]; 900]).await;
        a.streams.close(on_a);
        assert_eq!(a.streams.send(on_a, &[b"late"]), Err(SendError::StreamGone));
        b.exactly(on_b, 900).await;
        assert_eq!(closed(&mut b, on_b).await, Reason::ClosedByPeer);
        assert_eq!(closed(&mut a, on_a).await, Reason::Closed);
        let again = a.open(b.peer, DIRECT).await;
        a.send(again, &[b"again".to_vec()]).await;
        b.inbound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_does_not_wait_for_a_peer_that_reads_nothing() {
    let _all = defended().await;
    let config = Config { close_timeout: std::time::Duration::from_millis(50), ..Config::default() };
    let (mut a, on_a, _b, _on_b) = pair(config, TCP).await;
    while a.streams.send(on_a, &[[7; 100_000]]).unwrap() {}
    a.streams.close(on_a);
    let mut last = a.next().await;
    if last == (StreamEvent::Writable { stream: on_a }) {
        last = a.next().await;
    }
    let reason = Reason::CloseTimedOut;
    assert_eq!(last, StreamEvent::Closed { stream: on_a, reason });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_ends_the_stream_on_both_sides_and_no_other() {
    let _all = defended().await;
    let (mut a, on_a, mut b, on_b) = pair(Config::default(), TCP).await;
    let other_on_a = a.open(b.peer, SYNC).await;
    a.send(other_on_a, &[b"hello".to_vec()]).await;
    let other_on_b = b.inbound().await;
    b.exactly(other_on_b, 1).await;
    b.streams.reset(on_b);
    assert_eq!(closed(&mut b, on_b).await, Reason::Reset);
    let seen = closed(&mut a, on_a).await;
    assert!(matches!(seen, Reason::ResetByPeer | Reason::ClosedByPeer), "{seen}");
    b.streams.reset(on_b);
    echo(&mut a, other_on_a, &mut b, other_on_b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_closes_ends_each_of_its_streams_once() {
    let _all = defended().await;
    let (mut a, on_a, mut b, on_b) = pair(Config::default(), TCP).await;
    a.disconnect(b.peer);
    closed(&mut a, on_a).await;
    closed(&mut b, on_b).await;
    a.dial(&b.address).await;
    let on_a = a.open(b.peer, DIRECT).await;
    a.send(on_a, &[b"hello".to_vec()]).await;
    let on_b = b.inbound().await;
    b.exactly(on_b, 1).await;
    echo(&mut a, on_a, &mut b, on_b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_dropped_ends_every_stream_once() {
    let _all = defended().await;
    for transport in [TCP, QUIC] {
        let (mut a, on_a, mut b, on_b) = pair(Config::default(), transport).await;
        let back = b.open(a.peer, SYNC).await;
        b.send(back, &[b"hello".to_vec()]).await;
        let back_on_a = a.inbound().await;
        a.exactly(back_on_a, 1).await;
        a.stop().await;
        assert_eq!(ended(&mut a, 2).await, sorted([on_a, back_on_a]));
        assert_eq!(a.streams.send(on_a, &[b"late"]), Err(SendError::StreamGone));
        assert_eq!(ended(&mut b, 2).await, sorted([on_b, back]));
        // The sink goes with the last task; no event may come before it does.
        drop(std::mem::replace(&mut a.streams, b.streams.clone()));
        assert_eq!(crate::node::soon(a.events.recv()).await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_says_so_and_carries_nothing_more() {
    let _all = defended().await;
    let (mut a, on_a, b, _on_b) = pair(Config::default(), TCP).await;
    a.streams.stop();
    assert_eq!(closed(&mut a, on_a).await, Reason::NodeStopped);
    let stream = a.ask(b.peer, SYNC);
    let reason = Reason::NodeStopped;
    assert_eq!(a.next().await, StreamEvent::OpenFailed { stream, reason });
}
