//! Every size and count bound of the core, each with its reason.
//!
//! A bound that lives here is enforced before the memory or the work it limits is spent, and has a test that
//! exceeds it. Sizes are in bytes.

mod ways;

use std::ops::RangeInclusive;
use std::time::Duration;

pub use ways::*;

/// One DAG-CBOR document. Twice what a direct message may carry (1 MiB), so a full message still fits with its
/// signed header; nothing larger is ever parsed.
pub const DAGCBOR_BYTES: usize = 2 * 1024 * 1024;

/// Containers within containers. Our own types need six; 32 leaves room for users' documents while the recursion
/// stays under 16 KiB of stack.
pub const DAGCBOR_DEPTH: usize = 32;

/// One map key. Keys are field names and ids; a CID takes 59 bytes, a multiaddr seldom more than 150.
pub const DAGCBOR_KEY_BYTES: usize = 256;

/// Entries of one list or map. More than a single document of ours ever lists (a sync batch stays below 4,096).
pub const DAGCBOR_ENTRIES: usize = 65_536;

/// Data items of one document, keys and containers included. In Python an item takes about 60 bytes, so the largest
/// accepted document takes about 16 MiB once decoded.
pub const DAGCBOR_ITEMS: usize = 262_144;

/// One signed envelope: a direct message of 1 MiB and 64 KiB for headers, key and signature.
pub const ENVELOPE_BYTES: usize = 1024 * 1024 + 64 * 1024;

/// What a batch of envelopes must weigh for each further thread, in units of one small Ed25519 operation. Starting a
/// thread costs about as much as one, so from eight on the split pays.
pub const ENVELOPES_PER_THREAD: usize = 8;

/// Bytes that take about as long to hash twice as one Ed25519 operation takes: large payloads count for more than
/// one when a batch is split over threads.
pub const ENVELOPE_HASH_UNIT_BYTES: usize = 16 * 1024;

/// Threads that one batch of envelopes may use. Beyond eight the batch is too small to feed them.
pub const ENVELOPE_THREADS: usize = 8;

/// The key file. Version 1 takes about 250 bytes, version 2 about 450; anything larger is not a key file and is not read.
pub const KEY_FILE_BYTES: usize = 1024;

/// Memory that Argon2id may take for a key file, in KiB. Below 19 MiB passphrases are tried out too cheaply (what OWASP
/// asks for at least); above 256 MiB a file that somebody else wrote could end a small machine's process.
pub const KEY_FILE_MEMORY_KIB: RangeInclusive<u32> = 19 * 1024..=256 * 1024;

/// Argon2id's passes over that memory. With the most of both, opening takes some seconds, and no file asks for more.
pub const KEY_FILE_PASSES: RangeInclusive<u32> = 1..=16;

/// Argon2id's lanes. They are computed one after the other here, so they cost nothing but say how others may.
pub const KEY_FILE_LANES: RangeInclusive<u32> = 1..=8;

// --- the gate and the join protocol ---

/// Addresses of a peer that is not admitted yet, kept for the moment in which it is. As many as libp2p's own
/// address cache keeps of a peer: what is beyond that would be thrown away on the other side of the gate too.
pub const HIDDEN_PEER_ADDRESSES: usize = 10;

/// The largest frame of the join protocol, kind byte included: a HELLO names versions, digests and positions,
/// and a stranger may not make us hold more than a page of memory for it.
pub const JOIN_FRAME: usize = 4096;

/// The largest HELLO: a frame without its kind byte.
pub const JOIN_HELLO: usize = JOIN_FRAME - 1;

/// The longest reason in a REFUSED frame, in bytes: one line to show to an operator.
pub const JOIN_REASON: usize = 256;

/// From the establishment of a connection until both sides have said READY: several round trips around the
/// world and a busy receiver fit in, a stranger that says nothing does not keep its place for long.
pub const JOIN_DEADLINE: Duration = Duration::from_secs(5);

/// What a peer may say in TALK frames on one connection before our application grants it more: room for an invite or
/// a first request with its proofs, and with every stranger's place taken 1 MiB in all.
pub const JOIN_TALK: usize = 64 * 1024;

