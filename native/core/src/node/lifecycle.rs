//! How a node begins and ends.
//!
//! The driver runs on the shared runtime under a guard that catches its panics. However it ends, the swarm is dropped
//! first, then every task is awaited, then the UDP ports are watched until they are free (a QUIC endpoint's task
//! outlives its swarm a little); only then is the end told.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::{IpAddr, SocketAddr, UdpSocket},
    num::NonZeroU8,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, Transport as _,
    core::{muxing::StreamMuxerBox, transport::Boxed},
    multiaddr::Protocol,
    swarm,
};
use tokio::{runtime::Handle, sync::mpsc, time::Instant};

use super::{
    Gauges,
    behaviour::{self, Behaviour},
    commands::Command,
    config::NodeConfig,
    driver::{Driver, Ended, Openings, lock},
    reach::Reach,
    stagger::{Stagger, Staggered},
    transport,
};
use crate::{
    addresses,
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
        let mut udp = Vec::new();
        let life = live(config, streams, parts, openings, &mut udp);
        let ended = match AssertUnwindSafe(life).catch_unwind().await {
            Ok(ended) => ended,
            Err(panic) => Ended::Failed(panic_message(panic.as_ref())),
        };
        executor.shut_down().await;
        match ended {
            Ended::Stopped(id) => {
                until_free(&udp).await;
                let result = Ok(Outcome::Nothing);
                queue.push(Event::Done { id, result });
            }
            Ended::Failed(reason) => queue.push(Event::Failed { reason }),
            Ended::Dropped => {}
        }
    });
    streams_handle
}

/// Builds the swarm and drives it. Returns with the swarm dropped; `udp` has the UDP addresses it had bound.
async fn live(
    config: NodeConfig,
    streams: Streams,
    parts: Parts,
    openings: Openings,
    udp: &mut Vec<SocketAddr>,
) -> Ended {
    let queue = Arc::clone(&parts.queue);
    let relay_access = RelayAccess::default();
    let (stagger, (wanted, relays_wanted)) = (Stagger::default(), mpsc::channel(limits::WAITING_FOR_RELAYS));
    let staggered = |transport| Staggered::new(transport, stagger.clone(), wanted);
    let swarm = match build(&config, streams, &parts, &relay_access, staggered) {
        Ok(swarm) => swarm,
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
    udp.extend(driver.listening.values().flatten().filter_map(udp_address));
    ended
}

fn build(
    config: &NodeConfig,
    streams: Streams,
    parts: &Parts,
    relay_access: &RelayAccess,
    staggered: impl FnOnce(Boxed<(PeerId, StreamMuxerBox)>) -> Staggered,
) -> Result<Swarm<Behaviour>, String> {
    let mut behaviour = behaviour::build(config, streams, parts.talks.clone(), relay_access)?;
    let (transport, relay_client) = transport::build(&config.keypair)?;
    behaviour.relay_client = config.relay_client.then_some(relay_client).into();
    let executor = parts.executor.clone();
    let settings = swarm::Config::with_executor(move |task| executor.spawn(task))
        .with_idle_connection_timeout(limits::IDLE_CONNECTION)
        .with_dial_concurrency_factor(protocol_dials(config))
        .with_max_negotiating_inbound_streams(limits::NEGOTIATING_STREAMS);
    let peer = config.keypair.public().to_peer_id();
    Ok(Swarm::new(staggered(transport).boxed(), behaviour, peer, settings))
}

/// How many addresses libp2p's protocols dial at once; our own dials, one.
///
/// Where no holes are punched one is better for all: of several, the QUIC handshakes that lose the race would keep their
/// port for three seconds, and `stop` with it.
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

fn udp_address(address: &Multiaddr) -> Option<SocketAddr> {
    if addresses::is_relayed(address) {
        return None;
    }
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Udp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// Waits until each port can be bound again, at most `limits::PORT_FREE_DEADLINE`.
async fn until_free(ports: &[SocketAddr]) {
    let deadline = Instant::now() + limits::PORT_FREE_DEADLINE;
    for port in ports {
        while UdpSocket::bind(port).is_err() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
