//! The network changes: another cable, another router, the machine has slept.
//!
//! What was found out about our addresses is forgotten then, and asked again; connections that begin at an address which
//! this machine has no more are closed, since nothing will ever come on them. What was tested grows old besides, without
//! being told: it is tested again now and then.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use libp2p::{
    Multiaddr,
    core::ConnectedPoint,
    multiaddr::Protocol,
    swarm::{FromSwarm, NetworkBehaviour as _, NewListenAddr, behaviour::toggle::Toggle},
    upnp,
};
use tokio::time::Instant;

use super::{CommandError, Node, commands::Command, config::Reachability, driver::Driver};
use crate::{addresses, event::Reached, limits};

impl Node {
    /// The network has changed: what was found out of our addresses is forgotten and asked again, and connections are
    /// closed whose own address is gone.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn network_changed(&self) -> Result<(), CommandError> {
        self.tell(Command::NetworkChanged)
    }
}

/// How long a finding lasts before it is tested again: who is reached serves others, and who is not waits to be.
fn good_for(reached: Reached) -> Duration {
    match reached {
        Reached::Public => limits::RETEST_PUBLIC,
        Reached::Private | Reached::Unknown => limits::RETEST_PRIVATE,
    }
}

/// The address of this machine at which a connection begins, as far as it can be known.
pub(super) fn own_ip(endpoint: &ConnectedPoint) -> Option<IpAddr> {
    match endpoint {
        ConnectedPoint::Listener { local_addr, .. } if !addresses::is_relayed(local_addr) => ip_of(local_addr),
        // The way to the peer shows it, and asking for the way sends nothing.
        ConnectedPoint::Dialer { address, .. } if !addresses::is_relayed(address) => {
            let peer = ip_of(address)?;
            let unbound = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(unbound).ok()?;
            socket.connect(SocketAddr::new(peer, 9)).ok()?;
            Some(socket.local_addr().ok()?.ip())
        }
        _ => None,
    }
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// Whether this machine has the address, as far as it says: what cannot be asked for want of a socket is not gone.
fn is_here(ip: IpAddr) -> bool {
    let asked = UdpSocket::bind(SocketAddr::new(ip, 0));
    asked.err().is_none_or(|error| error.kind() != io::ErrorKind::AddrNotAvailable)
}

impl Driver {
    pub(super) fn network_changed(&mut self) {
        self.forget_findings();
        self.swarm.behaviour_mut().identify.forget();
        self.ask_router_again();
        self.close_stranded();
        // What peers saw us at before may still be right: nobody says it again for some minutes.
        self.retest();
    }

    /// Closes connections that begin at an address which this machine has no more.
    pub(super) fn close_stranded(&mut self) {
        let gone = |ip: Option<IpAddr>| ip.is_some_and(|ip| !is_here(ip));
        let stranded = self.connections.iter().filter(|(_, known)| gone(known.own_ip));
        for id in stranded.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.swarm.close_connection(id);
        }
    }

    /// UPnP looks for a router once, and holds on to what it found.
    fn ask_router_again(&mut self) {
        if self.swarm.behaviour().upnp.as_ref().is_none() {
            return;
        }
        let mut upnp = upnp::tokio::Behaviour::default();
        for (listener, listening) in &self.listening {
            for addr in listening {
                let listener_id = *listener;
                upnp.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
            }
        }
        self.swarm.behaviour_mut().upnp = Toggle::from(Some(upnp));
    }

    /// Tests again what was tested.
    pub(super) fn retest(&mut self) {
        if let Some(autonat) = self.swarm.behaviour_mut().autonat.as_mut() {
            autonat.anew();
        }
        self.retest_later();
    }

    pub(super) fn retest_later(&mut self) {
        let tested = self.config.autonat && self.config.reachability == Reachability::Auto;
        let reached = self.reach.reached(self.config.reachability);
        self.retest_at = tested.then(|| Instant::now() + good_for(reached));
    }

    /// An address is in doubt: it is tested once more, and soon.
    pub(super) fn retest_soon(&mut self) {
        self.retest_at = Some(Instant::now() + limits::RETEST_DOUBT);
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::{Endpoint, transport::PortUse};

    use super::*;

    #[test]
    fn a_connection_begins_at_an_address_of_this_machine() {
        let address = "/ip4/127.0.0.1/tcp/9000".parse().unwrap();
        let dialled = ConnectedPoint::Dialer { address, role_override: Endpoint::Dialer, port_use: PortUse::New };
        let ip = own_ip(&dialled).unwrap();
        assert!(ip.is_loopback() && is_here(ip));
        assert!(!is_here("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn who_is_not_reached_is_tested_again_sooner() {
        assert!(good_for(Reached::Private) < good_for(Reached::Public));
    }
}
