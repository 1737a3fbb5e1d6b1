//! Relays: places that we reserve at others, circuits that we dial, passes for our own.
//!
//! A reservation is libp2p's listener on a circuit address; it renews itself until its connection closes. It is dropped by
//! closing that connection: libp2p panics on an answer that comes after the listener is gone, and when it asks to renew is
//! the relay's to say.

use std::{io, sync::atomic::Ordering, time::Duration};

use libp2p::{Multiaddr, PeerId, core::transport::ListenerId, relay, swarm::ConnectionId};
use tokio::time::Instant;

use super::{CommandError, Node, commands::Work, dials, driver::Driver, waits::ThroughRelay};
use crate::{
    addresses,
    event::{CommandId, Event, Failure, FailureCode, Outcome, ReservationState},
    gate::Phase,
    limits,
};

impl Node {
    /// Reserves a place at a relay, so that others reach us through it. Connects to it if need be; renewed by itself. The
    /// result has the address to be reached at, or says why the relay does not want to.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn reserve(&self, relay: PeerId, address: Multiaddr) -> Result<CommandId, CommandError> {
        self.ask(Work::Reserve { relay, address })
    }

    /// Gives a reservation back, and closes the connection to the relay with it.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn drop_reservation(&self, relay: PeerId) -> Result<CommandId, CommandError> {
        self.ask(Work::DropReservation(relay))
    }

    /// Lets a stranger open so many circuits through our relay, for so long, in place of what it was allowed before; none
    /// takes its pass away.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn allow_relay(&self, peer: PeerId, circuits: u32, lasts: Duration) -> Result<CommandId, CommandError> {
        self.ask(Work::AllowRelay { peer, circuits, lasts })
    }
}

/// A place that we have asked for at a relay.
pub(super) struct Reservation {
    listener: ListenerId,
    relay: PeerId,
    /// The address through the relay.
    address: Multiaddr,
    /// The command that waits for the relay's answer.
    asked: Option<CommandId>,
    /// When the relay accepted or renewed it last.
    since: Instant,
    /// Why we do not want it any more.
    dropped: Option<&'static str>,
}

impl Reservation {
    /// One that the relay has been asked for by a command.
    pub fn asked(id: CommandId, listener: ListenerId, relay: PeerId, address: Multiaddr) -> Self {
        Self { listener, relay, address, asked: Some(id), since: Instant::now(), dropped: None }
    }
}

/// The relay of an address that leads through one, and where it is.
pub(super) fn relay_of(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let (address, relay) = addresses::split_relay(address)?;
    Some((relay?, address))
}

/// Whether a relay asks for renewals at a rate that no honest one does.
fn is_hasty(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) < limits::RENEWAL_LEAST
}

impl Driver {
    pub(super) fn reserve(&mut self, id: CommandId, relay: PeerId, address: Multiaddr) {
        match self.may_reserve(relay, &address) {
            Ok(()) => self.when_served(relay, &address.clone(), None, ThroughRelay::Reserve { id, at: address }),
            Err(why) => self.fail(id, Failure::new(FailureCode::Relay, why)),
        }
    }

    fn may_reserve(&self, relay: PeerId, address: &Multiaddr) -> Result<(), String> {
        if !self.config.relay_client {
            return Err("this node uses no relays: relay_client is off".into());
        }
        if relay == *self.swarm.local_peer_id() {
            return Err("a node is no relay for itself".into());
        }
        if addresses::is_relayed(address) || address.is_empty() {
            return Err("a relay is reached at an address of its own: give that, with no relay in it".into());
        }
        let asking = self.waiting.iter().filter(|one| one.reserves()).map(|one| one.relay);
        let known: Vec<_> = self.reservations.iter().map(|one| one.relay).chain(asking).collect();
        if known.contains(&relay) {
            return Err("there is a reservation at this relay, or it has been asked for one".into());
        }
        if known.len() >= limits::RESERVATIONS {
            return Err(format!("there are {} reservations already: drop one first", limits::RESERVATIONS));
        }
        Ok(())
    }

    pub(super) fn drop_reservation(&mut self, id: CommandId, relay: PeerId) {
        if let Some(known) = self.reservations.iter_mut().find(|known| known.relay == relay) {
            known.dropped = Some("it was dropped here");
            self.close_direct(relay);
        }
        self.give_up(|one| one.relay == relay && one.reserves(), "the reservation was dropped");
        self.done(id, Outcome::Nothing);
    }

    fn close_direct(&mut self, peer: PeerId) {
        for (id, known) in &mut self.connections {
            if known.peer == peer && !known.path.relayed {
                known.leaving = true;
                self.serving.remove(id);
                self.swarm.close_connection(*id);
            }
        }
    }

    pub(super) fn on_relay_client(&mut self, event: &relay::client::Event) {
        let relay::client::Event::ReservationReqAccepted { relay_peer_id: relay, renewal, .. } = event else {
            return;
        };
        let Some(known) = self.reservations.iter_mut().find(|known| known.relay == *relay) else {
            return;
        };
        let state = if let Some(id) = known.asked.take_if(|_| known.dropped.is_none()) {
            let result = Ok(Outcome::Addresses(vec![known.address.clone()]));
            self.queue.push(Event::Done { id, result });
            ReservationState::Accepted
        } else if *renewal {
            if is_hasty(known.since, Instant::now()) {
                known.dropped = Some("the relay would have it renewed without a pause");
            }
            ReservationState::Renewed
        } else {
            ReservationState::Accepted
        };
        known.since = Instant::now();
        if known.dropped.is_some() {
            return self.close_direct(*relay);
        }
        self.queue.push(Event::Reservation { relay: *relay, state, reason: String::new() });
    }

