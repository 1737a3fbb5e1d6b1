//! Abuse of gossipsub's control messages, by a peer that speaks the protocol byte by byte. Each is bounded by a constant
//! of libp2p, which these tests hold it to, with our configuration: our ids, our scores, our sizes.

mod rpc;
mod sides;
#[path = "../support/mod.rs"]
mod support;

use covm_core::{gossip, limits};
use libp2p::{PeerId, gossipsub::IdentTopic};
use rpc::{asked, fields, graft, idontwant, ihave, invented, iwant, messages, parts, prune, publication, subscription};
use sides::{Attacker, TOPIC, Victim, meanwhile, until, until_heartbeat};

/// IHAVE messages of one peer that libp2p reads between two heartbeats.
const MOST_IHAVE: usize = 10;
/// Ids in one message of the floods: they fit the 16 KiB of control messages that libp2p reads in one RPC by default.
const AT_ONCE: usize = 400;
/// Times that one peer gets a message that it asks for.
const MOST_SENT_AGAIN: usize = 3;

#[tokio::test]
async fn ihave_of_a_hundred_thousand_invented_messages_makes_the_victim_ask_for_few() {
    let mut victim = Victim::start().await;
    let mut attacker = Attacker::join(&mut victim).await;
    let flood: Vec<_> = (0..250).map(|salt| ihave(&invented(AT_ONCE, salt))).collect();
    attacker.say(&mut victim, &flood).await;
    let heard = attacker.all_up_to_now(&mut victim, b"mark").await;
    let asked: usize = heard.iter().map(|rpc| asked(rpc)).sum();
    // The flood may straddle a heartbeat, at which the victim counts anew.
    assert!(asked > 0 && asked <= 2 * MOST_IHAVE * AT_ONCE, "{asked}");
}

#[tokio::test]
async fn one_message_is_sent_again_only_so_often_however_often_it_is_asked_for() {
    let mut victim = Victim::start().await;
    let mut attacker = Attacker::join(&mut victim).await;
    let id = victim.publish(b"wanted");
    attacker.say(&mut victim, &vec![iwant(&id); 1_000]).await;
    let heard = attacker.all_up_to_now(&mut victim, b"mark").await;
    let sent = heard.iter().flat_map(|rpc| messages(rpc)).filter(|data| data == b"wanted").count();
    assert!((1..=1 + MOST_SENT_AGAIN).contains(&sent), "{sent}");
}

#[tokio::test]
async fn grafting_again_and_again_after_a_prune_ends_in_the_graylist() {
    let mut victim = Victim::start().await;
    let mut attacker = Attacker::join(&mut victim).await;
    attacker.say(&mut victim, &[prune(60, &[])]).await;
    attacker.say(&mut victim, &vec![graft(); 20]).await;
    let peer = attacker.raw.peer_id;
    until_heartbeat(&mut victim, |victim| victim.score(&peer) < -100.0).await;
    attacker.say(&mut victim, &[graft()]).await;
    assert!(victim.swarm.behaviour().mesh_peers(&IdentTopic::new(TOPIC).hash()).all(|in_mesh| *in_mesh != peer));
}

#[tokio::test]
async fn a_prune_with_a_backoff_without_end_or_with_peers_to_dial_changes_nothing_for_others() {
    let mut victim = Victim::start().await;
    let mut attacker = Attacker::join(&mut victim).await;
    let strangers: Vec<_> = (0..500).map(|_| PeerId::random()).collect();
    for backoff_s in [0, 60, u64::from(u32::MAX), i64::MAX as u64 - 10_000_000_000, i64::MAX as u64, u64::MAX] {
        attacker.say(&mut victim, &[graft(), prune(backoff_s, &strangers)]).await;
    }
    attacker.all_up_to_now(&mut victim, b"still here").await;
    assert_eq!(victim.dialled, 0, "peers that a stranger names are nobody's to dial");
    let mut other = Attacker::join_further(&mut victim).await;
    other.all_up_to_now(&mut victim, b"heard by others").await;
}

#[tokio::test]
async fn idontwant_of_a_hundred_thousand_messages_keeps_nothing_from_others() {
    let mut victim = Victim::start().await;
    let mut attacker = Attacker::join(&mut victim).await;
    let mut other = Attacker::join_further(&mut victim).await;
    let flood: Vec<_> = (0..250).map(|salt| idontwant(&invented(AT_ONCE, salt))).collect();
    attacker.say(&mut victim, &flood).await;
    let unwanted = gossip::gossip_id(TOPIC, b"unwanted by one").to_vec();
    attacker.say(&mut victim, &[idontwant(&[unwanted])]).await;
    other.all_up_to_now(&mut victim, b"unwanted by one").await;
    attacker.all_up_to_now(&mut victim, b"mark").await;
}

#[tokio::test]
async fn a_peer_may_announce_only_so_many_topics() {
    let mut victim = Victim::start().await;
    let mut attacker = Attacker::join(&mut victim).await;
    let flood: Vec<_> = (0..1_000).map(|number| subscription(&format!("/covm/invented/{number}"))).collect();
    attacker.say(&mut victim, &flood).await;
    attacker.all_up_to_now(&mut victim, b"mark").await;
    assert!(victim.joined.len() <= limits::GOSSIP_TOPICS_PER_PEER, "{}", victim.joined.len());
}

#[tokio::test]
async fn an_rpc_larger_than_may_be_is_not_read() {
    let mut victim = Victim::start().await;
    let mut attacker = Attacker::join(&mut victim).await;
    attacker.say(&mut victim, &[ihave(&invented(limits::GOSSIP_TRANSMIT / 32, 1))]).await;
    let mut other = Attacker::join_further(&mut victim).await;
    other.all_up_to_now(&mut victim, b"mark").await;
    let heard: usize = std::iter::from_fn(|| attacker.heard.try_recv().ok()).map(|rpc| asked(&rpc)).sum();
    assert_eq!(heard, 0);
}

// --- and what is honest is not taken for abuse

#[tokio::test]
async fn the_largest_messages_are_read_also_when_they_come_one_upon_another() {
    let mut victim = Victim::start().await;
    let mut peer = Attacker::join(&mut victim).await;
    let largest: Vec<_> = (0..30).map(|salt| publication(&vec![salt; limits::GOSSIP_ENVELOPE])).collect();
    peer.say(&mut victim, &largest).await;
    until(&mut victim, |victim| victim.received == largest.len()).await;
}

#[tokio::test]
async fn the_longest_ihave_that_a_node_says_is_read_by_another() {
    let (mut node, mut other) = (Victim::start().await, Victim::start().await);
    let mut peer = Attacker::join(&mut node).await;
    // Out of the mesh it is told of messages by IHAVE.
    peer.say(&mut node, &[prune(60, &[])]).await;
    for part in 0..30 {
        for number in 0..100 {
            node.publish(format!("message {part} {number}").as_bytes());
        }
        peer.all_up_to_now(&mut node, format!("mark {part}").as_bytes()).await;
    }
    let heard = &mut peer.heard;
    let told = async {
        loop {
            let rpc = heard.recv().await.expect("the node keeps its stream");
            if parts(&rpc, 3, 1).iter().any(|ihave| fields(ihave).len() > 500) {
                return rpc;
            }
        }
    };
    let longest = meanwhile(&mut node, told).await;
    let mut carrier = Attacker::join(&mut other).await;
    carrier.say(&mut other, &[longest, publication(b"behind it")]).await;
    until(&mut other, |other| other.received == 1).await;
}
