//! Gossip: topics, publications, received messages, verdicts, charges.

use std::{
    collections::{VecDeque, hash_map::Entry},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use libp2p::{
    PeerId,
    gossipsub::{self, IdentTopic, MessageId, PublishError},
};

use tokio::time::Instant;

use super::{
    commands::Verdict,
    driver::{Awaiting, Driver},
};
use crate::{
    event::{CommandId, Event, Failure, FailureCode, GossipHandle, Outcome, Published},
    gossip, limits,
    switches::{self, Defence},
    verify::{Unverified, Verified},
};

/// A publication under way.
pub(super) struct PendingPublish {
    id: CommandId,
    topic: String,
    waiting: VecDeque<Vec<u8>>,
    published: Vec<Published>,
}

impl Driver {
    pub(super) fn subscribe(&mut self, id: CommandId, topic: String) {
        let gossipsub = &mut self.swarm.behaviour_mut().gate.inner_mut().gossipsub;
        match gossip::subscribe(gossipsub, &topic) {
            Ok(()) => {
                self.topics.insert(topic.clone(), topic.into());
                self.done(id, Outcome::Nothing);
            }
            Err(error) => self.fail(id, Failure::new(FailureCode::Stream, error)),
        }
    }

    pub(super) fn publish(&mut self, id: CommandId, topic: String, envelopes: Vec<Vec<u8>>) {
        let largest = envelopes.iter().map(Vec::len).max().unwrap_or(0);
        if largest > limits::GOSSIP_ENVELOPE && switches::on(Defence::GossipSize) {
            let limit = limits::GOSSIP_ENVELOPE;
            let mut failure =
                Failure::new(FailureCode::TooLarge, format!("an envelope of {largest} bytes exceeds {limit}"));
            failure.details = vec![("size".into(), largest.to_string()), ("limit".into(), limit.to_string())];
            self.fail(id, failure);
            return;
        }
        self.publishing.push_back(PendingPublish {
            id,
            topic,
            published: Vec::with_capacity(envelopes.len()),
            waiting: envelopes.into(),
        });
        if self.publishing.len() == 1 && self.publish_at <= Instant::now() {
            self.publish_some();
        }
    }

    /// Publishes a few, then lets the connections send: a peer's queue holds `limits::GOSSIP_SEND_QUEUE` messages,
    /// and what does not fit is lost to that peer, for gossipsub takes no message twice.
    pub(super) fn publish_some(&mut self) {
        let Some(mut pending) = self.publishing.pop_front() else {
            return;
        };
        let peers = self.subscribers.get(&pending.topic).map_or(0, |all| all.len());
        let topic = IdentTopic::new(pending.topic.clone());
        let (mut count, mut bytes, mut full) = (0, 0, false);
        for _ in 0..limits::PUBLISH_PER_TURN {
            let Some(envelope) = pending.waiting.pop_front() else {
                break;
            };
            let id = gossip::gossip_id(&pending.topic, &envelope).to_vec();
            count += 1;
            bytes += envelope.len() * peers;
            let gossipsub = &mut self.swarm.behaviour_mut().gate.inner_mut().gossipsub;
            let reached = match gossipsub.publish(topic.clone(), envelope) {
                Ok(_) | Err(PublishError::Duplicate) => peers,
                Err(PublishError::NoPeersSubscribedToTopic) => 0,
                Err(error) => {
                    full = true;
                    tracing::debug!(%error, "gossip was not sent");
                    self.gauges.gossip_send_failures.fetch_add(1, Ordering::Relaxed);
                    0
                }
            };
            pending.published.push(Published { id, peers: reached });
            if full || bytes > limits::PUBLISH_BYTES_PER_MS {
                break;
            }
        }
        self.pause_publishing(count, bytes, full);
        if pending.waiting.is_empty() {
            self.done(pending.id, Outcome::Published(pending.published));
        } else {
            self.publishing.push_front(pending);
        }
    }

    fn pause_publishing(&mut self, count: usize, bytes: usize, full: bool) {
        let milliseconds = u64::try_from(bytes / limits::PUBLISH_BYTES_PER_MS).unwrap_or(u64::MAX);
        let mut pause = Duration::from_millis(milliseconds);
        if count >= limits::PUBLISH_PER_TURN {
            pause = pause.max(limits::PUBLISH_PAUSE);
        }
        if full {
            pause = pause.max(self.publish_pause);
            self.publish_pause = (self.publish_pause * 2).min(limits::PUBLISH_PAUSE_LONGEST);
        } else {
            self.publish_pause = limits::PUBLISH_PAUSE_FULL;
        }
        self.publish_at = Instant::now() + pause;
    }

    pub(super) fn on_gossip_event(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_gossip(propagation_source, message_id, message)
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                let topic = topic.into_string();
                let peers = self.subscribers.entry(topic.clone()).or_default();
                if peers.insert(peer_id) {
                    self.queue.push(Event::TopicJoined { peer: peer_id, topic });
                }
            }
            gossipsub::Event::Unsubscribed { peer_id, topic } => {
                let topic = topic.into_string();
                self.forget_subscriber(&topic, peer_id);
                self.queue.push(Event::TopicLeft { peer: peer_id, topic });
            }
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(%peer_id, "peer speaks no gossipsub");
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(%peer_id, "peer reads gossip too slowly");
            }
        }
    }

    fn forget_subscriber(&mut self, topic: &str, peer: PeerId) {
        if let Entry::Occupied(mut peers) = self.subscribers.entry(topic.to_owned()) {
            peers.get_mut().remove(&peer);
            if peers.get().is_empty() {
                peers.remove();
            }
        }
    }

    /// A peer whose last open connection closed has left every topic; gossipsub does not say so.
    pub(super) fn forget_topics_of(&mut self, peer: PeerId) {
        self.subscribers.retain(|_, peers| {
            peers.remove(&peer);
            !peers.is_empty()
        });
    }

    fn on_gossip(&mut self, source: PeerId, id: MessageId, message: gossipsub::Message) {
        let topic = message.topic.as_str();
        let topic = match self.topics.get(topic) {
            Some(known) => Arc::clone(known),
            None => topic.into(),
        };
        let handle = self.next_handle;
        self.next_handle += 1;
        let raw_id = id.0.clone();
        self.awaiting.insert(handle, Awaiting { id, source });
        if self.awaiting.len() > limits::GOSSIP_AWAITING
            && let Some((_, oldest)) = self.awaiting.pop_first()
        {
            self.report(&oldest, Verdict::Ignore);
        }
        let gave_way = self.verifier.accept(Unverified { handle, topic, source, id: raw_id, data: message.data });
        self.gauge_verifier();
        for handle in gave_way {
            self.settle(handle, Verdict::Ignore);
        }
    }

    pub(super) fn settle_verified(&mut self, verified: Verified) {
        self.verifier.finished();
        self.gauge_verifier();
        for handle in verified.rejected {
            self.settle(handle, Verdict::Reject);
        }
        for handle in verified.dropped {
            self.settle(handle, Verdict::Ignore);
        }
    }

    fn gauge_verifier(&self) {
        self.gauges.verifying.store(self.verifier.waiting(), Ordering::Relaxed);
        self.gauges.gossip_unverified_dropped.store(self.verifier.dropped, Ordering::Relaxed);
    }

    pub(super) fn judge(&mut self, verdicts: Vec<(GossipHandle, Verdict)>) {
        for (handle, verdict) in verdicts {
            self.settle(handle, verdict);
        }
    }

    fn settle(&mut self, handle: GossipHandle, verdict: Verdict) {
        if let Some(awaiting) = self.awaiting.remove(&handle) {
            self.report(&awaiting, verdict);
        }
    }

    fn report(&mut self, message: &Awaiting, verdict: Verdict) {
        if !switches::on(Defence::GossipValidation) {
            return;
        }
        let gossipsub = &mut self.swarm.behaviour_mut().gate.inner_mut().gossipsub;
        gossipsub.report_message_validation_result(&message.id, &message.source, verdict.into());
    }

    /// Lowers a peer's application score. Bounded: charges of peers that left decay away.
    pub(super) fn charge(&mut self, peer: PeerId, amount: f64) {
        if !amount.is_finite() || amount <= 0.0 || !switches::on(Defence::Scoring) {
            return;
        }
        if self.penalties.len() >= limits::PENALTIES && !self.penalties.contains_key(&peer) {
            return;
        }
        let penalty = self.penalties.entry(peer).or_default();
        *penalty = (*penalty + amount).min(limits::PENALTY_MOST);
        let score = -*penalty;
        let gossipsub = &mut self.swarm.behaviour_mut().gate.inner_mut().gossipsub;
        gossipsub.set_application_score(&peer, score);
    }

    pub(super) fn decay_penalties(&mut self) {
        let gossipsub = &mut self.swarm.behaviour_mut().gate.inner_mut().gossipsub;
        self.penalties.retain(|peer, penalty| {
            *penalty *= limits::PENALTY_DECAY;
            let gone = *penalty < 0.1;
            gossipsub.set_application_score(peer, if gone { 0.0 } else { -*penalty });
            !gone
        });
    }
}
