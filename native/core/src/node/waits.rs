//! What waits until a relay serves us: reservations, and addresses of dials whose turn it is.
//!
//! A relay offers its hop protocol only to whom it serves, which is after the join, or at once to a stranger with a pass;
//! what needs it waits until identify has shown it.

use std::collections::HashSet;

use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::{ConnectionId, DialError, dial_opts::DialOpts},
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    dials,
    driver::Driver,
    relays::{Reservation, relay_of},
    stagger::RelayWanted,
};
use crate::{
    addresses,
    event::{CommandId, Failure, FailureCode},
    limits,
};

/// What waits for a relay to offer its service.
pub(super) struct Waiting {
    pub relay: PeerId,
    at: Multiaddr,
    /// Whom a dial leads to.
    target: Option<PeerId>,
    /// The relay is dialled for it, or connected. A dial has some relays at a time, the others wait their turn.
    begun: bool,
    until: Instant,
    work: ThroughRelay,
}

/// What is done once the relay serves us.
pub(super) enum ThroughRelay {
    Reserve {
        id: CommandId,
        at: Multiaddr,
    },
    /// The address of a dial whose turn it is.
    Dial(oneshot::Sender<Result<(), String>>),
}

impl Waiting {
    pub fn reserves(&self) -> bool {
        matches!(self.work, ThroughRelay::Reserve { .. })
    }

    /// Its dial has ended without it.
    fn is_needless(&self) -> bool {
        matches!(&self.work, ThroughRelay::Dial(ready) if ready.is_closed())
    }
}

impl Driver {
    /// An address that leads through a relay has its turn.
    pub(super) fn on_relay_wanted(&mut self, RelayWanted { address, ready }: RelayWanted) {
        let why = match relay_of(&address) {
            _ if !self.config.relay_client => "it leads through a relay, and relay_client is off",
            Some((relay, at)) => {
                let target = addresses::split_peer(address).1;
                return self.when_served(relay, &at, target, ThroughRelay::Dial(ready));
            }
            None => "it leads through a relay, and does not say which: /p2p/<relay> stands before /p2p-circuit",
        };
        // Nobody listens any more where another address has connected meanwhile.
        let _ = ready.send(Err(why.into()));
    }

    /// Does it now if the relay serves us, and otherwise connects to the relay and waits.
    pub(super) fn when_served(&mut self, relay: PeerId, at: &Multiaddr, target: Option<PeerId>, work: ThroughRelay) {
        if self.serving.values().any(|serving| *serving == relay) {
            return self.go_through(relay, work);
        }
        self.waiting.retain(|one| !one.is_needless());
        if self.waiting.len() >= limits::WAITING_FOR_RELAYS {
            let why = format!("{} others wait for relays already", limits::WAITING_FOR_RELAYS);
            return self.cannot_go_through(relay, work, &why);
        }
        let until = Instant::now() + limits::RELAY_READY_DEADLINE;
        self.waiting.push(Waiting { relay, at: at.clone(), target, begun: false, until, work });
        self.begin_waits();
    }

    /// Dials the relays of all waits whose turn it is.
    pub(super) fn begin_waits(&mut self) {
        self.waiting.retain(|one| !one.is_needless());
        while let Some(next) = self.waiting.iter().position(|one| !one.begun && self.has_its_turn(one)) {
            self.waiting[next].begun = true;
            self.dial_relay(self.waiting[next].relay);
        }
    }

    fn has_its_turn(&self, next: &Waiting) -> bool {
        let same_dial = |one: &&Waiting| next.target.is_some() && one.target == next.target && one.begun;
        let relays: HashSet<_> = self.waiting.iter().filter(same_dial).map(|one| one.relay).collect();
        relays.contains(&next.relay) || relays.len() < limits::RELAYS_PER_DIAL
    }