/// What our application can grant beyond that on one connection, in sum: the history of a federation for a node that
/// returns; what it has not dealt with of it waits in memory.
pub const JOIN_TALK_GRANTED: usize = 16 * 1024 * 1024;

/// What a TALK frame counts as at least: each becomes an event, so tiny ones must not buy a thousand times the work.
pub const JOIN_TALK_LEAST: usize = 64;

/// What our application has said on one connection and the peer has not taken yet, at most.
pub const JOIN_TALK_UNSENT: usize = 1 << 20;

/// From the establishment of a connection until both sides have said READY, where our application has talked on it or
/// granted talk: time to show `JOIN_TALK_GRANTED` at 5 Mbit/s. A stranger does not get it by itself.
pub const JOIN_TALK_DEADLINE: Duration = Duration::from_secs(30);

/// From the decision to refuse until the connection closes: long enough for the reason to arrive, no longer.
pub const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// Inbound connections that have not been admitted, at once. With frames of one page and five seconds each, this
/// is what strangers can cost; a federation's members join within milliseconds.
pub const STRANGERS_INBOUND: usize = 16;

// ---- framed streams -------------------------------------------------------------------------

/// Largest frame of a stream: a direct message of 1 MiB, with its envelope and framing.
pub const STREAM_FRAME: usize = (1 << 20) + (64 << 10);

/// Bytes a stream holds for its owner, each way: a round trip of 100 ms at 80 Mbit/s fits, and a thousand
/// stalled streams cost 1 GiB at the very most.
pub const STREAM_BUFFER: usize = 1 << 20;

/// Frames a reader hands out before they are released: an allocation costs some 60 bytes, so tiny frames
/// must not turn 1 MiB of credit into 60 MiB of memory.
pub const STREAM_FRAMES: usize = 16_384;

/// Largest batch one `send` takes: one buffer and one frame, so that a sender cannot overrun its buffer
/// further than that, and the largest frame always goes.
pub const STREAM_BATCH: usize = STREAM_BUFFER + STREAM_FRAME;

/// Bytes asked of the transport in one read: a few Yamux frames (16 KiB), few enough to keep per stream.
pub const STREAM_READ: usize = 64 << 10;

/// Bytes of a batch at which it is handed over although more could be read: beyond this a batch saves
/// nothing and its first frame only waits.
pub const STREAM_HANDOVER: usize = 256 << 10;

/// Inbound streams carried at once on one connection: each of our few protocols needs one, and a second while
/// a newer replaces an older.
pub const STREAMS_PER_CONNECTION: usize = 16;

/// Breaches of framing, which no honest peer commits, after which the connection is closed.
pub const STREAM_STRIKES: u32 = 8;

/// An outbound stream is open within this time, several round trips over a slow relay, or has failed. An inbound
/// negotiation has as long.
pub const STREAM_OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// An inbound stream brings its first frame within this time: every protocol of ours begins with HELLO.
pub const FIRST_FRAME_DEADLINE: Duration = Duration::from_secs(10);

/// A frame is complete within this time of its first byte: the largest at 37 KB/s.
pub const FRAME_DEADLINE: Duration = Duration::from_secs(30);

/// A closing stream has flushed, and the peer has closed its half, within this time, or is cut.
pub const STREAM_CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// As long on a relayed connection: a full buffer goes out at 37 KB/s, as slow as a relay may be. A stream that leaves it
/// for a direct one then ends whole.
pub const RELAYED_STREAM_CLOSE_DEADLINE: Duration = Duration::from_secs(30);

/// Streams that Yamux may hold on one connection. It keeps 256 KiB of its 1 GiB receive budget for each of them and
/// lets windows grow into the rest, which a peer that answers pings late can provoke: 4,032 leaves 16 MiB
/// for growth in all. The streams themselves are capped by the protocols.
pub const YAMUX_STREAMS: usize = 4_032;

/// What QUIC lets a peer send on one stream ahead of our reading: as much as our own buffer.
pub const QUIC_STREAM_WINDOW: u32 = 1 << 20;

// --- the event queue and commands ---

/// Events that must not be lost, before the swarm is no longer polled. A thousand connections opening and closing fit.
pub const EVENT_QUEUE: usize = 8192;

