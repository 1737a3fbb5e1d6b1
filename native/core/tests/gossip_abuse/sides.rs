//! The victim, a node's gossipsub; and the attacker, who speaks its protocol byte by byte.

use std::time::Duration;

use covm_core::gossip::{self, Gossipsub};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm,
    gossipsub::{self as libp2p_gossipsub, IdentTopic, TopicHash},
    swarm::SwarmEvent,
};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    rpc::{messages, subscribe, varint},
    support::{self, LOOPBACK, raw::RawPeer},
};

pub const TOPIC: &str = "/covm/abused";
const MESHSUB: StreamProtocol = StreamProtocol::new("/meshsub/1.2.0");
const PATIENCE: Duration = Duration::from_secs(30);

/// A node's gossipsub with nothing in front of it; the gate has tests of its own.
pub struct Victim {
    pub swarm: Swarm<Gossipsub>,
    pub address: Multiaddr,
    pub joined: Vec<TopicHash>,
    pub dialled: usize,
    pub received: usize,
}

impl Victim {
    pub async fn start() -> Self {
        let mut swarm = support::node::swarm(|_| gossip::behaviour());
        gossip::subscribe(swarm.behaviour_mut(), TOPIC).unwrap();
        swarm.listen_on(LOOPBACK.parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        Self { swarm, address, joined: Vec::new(), dialled: 0, received: 0 }
    }

    pub fn see(&mut self, event: SwarmEvent<libp2p_gossipsub::Event>) {
        match event {
            SwarmEvent::Behaviour(libp2p_gossipsub::Event::Subscribed { topic, .. }) => self.joined.push(topic),
            SwarmEvent::Behaviour(libp2p_gossipsub::Event::Message { .. }) => self.received += 1,
            SwarmEvent::Dialing { .. } => self.dialled += 1,
            _ => {}
        }
    }

    pub fn score(&self, peer: &PeerId) -> f64 {
        self.swarm.behaviour().peer_score(peer).unwrap_or_default()
    }

    pub fn publish(&mut self, text: &[u8]) -> Vec<u8> {
        self.swarm.behaviour_mut().publish(IdentTopic::new(TOPIC), text).unwrap();
        gossip::gossip_id(TOPIC, text).to_vec()
    }
}

/// A subscribed peer: its stream to the victim, and the messages that come back.
pub struct Attacker {
    pub raw: RawPeer,
    stream: Stream,
    pub heard: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Attacker {
    pub async fn join(victim: &mut Victim) -> Self {
        let mut raw = RawPeer::start(vec![MESHSUB]).await;
        let address = victim.address.clone();
        let joining = async {
            raw.connect(&address).await.unwrap();
            let stream = raw.open(MESHSUB).await.unwrap();
            (stream, raw.accept().await)
        };
        let (stream, inbound) = meanwhile(victim, joining).await;
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(listen(inbound, sender));
        let mut attacker = Self { raw, stream, heard };
        attacker.say(victim, &[subscribe()]).await;
        until(victim, |victim| victim.joined.len() == 1).await;
        attacker
    }

    pub async fn say(&mut self, victim: &mut Victim, rpcs: &[Vec<u8>]) {
        let framed: Vec<u8> = rpcs.iter().flat_map(|rpc| [varint(rpc.len() as u64), rpc.clone()].concat()).collect();
        let stream = &mut self.stream;
        meanwhile(victim, async move {
            // A victim that has had enough closes the stream: as good as said.
            let _ = stream.write_all(&framed).await;
            let _ = stream.flush().await;
        })
        .await;
    }

    /// Everything that comes up to a message that the victim publishes now: what it was to do before, it has done.
    pub async fn all_up_to_now(&mut self, victim: &mut Victim, mark: &[u8]) -> Vec<Vec<u8>> {
        victim.publish(mark);
        let heard = &mut self.heard;
        meanwhile(victim, async move {
            let mut all = Vec::new();
            loop {
                let rpc = heard.recv().await.expect("the victim keeps its stream");
                let is_mark = messages(&rpc).iter().any(|data| data == mark);
                all.push(rpc);
                if is_mark {
                    return all;
                }
            }
        })
        .await
    }
}

pub async fn listen(mut stream: Stream, heard: mpsc::UnboundedSender<Vec<u8>>) {
    loop {
        let mut length = 0;
        for shift in (0..).step_by(7) {
            let mut byte = [0];
            if stream.read_exact(&mut byte).await.is_err() {
                return;
            }
            length |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut rpc = vec![0; length];
        if stream.read_exact(&mut rpc).await.is_err() || heard.send(rpc).is_err() {
            return;
        }
    }
}

pub async fn meanwhile<T>(victim: &mut Victim, what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    timeout(PATIENCE, async {
        loop {
            tokio::select! {
                done = &mut what => return done,
                event = victim.swarm.select_next_some() => victim.see(event),
            }
        }
    })
    .await
    .expect("it comes to an end")
}

pub async fn until(victim: &mut Victim, mut holds: impl FnMut(&Victim) -> bool) {
    timeout(PATIENCE, async {
        while !holds(victim) {
            let event = victim.swarm.select_next_some().await;
            victim.see(event);
        }
    })
    .await
    .expect("it comes true");
}

impl Attacker {
    /// One more peer; the victim has met others before.
    pub async fn join_further(victim: &mut Victim) -> Self {
        victim.joined.clear();
        Self::join(victim).await
    }
}

/// As `until`, also where nothing but time moves the victim.
pub async fn until_heartbeat(victim: &mut Victim, holds: impl Fn(&Victim) -> bool) {
    let mut heartbeat = tokio::time::interval(Duration::from_millis(50));
    timeout(PATIENCE, async {
        while !holds(victim) {
            tokio::select! {
                event = victim.swarm.select_next_some() => victim.see(event),
                _ = heartbeat.tick() => {}
            }
        }
    })
    .await
    .expect("it comes true");
}
