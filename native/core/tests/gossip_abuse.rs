//! Abuse of gossipsub's control messages, by a peer that speaks the protocol byte by byte. Each is bounded by a constant
//! of libp2p, which these tests hold it to, with our configuration: our ids, our scores, our sizes.

mod support;

use std::time::Duration;

use covm_core::{
    gossip::{self, Gossipsub},
    limits,
};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm,
    gossipsub::{self as libp2p_gossipsub, IdentTopic, TopicHash},
    swarm::SwarmEvent,
};
use support::{LOOPBACK, raw::RawPeer};
use tokio::{sync::mpsc, time::timeout};

const TOPIC: &str = "/covm/abused";
const MESHSUB: StreamProtocol = StreamProtocol::new("/meshsub/1.2.0");
const PATIENCE: Duration = Duration::from_secs(30);

/// IHAVE messages of one peer that libp2p reads between two heartbeats.
const MOST_IHAVE: usize = 10;
/// Ids in one message of the floods: libp2p reads 16 KiB of control messages in one RPC.
const AT_ONCE: usize = 400;
/// Times that one peer gets a message that it asks for.
const MOST_SENT_AGAIN: usize = 3;

// --- protobuf, by hand

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 0x7f {
        out.push(number as u8 & 0x7f | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2)[..], &varint(content.len() as u64), content].concat()
}

fn integer(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// Fields of a message: number, content (empty for integers).
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = read_varint(&mut message);
        let value = read_varint(&mut message);
        if tag & 7 == 2 {
            let (content, rest) = message.split_at(value as usize);
            found.push((tag >> 3, content.to_vec()));
            message = rest;
        } else {
            found.push((tag >> 3, Vec::new()));
        }
    }
    found
}

fn read_varint(from: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = from[0];
        *from = &from[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn subscribe() -> Vec<u8> {
    subscription(TOPIC)
}

fn subscription(topic: &str) -> Vec<u8> {
    bytes(1, &[integer(1, 1), bytes(2, topic.as_bytes())].concat())
}

fn control(content: &[u8]) -> Vec<u8> {
    bytes(3, content)
}

fn ihave(ids: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<u8> = ids.iter().flat_map(|id| bytes(2, id)).collect();
    control(&bytes(1, &[bytes(1, TOPIC.as_bytes()), ids].concat()))
}

fn iwant(id: &[u8]) -> Vec<u8> {
    control(&bytes(2, &bytes(1, id)))
}

fn graft() -> Vec<u8> {
    control(&bytes(3, &bytes(1, TOPIC.as_bytes())))
}

fn prune(backoff_s: u64, exchanged: &[PeerId]) -> Vec<u8> {
    let peers: Vec<u8> = exchanged.iter().flat_map(|peer| bytes(2, &bytes(1, &peer.to_bytes()))).collect();
    control(&bytes(4, &[bytes(1, TOPIC.as_bytes()), peers, integer(3, backoff_s)].concat()))
}

fn publication(data: &[u8]) -> Vec<u8> {
    bytes(2, &[bytes(2, data), bytes(4, TOPIC.as_bytes())].concat())
}

fn idontwant(ids: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<u8> = ids.iter().flat_map(|id| bytes(1, id)).collect();
    control(&bytes(5, &ids))
}

fn invented(count: usize, salt: u8) -> Vec<Vec<u8>> {
    (0..count).map(|number| [&[salt; 28][..], &(number as u32).to_be_bytes()].concat()).collect()
}

// --- the two sides

/// A node's gossipsub with nothing in front of it; the gate has tests of its own.
struct Victim {
    swarm: Swarm<Gossipsub>,
    address: Multiaddr,
    joined: Vec<TopicHash>,
    dialled: usize,
    received: usize,
}

impl Victim {
    async fn start() -> Self {
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

    fn see(&mut self, event: SwarmEvent<libp2p_gossipsub::Event>) {
        match event {
            SwarmEvent::Behaviour(libp2p_gossipsub::Event::Subscribed { topic, .. }) => self.joined.push(topic),
            SwarmEvent::Behaviour(libp2p_gossipsub::Event::Message { .. }) => self.received += 1,
            SwarmEvent::Dialing { .. } => self.dialled += 1,
            _ => {}
        }
    }

    fn score(&self, peer: &PeerId) -> f64 {
        self.swarm.behaviour().peer_score(peer).unwrap_or_default()
    }

    fn publish(&mut self, text: &[u8]) -> Vec<u8> {
        self.swarm.behaviour_mut().publish(IdentTopic::new(TOPIC), text).unwrap();
        gossip::gossip_id(TOPIC, text).to_vec()
    }
}

/// A subscribed peer: its stream to the victim, and the messages that come back.
struct Attacker {
    raw: RawPeer,
    stream: Stream,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Attacker {
    async fn join(victim: &mut Victim) -> Self {
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

    async fn say(&mut self, victim: &mut Victim, rpcs: &[Vec<u8>]) {
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
    async fn all_up_to_now(&mut self, victim: &mut Victim, mark: &[u8]) -> Vec<Vec<u8>> {
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

async fn listen(mut stream: Stream, heard: mpsc::UnboundedSender<Vec<u8>>) {
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

fn parts(rpc: &[u8], outer: u64, inner: u64) -> Vec<Vec<u8>> {
    let outer: Vec<_> = fields(rpc).into_iter().filter(|(number, _)| *number == outer).collect();
    outer
        .iter()
        .flat_map(|(_, part)| fields(part))
        .filter(|(number, _)| *number == inner)
        .map(|(_, part)| part)
        .collect()
}

/// The published messages in an RPC.
fn messages(rpc: &[u8]) -> Vec<Vec<u8>> {
    parts(rpc, 2, 2)
}

/// How many ids an RPC asks for.
fn asked(rpc: &[u8]) -> usize {
    parts(rpc, 3, 2).iter().map(|iwant| fields(iwant).len()).sum()
}

async fn meanwhile<T>(victim: &mut Victim, what: impl Future<Output = T>) -> T {
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

async fn until(victim: &mut Victim, mut holds: impl FnMut(&Victim) -> bool) {
    timeout(PATIENCE, async {
        while !holds(victim) {
            let event = victim.swarm.select_next_some().await;
            victim.see(event);
        }
    })
    .await
    .expect("it comes true");
}

// --- the attacks

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

impl Attacker {
    /// One more peer; the victim has met others before.
    async fn join_further(victim: &mut Victim) -> Self {
        victim.joined.clear();
        Self::join(victim).await
    }
}

/// As `until`, also where nothing but time moves the victim.
async fn until_heartbeat(victim: &mut Victim, holds: impl Fn(&Victim) -> bool) {
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