/// Received gossip that waits for its owner: two seconds of the largest allowance of one author, and then the oldest
/// gives way.
pub const GOSSIP_QUEUE_MESSAGES: usize = 8192;

/// The same in bytes, for large messages.
pub const GOSSIP_QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// Gossip that one drain hands over: the owner has its turn at it before more comes, and queues of its own that hold
/// less than ours.
pub const GOSSIP_DRAIN_BYTES: usize = 1024 * 1024;

/// Commands whose results have not been drained. An owner that awaits its results never has as many.
pub const COMMANDS_OUTSTANDING: usize = 16_384;

/// Commands taken in one turn before the swarm is polled again.
pub const COMMANDS_PER_TURN: usize = 64;

// --- gossip ---

/// A gossiped body of 64 KiB with the fields of a message around it, in an envelope (key, signature, kind).
pub const GOSSIP_ENVELOPE: usize = 68 * 1024;

/// One gossipsub message on the wire: the envelope, its topic, and control messages that travel along.
pub const GOSSIP_TRANSMIT: usize = 72 * 1024;

/// What gossipsub's reader may hold of the message after the one it reads. It measures the two together against its
/// limit: without this, large messages close upon one another end the stream.
pub const GOSSIP_READ_AHEAD: usize = 8 * 1024;

/// Control messages (IHAVE, IWANT and so on) of one RPC, in bytes.
pub const GOSSIP_CONTROL: usize = 64 * 1024;

/// Message ids that we name in one RPC: of 32 bytes and their framing, they fit `GOSSIP_CONTROL` at the receiver.
pub const GOSSIP_CONTROL_IDS: usize = 1_800;

/// Messages in a peer's send queue. gossipsub counts messages, not bytes, and copies per peer: 36 MiB at the most.
pub const GOSSIP_SEND_QUEUE: usize = 512;

/// Topics that a peer may subscribe to; a federation has one, and some types of great volume their own.
pub const GOSSIP_TOPICS_PER_PEER: usize = 64;

/// Messages given to gossipsub in one turn: an eighth of a send queue, so that connections can empty it meanwhile.
pub const PUBLISH_PER_TURN: usize = 64;

/// Bytes given to all send queues in a millisecond: about what a loopback link carries. A burst beyond that waits here,
/// where nothing is lost, and not in queues that overflow.
pub const PUBLISH_BYTES_PER_MS: usize = 256 * 1024;

/// How long publishing pauses after a full turn, so that connections can empty their queues.
pub const PUBLISH_PAUSE: Duration = Duration::from_millis(1);

/// How long it pauses when every queue was full, doubled while they stay full up to `PUBLISH_PAUSE_LONGEST`.
pub const PUBLISH_PAUSE_FULL: Duration = Duration::from_millis(20);

/// See `PUBLISH_PAUSE_FULL`. gossipsub drops what has waited ten seconds in a queue.
pub const PUBLISH_PAUSE_LONGEST: Duration = Duration::from_millis(320);

/// Messages that wait for a verdict. gossipsub forgets a message after five seconds anyway.
pub const GOSSIP_AWAITING: usize = 65_536;

/// Tasks that verify gossip at once: one for each core of a small machine.
pub const GOSSIP_VERIFIERS: usize = 2;

/// Envelopes that one verifying task takes at once: about a millisecond of signatures.
pub const GOSSIP_VERIFY_BATCH: usize = 32;

/// Peers whose application score is kept.
pub const PENALTIES: usize = 4096;

/// The most that charges add up to: far below every threshold, and forgiven in about ten minutes.
pub const PENALTY_MOST: f64 = 1_000.0;

/// What is left of a penalty after each interval: half after a minute.
pub const PENALTY_DECAY: f64 = 0.891;

/// How often penalties decay.
pub const PENALTY_DECAY_INTERVAL: Duration = Duration::from_secs(10);

// --- connections and hints ---

/// Connections with one peer: both may dial at once, over two transports.
pub const CONNECTIONS_PER_PEER: u32 = 4;

/// Inbound connections in negotiation. Whoever connects and says nothing holds a place until `NEGOTIATION_DEADLINE`;
/// there are more places than one idle attacker's habit, and fewer than a process has descriptors.
pub const PENDING_INBOUND: u32 = 256;

