//! Opens gossiped envelopes off the swarm's task, in batches that grow with the load.
//!
//! Idle, a message is verified at once and alone. Busy, what arrives while the verifiers work is taken together when
//! one of them is free; each hands over in the order in which they began, so that what came in order leaves in order.
//! The waiting line is bounded; its oldest entry gives way and is ignored towards gossipsub.

use std::{collections::VecDeque, sync::Arc};

use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};

use crate::{
    envelope,
    event::{Event, GossipHandle, GossipMessage},
    executor::TaskExecutor,
    limits,
    queue::EventQueue,
    switches::{self, Defence},
};

/// A message as it came in.
#[derive(Debug)]
pub struct Unverified {
    pub handle: GossipHandle,
    pub topic: Arc<str>,
    pub source: PeerId,
    pub id: Vec<u8>,
    pub data: Vec<u8>,
}

/// What the verifiers tell the swarm's task.
#[derive(Debug)]
pub struct Verified {
    /// Wrong for every honest node; their sources are charged.
    pub rejected: Vec<GossipHandle>,
    /// Dropped for want of room; nobody is charged.
    pub dropped: Vec<GossipHandle>,
}

/// The line of messages that wait for a verifier.
pub struct Verifier {
    kind: Arc<str>,
    waiting: VecDeque<Unverified>,
    waiting_bytes: usize,
    busy: usize,
    executor: TaskExecutor,
    queue: Arc<EventQueue>,
    done: mpsc::UnboundedSender<Verified>,
    /// Resolves when the batch before has been handed over.
    before: Option<oneshot::Receiver<()>>,
    pub dropped: u64,
}

impl Verifier {
    /// A verifier of envelopes of one kind. Each task that ends sends exactly one message to `done`: at most
    /// `limits::GOSSIP_VERIFIERS` are ever in that channel.
    #[must_use]
    pub fn new(
        kind: Arc<str>,
        executor: TaskExecutor,
        queue: Arc<EventQueue>,
        done: mpsc::UnboundedSender<Verified>,
    ) -> Self {
        Self {
            kind,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            busy: 0,
            executor,
            queue,
            done,
            before: None,
            dropped: 0,
        }
    }

    /// Takes a message; returns the handles of what had to give way.
    #[must_use]
    pub fn accept(&mut self, message: Unverified) -> Vec<GossipHandle> {
        let mut gave_way = Vec::new();
        self.waiting_bytes += message.data.len();
        self.waiting.push_back(message);
        while switches::on(Defence::GossipInboundBound)
            && (self.waiting.len() > limits::GOSSIP_QUEUE_MESSAGES || self.waiting_bytes > limits::GOSSIP_QUEUE_BYTES)
        {
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            self.waiting_bytes -= oldest.data.len();
            self.dropped += 1;
            gave_way.push(oldest.handle);
        }
        self.start();
        gave_way
    }

    /// A verifier ended: the next batch may start.
    pub fn finished(&mut self) {
        self.busy -= 1;
        self.start();
    }

    /// How many messages wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn start(&mut self) {
        while self.busy < limits::GOSSIP_VERIFIERS && !self.waiting.is_empty() {
            let count = self.waiting.len().min(limits::GOSSIP_VERIFY_BATCH);
            let batch: Vec<Unverified> = self.waiting.drain(..count).collect();
            self.waiting_bytes -= batch.iter().map(|message| message.data.len()).sum::<usize>();
            self.busy += 1;
            let (kind, queue, done) = (Arc::clone(&self.kind), Arc::clone(&self.queue), self.done.clone());
            let (handed_over, next_waits) = oneshot::channel();
            let before = self.before.replace(next_waits);
            self.executor.spawn(async move {
                let checked = check(&kind, batch);
                if let Some(before) = before {
                    // An error says that the task before is gone; there is nothing to wait for.
                    let _ = before.await;
                }
                // The receiver lives as long as the node; without it nobody waits for the result.
                let _ = done.send(hand_over(&queue, checked));
                let _ = handed_over.send(());
            });
        }
    }
}

/// What the signatures said, in the order of arrival.
struct Checked {
    good: Vec<GossipMessage>,
    bad: Vec<(GossipHandle, Event)>,
}

fn check(kind: &str, batch: Vec<Unverified>) -> Checked {
    let mut checked = Checked { good: Vec::with_capacity(batch.len()), bad: Vec::new() };
    for message in batch {
        let topic = message.topic.as_ref().to_owned();
        let size = message.data.len();
        match open(kind, &message.data) {
            Ok((author, body)) => checked.good.push(GossipMessage {
                handle: message.handle,
                topic,
                source: message.source,
                author,
                id: message.id,
                body,
                size,
            }),
            Err(reason) => {
                let source = message.source;
                let event = Event::GossipRejected { topic, source, reason, size };
                checked.bad.push((message.handle, event));
            }
        }
    }
    checked
}

fn hand_over(queue: &EventQueue, checked: Checked) -> Verified {
    let mut rejected = Vec::with_capacity(checked.bad.len());
    for (handle, event) in checked.bad {
        rejected.push(handle);
        queue.push(event);
    }
    let dropped = queue.push_gossip(checked.good);
    Verified { rejected, dropped }
}

fn open(kind: &str, data: &[u8]) -> Result<(PeerId, Vec<u8>), &'static str> {
    if data.len() > limits::GOSSIP_ENVELOPE && switches::on(Defence::GossipSize) {
        return Err("too_large");
    }
    envelope::open(kind, data).map_err(|error| error.name())
}
