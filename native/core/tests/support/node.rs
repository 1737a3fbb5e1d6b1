//! A node: identify, the join protocol, and gossipsub and Kademlia inside the gate.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use covm_core::{
    gate::{Gate, Phase},
    join::{Join, JoinEvent, Talk},
};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, gossipsub, identify,
    identity::Keypair,
    kad, noise,
    swarm::{
        ConnectionId, NetworkBehaviour, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};

use super::LOOPBACK;

/// A deadline that no machine is too slow for: tests of deadlines set their own.
const UNHURRIED: Duration = Duration::from_secs(60);

pub const TOPIC: &str = "t";
pub const KAD: StreamProtocol = StreamProtocol::new("/covm/kad/test");

#[derive(NetworkBehaviour)]
pub struct Guarded {
    pub gossipsub: gossipsub::Behaviour,
    pub kad: kad::Behaviour<kad::store::MemoryStore>,
}

#[derive(NetworkBehaviour)]
pub struct Outer {
    pub identify: identify::Behaviour,
    pub gate: Gate<Guarded>,
    pub join: Join,
}

pub fn gossipsub() -> gossipsub::Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .message_id_fn(|message| gossipsub::MessageId(message.data.clone()))
        .build()
        .unwrap();
    let mut gossipsub = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Anonymous, config).unwrap();
    gossipsub.subscribe(&gossipsub::IdentTopic::new(TOPIC)).unwrap();
    gossipsub
}

pub fn kad(peer: PeerId) -> kad::Behaviour<kad::store::MemoryStore> {
    let mut kad = kad::Behaviour::with_config(peer, kad::store::MemoryStore::new(peer), kad::Config::new(KAD));
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

pub fn identify(key: &Keypair) -> identify::Behaviour {
    identify::Behaviour::new(identify::Config::new("/covm/test".into(), key.public()))
}

pub fn swarm<B: NetworkBehaviour>(behaviour: impl FnOnce(&Keypair) -> B) -> Swarm<B> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(behaviour)
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_millis(50)))
        .build()
}

/// What a node has been told.
#[derive(Default)]
pub struct Seen {
    /// Connections that live, with whether we dialled.
    pub connections: BTreeMap<ConnectionId, (PeerId, bool)>,
    pub closed: Vec<ConnectionId>,
    /// Inbound connections that a behaviour denied.
    pub denied: usize,
    pub hello: HashMap<ConnectionId, Vec<u8>>,
    pub talked: HashMap<ConnectionId, Vec<Vec<u8>>>,
    pub ready: HashSet<ConnectionId>,
    pub refused: HashMap<ConnectionId, String>,
    pub failed: HashMap<ConnectionId, &'static str>,
    pub identified: HashMap<PeerId, Vec<StreamProtocol>>,
    pub subscribed: HashSet<PeerId>,
    pub messages: Vec<Vec<u8>>,
    pub gossip_unsupported: usize,
    /// Peers that Kademlia has heard of.
    pub kad_peers: HashSet<PeerId>,
    pub kad_answers: Vec<kad::QueryStats>,
}

pub struct Node {
    pub swarm: Swarm<Outer>,
    pub address: Multiaddr,
    pub seen: Seen,
    /// Admit whoever says HELLO.
    pub admits_all: bool,
}

impl Node {
    pub async fn start() -> Self {
        Self::with(|join| join.with_deadline(UNHURRIED)).await
    }