    /// Connects to a relay that is waited for, unless it is connected or being dialled. A connection that is being left is
    /// none any more: once it has closed, the relay is dialled.
    pub(super) fn dial_relay(&mut self, relay: PeerId) {
        let begun = self.waiting.iter().filter(|one| one.relay == relay && one.begun);
        let addresses: HashSet<_> = begun.map(|one| one.at.clone()).collect();
        if addresses.is_empty() {
            return;
        }
        match self.swarm.dial(DialOpts::peer_id(relay).addresses(addresses.into_iter().collect()).build()) {
            // It is connected or being dialled: then it is only a matter of time.
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => self.carry_ours(relay),
            Err(error) => self.give_up_relay(relay, &dials::in_words(&error)),
        }
    }

    fn go_through(&mut self, relay: PeerId, work: ThroughRelay) {
        match work {
            ThroughRelay::Dial(ready) => {
                // Nobody listens any more where another address has connected meanwhile.
                let _ = ready.send(Ok(()));
            }
            ThroughRelay::Reserve { id, at } => {
                let address = at.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit);
                match self.swarm.listen_on(address.clone()) {
                    Ok(listener) => {
                        self.reservations.push(Reservation::asked(id, listener, relay, address));
                    }
                    Err(error) => self.fail(id, Failure::new(FailureCode::Relay, dials::transport_text(&error))),
                }
            }
        }
    }

    fn cannot_go_through(&self, relay: PeerId, work: ThroughRelay, why: &str) {
        let text = format!("the relay {relay} cannot be used: {why}");
        match work {
            ThroughRelay::Dial(ready) => {
                let _ = ready.send(Err(text));
            }
            ThroughRelay::Reserve { id, .. } => {
                let mut failure = Failure::new(FailureCode::Relay, text);
                failure.details = vec![(relay.to_string(), why.to_owned())];
                self.fail(id, failure);
            }
        }
    }

    /// What identify shows of a connection's other end: whether it is a relay that serves us there.
    pub(super) fn on_protocols(&mut self, connection: ConnectionId, peer: PeerId, serves: bool) {
        // It may have closed since it said so, or be about to.
        if !serves || self.connections.get(&connection).is_none_or(|known| known.leaving) {
            self.serving.remove(&connection);
            return;
        }
        self.serving.insert(connection, peer);
        let (ready, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|one| one.relay == peer);
        self.waiting = waiting;
        for Waiting { relay, work, .. } in ready {
            self.go_through(relay, work);
        }
        self.begin_waits();
    }

    /// A relay that is waited for cannot be had.
    pub(super) fn give_up_relay(&mut self, relay: PeerId, why: &str) {
        self.give_up(|one| one.relay == relay, why);
    }

    /// A dial to a relay has failed, perhaps somebody else's to an address that nobody waits for: the other ones are tried.
    pub(super) fn on_relay_dial_failed(&mut self, relay: PeerId, error: &DialError) {
        let was_tried = |at: &Multiaddr| match error {
            DialError::Transport(tried) => tried.iter().any(|(address, _)| is_same(address, at)),
            DialError::WrongPeerId { address, .. } => is_same(address, at),
            _ => true,
        };
        self.give_up(|one| one.relay == relay && one.begun && was_tried(&one.at), &dials::in_words(error));
        self.dial_relay(relay);
        self.begin_waits();
    }

    pub(super) fn give_up(&mut self, which: impl Fn(&Waiting) -> bool, why: &str) {
        let (lost, waiting): (Vec<_>, _) = std::mem::take(&mut self.waiting).into_iter().partition(which);
        self.waiting = waiting;
        for Waiting { relay, work, .. } in lost {
            self.cannot_go_through(relay, work, why);
        }
    }

    /// When the next of what waits has waited long enough.
    pub(super) fn waiting_until(&self) -> Option<Instant> {
        self.waiting.iter().map(|one| one.until).min()
    }

    pub(super) fn end_waits(&mut self) {
        let now = Instant::now();
        self.give_up(|one| one.until <= now, "it did not offer its service in time: it is no relay, or not for us");
        self.begin_waits();
    }
}

/// Whether two are one address, with a peer's id behind it or not.
fn is_same(one: &Multiaddr, other: &Multiaddr) -> bool {
    addresses::split_peer(one.clone()).0 == addresses::split_peer(other.clone()).0
}
