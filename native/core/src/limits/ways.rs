//! The bounds of how others reach us, and how we find them on a segment.

use std::time::Duration;

/// Reservations that our relay keeps. libp2p refuses renewals too when they are full, so there are more than members who
/// need one at once.
pub const RELAY_RESERVATIONS: usize = 128;

/// Of one peer: one on each of its connections.
pub const RELAY_RESERVATIONS_PER_PEER: usize = 4;

/// How long a reservation lasts; its holder renews it before, and a holder that vanished is forgotten then.
pub const RELAY_RESERVATION_DURATION: Duration = Duration::from_secs(3600);

/// Circuits that our relay carries. Each holds two streams, whose windows (256 KiB) fill when one end is slow: 128 MiB.
pub const RELAY_CIRCUITS: usize = 256;

/// Of one peer: whoever is reached by relay alone needs one for each other member of a federation of fifty.
pub const RELAY_CIRCUITS_PER_PEER: usize = 64;

/// A circuit goes on for a day; then its ends connect anew. libp2p's two minutes would be for strangers.
pub const RELAY_CIRCUIT_DURATION: Duration = Duration::from_secs(24 * 3600);

/// Bytes of one circuit, both ways: a day of gossip at 50 messages of 1 KiB a second, with files beside it. Beyond that
/// its ends connect anew.
pub const RELAY_CIRCUIT_BYTES: u64 = 8 << 30;

/// Strangers that hold a pass for our relay at once: one for each invitation on its way.
pub const RELAY_PASSES: usize = 64;

/// Circuits of one pass: a join takes one, and may fail some times.
pub const RELAY_PASS_CIRCUITS: u32 = 16;

/// How long a pass may live: as long as any invitation.
pub const RELAY_PASS_LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// As `JOIN_DEADLINE`, on a connection that carries a circuit for a joiner with a pass: a join through it that takes all
/// of `JOIN_TALK_DEADLINE` fits, with the time it takes to begin.
pub const JOIN_RELAY_DEADLINE: Duration = Duration::from_secs(60);

/// Relays at which we keep a reservation at once: some, so that one may die.
pub const RESERVATIONS: usize = 4;

/// A relay whose reservations have to be renewed faster than this costs more than it helps: ours last an hour.
pub const RENEWAL_LEAST: Duration = Duration::from_secs(5);

/// What waits for relays to serve us: every address that may be tried at once, and reservations beside them, so that
/// nobody's addresses stand in anybody else's way.
pub const WAITING_FOR_RELAYS: usize = super::DIALLED_AT_ONCE + RESERVATIONS;

/// How long they wait: to connect to the relay, to join it and to hear from identify what it offers.
pub const RELAY_READY_DEADLINE: Duration = Duration::from_secs(20);

/// Relays that are dialled at once for one dial: as many as a node has places at. The others have their turn behind them.
pub const RELAYS_PER_DIAL: usize = 2;

/// How long a relayed connection stays beside a direct one, once nothing is on it: until both sides have noticed.
pub const RELAYED_LINGER: Duration = Duration::from_secs(2);

/// Addresses that a dial of libp2p's own protocols tries at once, where holes are punched: both sides must try the same
/// pair at the same time, and each has its own order.
pub const PUNCHING_DIALS_AT_ONCE: u8 = 8;

/// Addresses at which others can reach us, as far as we know.
pub const EXTERNAL_ADDRESSES: usize = 32;

/// Addresses that one connection may say that it sees us at, kept until its peer is admitted: one for each transport
/// and IP version that it could be.
pub const CANDIDATES_HELD: usize = 4;

/// New addresses that peers see us at and that count, at once: a federation of fifty, all behind one odd router.
pub const CANDIDATES_AT_ONCE: u32 = 64;

/// When one more counts. libp2p forgets none of them: 10 MiB a year at the very most.
pub const CANDIDATE_INTERVAL: Duration = Duration::from_secs(600);

/// How long our address counts as reached before peers test it again.
pub const RETEST_PUBLIC: Duration = Duration::from_secs(30 * 60);

/// As long where nobody has reached us: a port that the operator opens is noticed then.
pub const RETEST_PRIVATE: Duration = Duration::from_secs(10 * 60);

/// How long after a test has failed, of an address that was reached before, the one that decides.
pub const RETEST_DOUBT: Duration = Duration::from_secs(60);

/// Nodes, with each of their addresses, that mDNS may hold: a large office. Beyond that it is begun anew.
pub const NEARBY: usize = 512;

/// How long it rests before.
pub const NEARBY_PAUSE: Duration = Duration::from_secs(5);

/// Addresses that count again without being new.
pub const CANDIDATES_RECENT: usize = 64;
