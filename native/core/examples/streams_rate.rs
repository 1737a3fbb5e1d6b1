//! How fast framed streams are: two nodes in one process, over TCP on loopback, a few seconds in all.
//!
//! `cargo run --release -p covm-core --example streams_rate`

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use covm_core::{
    limits,
    streams::{Config, Executor, StreamEvent, StreamId, Streams, StreamsHandle},
};
use futures::StreamExt;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use tokio::sync::mpsc;

const DIRECT: StreamProtocol = StreamProtocol::new("/covm/direct/1.0.0");
const EACH: Duration = Duration::from_secs(2);

type Events = mpsc::UnboundedReceiver<StreamEvent>;
type Failure = Box<dyn Error>;

/// One end of the stream.
struct End {
    handle: StreamsHandle,
    events: Events,
    stream: StreamId,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    for (name, size_bytes, batch, window) in [
        ("echo, 200 bytes, one at a time", 200, 1, 1),
        ("echo, 200 bytes, pipelined", 200, 64, 2048),
        ("echo, 64 KiB, pipelined", 64 << 10, 4, 16),
    ] {
        let (client, server) = connected().await?;
        let server = tokio::spawn(answer(server));
        let rate = echoes(client, size_bytes, batch, window).await?;
        let rate_mb = rate * size_bytes as f64 / 1e6;
        println!("{name:32} {rate:10.0} /s {rate_mb:8.1} MB/s each way");
        server.await?;
    }
    for size_bytes in [200, 64 << 10, 1 << 20] {
        let (client, server) = connected().await?;
        let server = tokio::spawn(swallow(server));
        let sent = flood(client, size_bytes).await?;
        let (received, elapsed) = server.await?;
        assert_eq!(sent, received, "everything sent arrives");
        let rate = received as f64 / elapsed.as_secs_f64();
        let rate_mb = rate * size_bytes as f64 / 1e6;
        println!("one way, {size_bytes:7} bytes {rate:18.0} /s {rate_mb:8.1} MB/s");
    }
    Ok(())
}

/// Sends echoes with at most `window` on the way, for a while; gives echoes a second.
async fn echoes(mut end: End, size: usize, batch: usize, window: usize) -> Result<f64, Failure> {
    let frames = vec![vec![7; size]; batch];
    let (mut sent, mut back) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < EACH {
        while sent + batch <= back + window && end.handle.send(end.stream, &frames)? {
            sent += batch;
        }
        if let Some(StreamEvent::Frames { frames, .. }) = end.events.recv().await {
            back += frames.len();
            release(&end.handle, end.stream, &frames);
        }
    }
    let elapsed = begun.elapsed();
    end.handle.close(end.stream);
    Ok(back as f64 / elapsed.as_secs_f64())
}

/// Sends as much as is taken, for a while, and closes; gives the number of frames.
async fn flood(mut end: End, size: usize) -> Result<usize, Failure> {
    let batch = ((64 << 10) / size).max(1);
    let frames = vec![vec![7; size]; batch];
    let mut sent = 0;
    let begun = Instant::now();
    while begun.elapsed() < EACH {
        while end.handle.send(end.stream, &frames)? {
            sent += batch;
        }
        end.events.recv().await.ok_or("the stream ended early")?;
    }
    end.handle.close(end.stream);
    while let Some(event) = end.events.recv().await {
        if matches!(event, StreamEvent::Closed { .. }) {
            break;
        }
    }
    Ok(sent)
}

async fn answer(mut end: End) {
    while let Some(event) = end.events.recv().await {
        match event {
            StreamEvent::Frames { frames, .. } => {
                while let Ok(false) = end.handle.send(end.stream, &frames) {
                    end.events.recv().await;
                }
                release(&end.handle, end.stream, &frames);
            }
            StreamEvent::Closed { .. } => return,
            _ => {}
        }
    }
}

async fn swallow(mut end: End) -> (usize, Duration) {
    let (mut count, begun, mut elapsed) = (0, Instant::now(), Duration::ZERO);
    while let Some(event) = end.events.recv().await {
        match event {
            StreamEvent::Frames { frames, .. } => {
                count += frames.len();
                elapsed = begun.elapsed();
                release(&end.handle, end.stream, &frames);
            }
            StreamEvent::Closed { .. } => break,
            _ => {}
        }
    }
    (count, elapsed)
}

fn release(handle: &StreamsHandle, stream: StreamId, frames: &[Vec<u8>]) {
    handle.release(stream, frames.iter().map(Vec::len).sum());
}

/// Two nodes with one stream between them; both swarms end with the process.
async fn connected() -> Result<(End, End), Failure> {
    let (server, server_handle, mut server_events) = node()?;
    let server_peer = *server.local_peer_id();
    let address = listening(server).await?;
    let (mut client, client_handle, mut client_events) = node()?;
    client.dial(address)?;
    let stream = open(&mut client, server_peer).await;
    tokio::spawn(async move { while client.next().await.is_some() {} });
    client_handle.send(stream, &[b"hello"])?;
    client_events.recv().await.ok_or("not opened")?;
    let Some(StreamEvent::Inbound { stream: shown, .. }) = server_events.recv().await else {
        return Err("no stream arrived".into());
    };
    server_events.recv().await.ok_or("no hello")?;
    server_handle.release(shown, usize::MAX);
    let client = End { handle: client_handle, events: client_events, stream };
    let server = End { handle: server_handle, events: server_events, stream: shown };
    Ok((client, server))
}

fn node() -> Result<(Swarm<Streams>, StreamsHandle, Events), Failure> {
    let (sink, events) = mpsc::unbounded_channel();
    let executor: Executor = Arc::new(|task| drop(tokio::spawn(task)));
    let sink = Arc::new(move |event| drop(sink.send(event)));
    let streams = Streams::new(vec![DIRECT], Config::default(), executor, sink);
    let handle = streams.handle();
    let windows = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(limits::YAMUX_STREAMS);
        config
    };
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, windows)?
        .with_behaviour(|_| streams)?
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    Ok((swarm, handle, events))
}

async fn listening(mut swarm: Swarm<Streams>) -> Result<Multiaddr, Failure> {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            tokio::spawn(async move { while swarm.next().await.is_some() {} });
            return Ok(address);
        }
    }
}

async fn open(swarm: &mut Swarm<Streams>, peer: PeerId) -> StreamId {
    loop {
        if let SwarmEvent::ConnectionEstablished { .. } = swarm.select_next_some().await {
            return swarm.behaviour_mut().open(peer, DIRECT);
        }
    }
}