    pub async fn with(change: impl FnOnce(Join) -> Join) -> Self {
        let mut swarm = swarm(|key| {
            let peer = key.public().to_peer_id();
            let guarded = Guarded { gossipsub: gossipsub(), kad: kad(peer) };
            let hello = peer.to_bytes();
            Outer { identify: identify(key), gate: Gate::new(guarded), join: change(Join::new(hello).unwrap()) }
        });
        swarm.listen_on(LOOPBACK.parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        Self { swarm, address, seen: Seen::default(), admits_all: false }
    }

    pub fn id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    pub fn gate(&mut self) -> &mut Gate<Guarded> {
        &mut self.swarm.behaviour_mut().gate
    }

    pub fn join(&mut self) -> &mut Join {
        &mut self.swarm.behaviour_mut().join
    }

    pub fn phase(&self, connection: ConnectionId) -> Option<Phase> {
        self.swarm.behaviour().gate.phase(connection)
    }

    /// Another connection, whether or not there is one already.
    pub fn dial(&mut self, peer: PeerId, address: &Multiaddr) {
        let opts = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address.clone()]);
        self.swarm.dial(opts.build()).unwrap();
    }

    /// The only connection.
    pub fn connection(&self) -> ConnectionId {
        assert_eq!(self.seen.connections.len(), 1);
        *self.seen.connections.keys().next().unwrap()
    }

    /// Says each of these on the only connection.
    pub fn talk(&mut self, frames: &[&[u8]]) {
        let connection = self.connection();
        self.join().talk(connection, Talk::new(frames).unwrap()).unwrap();
    }

    /// What was heard in TALK frames, in all.
    pub fn heard(&self) -> Vec<u8> {
        self.seen.talked.values().flatten().flatten().copied().collect()
    }

    /// What a node does that has decided to admit.
    pub fn admit(&mut self, connection: ConnectionId) {
        self.gate().set_phase(connection, Phase::Listening).unwrap();
        self.join().admit(connection).unwrap();
        self.open_if_both_are_ready(connection);
    }

    fn open_if_both_are_ready(&mut self, connection: ConnectionId) {
        let ready = self.swarm.behaviour().join.peer_ready(connection);
        if ready && self.phase(connection) == Some(Phase::Listening) {
            self.gate().set_phase(connection, Phase::Open).unwrap();
        }
    }

    pub fn publish(&mut self, data: &[u8]) -> Result<(), gossipsub::PublishError> {
        let topic = gossipsub::IdentTopic::new(TOPIC);
        self.gate().inner_mut().gossipsub.publish(topic, data).map(|_| ())
    }

    pub fn is_open_to(&self, peer: PeerId) -> bool {
        self.swarm.behaviour().gate.open_connections(&peer).next().is_some()
    }

    pub fn got(&self, data: &[u8]) -> bool {
        self.seen.messages.iter().any(|message| message == data)
    }

    /// Whether anything inside the gate has met anybody.
    pub fn met_nobody(&self) -> bool {
        let seen = &self.seen;
        let inner = self.swarm.behaviour().gate.inner();
        seen.subscribed.is_empty()
            && seen.messages.is_empty()
            && seen.gossip_unsupported == 0
            && seen.kad_peers.is_empty()
            && inner.gossipsub.all_peers().next().is_none()
    }

    /// Takes note of an event, and goes on with the joins that it belongs to.
    pub fn see(&mut self, event: SwarmEvent<OuterEvent>) {
        let seen = &mut self.seen;
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                seen.connections.insert(connection_id, (peer_id, endpoint.is_dialer()));
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => {
                seen.connections.remove(&connection_id);
                seen.closed.push(connection_id);
            }
            SwarmEvent::IncomingConnectionError { .. } => seen.denied += 1,
            SwarmEvent::Behaviour(OuterEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                seen.identified.insert(peer_id, info.protocols);
            }
            SwarmEvent::Behaviour(OuterEvent::Gate(event)) => self.see_inside(event),
            SwarmEvent::Behaviour(OuterEvent::Join(event)) => self.see_join(event),
            _ => {}
        }
    }

    fn see_inside(&mut self, event: GuardedEvent) {
        let seen = &mut self.seen;
        match event {
            GuardedEvent::Gossipsub(gossipsub::Event::Subscribed { peer_id, .. }) => {
                seen.subscribed.insert(peer_id);
            }
            GuardedEvent::Gossipsub(gossipsub::Event::Message { message, .. }) => seen.messages.push(message.data),
            GuardedEvent::Gossipsub(gossipsub::Event::GossipsubNotSupported { .. }) => {
                seen.gossip_unsupported += 1;
            }
            GuardedEvent::Kad(
                kad::Event::RoutingUpdated { peer, .. }
                | kad::Event::UnroutablePeer { peer }
                | kad::Event::RoutablePeer { peer, .. }
                | kad::Event::PendingRoutablePeer { peer, .. },
            ) => {
                seen.kad_peers.insert(peer);
            }
            GuardedEvent::Kad(kad::Event::OutboundQueryProgressed { stats, step, .. }) if step.last => {
                seen.kad_answers.push(stats);
            }
            _ => {}
        }
    }

    fn see_join(&mut self, event: JoinEvent) {
        match event {
            JoinEvent::Hello { connection, hello, .. } => {
                self.seen.hello.insert(connection, hello);
                if self.admits_all {
                    self.admit(connection);
                }
            }
            JoinEvent::Talked { connection, data, .. } => {
                self.seen.talked.entry(connection).or_default().push(data);
            }
            JoinEvent::TalkSent { .. } => {}
            JoinEvent::Ready { connection, .. } => {
                self.seen.ready.insert(connection);
                self.open_if_both_are_ready(connection);
            }
            JoinEvent::Refused { connection, reason, .. } => {
                self.seen.refused.insert(connection, reason);
            }
            JoinEvent::Failed { connection, reason, .. } => {
                self.seen.failed.insert(connection, reason.name());
            }
        }
    }
}
