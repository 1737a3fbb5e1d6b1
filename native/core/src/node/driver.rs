//! The task that owns the swarm: takes commands, polls the swarm, says what happened.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, core::transport::ListenerId, gossipsub::MessageId, swarm::ConnectionId,
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Gauges,
    behaviour::Behaviour,
    commands::{Command, Work},
    config::NodeConfig,
    dials::{PendingDial, PendingListen},
    nearby::Nearby,
    paths::Path,
    reach::Reach,
    relays::Reservation,
    stagger::{RelayWanted, Stagger},
    topics::PendingPublish,
    waits::Waiting,
};
use crate::{
    event::{CommandId, Event, Failure, FailureCode, GossipHandle, Outcome},
    executor::TaskExecutor,
    limits,
    queue::EventQueue,
    relay::RelayAccess,
    streams::StreamId,
    verify::{Verified, Verifier},
};

/// Why the driver ended.
pub(super) enum Ended {
    /// Asked to; the result is owed.
    Stopped(CommandId),
    /// The owner is gone.
    Dropped,
    /// A task panicked.
    Failed(String),
}

/// A message that waits for its verdict.
pub(super) struct Awaiting {
    pub id: MessageId,
    pub source: PeerId,
}

/// What is known of a standing connection.
pub(super) struct Connection {
    pub peer: PeerId,
    pub outbound: bool,
    pub path: Path,
    /// The address of this machine at which it begins, as far as that is known.
    pub own_ip: Option<IpAddr>,
    /// A stranger's, who may use our relay on it.
    pub carries: bool,
    /// The owner dialled it.
    pub asked: bool,
    /// Our side said yes.
    pub admitted: bool,
    /// The peer said READY.
    pub ready: bool,
    /// Both sides are open and the owner knows.
    pub open: bool,
    /// We are closing it, with the place at a relay that it held.
    pub leaving: bool,
}

/// The swarm and all that its events and commands refer to.
pub(super) struct Driver {
    pub swarm: Swarm<Behaviour>,
    pub config: NodeConfig,
    pub queue: Arc<EventQueue>,
    pub gauges: Arc<Gauges>,
    pub executor: TaskExecutor,
    pub inbox: mpsc::UnboundedReceiver<Command>,
    pub verifier: Verifier,
    pub verified: mpsc::UnboundedReceiver<Verified>,
    /// Stream openings and their results, from the streams' tasks.
    pub openings: Openings,
    pub connections: HashMap<ConnectionId, Connection>,
    pub identified: HashMap<PeerId, Vec<Multiaddr>>,
    pub stagger: Stagger,
    pub dials: HashMap<ConnectionId, PendingDial>,
    /// Addresses of dials that wait for their relay.
    pub relays_wanted: mpsc::Receiver<RelayWanted>,
    pub listens: Vec<PendingListen>,
    pub listens_settle_at: Option<Instant>,
    pub listening: HashMap<ListenerId, HashSet<Multiaddr>>,
    pub awaiting: BTreeMap<GossipHandle, Awaiting>,
    pub next_handle: GossipHandle,
    pub subscribers: HashMap<String, HashSet<PeerId>>,
    pub topics: HashMap<String, Arc<str>>,
    pub publishing: VecDeque<PendingPublish>,
    /// When the next may go.
    pub publish_at: Instant,
    /// How long to pause when every queue is full.
    pub publish_pause: Duration,
    pub penalties: HashMap<PeerId, f64>,
    pub reach: Reach,
    /// When our addresses are tested again.
    pub retest_at: Option<Instant>,
    pub nearby: Option<Nearby>,
    pub relay_access: RelayAccess,
    /// Connections on which a peer offers us its relay, as identify shows.
    pub serving: HashMap<ConnectionId, PeerId>,
    pub waiting: Vec<Waiting>,
    pub reservations: Vec<Reservation>,
    /// Why the last attempt to punch a hole to a peer failed.
    pub punch_failures: HashMap<PeerId, String>,
    /// When to look which relayed connections have become needless.
    pub leave_at: Option<Instant>,
}

/// Which command waits for which stream. Shared with the streams' event sink, which resolves them.
pub(super) type Openings = Arc<Mutex<HashMap<StreamId, CommandId>>>;

