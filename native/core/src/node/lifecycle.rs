//! How a node begins and ends.
//!
//! The driver runs on the shared runtime under a guard that catches its panics. However it ends, the swarm is dropped
//! first, then every task is awaited, QUIC's own last; only then is the end told.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    num::NonZeroU8,
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures::FutureExt as _;
use libp2p::{StreamProtocol, Swarm, Transport as _, swarm};
use tokio::{runtime::Handle, sync::mpsc, time::Instant};

use super::{
    Gauges, apart,
    behaviour::{self, Behaviour},
    commands::Command,
    config::NodeConfig,
    driver::{Driver, Ended, Openings, lock},
    nearby::Nearby,
    reach::Reach,
    stagger::{Stagger, Staggered},
    transport,
};
use crate::{
    event::{Event, Failure, FailureCode, Outcome},
    executor::{TaskExecutor, panic_message},
    join::Talks,
    limits,
    queue::EventQueue,
    relay::RelayAccess,
    streams::{self, StreamEvent, Streams, StreamsHandle},
    verify::Verifier,
};

/// What a node's parts share.
pub(super) struct Parts {
    pub queue: Arc<EventQueue>,
    pub executor: TaskExecutor,
    pub gauges: Arc<Gauges>,
    pub talks: Talks,
    pub inbox: mpsc::UnboundedReceiver<Command>,
}

/// Starts the driver; returns the streams' handle, which needs no driver.
pub(super) fn launch(handle: &Handle, config: NodeConfig, parts: Parts) -> StreamsHandle {
    let openings = Openings::default();
    let streams = streams(&config, &parts, Arc::clone(&openings));
    let streams_handle = streams.handle();
    let queue = Arc::clone(&parts.queue);
    handle.spawn(async move {
        let executor = parts.executor.clone();
        let ended = match apart::runtime() {
            Ok(quic) => {
                let life = live(config, streams, parts, openings, quic.handle());
                let ended = AssertUnwindSafe(life).catch_unwind().await;
                executor.shut_down().await;
                apart::end(quic).await;
                ended.unwrap_or_else(|panic| Ended::Failed(panic_message(panic.as_ref())))
            }
            Err(reason) => Ended::Failed(reason),
        };
        match ended {
            Ended::Stopped(id) => {
                let result = Ok(Outcome::Nothing);
                queue.push(Event::Done { id, result });
            }
            Ended::Failed(reason) => queue.push(Event::Failed { reason }),
            Ended::Dropped => {}
        }
    });
    streams_handle
}

/// Builds the swarm and drives it. Returns with the swarm dropped.
async fn live(config: NodeConfig, streams: Streams, parts: Parts, openings: Openings, apart: &Handle) -> Ended {
    let queue = Arc::clone(&parts.queue);
    let relay_access = RelayAccess::default();
    let (stagger, (wanted, relays_wanted)) = (Stagger::default(), mpsc::channel(limits::WAITING_FOR_RELAYS));
    let executor = parts.executor.clone();
    let swarm = transport::build(&config.keypair, apart.clone(), executor).and_then(|(transport, relay_client)| {
        let staggered = Staggered::new(transport, stagger.clone(), wanted);
        let behaviour = behaviour::build(&config, streams, parts.talks.clone(), &relay_access, relay_client)?;
        Ok(swarm_of(&config, parts.executor.clone(), staggered, behaviour))
    });
    let swarm = match swarm {
        Ok(swarm) => swarm,
        Err(reason) => return Ended::Failed(reason),
    };
    let us = config.keypair.public().to_peer_id();
    let nearby = match config.mdns.then(|| Nearby::begin(us, apart)).transpose() {
        Ok(nearby) => nearby,
        Err(reason) => return Ended::Failed(reason),
    };
    let (done, verified) = mpsc::unbounded_channel();
    let verifier = Verifier::new(config.gossip_kind.as_str().into(), parts.executor.clone(), Arc::clone(&queue), done);
    let mut driver = Driver {
        swarm,
        config,
        queue,
        gauges: parts.gauges,
        executor: parts.executor,
        inbox: parts.inbox,
        verifier,
        verified,
        openings,
        connections: HashMap::new(),
        identified: HashMap::new(),
        stagger,
        dials: HashMap::new(),
        relays_wanted,
        listens: Vec::new(),
        listens_settle_at: None,
        publish_at: Instant::now(),
        publish_pause: limits::PUBLISH_PAUSE_FULL,
        listening: HashMap::new(),
        awaiting: BTreeMap::new(),
        next_handle: 1,
        subscribers: HashMap::new(),
        topics: HashMap::new(),
        publishing: VecDeque::new(),
        penalties: HashMap::new(),
        reach: Reach::default(),
        retest_at: None,
        nearby,
        relay_access,
        serving: HashMap::new(),
        waiting: Vec::new(),
        reservations: Vec::new(),
        punch_failures: HashMap::new(),
        leave_at: None,
    };
    let ended = driver.run().await;
    // Before the swarm drops its connections, so that each stream ends for this reason and not for theirs.
    driver.swarm.behaviour_mut().gate.inner_mut().streams.handle().stop();
    ended
}

