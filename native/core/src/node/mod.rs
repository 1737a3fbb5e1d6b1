//! A node: commands go in without blocking, events come out through the queue.
//!
//! `Node` is the owner's handle. The swarm belongs to `driver::Driver`, a task on the process-wide runtime; what
//! happens there is in `admission` (the gate and the join exchange), `dials` (connecting and listening), `topics`
//! (gossip), `reach`, `relays` with `waits`, `paths` and `changes` (how others reach us, by which way, and when that
//! changes) and `swarm_events` (which event goes where). `nearby` asks the segment. `transport` is what all of it travels
//! on, with the turns of a dial's addresses from `stagger` and who knocks at the `doors`; `dialler` knows what libp2p's own
//! protocols dial; `lifecycle` starts and ends the node, QUIC's own tasks (`apart`) included.

mod admission;
mod apart;
mod behaviour;
mod changes;
mod commands;
mod config;
mod dialler;
mod dials;
mod doors;
mod driver;
mod lifecycle;
mod nearby;
mod paths;
mod reach;
mod relays;
mod stagger;
mod swarm_events;
mod topics;
mod transport;
mod waits;

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

pub use commands::Verdict;
use commands::{Command, Work};
pub use config::{NodeConfig, Reachability, RelayTerms};
use libp2p::{Multiaddr, PeerId, identity::Keypair, swarm::ConnectionId};
use tokio::sync::mpsc;

