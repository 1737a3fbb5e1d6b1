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

use super::{config::Reachability, driver::Driver};
use crate::{
    addresses,
    event::{CommandId, Event, Failure, FailureCode, Outcome},
    limits,
};

/// A dial that the owner asked for.
pub(super) struct PendingDial {
    pub id: CommandId,
    pub expected: Option<PeerId>,
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
        self.queue.push(Event::Addresses(self.addresses()));
    }

    pub(super) fn on_expired_address(&mut self, listener: ListenerId, address: &Multiaddr) {
        let address = &addresses::split_peer(address.clone()).0;
        if self.config.reachability == Reachability::Public && !addresses::is_relayed(address) {
            self.withdraw_address(address);
        }
        if let Some(known) = self.listening.get_mut(&listener) {
            known.remove(address);
        }
        self.queue.push(Event::Addresses(self.addresses()));
    }

    pub(super) fn on_listener_closed(&mut self, listener: ListenerId, reason: &io::Result<()>) {
        self.listening.remove(&listener);
        if self.on_reservation_closed(listener, reason) {
            return self.queue.push(Event::Addresses(self.addresses()));
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

    pub(super) fn dial(&mut self, id: CommandId, peer: Option<PeerId>, addresses: Vec<Multiaddr>) {
        if peer == Some(*self.swarm.local_peer_id()) {
            let failure = own_address(addresses.first());
            self.fail(id, failure);
            return;
        }
        if !addresses.is_empty() && addresses.iter().all(addresses::is_relayed) {
            return self.dial_through(id, peer, addresses);
        }
        self.dial_now(id, peer, addresses);
    }

    /// Dials one address after the other, in their order.
    pub(super) fn dial_now(&mut self, id: CommandId, peer: Option<PeerId>, addresses: Vec<Multiaddr>) {
        let options = match (peer, addresses.first()) {
            (Some(peer), Some(_)) => DialOpts::peer_id(peer)
                .override_dial_concurrency_factor(NonZeroU8::MIN)
                .condition(PeerCondition::Always)
                .addresses(addresses)
                .build(),
            (None, Some(first)) => DialOpts::unknown_peer_id().address(first.clone()).build(),
            (_, None) => {
                let text = "no address is known for this peer";
                self.fail(id, Failure::new(FailureCode::Unreachable, text));
                return;
            }
        };
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                let pending = PendingDial { id, expected: peer };
                self.dials.insert(connection, pending);
            }
            Err(error) => self.fail(id, dial_failure(&error, peer)),
        }
    }

    pub(super) fn on_dialled(&mut self, connection: ConnectionId, peer: PeerId) {
        if let Some(dial) = self.dials.remove(&connection) {
            self.done(dial.id, Outcome::Peer(peer));
        }
    }

    pub(super) fn on_dial_error(&mut self, connection: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        if let Some(relay) = peer.filter(|peer| !self.connections.values().any(|known| known.peer == *peer)) {
            self.give_up_relay(relay, &in_words(error));
        }
        if let Some(dial) = self.dials.remove(&connection) {
            self.fail(dial.id, dial_failure(error, dial.expected));
        }
    }
}

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

fn dial_failure(error: &DialError, expected: Option<PeerId>) -> Failure {
    match error {
        DialError::LocalPeerId { address } => own_address(Some(address)),
        DialError::WrongPeerId { obtained, address } => Failure {
            code: FailureCode::WrongPeer,
            message: format!("{obtained} answered"),
            details: vec![
                ("address".into(), address.to_string()),
                ("expected".into(), expected.map(|peer| peer.to_string()).unwrap_or_default()),
                ("found".into(), obtained.to_string()),
            ],
        },
        DialError::Denied { cause } => denied(cause),
        DialError::Transport(attempts) => Failure {
            code: FailureCode::Unreachable,
            message: "no address answered".into(),
            details: attempts.iter().map(|(address, error)| (address.to_string(), transport_text(error))).collect(),
        },
        other => Failure::new(FailureCode::Unreachable, other.to_string()),
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
    let failure = dial_failure(error, None);
    let each: Vec<_> = failure.details.iter().map(|(address, why)| format!("{address}: {why}")).collect();
    if each.is_empty() { failure.message } else { each.join("; ") }
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
