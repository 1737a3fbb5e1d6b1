//! Multiaddrs and peer ids as people write them, checked for what this core can dial or listen on.

use libp2p::{Multiaddr, PeerId, identity::PublicKey, multiaddr::Protocol};

/// Multihash code of a digest that is the content itself.
const IDENTITY_HASH: u64 = 0;

/// An address that can be used, and the peer that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedAddress {
    /// The address without its `/p2p` end.
    pub transport: Multiaddr,
    /// The peer that must answer there.
    pub peer: Option<PeerId>,
}

/// Reads a multiaddr: TCP, QUIC or WebSocket over an IP address or a DNS name, such an address of a relay and the way
/// through it (`.../p2p/<relay>/p2p-circuit`), or a peer alone (`/p2p/<id>`).
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse(text: &str) -> Result<ParsedAddress, String> {
    if text.len() > crate::limits::ADDRESS_TEXT {
        return Err("it is longer than any address".into());
    }
    let address: Multiaddr = text.parse().map_err(|error| format!("it is not a multiaddr ({error})"))?;
    let (transport, peer) = split_peer(address);
    if let Some(peer) = &peer {
        check_peer(peer).map_err(|why| format!("the peer id at its end is wrong: {why}"))?;
    }
    if transport.is_empty() && peer.is_none() {
        return Err("it is empty".into());
    }
    if !transport.is_empty() {
        check_transport(&transport)?;
    }
    Ok(ParsedAddress { transport, peer })
}

/// Takes the peer off an address's end.
#[must_use]
pub fn split_peer(mut address: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => {
            address.pop();
            (address, Some(peer))
        }
        _ => (address, None),
    }
}

/// Whether an address begins with a name, for which a name server is asked; that of a circuit is its relay's affair.
#[must_use]
pub fn is_named(address: &Multiaddr) -> bool {
    let first = address.iter().next();
    let begins = matches!(first, Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)));
    begins && !is_relayed(address)
}

/// Whether an address leads through a relay.
#[must_use]
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The relay's own address and who it is, of an address that leads through one; without the relay's peer id where it
/// names none.
#[must_use]
pub fn split_relay(address: &Multiaddr) -> Option<(Multiaddr, Option<PeerId>)> {
    let before: Multiaddr = address.iter().take_while(|part| *part != Protocol::P2pCircuit).collect();
    is_relayed(address).then(|| split_peer(before))
}

fn check_transport(address: &Multiaddr) -> Result<(), String> {
    let Some((relay, named)) = split_relay(address) else {
        return check_direct(address);
    };
    if address.iter().skip_while(|part| *part != Protocol::P2pCircuit).count() != 1 {
        return Err("nothing but /p2p/<peer id> may follow /p2p-circuit".into());
    }
    let named = named.ok_or("it names no relay: /p2p/<relay's peer id> stands before /p2p-circuit")?;
    check_peer(&named).map_err(|why| format!("the relay's peer id is wrong: {why}"))?;
    check_direct(&relay).map_err(|why| format!("the relay's address is wrong: {why}"))
}

fn check_direct(address: &Multiaddr) -> Result<(), String> {
    let mut parts = address.iter();
    match parts.next() {
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => {}
        Some(Protocol::Dnsaddr(_)) => return Ok(()),
        _ => return Err("it begins with neither an IP address nor a DNS name".into()),
    }
    let rest: Vec<Protocol<'_>> = parts.collect();
    match rest.as_slice() {
        [Protocol::Tcp(_)]
        | [Protocol::Tcp(_), Protocol::Ws(_) | Protocol::Wss(_)]
        | [Protocol::Tcp(_), Protocol::Tls, Protocol::Ws(_)]
        | [Protocol::Udp(_), Protocol::QuicV1] => Ok(()),
        [] => Err("it has no port: add /tcp/9000 or /udp/9000/quic-v1".into()),
        [Protocol::Udp(_)] => Err("UDP needs QUIC: add /quic-v1".into()),
        _ => Err("its transport is not TCP, QUIC (/udp/.../quic-v1) or WebSocket (/tcp/.../ws)".into()),
    }
}

