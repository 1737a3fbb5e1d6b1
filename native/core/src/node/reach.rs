//! Where others can reach us: which addresses are confirmed, by whom, and what follows for Kademlia and our relay.
//!
//! Both serve only who can be reached, and libp2p would let an address through a relay count as one: here it does not. A
//! node that was told it is public is so from its first listen address on; one that was told it is private never is.

use libp2p::{Multiaddr, autonat, kad, relay, upnp};

use super::{config::Reachability, driver::Driver};
use crate::{
    addresses,
    event::{AddressSource, AddressState, Event, Reached},
    limits,
};

/// What is known of our own addresses.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Confirmed addresses and who confirmed them, oldest first.
    confirmed: Vec<(Multiaddr, AddressSource)>,
    /// Those of them that a peer has failed to reach since.
    doubted: Vec<Multiaddr>,
    /// Some peer has tried to reach us, in vain.
    refuted: bool,
    /// What the owner was told last.
    told: Option<Reached>,
}

impl Reach {
    fn is_direct(&self) -> bool {
        self.confirmed.iter().any(|(address, _)| !addresses::is_relayed(address))
    }

    pub(super) fn reached(&self, setting: Reachability) -> Reached {
        match setting {
            Reachability::Private => Reached::Private,
            _ if self.is_direct() => Reached::Public,
            Reachability::Auto if self.refuted => Reached::Private,
            _ => Reached::Unknown,
        }
    }

    /// Notes a confirmation; whether it is new, and which address gave way.
    fn confirm(&mut self, address: Multiaddr, source: AddressSource) -> (bool, Option<(Multiaddr, AddressSource)>) {
        self.doubted.retain(|doubted| *doubted != address);
        if self.confirmed.iter().any(|(known, _)| *known == address) {
            return (false, None);
        }
        self.confirmed.push((address, source));
        let full = self.confirmed.len() > limits::EXTERNAL_ADDRESSES;
        (true, full.then(|| self.confirmed.remove(0)))
    }

    fn expire(&mut self, address: &Multiaddr) -> Option<AddressSource> {
        self.doubted.retain(|doubted| doubted != address);
        let position = self.confirmed.iter().position(|(known, _)| known == address)?;
        Some(self.confirmed.remove(position).1)
    }
}

/// What a failed test means for an address.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    /// It was confirmed by such a test before: another one decides.
    Doubted,
    /// It was in doubt already, and counts no more.
    Expired,
    /// No test has confirmed it.
    Unreachable,
}

impl Reach {
    fn fail(&mut self, address: &Multiaddr) -> Failed {
        if !self.confirmed.iter().any(|(known, source)| known == address && *source == AddressSource::Autonat) {
            return Failed::Unreachable;
        }
        if !self.doubted.contains(address) {
            self.doubted.push(address.clone());
            return Failed::Doubted;
        }
        self.expire(address);
        Failed::Expired
    }

    /// Takes out what was found out: not the operator's word, and not reservations, which end by themselves.
    fn forget(&mut self) -> Vec<(Multiaddr, AddressSource)> {
        self.refuted = false;
        self.doubted.clear();
        let found_out = |source: AddressSource| matches!(source, AddressSource::Autonat | AddressSource::Upnp);
        let (gone, kept) = std::mem::take(&mut self.confirmed).into_iter().partition(|(_, source)| found_out(*source));
        self.confirmed = kept;
        gone
    }
}

impl Driver {
    /// An address that the operator states.
    pub(super) fn state_address(&mut self, address: Multiaddr) {
        self.swarm.add_external_address(address.clone());
        self.on_confirmed(address, AddressSource::Announced);
    }

    /// A stated address that we do not listen on any more.
    pub(super) fn withdraw_address(&mut self, address: &Multiaddr) {
        self.swarm.remove_external_address(address);
        self.on_address_expired(address);
    }

    pub(super) fn on_confirmed(&mut self, address: Multiaddr, source: AddressSource) {
        let address = addresses::split_peer(address).0;
        let (is_new, gave_way) = self.reach.confirm(address.clone(), source);
        if let Some((oldest, source)) = gave_way {
            self.swarm.remove_external_address(&oldest);
            self.tell_address(oldest, source, AddressState::Expired, "too many are known".into());
        }
        if is_new {
            self.tell_address(address, source, AddressState::Confirmed, String::new());
        }
        self.reconsider();
    }

    pub(super) fn on_address_expired(&mut self, address: &Multiaddr) {
        let address = addresses::split_peer(address.clone()).0;
        if let Some(source) = self.reach.expire(&address) {
            self.tell_address(address, source, AddressState::Expired, String::new());
            self.reconsider();
        }
    }

    fn tell_address(&self, address: Multiaddr, source: AddressSource, state: AddressState, detail: String) {
        self.queue.push(Event::ExternalAddress { address, source, state, detail });
    }

    /// Tells the owner, Kademlia and our relay what follows from what is known.
    pub(super) fn reconsider(&mut self) {
        let reached = self.reach.reached(self.config.reachability);
        if self.reach.told.replace(reached) == Some(reached) {
            return;
        }
        let serves = reached == Reached::Public;
        let behaviour = self.swarm.behaviour_mut();
        if let Some(kademlia) = behaviour.gate.inner_mut().kademlia.as_mut() {
            kademlia.set_mode(Some(if serves { kad::Mode::Server } else { kad::Mode::Client }));
        }
        if let Some(relay) = behaviour.relay.inner_mut().as_mut() {
            relay.set_status(Some(if serves { relay::Status::Enable } else { relay::Status::Disable }));
        }
        self.queue.push(Event::Reachability(reached));
    }

