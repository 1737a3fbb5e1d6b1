//! A slow reader bounds its sender, and nobody else.

use covm_core::streams::{Config, StreamEvent, StreamId};

use libp2p::Stream;

use crate::{
    node::{DIRECT, Node, SYNC, TCP, echo, most_in_flight, pair},
    raw::{Raw, framed, put},
    switch::defended,
};

const FRAME_BYTES: usize = 16 << 10;

/// A sender to `slow`, which releases nothing, and to an honest third, over streams of their own.
struct World {
    sender: Node,
    to_slow: StreamId,
    to_third: StreamId,
    slow: Node,
    third: Node,
    on_third: StreamId,
    on_slow: StreamId,
}

async fn world() -> World {
    let (mut sender, to_slow, slow, on_slow) = pair(Config::default(), TCP).await;
    let mut third = Node::start().await;
    sender.dial(&third.address).await;
    let to_third = sender.open(third.peer, DIRECT).await;
    sender.send(to_third, &[b"hello".to_vec()]).await;
    let on_third = third.inbound().await;
    third.exactly(on_third, 1).await;
    World { sender, to_slow, to_third, slow, third, on_third, on_slow }
}

impl World {
    /// Sends to the slow one until nothing more is taken, and gives the bytes taken. It has come to rest when
    /// the third has had a hundred round trips in which no credit came; or at `enough`.
    async fn fill(&mut self, enough: usize) -> usize {
        let mut taken = 0;
        loop {
            while self.sender.streams.send(self.to_slow, &[[7; FRAME_BYTES]]).unwrap() {
                taken += FRAME_BYTES;
                if taken > enough {
                    return taken;
                }
            }
            if !self.writable_within_a_hundred_echoes().await {
                return taken;
            }
        }
    }

    async fn writable_within_a_hundred_echoes(&mut self) -> bool {
        let writable = StreamEvent::Writable { stream: self.to_slow };
        for _ in 0..100 {
            self.sender.streams.send(self.to_third, &[b"there"]).unwrap();
            self.third.exactly(self.on_third, 1).await;
            self.third.streams.send(self.on_third, &[b"back"]).unwrap();
            match self.sender.next().await {
                event if event == writable => {
                    self.sender.exactly(self.to_third, 1).await;
                    return true;
                }
                StreamEvent::Frames { stream, .. } if stream == self.to_third => {
                    self.sender.streams.release(stream, usize::MAX);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_bounds_its_sender_while_others_go_on() {
    let _all = defended().await;
    let mut world = world().await;
    let bound = most_in_flight(FRAME_BYTES);
    let taken = world.fill(2 * bound).await;
    assert!(taken <= bound, "{taken} bytes were taken, the bound is {bound}");
    let mut received = 0;
    while received < taken {
        received += world.slow.frames(world.on_slow).await.iter().map(Vec::len).sum::<usize>();
    }
    let writable = StreamEvent::Writable { stream: world.to_slow };
    assert_eq!(world.sender.next().await, writable, "released, it goes on");
    echo(&mut world.sender, world.to_slow, &mut world.slow, world.on_slow).await;
}

#[cfg(feature = "switches")]
#[tokio::test(flavor = "multi_thread")]
async fn without_credit_a_slow_reader_bounds_nothing() {
    let _off = crate::switch::without("stream_credit").await;
    let mut world = world().await;
    let bound = most_in_flight(FRAME_BYTES);
    assert!(world.fill(2 * bound).await > 2 * bound);
}

/// A victim whose buffer is 1,000 bytes, and a peer that has sent it 600 on each of three streams, one after another.
/// Of the first two everything was handed out.
async fn replaced_twice() -> (Node, Raw, Vec<StreamId>, Vec<Stream>) {
    let config = Config { buffer_bytes: 1000, ..Config::default() };
    let mut victim = Node::with(config, TCP).await;
    let mut raw = Raw::connect(&victim.address).await;
    let (mut handed, mut held) = (Vec::new(), Vec::new());
    for number in 0..3 {
        let mut stream = raw.open(DIRECT).await;
        put(&mut stream, &framed(&[7; 600])).await;
        held.push(stream);
        if number < 2 {
            handed.push(next_batch(&mut victim).await);
        }
    }
    (victim, raw, handed, held)
}

/// The stream whose frames are handed out next, whatever else happens before.
async fn next_batch(victim: &mut Node) -> StreamId {
    loop {
        if let StreamEvent::Frames { stream, .. } = victim.next().await {
            return stream;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_replaces_its_stream_again_and_again_fills_one_buffer() {
    let _all = defended().await;
    let (mut victim, mut raw, handed, _held) = replaced_twice().await;
    let mut other = raw.open(SYNC).await;
    put(&mut other, &framed(b"hello")).await;
    let other_shown = victim.inbound().await;
    victim.exactly(other_shown, 1).await;
    for _ in 0..100 {
        // Nothing of the third stream comes in between: what the first two brought is not released.
        put(&mut other, &framed(b"meanwhile")).await;
        victim.exactly(other_shown, 1).await;
    }
    victim.streams.settle(handed[0]);
    let third = next_batch(&mut victim).await;
    assert!(!handed.contains(&third));
}

#[cfg(feature = "switches")]
#[tokio::test(flavor = "multi_thread")]
async fn without_credit_every_replaced_stream_fills_another_buffer() {
    let _off = crate::switch::without("stream_credit").await;
    let (mut victim, _raw, handed, _held) = replaced_twice().await;
    let third = next_batch(&mut victim).await;
    assert!(!handed.contains(&third));
}
