//! Connecting, listening, and what went wrong there.

use std::{io, num::NonZeroU8};

use libp2p::{
    Multiaddr, PeerId, TransportError, allow_block_list, connection_limits,
    core::transport::ListenerId,
    swarm::{
        ConnectionDenied, ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use tokio::time::Instant;

use super::{config::Reachability, driver::Driver, stagger::SomebodyElse};
use crate::{
    addresses,
    event::{CommandId, Event, Failure, FailureCode, Outcome},
    limits,
};

/// A dial that the owner asked for.
pub(super) struct PendingDial {
    pub id: CommandId,
    pub expected: Option<PeerId>,
    /// In the order in which they are tried.
    pub addresses: Vec<Multiaddr>,
}

/// A request to listen that waits for its first addresses.
pub(super) struct PendingListen {
    pub id: CommandId,
    pub waiting: Vec<(ListenerId, Multiaddr)>,
}

impl Driver {
    pub(super) fn listen(&mut self, id: CommandId, addresses: Vec<Multiaddr>) {
        if let Some(relayed) = addresses.iter().find(|address| addresses::is_relayed(address)) {
            let failure = listen_failure(relayed, "it leads through a relay: reserve a place there instead");
            return self.fail(id, failure);
        }
        let mut waiting = Vec::new();
        for address in addresses {
            match self.swarm.listen_on(address.clone()) {
                Ok(listener) => waiting.push((listener, address)),
                Err(error) => {
                    for (listener, _) in waiting {
                        self.swarm.remove_listener(listener);
                    }
                    self.fail(id, listen_failure(&address, &transport_text(&error)));
                    return;
                }
            }
        }
        for address in self.config.announce.clone() {
            self.state_address(address);
        }
        self.reconsider();
        self.listens.push(PendingListen { id, waiting });
        self.settle_listens_soon();
    }

    /// A listener on every interface names its addresses one after the other: each postpones the result a little.
    fn settle_listens_soon(&mut self) {
        self.listens_settle_at = Some(Instant::now() + limits::LISTEN_QUIET);
    }

    pub(super) fn on_listen_address(&mut self, listener: ListenerId, address: Multiaddr) {
        let address = addresses::split_peer(address).0;
        if !self.may_be_reached_at(listener, &address) {
            return;
        }
        if !self.listening.entry(listener).or_default().insert(address.clone()) {
            // A reservation names its addresses anew with each renewal.
            return;
        }
        if self.config.reachability == Reachability::Public && !addresses::is_relayed(&address) {
            self.state_address(address);
        }
        for listen in &mut self.listens {
            listen.waiting.retain(|(waiting, _)| *waiting != listener);
        }
        self.settle_listens_soon();
        self.tell_addresses();
    }

    pub(super) fn on_expired_address(&mut self, listener: ListenerId, address: &Multiaddr) {
        let address = &addresses::split_peer(address.clone()).0;
        if self.config.reachability == Reachability::Public && !addresses::is_relayed(address) {
            self.withdraw_address(address);
        }
        if let Some(known) = self.listening.get_mut(&listener) {
            known.remove(address);
        }
        self.close_stranded();
        self.tell_addresses();
    }

    pub(super) fn on_listener_closed(&mut self, listener: ListenerId, reason: &io::Result<()>) {
        self.listening.remove(&listener);
        if self.on_reservation_closed(listener, reason) {
            return self.tell_addresses();
        }
        let text = match reason {
            Ok(()) => "it was closed".to_owned(),
            Err(error) => error.to_string(),
        };
        let failed =
            self.listens.iter().position(|listen| listen.waiting.iter().any(|(waiting, _)| *waiting == listener));
        if let Some(position) = failed {
            let listen = self.listens.swap_remove(position);
            for (waiting, address) in &listen.waiting {
                if *waiting == listener {
                    self.fail(listen.id, listen_failure(address, &text));
                }
            }
        }
        self.tell_addresses();
    }

    /// Tells the owner and the segment where we listen.
    fn tell_addresses(&self) {
        if let Some(nearby) = &self.nearby {
            let all = self.listening.iter().flat_map(|(id, all)| all.iter().map(|address| (address.clone(), *id)));
            nearby.listens_on(all.filter(|(address, _)| !addresses::is_relayed(address)));
        }
        self.queue.push(Event::Addresses(self.addresses()));
    }

    pub(super) fn settle_listens(&mut self) {
        self.listens_settle_at = None;
        let addresses = self.addresses();
        let (ready, waiting) =
            std::mem::take(&mut self.listens).into_iter().partition(|listen| listen.waiting.is_empty());
        self.listens = waiting;
        for listen in ready {
            let listen: PendingListen = listen;
            self.done(listen.id, Outcome::Addresses(addresses.clone()));
        }
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        let mut all: Vec<Multiaddr> = self.listening.values().flatten().cloned().collect();
        all.extend(self.config.announce.iter().cloned());
        all.sort_by_key(ToString::to_string);
        all.dedup();
        all
    }

    /// Dials the addresses in their order, each a little after the one before (see `stagger`), those through relays last.
    pub(super) fn dial(&mut self, id: CommandId, peer: Option<PeerId>, addresses: Vec<Multiaddr>) {
        if let Some(failure) = self.may_not_dial(peer, &addresses) {
            return self.fail(id, failure);
        }
        let (relayed, direct): (Vec<_>, Vec<_>) = addresses.into_iter().partition(addresses::is_relayed);
        let addresses = [direct, relayed].concat();
        let options = match peer {
            Some(peer) => DialOpts::peer_id(peer)
                .override_dial_concurrency_factor(NonZeroU8::MAX)
                .condition(PeerCondition::Always)
                .addresses(addresses.clone())
                .build(),
            None => DialOpts::unknown_peer_id().address(addresses[0].clone()).build(),
        };
        let connection = options.connection_id();
        let pending = PendingDial { id, expected: peer, addresses };
        match self.stagger.around(|| self.swarm.dial(options)) {
            Ok(()) => {
                self.dials.insert(connection, pending);
            }
            Err(error) => self.fail(id, self.dial_failure(&error, &pending)),
        }
    }

    fn may_not_dial(&self, peer: Option<PeerId>, addresses: &[Multiaddr]) -> Option<Failure> {
        if peer == Some(*self.swarm.local_peer_id()) {
            return Some(own_address(addresses.first()));
        }
        let why = match peer {
            _ if addresses.is_empty() => "no address is known for this peer".to_owned(),
            _ if addresses.len() > limits::ADDRESSES_PER_DIAL => {
                format!("these are {}, and at most {} are tried", addresses.len(), limits::ADDRESSES_PER_DIAL)
            }
            None if addresses.len() > 1 => "of several addresses it must be known whom they lead to".to_owned(),
            None if addresses::is_relayed(&addresses[0]) => {
                "it leads through a relay, and does not say to whom: end it with /p2p/<peer id>".to_owned()
            }
            _ => return None,
        };
        Some(Failure::new(FailureCode::Unreachable, why))
    }

    pub(super) fn on_dialled(&mut self, connection: ConnectionId, peer: PeerId) {
        if let Some(dial) = self.dials.remove(&connection) {
            self.done(dial.id, Outcome::Peer(peer));
        }
    }

    pub(super) fn on_dial_error(&mut self, connection: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        if let Some(relay) = peer.filter(|peer| !self.connections.values().any(|known| known.peer == *peer)) {
            self.on_relay_dial_failed(relay, error);
        }
        if let Some(dial) = self.dials.remove(&connection) {
            self.fail(dial.id, self.dial_failure(error, &dial));
        }
    }

    fn dial_failure(&self, error: &DialError, dial: &PendingDial) -> Failure {
        match error {
            DialError::LocalPeerId { address } => own_address(Some(address)),
            DialError::WrongPeerId { obtained, address } => wrong_peer(address, dial.expected, *obtained),
            DialError::Denied { cause } => denied(cause),
            DialError::Transport(attempts) => self.unreachable(attempts, dial),
            DialError::NoAddresses => self.unreachable(&[], dial),
            other => Failure::new(FailureCode::Unreachable, other.to_string()),
        }
    }

    /// Why no address led to the peer, each with its own reason.
    fn unreachable(&self, attempts: &[Attempt], dial: &PendingDial) -> Failure {
        let mut details = Vec::new();
        for address in &dial.addresses {
            let attempt = attempts.iter().find(|(tried, _)| addresses::split_peer(tried.clone()).0 == *address);
            let why = match attempt.map(|(_, error)| (error, somebody_else(error))) {
                None => "this node itself listens there".into(),
                Some((_, Some(found))) if found != *self.swarm.local_peer_id() => {
                    return wrong_peer(address, dial.expected, found);
                }
                Some((_, Some(_))) if dial.addresses.len() == 1 => return own_address(Some(address)),
                Some((_, Some(_))) => "this node itself answers there".into(),
                Some((error, None)) => transport_text(error),
            };
            details.push((address.to_string(), why));
        }
        Failure { code: FailureCode::Unreachable, message: "no address answered".into(), details }
    }
}

/// An address that was tried, and what went wrong.
type Attempt = (Multiaddr, TransportError<io::Error>);

fn listen_failure(address: &Multiaddr, why: &str) -> Failure {
    Failure {
        code: FailureCode::Listen,
        message: format!("cannot listen on {address}: {why}"),
        details: vec![(address.to_string(), why.to_owned())],
    }
}

fn own_address(address: Option<&Multiaddr>) -> Failure {
    let address = address.map(ToString::to_string).unwrap_or_default();
    Failure {
        code: FailureCode::InvalidAddress,
        message: "the address is this node's own".into(),
        details: vec![(address, "this node itself answers there".into())],
    }
}

/// Who answered instead of the peer that was dialled.
fn somebody_else(error: &TransportError<io::Error>) -> Option<PeerId> {
    let TransportError::Other(error) = error else { return None };
    let mut error = error;
    loop {
        let inner = error.get_ref()?;
        if let Some(SomebodyElse(found)) = inner.downcast_ref() {
            return Some(*found);
        }
        error = inner.downcast_ref()?;
    }
}

fn wrong_peer(address: &Multiaddr, expected: Option<PeerId>, found: PeerId) -> Failure {
    Failure {
        code: FailureCode::WrongPeer,
        message: format!("{found} answered"),
        details: vec![
            ("address".into(), address.to_string()),
            ("expected".into(), expected.map(|peer| peer.to_string()).unwrap_or_default()),
            ("found".into(), found.to_string()),
        ],
    }
}

fn denied(cause: &ConnectionDenied) -> Failure {
    if let Some(exceeded) = cause.downcast_ref::<connection_limits::Exceeded>() {
        if exceeded.limit() == limits::PENDING_OUTBOUND {
            let text = format!("{} dials are under way at this node already", exceeded.limit());
            return Failure::new(FailureCode::Unreachable, text);
        }
        return Failure {
            code: FailureCode::Limit,
            message: exceeded.to_string(),
            details: vec![("limit".into(), exceeded.limit().to_string())],
        };
    }
    if cause.downcast_ref::<allow_block_list::Blocked>().is_some() {
        return Failure::new(FailureCode::Blocked, "the peer is blocked here");
    }
    Failure::new(FailureCode::Unreachable, cause.to_string())
}

/// What went wrong with a dial, at each address, in one line.
pub(super) fn in_words(error: &DialError) -> String {
    match error {
        DialError::Denied { cause } => denied(cause).message,
        DialError::WrongPeerId { obtained, .. } => SomebodyElse(*obtained).to_string(),
        DialError::Transport(attempts) => {
            let each = attempts.iter().map(|(address, error)| format!("{address}: {}", transport_text(error)));
            each.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}

/// The innermost cause, which is the one that a person can act on ("Connection refused (os error 111)").
pub(super) fn transport_text(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => "this kind of address cannot be used here".into(),
        TransportError::Other(error) => innermost(error),
    }
}

pub(super) fn innermost(error: &io::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Whether what carried a connection broke off under it. Noise and yamux show nothing but a text of that.
pub(super) fn is_cut(error: &io::Error) -> bool {
    let text = innermost(error);
    ["unexpected end of file", "connection is closed"].iter().any(|end| text.ends_with(end))
}
