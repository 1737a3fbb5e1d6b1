//! Our circuit relay (libp2p's circuit relay v2): whom it serves, and how much.
//!
//! The relay server stands behind a [gate](crate::gate) of its own, which opens for admitted connections, and besides
//! for a stranger that holds a *pass*: a joiner whose only way to its inviter leads through us. What then passes:
//!
//! | | a stranger | a stranger with a pass | an admitted peer |
//! |---|---|---|---|
//! | sees the hop protocol | no | on one connection, while its pass has circuits left | yes |
//! | opens a circuit to a member with a reservation | no | as often as its pass says, until it expires | within the caps |
//! | reserves a place, so that others reach it through us | no | no | within the caps |
//! | anything else that is inside the gate | no | no | yes |
//!
//! The server tells its limiters who asks and not for whom, so a pass names its holder, a count and an expiry, and any
//! member that has reserved may be at the other end: there the joiner is a stranger like any other. A pass lives as long
//! as the process, at most; the connection on which it is used ends with the join's later deadline
//! ([`limits::JOIN_RELAY_DEADLINE`]) unless the joiner is admitted on it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use libp2p::{Multiaddr, PeerId, relay};
use thiserror::Error;

use crate::{
    limits,
    node::RelayTerms,
    switches::{self, Defence},
};

/// Why a pass was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PassError {
    /// As many are given as there may be.
    #[error(
        "{} peers hold passes for this relay already; wait until one expires, or withdraw one (0 circuits)",
        limits::RELAY_PASSES
    )]
    TooMany,
    /// More circuits than one pass may have.
    #[error("a pass is for at most {most} circuits, and {0} were asked for", most = limits::RELAY_PASS_CIRCUITS)]
    TooManyCircuits(u32),
    /// Longer than a pass may live.
    #[error("a pass lives for at most {} days, and more was asked for", limits::RELAY_PASS_LONGEST.as_secs() / 86_400)]
    TooLong,
}

#[derive(Clone, Copy, Debug)]
struct Pass {
    circuits: u32,
    expires_at: Instant,
}

/// Who is let through: plain values, the moment handed in.
#[derive(Debug, Default)]
struct Access {
    admitted: HashSet<PeerId>,
    passes: HashMap<PeerId, Pass>,
}

impl Access {
    fn allow(&mut self, peer: PeerId, circuits: u32, lasts: Duration, now: Instant) -> Result<(), PassError> {
        if circuits == 0 {
            self.passes.remove(&peer);
            return Ok(());
        }
        if circuits > limits::RELAY_PASS_CIRCUITS {
            return Err(PassError::TooManyCircuits(circuits));
        }
        if lasts > limits::RELAY_PASS_LONGEST {
            return Err(PassError::TooLong);
        }
        self.passes.retain(|_, pass| pass.circuits > 0 && pass.expires_at > now);
        if self.passes.len() >= limits::RELAY_PASSES && !self.passes.contains_key(&peer) {
            return Err(PassError::TooMany);
        }
        self.passes.insert(peer, Pass { circuits, expires_at: now + lasts });
        Ok(())
    }

    fn holds_pass(&self, peer: &PeerId, now: Instant) -> bool {
        self.passes.get(peer).is_some_and(|pass| pass.circuits > 0 && pass.expires_at > now)
    }

    fn take_circuit(&mut self, peer: &PeerId, now: Instant) -> bool {
        if self.admitted.contains(peer) {
            return true;
        }
        if !self.holds_pass(peer, now) {
            return false;
        }
        if let Some(pass) = self.passes.get_mut(peer) {
            pass.circuits -= 1;
        }
        true
    }
}

/// Who may use our relay; shared by the node, which knows whom it admitted, and the server's limiters, which ask.
#[derive(Clone, Debug, Default)]
pub struct RelayAccess(Arc<Mutex<Access>>);

impl RelayAccess {
    fn access(&self) -> MutexGuard<'_, Access> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a peer a pass in place of the one it had: so many circuits, for so long. None takes it away.
    ///
    /// # Errors
    /// [`PassError`], when it exceeds a bound; then what the peer had stays.
    pub fn allow(&self, peer: PeerId, circuits: u32, lasts: Duration) -> Result<(), PassError> {
        self.access().allow(peer, circuits, lasts, Instant::now())
    }

    /// Whether the peer could open a circuit by a pass.
    pub fn holds_pass(&self, peer: &PeerId) -> bool {
        self.access().holds_pass(peer, Instant::now())
    }