    pub(super) fn on_autonat(&mut self, event: autonat::v2::client::Event) {
        let autonat::v2::client::Event { tested_addr, server, result, .. } = event;
        match result {
            Ok(()) => self.on_confirmed(tested_addr, AddressSource::Autonat),
            Err(error) => {
                let detail = format!("{server} could not reach it: {error}");
                self.on_unreachable(addresses::split_peer(tested_addr).0, detail);
            }
        }
        if self.retest_at.is_none() {
            self.retest_later();
        }
    }

    fn on_unreachable(&mut self, address: Multiaddr, detail: String) {
        let state = match self.reach.fail(&address) {
            Failed::Doubted => return self.retest_soon(),
            Failed::Expired => {
                self.swarm.remove_external_address(&address);
                AddressState::Expired
            }
            Failed::Unreachable => AddressState::Unreachable,
        };
        self.reach.refuted = true;
        self.tell_address(address, AddressSource::Autonat, state, detail);
        self.reconsider();
    }

    /// What was found out of our addresses was of another network.
    pub(super) fn forget_findings(&mut self) {
        for (address, source) in self.reach.forget() {
            self.swarm.remove_external_address(&address);
            self.tell_address(address, source, AddressState::Expired, "the network has changed".into());
        }
        self.reconsider();
    }

    pub(super) fn on_upnp(&mut self, event: upnp::Event) {
        let (state, detail) = match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => {
                return self.on_confirmed(external_addr, AddressSource::Upnp);
            }
            upnp::Event::ExpiredExternalAddr { external_addr, .. } => return self.on_address_expired(&external_addr),
            upnp::Event::GatewayNotFound => (AddressState::Unreachable, "no router here speaks UPnP"),
            upnp::Event::NonRoutableGateway => {
                (AddressState::Unreachable, "the router has no public address itself: it stands behind another one")
            }
        };
        self.tell_address(Multiaddr::empty(), AddressSource::Upnp, state, detail.into());
    }

    /// What the swarm calls confirmed: by our reservations. Of the others we hear from whoever tested them.
    pub(super) fn on_external_confirmed(&mut self, address: Multiaddr) {
        if addresses::is_relayed(&address) {
            self.on_confirmed(address, AddressSource::Relay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_through_a_relay_makes_nobody_public() {
        let mut reach = Reach::default();
        assert_eq!(reach.reached(Reachability::Auto), Reached::Unknown);
        let relay = libp2p::PeerId::random();
        let through = address(&format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit"));
        assert_eq!(reach.confirm(through, AddressSource::Relay), (true, None));
        assert_eq!(reach.reached(Reachability::Auto), Reached::Unknown);
        reach.refuted = true;
        assert_eq!(reach.reached(Reachability::Auto), Reached::Private);
        let direct = address("/ip4/192.0.2.7/tcp/4001");
        reach.confirm(direct.clone(), AddressSource::Autonat);
        assert_eq!(reach.reached(Reachability::Auto), Reached::Public);
        assert_eq!(reach.reached(Reachability::Private), Reached::Private, "the operator's word");
        assert_eq!(reach.expire(&direct), Some(AddressSource::Autonat));
        assert_eq!(reach.reached(Reachability::Auto), Reached::Private);
    }

    #[test]
    fn of_two_tests_in_a_row_that_fail_the_second_ends_an_address() {
        let mut reach = Reach::default();
        let tested = address("/ip4/192.0.2.7/tcp/4001");
        assert_eq!(reach.fail(&tested), Failed::Unreachable);
        reach.confirm(tested.clone(), AddressSource::Autonat);
        assert_eq!(reach.fail(&tested), Failed::Doubted);
        reach.confirm(tested.clone(), AddressSource::Autonat);
        assert_eq!(reach.fail(&tested), Failed::Doubted, "a test in between had reached it");
        assert_eq!(reach.fail(&tested), Failed::Expired);
        assert_eq!(reach.reached(Reachability::Auto), Reached::Unknown);
    }

    #[test]
    fn on_another_network_the_operators_word_alone_still_counts() {
        let mut reach = Reach { refuted: true, ..Reach::default() };
        let [stated, tested, opened] = [1, 2, 3].map(|port| address(&format!("/ip4/192.0.2.7/tcp/{port}")));
        reach.confirm(stated, AddressSource::Announced);
        reach.confirm(tested.clone(), AddressSource::Autonat);
        reach.confirm(opened.clone(), AddressSource::Upnp);
        assert_eq!(reach.forget(), [(tested, AddressSource::Autonat), (opened, AddressSource::Upnp)]);
        assert!(!reach.refuted && reach.reached(Reachability::Auto) == Reached::Public);
    }

    #[test]
    fn the_oldest_address_gives_way() {
        let mut reach = Reach::default();
        let at = |number: usize| address(&format!("/ip4/192.0.2.1/tcp/{}", number + 1));
        for number in 0..limits::EXTERNAL_ADDRESSES {
            assert_eq!(reach.confirm(at(number), AddressSource::Autonat), (true, None));
        }
        assert_eq!(reach.confirm(at(0), AddressSource::Upnp), (false, None), "known");
        let (_, gave_way) = reach.confirm(at(4000), AddressSource::Upnp);
        assert_eq!(gave_way, Some((at(0), AddressSource::Autonat)));
    }
}