fn swarm_of(
    config: &NodeConfig,
    executor: TaskExecutor,
    transport: Staggered,
    behaviour: Behaviour,
) -> Swarm<Behaviour> {
    let settings = swarm::Config::with_executor(move |task| executor.spawn(task))
        .with_idle_connection_timeout(limits::IDLE_CONNECTION)
        .with_dial_concurrency_factor(protocol_dials(config))
        .with_max_negotiating_inbound_streams(limits::NEGOTIATING_STREAMS);
    Swarm::new(transport.boxed(), behaviour, config.keypair.public().to_peer_id(), settings)
}

/// How many addresses libp2p's protocols dial at once.
///
/// Where no holes are punched one is better for all: it is the first that counts, and the others would trouble the peer
/// for nothing. Our own dials take their turns (see `stagger`).
fn protocol_dials(config: &NodeConfig) -> NonZeroU8 {
    let punching = NonZeroU8::new(limits::PUNCHING_DIALS_AT_ONCE).filter(|_| config.dcutr);
    punching.unwrap_or(NonZeroU8::MIN)
}

fn streams(config: &NodeConfig, parts: &Parts, openings: Openings) -> Streams {
    let protocols =
        config.stream_protocols.iter().filter_map(|name| StreamProtocol::try_from_owned(name.clone()).ok()).collect();
    let executor = parts.executor.clone();
    let spawn: streams::Executor = Arc::new(move |task| executor.spawn(task));
    let queue = Arc::clone(&parts.queue);
    let sink = Arc::new(move |event| queue.push(told(event, &openings)));
    Streams::new(protocols, streams::Config::default(), spawn, sink)
}

/// A stream's event as the owner sees it; a stream that was asked for resolves its command.
fn told(event: StreamEvent, openings: &Openings) -> Event {
    match event {
        StreamEvent::Opened { stream } => Event::Done {
            id: lock(openings).remove(&stream).unwrap_or_default(),
            result: Ok(Outcome::Stream(stream.0)),
        },
        StreamEvent::OpenFailed { stream, reason } => {
            let code = match reason {
                streams::Reason::NotConnected => FailureCode::NotConnected,
                _ => FailureCode::Stream,
            };
            Event::Done {
                id: lock(openings).remove(&stream).unwrap_or_default(),
                result: Err(Failure::new(code, reason.name())),
            }
        }
        StreamEvent::Inbound { stream, peer, protocol, .. } => {
            Event::StreamInbound { stream: stream.0, peer, protocol: protocol.to_string() }
        }
        StreamEvent::Frames { stream, peer, frames } => Event::Frames { stream: stream.0, peer, frames },
        StreamEvent::Writable { stream } => Event::Writable { stream: stream.0 },
        StreamEvent::Closed { stream, reason } => Event::StreamClosed { stream: stream.0, reason: reason.name() },
        StreamEvent::Refused { peer, protocol, reason, .. } => {
            Event::StreamRefused { peer, protocol: protocol.to_string(), reason: reason.name() }
        }
    }
}
