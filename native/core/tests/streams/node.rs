//! A node that has nothing but streams, over real transports on loopback.

use std::{sync::Arc, time::Duration};

use covm_core::{
    limits,
    streams::{Config, Executor, StreamEvent, StreamId, Streams, StreamsHandle},
};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

pub const DIRECT: StreamProtocol = StreamProtocol::new("/covm/direct/1.0.0");
pub const SYNC: StreamProtocol = StreamProtocol::new("/covm/sync/1.0.0");
pub const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Long enough for the slowest machine; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Awaits `what`, or fails the test.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("this should have happened long ago")
}

enum Command {
    Open(StreamId, PeerId, StreamProtocol),
    Dial(Multiaddr, oneshot::Sender<()>),
    Disconnect(PeerId),
}

/// A node with a driver of its own; dropping it drops the swarm.
pub struct Node {
    pub peer: PeerId,
    pub address: Multiaddr,
    pub streams: StreamsHandle,
    pub events: mpsc::UnboundedReceiver<StreamEvent>,
    commands: mpsc::UnboundedSender<Command>,
    driver: JoinHandle<()>,
}

/// A swarm on loopback around `behaviour`. Yamux windows stay at 256 KiB, so that what is in flight can be counted.
/// At most `negotiating` streams that a peer opens are negotiated at once.
pub async fn swarm<B: NetworkBehaviour>(behaviour: B, listen: &str, negotiating: usize) -> (Swarm<B>, Multiaddr) {
    let fixed_windows = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(4096);
        config
    };
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, fixed_windows)
        .unwrap()
        .with_quic()
        .with_behaviour(|_| behaviour)
        .unwrap()
        .with_swarm_config(|c| {
            c.with_idle_connection_timeout(Duration::from_secs(600)).with_max_negotiating_inbound_streams(negotiating)
        })
        .build();
    swarm.listen_on(listen.parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = soon(swarm.select_next_some()).await {
            return (swarm, address);
        }
    }
}

fn spawning() -> Executor {
    Arc::new(|task| drop(tokio::spawn(task)))
}

impl Node {
    pub async fn start() -> Self {
        Self::with(Config::default(), TCP).await
    }

    pub async fn with(config: Config, listen: &str) -> Self {
        Self::negotiating(limits::NEGOTIATING_STREAMS, config, listen).await
    }

    /// A node that takes connections and answers no stream that is opened on them.
    pub async fn deaf() -> Self {
        Self::negotiating(0, Config::default(), TCP).await
    }

    async fn negotiating(negotiating: usize, config: Config, listen: &str) -> Self {
        let (sink, events) = mpsc::unbounded_channel();
        let sink = Arc::new(move |event| drop(sink.send(event)));
        let streams = Streams::new(vec![DIRECT, SYNC], config, spawning(), sink);
        let handle = streams.handle();
        let (swarm, address) = swarm(streams, listen, negotiating).await;
        let (commands, receiver) = mpsc::unbounded_channel();
        Self {
            peer: *swarm.local_peer_id(),
            address,
            streams: handle,
            events,
            commands,
            driver: tokio::spawn(drive(swarm, receiver)),
        }
    }

    /// Connects to the node at `address`.
    pub async fn dial(&self, address: &Multiaddr) {
        let (done, connected) = oneshot::channel();
        let _ = self.commands.send(Command::Dial(address.clone(), done));
        soon(connected).await.unwrap();
    }

    pub fn disconnect(&self, peer: PeerId) {
        let _ = self.commands.send(Command::Disconnect(peer));
    }

    /// Asks for a stream; the next events say what came of it.
    pub fn ask(&self, peer: PeerId, protocol: StreamProtocol) -> StreamId {
        let stream = self.streams.reserve();
        let _ = self.commands.send(Command::Open(stream, peer, protocol));
        stream
    }

    /// Opens a stream, which must succeed.
    pub async fn open(&mut self, peer: PeerId, protocol: StreamProtocol) -> StreamId {
        let stream = self.ask(peer, protocol);
        assert_eq!(self.next().await, StreamEvent::Opened { stream });
        stream
    }

    /// The next event.
    pub async fn next(&mut self) -> StreamEvent {
        soon(self.events.recv()).await.unwrap()
    }

    /// The next event must be a stream the peer opened.
    pub async fn inbound(&mut self) -> StreamId {
        match self.next().await {
            StreamEvent::Inbound { stream, .. } => stream,
            other => panic!("expected an inbound stream, got {other:?}"),
        }
    }

    /// Sends, waiting for credit when there is none. Nothing but `Writable` may happen meanwhile.
    pub async fn send(&mut self, stream: StreamId, frames: &[Vec<u8>]) {
        while !self.streams.send(stream, frames).unwrap() {
            assert_eq!(self.next().await, StreamEvent::Writable { stream });
        }
    }

    /// The next frames, which must be of `stream`; they are released.
    pub async fn frames(&mut self, stream: StreamId) -> Vec<Vec<u8>> {
        match self.next().await {
            StreamEvent::Frames { stream: of, frames, .. } if of == stream => {
                self.streams.release(stream, frames.iter().map(Vec::len).sum());
                frames
            }
            other => panic!("expected frames of {stream}, got {other:?}"),
        }
    }

    /// The next `count` frames of `stream`.
    pub async fn exactly(&mut self, stream: StreamId, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.extend(self.frames(stream).await);
        }
        assert_eq!(frames.len(), count);
        frames
    }

    /// Drops the swarm, as a node that goes without a word, and waits until it is gone.
    pub async fn stop(&mut self) {
        self.driver.abort();
        let _ = soon(&mut self.driver).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// One frame there and back.
pub async fn echo(a: &mut Node, on_a: StreamId, b: &mut Node, on_b: StreamId) {
    a.send(on_a, &[b"there".to_vec()]).await;
    assert_eq!(b.exactly(on_b, 1).await, [b"there"]);
    b.send(on_b, &[b"back".to_vec()]).await;
    assert_eq!(a.exactly(on_a, 1).await, [b"back"]);
}

/// Two nodes, connected, with one stream from the first to the second that has said hello.
pub async fn pair(config: Config, listen: &str) -> (Node, StreamId, Node, StreamId) {
    let mut b = Node::with(config.clone(), listen).await;
    let mut a = Node::with(config, listen).await;
    a.dial(&b.address).await;
    let on_a = a.open(b.peer, DIRECT).await;
    a.send(on_a, &[b"hello".to_vec()]).await;
    let on_b = b.inbound().await;
    assert_eq!(b.exactly(on_b, 1).await, [b"hello"]);
    (a, on_a, b, on_b)
}

/// Bytes that a sender can be rid of while nothing is released: both buffers, Yamux's window, and what a reader and a
/// sender may overrun by (a read, two frames and their prefixes).
pub fn most_in_flight(frame_bytes: usize) -> usize {
    2 * limits::STREAM_BUFFER + (256 << 10) + limits::STREAM_READ + 3 * frame_bytes
}

async fn drive(mut swarm: Swarm<Streams>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut dialling = Vec::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Open(stream, peer, protocol)) => {
                    swarm.behaviour_mut().open_reserved(stream, peer, protocol);
                }
                Some(Command::Dial(address, done)) => {
                    swarm.dial(address).unwrap();
                    dialling.push(done);
                }
                Some(Command::Disconnect(peer)) => swarm.disconnect_peer_id(peer).unwrap(),
            },
            event = swarm.select_next_some() => {
                if let SwarmEvent::ConnectionEstablished { endpoint, .. } = event
                    && endpoint.is_dialer()
                {
                    let _ = dialling.remove(0).send(());
                }
            }
        }
    }
}
