//! A node whose owner is a task: it admits everyone and hands the rest on.

use std::{sync::Arc, time::Duration};

use covm_core::{
    Multiaddr, PeerId,
    event::{Event, Outcome, connection_number},
    identity::Keypair,
    node::{Node, NodeConfig, Reachability, RelayTerms},
    queue::Wake,
};
use tokio::sync::Notify;

pub const TOPIC: &str = "/covm/floor";
pub const KIND: &str = "/covm/message";
pub const DIRECT: &str = "/covm/direct/1.0.0";

struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn raise(&self) {
        self.0.notify_one();
    }
    fn lower(&self) {}
}

/// A node and the bell that says when to drain it.
pub struct Owner {
    pub node: Node,
    pub keypair: Keypair,
    rung: Arc<Notify>,
    backlog: Vec<Event>,
}

impl Owner {
    pub fn new() -> Self {
        let keypair = Keypair::generate_ed25519();
        let config = NodeConfig {
            keypair: keypair.clone(),
            hello: b"floor".to_vec(),
            agent: "floor".into(),
            gossip_kind: KIND.into(),
            stream_protocols: vec![DIRECT.into()],
            kademlia: None,
            mdns: false,
            reachability: Reachability::Public,
            announce: vec![],
            max_connections: 100,
            relay_server: false,
            relay_terms: RelayTerms::default(),
            relay_client: false,
            autonat: false,
            dcutr: false,
            upnp: false,
        };
        let rung = Arc::new(Notify::new());
        let node = Node::start(config, Box::new(Bell(Arc::clone(&rung)))).expect("no fork here");
        Self { node, keypair, rung, backlog: Vec::new() }
    }

    pub fn peer(&self) -> PeerId {
        self.node.peer_id()
    }

    /// The next batch, with every stranger admitted on the way.
    pub async fn batch(&mut self) -> Vec<Event> {
        if !self.backlog.is_empty() {
            return std::mem::take(&mut self.backlog);
        }
        loop {
            let events = self.node.drain(1024).expect("no fork here");
            for event in &events {
                if let Event::Hello { connection, .. } = event {
                    let number = connection_number(*connection);
                    self.node.admit(number).expect("the node runs");
                }
            }
            if !events.is_empty() {
                return events;
            }
            self.rung.notified().await;
        }
    }

    /// Waits for one event and keeps the others for `batch`.
    pub async fn wait<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> T {
        let mut kept = Vec::new();
        loop {
            let mut found = None;
            for event in self.batch().await {
                match pick(&event) {
                    Some(value) if found.is_none() => found = Some(value),
                    _ => kept.push(event),
                }
            }
            if let Some(value) = found {
                self.backlog = kept;
                return value;
            }
        }
    }

    pub async fn result(&mut self, id: u64) -> Outcome {
        self.wait(|event| match event {
            Event::Done { id: done, result } if *done == id => Some(result.clone()),
            _ => None,
        })
        .await
        .expect("the command succeeds")
    }

    pub async fn listen(&mut self) -> Multiaddr {
        let any = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
        let id = self.node.listen(vec![any]).expect("the node runs");
        match self.result(id).await {
            Outcome::Addresses(all) => all[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    pub async fn admitted(&mut self, peer: PeerId) {
        self.wait(|event| matches!(event, Event::Admitted { peer: who, .. } if *who == peer).then_some(())).await;
    }
}

/// Processor time of this process so far.
pub fn cpu() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for a whole rusage, which the call fills in.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let part = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    part(usage.ru_utime) + part(usage.ru_stime)
}

/// Resident memory in MiB.
pub fn rss_mib() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()));
    pages.unwrap_or(0.0) * 4096.0 / 1024.0 / 1024.0
}

/// The value below which the given share of the sorted values lies.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let position = (last as f64 * share).round() as usize;
    sorted.get(position).copied().unwrap_or(f64::NAN)
}