    /// Whether an address is one to be reached at, where a relay gives it with a place: a relay that says that it is
    /// somebody else, or everywhere, gets it back.
    pub(super) fn may_be_reached_at(&mut self, listener: ListenerId, address: &Multiaddr) -> bool {
        let Some(known) = self.reservations.iter_mut().find(|known| known.listener == listener) else {
            return true;
        };
        let told = self.listening.get(&listener);
        if relay_of(address).is_none_or(|(relay, _)| relay != known.relay) {
            known.dropped = Some("the relay gave the address of another one as its own");
        } else if told.is_some_and(|told| told.len() >= limits::ADDRESSES_PER_PEER && !told.contains(address)) {
            known.dropped = Some("the relay says that it is at more addresses than any has");
        }
        let (relay, is_dropped) = (known.relay, known.dropped.is_some());
        if is_dropped {
            self.close_direct(relay);
        }
        !is_dropped
    }

    /// Whether the listener that closed was a reservation.
    pub(super) fn on_reservation_closed(&mut self, listener: ListenerId, reason: &io::Result<()>) -> bool {
        let Some(position) = self.reservations.iter().position(|known| known.listener == listener) else {
            return false;
        };
        let known = self.reservations.swap_remove(position);
        let why = match reason {
            _ if known.dropped.is_some() => known.dropped.unwrap_or_default().to_owned(),
            Ok(()) => "the connection to the relay has ended".to_owned(),
            Err(error) => dials::innermost(error),
        };
        match known.asked {
            Some(id) => {
                let text = format!("the relay {} has no place for us: {why}", known.relay);
                self.fail(id, Failure::new(FailureCode::Relay, text));
            }
            None => {
                self.queue.push(Event::Reservation { relay: known.relay, state: ReservationState::Lost, reason: why })
            }
        }
        true
    }

    /// What goes through our relay, for the owner's statistics.
    pub(super) fn on_relay(&self, event: &relay::Event) {
        let circuits = &self.gauges.relay_circuits;
        match event {
            relay::Event::CircuitReqAccepted { .. } => circuits.fetch_add(1, Ordering::Relaxed),
            relay::Event::CircuitClosed { .. } => circuits.fetch_sub(1, Ordering::Relaxed),
            relay::Event::CircuitReqDenied { .. } | relay::Event::ReservationReqDenied { .. } => {
                self.gauges.relay_denied.fetch_add(1, Ordering::Relaxed)
            }
            _ => 0,
        };
    }

    pub(super) fn allow_relay(&mut self, id: CommandId, peer: PeerId, circuits: u32, lasts: Duration) {
        if self.swarm.behaviour().relay.inner().as_ref().is_none() {
            let text = "this node is no relay: relay_server is off, or it is private";
            return self.fail(id, Failure::new(FailureCode::Relay, text));
        }
        match self.relay_access.allow(peer, circuits, lasts) {
            Ok(()) => {
                let stranger = self.connections.iter().find(|(_, known)| known.peer == peer && !known.admitted);
                if let Some(connection) = stranger.map(|(id, _)| *id) {
                    self.let_pass(connection, peer);
                }
                self.done(id, Outcome::Nothing);
            }
            Err(error) => self.fail(id, Failure::new(FailureCode::Limit, error.to_string())),
        }
    }

    /// A stranger with a pass may use our relay on one connection, which is given time for it.
    pub(super) fn let_pass(&mut self, connection: ConnectionId, peer: PeerId) {
        let carries = self.connections.values().any(|known| known.peer == peer && known.carries);
        if carries || !self.relay_access.holds_pass(&peer) {
            return;
        }
        if let Some(known) = self.connections.get_mut(&connection) {
            known.carries = true;
        }
        let behaviour = self.swarm.behaviour_mut();
        // It is open already where the pass was there before the connection; either may have closed in between.
        let _ = behaviour.relay.set_phase(connection, Phase::Open);
        let _ = behaviour.join.carry(connection);
    }

    /// Leaves the connections to a relay by which we join others the time for it.
    pub(super) fn carry_ours(&mut self, relay: PeerId) {
        let through = |known: &&super::driver::Connection| known.path.relay == Some(relay);
        let used = self.waiting.iter().any(|one| one.relay == relay)
            || self.reservations.iter().any(|one| one.relay == relay)
            || self.connections.values().any(|known| through(&known));
        if !used {
            return;
        }
        for (id, _) in self.connections.iter().filter(|(_, known)| known.peer == relay && !known.admitted) {
            // It may have closed, or joined, in between.
            let _ = self.swarm.behaviour_mut().join.carry(*id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_wants_renewals_without_a_pause_is_hasty_and_an_hourly_one_is_not() {
        let last = Instant::now();
        assert!(is_hasty(last, last + Duration::from_secs(1)));
        assert!(!is_hasty(last, last + limits::RELAY_RESERVATION_DURATION * 3 / 4));
    }
}
