//! The bounded queue between the node's tasks and the one thread that drains it.
//!
//! Two lanes. What must not be lost (connections, streams, results) keeps its order and is bounded by its sources:
//! the swarm is not polled while `has_room` is false, streams have credit of their own. Gossip is bounded here: the
//! oldest message gives way, is counted, and its handle is handed back so that gossipsub forgets it as ignored.
//! The waker is called once for each batch, not for each event.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{
    event::{Event, GossipHandle, GossipMessage},
    limits,
    switches::{self, Defence},
};

/// Tells the draining thread that there is something, and takes that back.
pub trait Wake: Send + Sync {
    /// Something is there. Called with nothing outstanding; must not block.
    fn raise(&self);
    /// Everything was drained.
    fn lower(&self);
}

/// How much waits, for the owner's statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    pub events: usize,
    pub gossip: usize,
    pub gossip_bytes: usize,
    pub gossip_dropped: u64,
}

#[derive(Default)]
struct Lanes {
    events: VecDeque<Event>,
    gossip: VecDeque<GossipMessage>,
    gossip_bytes: usize,
    gossip_dropped: u64,
    raised: bool,
}

impl Lanes {
    fn gossip_full(&self) -> bool {
        switches::on(Defence::GossipInboundBound)
            && (self.gossip.len() > limits::GOSSIP_QUEUE_MESSAGES || self.gossip_bytes > limits::GOSSIP_QUEUE_BYTES)
    }

    fn take_gossip(&mut self) -> Option<GossipMessage> {
        let message = self.gossip.pop_front()?;
        self.gossip_bytes -= message.size;
        Some(message)
    }
}

/// The queue itself; shared by the node's tasks and its owner.
pub struct EventQueue {
    lanes: Mutex<Lanes>,
    room: Notify,
    wake: Box<dyn Wake>,
}

impl EventQueue {
    #[must_use]
    pub fn new(wake: Box<dyn Wake>) -> Self {
        Self { lanes: Mutex::default(), room: Notify::new(), wake }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raise(&self, mut lanes: MutexGuard<'_, Lanes>) {
        let fresh = !std::mem::replace(&mut lanes.raised, true);
        // Raised under the lock: otherwise a drain in between could lower a wake-up that is still to come.
        if fresh {
            self.wake.raise();
        }
    }

    /// Adds an event that must not be lost.
    pub fn push(&self, event: Event) {
        let mut lanes = self.lanes();
        lanes.events.push_back(event);
        self.raise(lanes);
    }

    /// Adds verified gossip; returns the handles of what had to give way.
    #[must_use]
    pub fn push_gossip(&self, messages: Vec<GossipMessage>) -> Vec<GossipHandle> {
        let mut dropped = Vec::new();
        let mut lanes = self.lanes();
        for message in messages {
            lanes.gossip_bytes += message.size;
            lanes.gossip.push_back(message);
            while lanes.gossip_full() {
                let Some(oldest) = lanes.take_gossip() else {
                    break;
                };
                lanes.gossip_dropped += 1;
                dropped.push(oldest.handle);
            }
        }
        if !lanes.gossip.is_empty() {
            self.raise(lanes);
        }
        dropped
    }

    /// Takes at most `max` events in order: what must not be lost first, with a quarter kept for gossip, of which no more
    /// is begun beyond [`limits::GOSSIP_DRAIN_BYTES`].
    #[must_use]
    pub fn drain(&self, max: usize) -> Vec<Event> {
        let mut lanes = self.lanes();
        let reserved = lanes.gossip.len().min(max.div_ceil(4));
        let had_room = lanes.events.len() < limits::EVENT_QUEUE;
        let count = lanes.events.len().min(max - reserved.min(max));
        let mut batch: Vec<Event> = lanes.events.drain(..count).collect();
        let mut gossip_bytes = 0;
        while batch.len() < max && gossip_bytes < limits::GOSSIP_DRAIN_BYTES {
            let Some(message) = lanes.take_gossip() else {
                break;
            };
            gossip_bytes += message.size;
            batch.push(Event::Gossip(message));
        }
        if lanes.events.is_empty() && lanes.gossip.is_empty() && lanes.raised {
            lanes.raised = false;
            self.wake.lower();
        }
        let has_room = lanes.events.len() < limits::EVENT_QUEUE;
        drop(lanes);
        if has_room && !had_room {
            self.room.notify_one();
        }
        batch
    }

    /// Whether the swarm may go on to produce events.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.lanes().events.len() < limits::EVENT_QUEUE
    }