    /// The peer has an open connection now, or none any more.
    pub fn set_admitted(&self, peer: PeerId, admitted: bool) {
        let mut access = self.access();
        if admitted {
            access.admitted.insert(peer);
        } else {
            access.admitted.remove(&peer);
        }
    }

    fn may_reserve(&self, peer: &PeerId) -> bool {
        !switches::on(Defence::RelayAccess) || self.access().admitted.contains(peer)
    }

    fn may_connect(&self, peer: &PeerId, now: Instant) -> bool {
        !switches::on(Defence::RelayAccess) || self.access().take_circuit(peer, now)
    }

    /// What the relay server is told: its terms, and whom to ask.
    #[must_use]
    pub fn config(&self, terms: RelayTerms) -> relay::Config {
        let (reserving, connecting) = (self.clone(), self.clone());
        relay::Config {
            max_reservations: limits::RELAY_RESERVATIONS,
            max_reservations_per_peer: limits::RELAY_RESERVATIONS_PER_PEER,
            reservation_duration: terms.reservation,
            // In place of the default rates, which hold back strangers: there are none.
            reservation_rate_limiters: vec![Box::new(move |peer: PeerId, _: &Multiaddr, _: Instant| {
                reserving.may_reserve(&peer)
            })],
            max_circuits: limits::RELAY_CIRCUITS,
            max_circuits_per_peer: limits::RELAY_CIRCUITS_PER_PEER,
            max_circuit_duration: terms.circuit,
            max_circuit_bytes: terms.circuit_bytes,
            circuit_src_rate_limiters: vec![Box::new(move |peer: PeerId, _: &Multiaddr, now: Instant| {
                connecting.may_connect(&peer, now)
            })],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_pass_is_good_for_its_circuits_and_no_more() {
        let (mut access, joiner, now) = (Access::default(), PeerId::random(), Instant::now());
        assert!(!access.take_circuit(&joiner, now), "a stranger");
        access.allow(joiner, 2, HOUR, now).unwrap();
        assert!(!access.take_circuit(&PeerId::random(), now), "it names its holder");
        assert!(access.take_circuit(&joiner, now));
        assert!(access.holds_pass(&joiner, now));
        assert!(access.take_circuit(&joiner, now));
        assert!(!access.holds_pass(&joiner, now));
        assert!(!access.take_circuit(&joiner, now));
    }

    #[test]
    fn a_pass_expires_and_can_be_withdrawn() {
        let (mut access, joiner, now) = (Access::default(), PeerId::random(), Instant::now());
        access.allow(joiner, 2, HOUR, now).unwrap();
        assert!(!access.take_circuit(&joiner, now + HOUR));
        access.allow(joiner, 0, HOUR, now).unwrap();
        assert!(!access.take_circuit(&joiner, now));
    }

    #[test]
    fn passes_are_bounded_and_used_up_ones_make_room() {
        let (mut access, now) = (Access::default(), Instant::now());
        let holders: Vec<_> = (0..limits::RELAY_PASSES).map(|_| PeerId::random()).collect();
        for holder in &holders {
            access.allow(*holder, 1, HOUR, now).unwrap();
        }
        let late = PeerId::random();
        assert_eq!(access.allow(late, 1, HOUR, now), Err(PassError::TooMany));
        access.allow(holders[0], 1, HOUR, now).unwrap();
        assert!(access.take_circuit(&holders[1], now));
        access.allow(late, 1, HOUR, now).unwrap();
        let most = limits::RELAY_PASS_CIRCUITS;
        assert_eq!(access.allow(late, most + 1, HOUR, now), Err(PassError::TooManyCircuits(most + 1)));
        assert_eq!(access.allow(late, 1, limits::RELAY_PASS_LONGEST * 2, now), Err(PassError::TooLong));
    }

    #[test]
    fn members_reserve_and_connect_until_they_are_gone_and_a_pass_reserves_nothing() {
        let (access, member, joiner) = (RelayAccess::default(), PeerId::random(), PeerId::random());
        access.set_admitted(member, true);
        access.allow(joiner, 1, HOUR).unwrap();
        let now = Instant::now();
        assert!(access.may_reserve(&member) && access.may_connect(&member, now) && access.may_connect(&member, now));
        assert!(!access.may_reserve(&joiner));
        access.set_admitted(member, false);
        assert!(!access.may_reserve(&member) && !access.may_connect(&member, now));
    }
}
