//! A node as its owner in Rust drives it, for tests.

use std::{sync::Arc, time::Duration};

use covm_core::{
    PeerId,
    event::{Event, Failure, FailureCode, GossipMessage, Outcome, connection_number},
    identity::Keypair,
    node::{Node, NodeConfig, Reachability, RelayTerms},
    queue::Wake,
};
use tokio::{sync::Notify, time::timeout};

pub const TOPIC: &str = "/covm/test";
pub const KIND: &str = "/covm/message";
pub const DIRECT: &str = "/covm/direct/1.0.0";
const PATIENCE: Duration = Duration::from_secs(30);

struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn raise(&self) {
        self.0.notify_one();
    }
    fn lower(&self) {}
}

/// A node and what it said so far.
pub struct Owner {
    pub node: Node,
    pub keypair: Keypair,
    rung: Arc<Notify>,
    seen: Vec<Event>,
    /// Admits whoever says the same HELLO, as an open federation does.
    pub admits: bool,
}

impl Owner {
    pub fn new(seed: u8) -> Self {
        Self::with(seed, |_| {})
    }

    pub fn with(seed: u8, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let mut secret = [seed; 32];
        let keypair = Keypair::ed25519_from_bytes(&mut secret).unwrap();
        let mut config = NodeConfig {
            keypair: keypair.clone(),
            hello: b"hello".to_vec(),
            agent: "covm/test".into(),
            gossip_kind: KIND.into(),
            stream_protocols: vec![DIRECT.into()],
            kademlia: None,
            mdns: false,
            reachability: Reachability::Public,
            announce: vec![],
            max_connections: 50,
            relay_server: false,
            relay_terms: RelayTerms::default(),
            relay_client: false,
            autonat: false,
            dcutr: false,
            upnp: false,
        };
        change(&mut config);
        let rung = Arc::new(Notify::new());
        let node = Node::start(config, Box::new(Bell(Arc::clone(&rung)))).unwrap();
        Self { node, keypair, rung, seen: Vec::new(), admits: true }
    }

    pub fn peer(&self) -> PeerId {
        self.node.peer_id()
    }

    fn pump(&mut self) {
        for event in self.node.drain(1024).unwrap() {
            if let Event::Hello { connection, hello, .. } = &event
                && self.admits
            {
                let number = connection_number(*connection);
                if hello == b"hello" {
                    self.node.admit(number).unwrap();
                } else {
                    self.node.refuse(number, "another federation".into()).unwrap();
                }
            }
            self.seen.push(event);
        }
    }

    /// Waits until an event of the kind has come, and takes it out.
    pub async fn take<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> T {
        timeout(PATIENCE, async {
            loop {
                self.pump();
                if let Some(position) = self.seen.iter().position(|event| pick(event).is_some()) {
                    let event = self.seen.remove(position);
                    return pick(&event).unwrap();
                }
                self.rung.notified().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("nothing of the kind came; seen: {:#?}", self.seen))
    }

    pub async fn result(&mut self, id: u64) -> Result<Outcome, FailureCode> {
        self.take(|event| match event {
            Event::Done { id: done, result } if *done == id => Some(result.clone().map_err(|failure| failure.code)),
            _ => None,
        })
        .await
    }

    /// What went wrong with a command.
    pub async fn failure(&mut self, id: u64) -> Failure {
        self.take(|event| match event {
            Event::Done { id: done, result: Err(failure) } if *done == id => Some(failure.clone()),
            _ => None,
        })
        .await
    }

    pub async fn listen(&mut self, address: &str) -> covm_core::Multiaddr {
        let id = self.node.listen(vec![address.parse().unwrap()]).unwrap();
        match self.result(id).await.unwrap() {
            Outcome::Addresses(all) => all[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Answers what it must while something else goes on.
    pub async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        loop {
            self.pump();
            let rung = Arc::clone(&self.rung);
            tokio::select! {
                done = &mut other => return done,
                () = rung.notified() => {}
            }
        }
    }

    /// Answers the HELLO of a peer that was not answered when it came.
    pub fn admit_waiting(&mut self, peer: PeerId) {
        self.pump();
        for event in &self.seen {
            if let Event::Hello { connection, peer: who, .. } = event
                && *who == peer
            {
                self.node.admit(connection_number(*connection)).unwrap();
            }
        }
    }

    /// All of the kind that have come so far; they stay.
    pub fn seen<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        self.pump();
        self.seen.iter().filter_map(pick).collect()
    }

    /// What has come so far is of no interest.
    pub fn forget(&mut self) {
        self.pump();
        self.seen.clear();
    }

    /// Identify has shown what the peer speaks.
    pub async fn identified(&mut self, peer: PeerId) {
        self.take(|event| matches!(event, Event::Identified { peer: who, .. } if *who == peer).then_some(())).await;
    }

    pub async fn stop(mut self) {
        let id = self.node.stop().unwrap();
        self.result(id).await.unwrap();
    }

    pub async fn gossip(&mut self) -> GossipMessage {
        self.take(|event| match event {
            Event::Gossip(message) => Some(message.clone()),
            _ => None,
        })
        .await
    }

    pub async fn admitted(&mut self, peer: PeerId) {
        self.take(|event| match event {
            Event::Admitted { peer: who, .. } if *who == peer => Some(()),
            _ => None,
        })
        .await;
    }

    pub async fn joined_topic(&mut self, peer: PeerId) {
        self.take(|event| match event {
            Event::TopicJoined { peer: who, .. } if *who == peer => Some(()),
            _ => None,
        })
        .await;
    }
}

/// Drives both until both futures are done.
pub async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    tokio::join!(a, b)
}

pub async fn connected(a: &mut Owner, b: &mut Owner, address: &str) {
    let at = a.listen(address).await;
    let (pa, pb) = (a.peer(), b.peer());
    for owner in [&mut *a, &mut *b] {
        let id = owner.node.subscribe(TOPIC.into()).unwrap();
        owner.result(id).await.unwrap();
    }
    let id = b.node.dial(Some(pa), vec![at]).unwrap();
    both(
        async {
            a.admitted(pb).await;
            a.joined_topic(pb).await;
        },
        async {
            assert_eq!(b.result(id).await, Ok(Outcome::Peer(pa)));
            b.admitted(pa).await;
            b.joined_topic(pa).await;
        },
    )
    .await;
}