/// Reads a peer id in base58: one of an Ed25519 key, as every node has.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_peer(text: &str) -> Result<PeerId, String> {
    let peer: PeerId =
        text.parse().map_err(|error| format!("{text:?} is not a peer id ({error}); one looks like 12D3KooW..."))?;
    check_peer(&peer).map_err(|why| format!("{text:?} is not a node's peer id: {why}; one looks like 12D3KooW..."))?;
    Ok(peer)
}

/// A hash with a plausible beginning reads as a peer id, whatever is in it; a node's holds its whole Ed25519 key.
fn check_peer(peer: &PeerId) -> Result<(), &'static str> {
    let key = peer.as_ref().digest();
    let key = (peer.as_ref().code() == IDENTITY_HASH).then_some(key).ok_or("it holds no key")?;
    let key = PublicKey::try_decode_protobuf(key).map_err(|_| "what it holds is not a key")?;
    key.try_into_ed25519().map(|_| ()).map_err(|_| "its key is not an Ed25519 key")
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn usable_addresses_are_read() {
        let peer = Keypair::generate_ed25519().public().to_peer_id();
        for text in [
            "/ip4/127.0.0.1/tcp/0",
            "/ip6/::1/udp/9000/quic-v1",
            "/dns4/coop.example/tcp/9000",
            "/ip4/127.0.0.1/tcp/9001/ws",
        ] {
            assert_eq!(parse(text).unwrap().peer, None, "{text}");
            let named = parse(&format!("{text}/p2p/{peer}")).unwrap();
            assert_eq!(named.peer, Some(peer));
            assert_eq!(named.transport.to_string(), text);
        }
        assert!(parse(&format!("/p2p/{peer}")).unwrap().transport.is_empty());
    }

    #[test]
    fn the_way_through_a_relay_names_relay_and_peer() {
        let [relay, peer] = [0, 1].map(|_| Keypair::generate_ed25519().public().to_peer_id());
        let through = format!("/ip4/192.0.2.1/tcp/4001/p2p/{relay}/p2p-circuit");
        let parsed = parse(&format!("{through}/p2p/{peer}")).unwrap();
        assert_eq!((parsed.transport.to_string(), parsed.peer), (through.clone(), Some(peer)));
        let direct = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        assert_eq!(split_relay(&parsed.transport), Some((direct, Some(relay))));
        assert!(is_relayed(&parsed.transport) && split_relay(&"/ip4/192.0.2.1/tcp/1".parse().unwrap()).is_none());
        for (text, why) in [
            ("/ip4/192.0.2.1/tcp/4001/p2p-circuit".to_owned(), "names no relay"),
            (format!("/ip4/192.0.2.1/tcp/4001/p2p/{}/p2p-circuit", PeerId::random()), "relay's peer id"),
            (format!("/tcp/4001/p2p/{relay}/p2p-circuit"), "relay's address"),
            (format!("{through}/tcp/4001"), "may follow"),
            (format!("{through}/p2p/{relay}/p2p-circuit"), "may follow"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn others_are_refused_with_the_reason() {
        for (text, why) in [
            ("", "empty"),
            ("localhost:9000", "not a multiaddr"),
            ("/ip4/127.0.0.1", "no port"),
            ("/ip4/127.0.0.1/udp/9", "QUIC"),
            ("/ip4/127.0.0.1/sctp/9", "transport"),
            ("/tcp/9000", "neither"),
            ("/memory/1", "neither"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(parse(&"/ip4/1.2.3.4".repeat(1000)).is_err());
        for text in ["", "12D3KooWnope", "mill", &PeerId::random().to_base58()] {
            assert!(parse_peer(text).is_err(), "{text}");
            assert!(parse(&format!("/ip4/127.0.0.1/tcp/1/p2p/{text}")).is_err(), "{text}");
        }
    }
}