/// From the first byte of a connection until its keys are agreed: a few round trips, also over a slow relay.
pub const NEGOTIATION_DEADLINE: Duration = Duration::from_secs(5);

/// Outbound connections in negotiation.
pub const PENDING_OUTBOUND: u32 = 64;

/// Addresses of one dial: a book keeps eight of a peer, and a peer says sixteen of itself.
pub const ADDRESSES_PER_DIAL: usize = 64;

/// How long an address of a dial has before the next one is tried beside it (RFC 8305, section 5).
pub const DIAL_STAGGER: Duration = Duration::from_millis(250);

/// Addresses of our own dials tried at once, all dials together: fewer than a process has descriptors. What is beyond
/// waits its turn, at most until what stands before it has come to its `NEGOTIATION_DEADLINE`.
pub const DIALLED_AT_ONCE: usize = 256;

/// How long a connection that nobody needs stays: the join exchange takes longer than its deadline never.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(10);

/// Inbound streams of one connection in protocol negotiation.
pub const NEGOTIATING_STREAMS: usize = 64;

/// Addresses kept of what a peer says about itself.
pub const ADDRESSES_PER_PEER: usize = 16;

/// Protocols kept of what a peer says about itself.
pub const PROTOCOLS_PER_PEER: usize = 64;

/// Characters kept of a peer's name and version.
pub const AGENT_CHARS: usize = 128;

/// Hints taken from one answer of mDNS.
pub const HINTS_PER_TURN: usize = 64;

/// Text of a multiaddr: no real one is longer.
pub const ADDRESS_TEXT: usize = 1024;

/// A Kademlia bucket, as libp2p's own.
pub const KADEMLIA_BUCKET: usize = 20;

/// A listener on every interface tells its addresses one by one, within a few milliseconds: so long without another,
/// and they are all there.
pub const LISTEN_QUIET: Duration = Duration::from_millis(20);

/// How long `stop` leaves QUIC to say goodbye and let its ports go, before it is cut: three times the round trip within a
/// continent.
pub const GOODBYE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_fits_into_what_wraps_it() {
        // A full body with its fields fits an envelope, an envelope its transport, a direct message its frame.
        const { assert!(64 * 1024 + 2 * 1024 < GOSSIP_ENVELOPE) };
        const { assert!(GOSSIP_ENVELOPE + 1024 < GOSSIP_TRANSMIT) };
        const { assert!(ENVELOPE_BYTES <= STREAM_FRAME) };
        const { assert!(ENVELOPE_BYTES < DAGCBOR_BYTES) };
        const { assert!(JOIN_HELLO < JOIN_FRAME) };
        const { assert!(JOIN_HELLO < JOIN_TALK && JOIN_TALK < JOIN_TALK_UNSENT && JOIN_TALK_UNSENT < JOIN_TALK_GRANTED) };
    }

    #[test]
    fn strangers_leave_room_for_peers_and_credit_for_frames() {
        const { assert!(STRANGERS_INBOUND < PENDING_INBOUND as usize) };
        const { assert!(STREAM_FRAME <= STREAM_BATCH) };
        const { assert!(PUBLISH_PER_TURN * 8 <= GOSSIP_SEND_QUEUE) };
        const { assert!(PENALTY_DECAY > 0.0 && PENALTY_DECAY < 1.0) };
        const { assert!(JOIN_DEADLINE.as_secs() < JOIN_TALK_DEADLINE.as_secs()) };
        const { assert!(JOIN_TALK_DEADLINE.as_secs() < JOIN_RELAY_DEADLINE.as_secs()) };
        const { assert!(RELAY_RESERVATIONS_PER_PEER == CONNECTIONS_PER_PEER as usize) };
        const { assert!(ADDRESSES_PER_DIAL < u8::MAX as usize) };
        const { assert!(RENEWAL_LEAST.as_secs() * 10 < RELAY_RESERVATION_DURATION.as_secs()) };
    }

    #[test]
    fn the_queues_of_one_node_stay_in_a_small_machines_memory() {
        let streams = 50 * 2 * 2 * STREAM_BUFFER;
        let gossip = 2 * GOSSIP_QUEUE_BYTES;
        assert!(streams + gossip < 512 * 1024 * 1024);
    }
}