/// The openings, also after a panic elsewhere: each entry is whole by itself.
pub(super) fn lock(openings: &Openings) -> MutexGuard<'_, HashMap<StreamId, CommandId>> {
    openings.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Driver {
    /// Runs until told to stop, dropped, or failed.
    pub async fn run(&mut self) -> Ended {
        let executor = self.executor.clone();
        let queue = Arc::clone(&self.queue);
        let mut penalty_decay = tokio::time::interval(limits::PENALTY_DECAY_INTERVAL);
        loop {
            let room = queue.has_room();
            let publishing = !self.publishing.is_empty();
            let settle_at = self.listens_settle_at;
            let publish_at = self.publish_at;
            let (leave_at, waiting_until, retest_at) = (self.leave_at, self.waiting_until(), self.retest_at);
            tokio::select! {
                command = self.inbox.recv() => match command {
                    None => return Ended::Dropped,
                    Some(command) => if let Some(ended) = self.take_commands(command) { return ended },
                },
                Some(verified) = self.verified.recv() => self.settle_verified(verified),
                Some(wanted) = self.relays_wanted.recv() => self.on_relay_wanted(wanted),
                event = self.swarm.select_next_some(), if room => self.on_swarm_event(event),
                found = Nearby::found(&mut self.nearby), if room => self.on_mdns(found),
                () = queue.room(), if !room => {}
                () = tokio::time::sleep_until(publish_at), if publishing => self.publish_some(),
                () = until(settle_at), if settle_at.is_some() => self.settle_listens(),
                () = until(leave_at), if leave_at.is_some() => self.leave_relays(),
                () = until(waiting_until), if waiting_until.is_some() => self.end_waits(),
                () = until(retest_at), if retest_at.is_some() => self.retest(),
                _ = penalty_decay.tick(), if !self.penalties.is_empty() => self.decay_penalties(),
                message = executor.failed() => return Ended::Failed(message),
            }
        }
    }

    /// Takes what waits, up to a bound, so that commands cannot keep the swarm from being polled.
    fn take_commands(&mut self, first: Command) -> Option<Ended> {
        let mut next = Some(first);
        for _ in 0..limits::COMMANDS_PER_TURN {
            let Some(command) = next.take() else { break };
            if let Some(ended) = self.execute(command) {
                return Some(ended);
            }
            next = self.inbox.try_recv().ok();
        }
        if let Some(command) = next {
            return self.execute(command);
        }
        None
    }

    fn execute(&mut self, command: Command) -> Option<Ended> {
        match command {
            Command::Ask { id, work } => return self.work(id, work),
            Command::Admit(connection) => self.admit(connection),
            Command::Refuse { connection, reason } => self.refuse(connection, &reason),
            Command::Talk { connection, talk } => self.talk(connection, talk),
            Command::Grant { connection, bytes } => self.grant(connection, bytes),
            Command::SetHello(hello) => {
                // Its size was judged before it was sent here.
                let _ = self.swarm.behaviour_mut().join.set_hello(hello);
            }
            Command::Block(peer) => {
                self.tell_kademlia_to_forget(&peer);
                self.swarm.behaviour_mut().bans.block_peer(peer);
            }
            Command::Unblock(peer) => {
                self.swarm.behaviour_mut().bans.unblock_peer(peer);
            }
            Command::NetworkChanged => self.network_changed(),
            Command::Judge(verdicts) => self.judge(verdicts),
            Command::Charge(peer, amount) => self.charge(peer, amount),
            #[cfg(feature = "switches")]
            Command::Panic { in_task: true } => {
                self.executor.spawn(async { panic!("provoked in a task") });
            }
            #[cfg(feature = "switches")]
            Command::Panic { in_task: false } => panic!("provoked in the driver"),
        }
        None
    }

    fn work(&mut self, id: CommandId, work: Work) -> Option<Ended> {
        match work {
            Work::Listen(addresses) => self.listen(id, addresses),
            Work::Dial { peer, addresses } => self.dial(id, peer, addresses),
            Work::Disconnect(peer) => {
                self.tell_kademlia_to_forget(&peer);
                // An error only says that nothing stood; the wish is fulfilled.
                let _ = self.swarm.disconnect_peer_id(peer);
                self.done(id, Outcome::Nothing);
            }
            Work::Subscribe(topic) => self.subscribe(id, topic),
            Work::Publish { topic, envelopes } => self.publish(id, topic, envelopes),
            Work::OpenStream { peer, protocol } => self.open_stream(id, peer, &protocol),
            Work::Reserve { relay, address } => self.reserve(id, relay, address),
            Work::DropReservation(relay) => self.drop_reservation(id, relay),
            Work::AllowRelay { peer, circuits, lasts } => self.allow_relay(id, peer, circuits, lasts),
            Work::Stop => return Some(Ended::Stopped(id)),
        }
        None
    }

    pub(super) fn done(&self, id: CommandId, outcome: Outcome) {
        self.queue.push(Event::Done { id, result: Ok(outcome) });
    }

    pub(super) fn fail(&self, id: CommandId, failure: Failure) {
        self.queue.push(Event::Done { id, result: Err(failure) });
    }

    pub(super) fn gauge(&self) {
        let open: HashSet<_> =
            self.connections.values().filter(|connection| connection.open).map(|connection| connection.peer).collect();
        self.gauges.connections.store(self.connections.len(), Ordering::Relaxed);
        self.gauges.admitted_peers.store(open.len(), Ordering::Relaxed);
    }

    fn open_stream(&mut self, id: CommandId, peer: PeerId, protocol: &str) {
        let Ok(protocol) = StreamProtocol::try_from_owned(protocol.to_owned()) else {
            let text = format!("{protocol:?} is not a protocol name: it must begin with a slash");
            self.fail(id, Failure::new(FailureCode::Stream, text));
            return;
        };
        let streams = &mut self.swarm.behaviour_mut().gate.inner_mut().streams;
        let stream = streams.handle().reserve();
        // Written down first: the result may come before `open_reserved` returns.
        lock(&self.openings).insert(stream, id);
        streams.open_reserved(stream, peer, protocol);
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
