//! Gossipsub as the federation uses it: unsigned, ids from raw bytes, scored without what punishes small federations.
//!
//! Messages carry our own signed envelope, so gossipsub runs in StrictNoSign, as Ethereum's consensus layer does. The
//! id covers topic and raw bytes: a bad copy of a message has another id and never suppresses the good one.
//! Every message waits for a verdict before it is forwarded.

use std::{collections::HashMap, time::Duration};

use libp2p::gossipsub::{
    self, AllowAllSubscriptionFilter, Behaviour, ConfigBuilder, IdentTopic, IdentityTransform,
    MaxCountSubscriptionFilter, Message, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode, score_parameter_decay,
};
use sha2::{Digest as _, Sha256};

use crate::{
    limits,
    switches::{self, Defence},
};

/// Which topics a peer may announce: any, but only so many.
pub type Filter = MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>;

/// Gossipsub with our filter.
pub type Gossipsub = Behaviour<IdentityTransform, Filter>;

/// SHA-256 over the length-prefixed topic and the bytes as they travel.
#[must_use]
pub fn gossip_id(topic: &str, data: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((topic.len() as u64).to_be_bytes());
    hash.update(topic.as_bytes());
    hash.update(data);
    hash.finalize().into()
}

/// What a peer's score costs it. Each threshold is lower than the one before, as the specification asks.
///
/// P4 is squared: three invalid messages within its decay end gossip with a peer, five keep our own publications
/// from it, and from the tenth on nothing of it is read any more.
fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -9.0,
        publish_threshold: -25.0,
        graylist_threshold: -100.0,
        accept_px_threshold: 1_000.0,
        opportunistic_graft_threshold: 1.0,
    }
}

/// Peer scoring (gossipsub 1.1): misbehaviour (P7) and the application's own score; topics add P4.
///
/// Not used, because they punish honest members of small federations: IP colocation (29 peers behind one address
/// score -1805 by default) and the slow-peer penalty.
fn score_params() -> PeerScoreParams {
    PeerScoreParams {
        topics: HashMap::new(),
        topic_score_cap: 0.0,
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -10.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: score_parameter_decay(Duration::from_secs(600)),
        decay_interval: Duration::from_secs(1),
        decay_to_zero: 0.01,
        retain_score: Duration::from_secs(3600),
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

/// A topic's scoring: invalid messages (P4) alone. A quiet topic would score -200 with the default deficits (P3).
#[must_use]
pub fn topic_params() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: score_parameter_decay(Duration::from_secs(600)),
        ..TopicScoreParams::default()
    }
}

/// Gossipsub, configured.
#[must_use]
pub fn behaviour() -> Gossipsub {
    let mut config = ConfigBuilder::default();
    config
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message: &Message| MessageId::new(&gossip_id(message.topic.as_str(), &message.data)))
        .max_transmit_size(limits::GOSSIP_TRANSMIT + limits::GOSSIP_READ_AHEAD)
        .max_control_message_size(limits::GOSSIP_CONTROL)
        .max_control_messages_sent(limits::GOSSIP_CONTROL_IDS)
        .connection_handler_queue_len(limits::GOSSIP_SEND_QUEUE)
        // What waits longer than this in a peer's send queue is stale; IHAVE brings it if it is still wanted.
        .publish_queue_duration(Duration::from_secs(10))
        .forward_queue_duration(Duration::from_secs(10))
        .duplicate_cache_time(Duration::from_secs(120))
        // A small federation should not wait five seconds for its mesh.
        .heartbeat_initial_delay(Duration::from_millis(100))
        .flood_publish(true);
    if switches::on(Defence::GossipValidation) {
        config.validate_messages();
    }
    let config = config.build().expect("the parameters above are consistent");
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: limits::GOSSIP_TOPICS_PER_PEER,
        max_subscriptions_per_request: limits::GOSSIP_TOPICS_PER_PEER,
    };
    let mut gossipsub = Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
        .expect("anonymous messages fit the anonymous validation mode");
    if switches::on(Defence::Scoring) {
        gossipsub.with_peer_score(score_params(), thresholds()).expect("the scores above are consistent");
    }
    gossipsub
}

/// Subscribes to a topic and gives it its scoring.
///
/// # Errors
/// When the topic cannot be subscribed to (never with our filter).
pub fn subscribe(gossipsub: &mut Gossipsub, topic: &str) -> Result<(), String> {
    let topic = IdentTopic::new(topic);
    gossipsub.subscribe(&topic).map_err(|error| error.to_string())?;
    if switches::on(Defence::Scoring) {
        gossipsub.set_topic_params(topic, topic_params()).map_err(str::to_owned)?;
    }
    Ok(())
}

/// A verdict as gossipsub knows it.
pub type Acceptance = gossipsub::MessageAcceptance;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_separates_topic_and_bytes() {
        assert_ne!(gossip_id("ab", b"c"), gossip_id("a", b"bc"));
        assert_eq!(gossip_id("a", b"b"), gossip_id("a", b"b"));
    }

    #[test]
    fn ten_invalid_messages_are_past_every_threshold_and_two_past_none() {
        let weight = topic_params().invalid_message_deliveries_weight * topic_params().topic_weight;
        let score = |count: f64| weight * count * count;
        let limits = thresholds();
        assert!(score(2.0) > limits.gossip_threshold);
        assert!(score(3.0) <= limits.gossip_threshold);
        assert!(score(5.0) <= limits.publish_threshold);
        assert!(score(10.0) <= limits.graylist_threshold);
        limits.validate().unwrap();
        score_params().validate().unwrap();
        topic_params().validate().unwrap();
    }

    #[test]
    fn thirty_honest_peers_behind_one_address_cost_nothing() {
        assert!(score_params().ip_colocation_factor_weight.abs() < f64::EPSILON);
        assert!(topic_params().mesh_message_deliveries_weight.abs() < f64::EPSILON);
    }

    #[test]
    fn the_behaviour_accepts_its_own_parameters() {
        let mut gossipsub = behaviour();
        subscribe(&mut gossipsub, "/covm/test").unwrap();
    }
}