use crate::{
    envelope,
    event::{CommandId, Event, GossipHandle, Outcome},
    executor::TaskExecutor,
    join::{HelloTooLarge, Room, Talk, TalkError, Talks},
    limits,
    queue::{Depth, EventQueue, Wake},
    runtime::{self, Forked},
    streams::{SendError, StreamId, StreamsHandle},
};

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("the node is stopped")]
    Stopped,
    #[error(
        "{} commands already wait for their results; await some before you give more",
        limits::COMMANDS_OUTSTANDING
    )]
    Busy,
    #[error(transparent)]
    Forked(#[from] Forked),
    #[error(transparent)]
    Hello(#[from] HelloTooLarge),
    #[error(transparent)]
    Talk(#[from] TalkError),
}

/// Figures that the node keeps about itself.
#[derive(Debug, Default)]
pub struct Gauges {
    pub connections: AtomicUsize,
    pub admitted_peers: AtomicUsize,
    pub verifying: AtomicUsize,
    pub gossip_unverified_dropped: AtomicU64,
    pub gossip_send_failures: AtomicU64,
    pub commands: AtomicUsize,
    /// Circuits that our relay carries.
    pub relay_circuits: AtomicU64,
    /// Circuits and places that it has denied.
    pub relay_denied: AtomicU64,
}

/// The owner's handle of a running node. Dropping it ends the node.
pub struct Node {
    peer_id: PeerId,
    keypair: Keypair,
    commands: mpsc::UnboundedSender<Command>,
    queue: Arc<EventQueue>,
    streams: StreamsHandle,
    talks: Talks,
    executor: TaskExecutor,
    gauges: Arc<Gauges>,
    next_id: AtomicU64,
}

impl Node {
    /// Starts a node that listens nowhere yet.
    ///
    /// # Errors
    /// [`Forked`] in a child of the process that started the runtime.
    pub fn start(config: NodeConfig, wake: Box<dyn Wake>) -> Result<Self, Forked> {
        let (handle, doors) = (runtime::handle()?, runtime::doors()?);
        let queue = Arc::new(EventQueue::new(wake));
        let executor = TaskExecutor::new(handle.clone(), doors.clone());
        let gauges = Arc::new(Gauges::default());
        let keypair = config.keypair.clone();
        let (commands, inbox) = mpsc::unbounded_channel();
        let talks = Talks::default();
        let parts = lifecycle::Parts {
            queue: Arc::clone(&queue),
            executor: executor.clone(),
            gauges: Arc::clone(&gauges),
            talks: talks.clone(),
            inbox,
        };
        let streams = lifecycle::launch(handle, config, parts);
        Ok(Self {
            peer_id: keypair.public().to_peer_id(),
            keypair,
            commands,
            queue,
            streams,
            talks,
            executor,
            gauges,
            next_id: AtomicU64::new(1),
        })
    }

    /// Our peer id.
    #[must_use]
    pub const fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Takes at most `max` events, in order. Never blocks.
    ///
    /// # Errors
    /// [`Forked`] after a fork.
    pub fn drain(&self, max: usize) -> Result<Vec<Event>, Forked> {
        runtime::handle()?;
        let events = self.queue.drain(max);
        let results = events.iter().filter(|event| matches!(event, Event::Done { .. })).count();
        self.gauges.commands.fetch_sub(results, Ordering::Relaxed);
        Ok(events)
    }

    /// How much waits in the queue.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.queue.depth()
    }

    /// Figures that the node keeps about itself.
    #[must_use]
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    fn tell(&self, command: Command) -> Result<(), CommandError> {
        runtime::handle()?;
        self.commands.send(command).map_err(|_| CommandError::Stopped)
    }

    fn next_command(&self) -> Result<CommandId, CommandError> {
        runtime::handle()?;
        if self.commands.is_closed() {
            return Err(CommandError::Stopped);
        }
        let outstanding = self.gauges.commands.fetch_add(1, Ordering::Relaxed);
        if outstanding >= limits::COMMANDS_OUTSTANDING {
            self.gauges.commands.fetch_sub(1, Ordering::Relaxed);
            return Err(CommandError::Busy);
        }
        Ok(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn ask(&self, work: Work) -> Result<CommandId, CommandError> {
        let id = self.next_command()?;
        self.tell(Command::Ask { id, work }).inspect_err(|_| {
            self.gauges.commands.fetch_sub(1, Ordering::Relaxed);
        })?;
        Ok(id)
    }

    /// Listens on every address; the result has the addresses that came of it.
    ///
    /// # Errors
    /// [`CommandError`]; so do all commands below.
    pub fn listen(&self, addresses: Vec<Multiaddr>) -> Result<CommandId, CommandError> {
        self.ask(Work::Listen(addresses))
    }

    /// Connects to a peer, or to whoever answers at one address; the result has the peer that did.
    ///
    /// The addresses are tried in their order, those through relays last: the next one 250 ms after the last, or at once
    /// when all before have failed. The failure has the reason of each.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn dial(&self, peer: Option<PeerId>, addresses: Vec<Multiaddr>) -> Result<CommandId, CommandError> {
        self.ask(Work::Dial { peer, addresses })
    }

    /// Closes every connection to a peer.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn disconnect(&self, peer: PeerId) -> Result<CommandId, CommandError> {
        self.ask(Work::Disconnect(peer))
    }

    /// Refuses a peer from now on and closes what stands.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn block(&self, peer: PeerId) -> Result<(), CommandError> {
        self.tell(Command::Block(peer))
    }

    /// Lifts a block.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn unblock(&self, peer: PeerId) -> Result<(), CommandError> {
        self.tell(Command::Unblock(peer))
    }

    /// Answers a HELLO: this side is open.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn admit(&self, connection: usize) -> Result<(), CommandError> {
        self.no_more_talk(connection)?;
        self.tell(Command::Admit(connection))
    }

    /// Answers a HELLO: no, with the reason.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn refuse(&self, connection: usize, reason: String) -> Result<(), CommandError> {
        self.no_more_talk(connection)?;
        self.tell(Command::Refuse { connection, reason })
    }

    fn no_more_talk(&self, connection: usize) -> Result<(), Forked> {
        runtime::handle()?;
        self.talks.close(ConnectionId::new_unchecked(connection));
        Ok(())
    }

    /// Says something to the peer's application before our answer to its HELLO, a frame each, all or none: `false` when
    /// too much waits to be written, then nothing was taken and `TalkSent` follows. On a connection that has ended,
    /// or that we have answered, it is dropped, and `true`.
    ///
    /// # Errors
    /// [`CommandError`]: also for a frame that is empty or too large, and for more than may ever wait.
    pub fn talk<F: AsRef<[u8]>>(&self, connection: usize, frames: &[F]) -> Result<bool, CommandError> {
        runtime::handle()?;
        let talk = Talk::new(frames)?;
        match self.talks.reserve(ConnectionId::new_unchecked(connection), &talk) {
            Room::Taken => self.tell(Command::Talk { connection, talk }).map(|()| true),
            Room::Full => Ok(false),
            Room::Gone => Ok(true),
        }
    }

    /// Lets the peer say so many bytes more before its answer.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn grant(&self, connection: usize, bytes: usize) -> Result<(), CommandError> {
        self.tell(Command::Grant { connection, bytes })
    }

    /// Changes what connections that are established from now on say first.
    ///
    /// # Errors
    /// [`CommandError`]: also for a HELLO that fits no frame.
    pub fn set_hello(&self, hello: Vec<u8>) -> Result<(), CommandError> {
        if hello.len() > limits::JOIN_HELLO {
            return Err(HelloTooLarge { size: hello.len() }.into());
        }
        self.tell(Command::SetHello(hello))
    }

    /// Takes part in a topic.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn subscribe(&self, topic: String) -> Result<CommandId, CommandError> {
        self.ask(Work::Subscribe(topic))
    }

    /// Gossips sealed envelopes, in order.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn publish(&self, topic: String, envelopes: Vec<Vec<u8>>) -> Result<CommandId, CommandError> {
        self.ask(Work::Publish { topic, envelopes })
    }

    /// Gives verdicts on gossip, a batch at once.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn judge(&self, verdicts: Vec<(GossipHandle, Verdict)>) -> Result<(), CommandError> {
        self.tell(Command::Judge(verdicts))
    }

    /// Lowers a peer's application score; it recovers with time.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn charge(&self, peer: PeerId, amount: f64) -> Result<(), CommandError> {
        self.tell(Command::Charge(peer, amount))
    }

    /// Opens our stream to an admitted peer; the result has its number.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn open_stream(&self, peer: PeerId, protocol: String) -> Result<CommandId, CommandError> {
        self.ask(Work::OpenStream { peer, protocol })
    }

    /// Hands frames to a stream: `false` when it has no credit, then nothing was taken and `Writable` follows.
    ///
    /// # Errors
    /// [`SendError`] when the stream ended, or a frame or the batch exceeds its limit.
    pub fn send<F: AsRef<[u8]>>(&self, stream: StreamId, frames: &[F]) -> Result<bool, SendError> {
        self.streams.send(stream, frames)
    }

    /// Gives a stream's reader credit back.
    pub fn release(&self, stream: StreamId, bytes: usize) {
        self.streams.release(stream, bytes);
    }

    /// Sends what a stream has queued, then closes it.
    pub fn close_stream(&self, stream: StreamId) {
        self.streams.close(stream);
    }

    /// Signs payloads on the core's threads; the result has the envelopes, in order.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn seal(&self, kind: String, payloads: Vec<Vec<u8>>) -> Result<CommandId, CommandError> {
        let keypair = self.keypair.clone();
        self.compute(move || Outcome::Sealed(envelope::seal_many(&keypair, &kind, &payloads)))
    }

    /// Verifies envelopes on the core's threads; the result has author and payload or the reason, in order.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn open(&self, kind: String, envelopes: Vec<Vec<u8>>) -> Result<CommandId, CommandError> {
        self.compute(move || {
            let opened = envelope::open_many(&kind, &envelopes);
            Outcome::Opened(opened.into_iter().map(|one| one.map_err(|error| error.name())).collect())
        })
    }

    fn compute(&self, work: impl FnOnce() -> Outcome + Send + 'static) -> Result<CommandId, CommandError> {
        let id = self.next_command()?;
        let queue = Arc::clone(&self.queue);
        self.executor.spawn(async move {
            queue.push(Event::Done { id, result: Ok(work()) });
        });
        Ok(id)
    }

    /// Ends the node; the result comes when its sockets are closed and its ports free.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn stop(&self) -> Result<CommandId, CommandError> {
        // Not held up by the bound on commands: a node that is full of them must still end in order.
        runtime::handle()?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.gauges.commands.fetch_add(1, Ordering::Relaxed);
        self.tell(Command::Ask { id, work: Work::Stop })?;
        Ok(id)
    }

    /// Panics inside the node, in the driver or in one of its tasks, to show what happens then.
    ///
    /// # Errors
    /// [`CommandError`].
    #[cfg(feature = "switches")]
    pub fn provoke_panic(&self, in_task: bool) -> Result<(), CommandError> {
        self.tell(Command::Panic { in_task })
    }
}