    /// Resolves when a drain has made room.
    pub async fn room(&self) {
        while !self.has_room() {
            self.room.notified().await;
        }
    }

    /// How much waits now.
    #[must_use]
    pub fn depth(&self) -> Depth {
        let lanes = self.lanes();
        Depth {
            events: lanes.events.len(),
            gossip: lanes.gossip.len(),
            gossip_bytes: lanes.gossip_bytes,
            gossip_dropped: lanes.gossip_dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    };

    use libp2p::PeerId;

    use super::*;

    #[derive(Default)]
    struct Counting {
        level: AtomicI64,
        raises: AtomicUsize,
    }

    impl Wake for Arc<Counting> {
        fn raise(&self) {
            self.level.fetch_add(1, Ordering::SeqCst);
            self.raises.fetch_add(1, Ordering::SeqCst);
        }
        fn lower(&self) {
            self.level.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn message(handle: u64, size: usize) -> GossipMessage {
        let peer = PeerId::random();
        GossipMessage { handle, topic: "t".into(), source: peer, author: peer, id: vec![], body: vec![], size }
    }

    fn queue() -> (EventQueue, Arc<Counting>) {
        let wake = Arc::new(Counting::default());
        (EventQueue::new(Box::new(Arc::clone(&wake))), wake)
    }

    #[test]
    fn one_wake_up_serves_a_whole_batch() {
        let (queue, wake) = queue();
        for stream in 0..100 {
            queue.push(Event::Writable { stream });
        }
        assert_eq!(wake.raises.load(Ordering::SeqCst), 1);
        assert_eq!(queue.drain(60).len(), 60);
        assert_eq!(wake.level.load(Ordering::SeqCst), 1, "stays raised while something waits");
        assert_eq!(queue.drain(60).len(), 40);
        assert_eq!(wake.level.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn the_oldest_gossip_gives_way_and_is_named() {
        let (queue, _) = queue();
        let count = limits::GOSSIP_QUEUE_MESSAGES as u64;
        let first = queue.push_gossip((0..count).map(|handle| message(handle, 1)).collect());
        assert!(first.is_empty());
        assert_eq!(queue.push_gossip(vec![message(count, 1), message(count + 1, 1)]), [0, 1]);
        assert_eq!(queue.depth().gossip_dropped, 2);
    }

    #[test]
    fn gossip_is_bounded_by_bytes_too() {
        let (queue, _) = queue();
        let half = limits::GOSSIP_QUEUE_BYTES / 2;
        let dropped = queue.push_gossip(vec![message(1, half), message(2, half), message(3, half)]);
        assert_eq!(dropped, [1]);
        assert!(queue.depth().gossip_bytes <= limits::GOSSIP_QUEUE_BYTES);
    }

    #[test]
    fn large_gossip_is_handed_over_in_parts() {
        let (queue, wake) = queue();
        let large = limits::GOSSIP_DRAIN_BYTES / 2 + 1;
        assert!(queue.push_gossip((0..5).map(|handle| message(handle, large)).collect()).is_empty());
        let parts: Vec<usize> =
            std::iter::from_fn(|| Some(queue.drain(1024).len()).filter(|count| *count > 0)).collect();
        assert_eq!(parts, [2, 2, 1]);
        assert_eq!(wake.level.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn gossip_is_not_starved_by_other_events() {
        let (queue, _) = queue();
        for stream in 0..100 {
            queue.push(Event::Writable { stream });
        }
        assert!(queue.push_gossip(vec![message(7, 1)]).is_empty());
        let batch = queue.drain(8);
        assert_eq!(batch.len(), 8);
        assert!(matches!(batch.last(), Some(Event::Gossip(m)) if m.handle == 7));
    }

    #[tokio::test]
    async fn the_swarm_waits_while_events_pile_up() {
        let (queue, _) = queue();
        for stream in 0..limits::EVENT_QUEUE as u64 {
            queue.push(Event::Writable { stream });
        }
        assert!(!queue.has_room());
        let waiting = queue.room();
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        let _ = queue.drain(10);
        waiting.await;
        assert!(queue.has_room());
    }
}
