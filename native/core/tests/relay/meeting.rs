//! A relay and members around it, as their owners drive them.

use covm_core::{
    Multiaddr, PeerId,
    event::{Event, FailureCode, Outcome},
    node::{NodeConfig, Reachability},
    streams::StreamId,
};

use crate::owner::{DIRECT, Owner, both};

pub const AT: &str = "/ip4/127.0.0.1/tcp/0";
pub const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// A public node that carries circuits, and where it is.
pub async fn relay(seed: u8) -> (Owner, Multiaddr) {
    let mut relay = Owner::with(seed, |config| config.relay_server = true);
    let at = relay.listen(AT).await;
    (relay, at)
}

/// A node that is not known to be reachable, and uses relays.
pub fn member(seed: u8, change: impl FnOnce(&mut NodeConfig)) -> Owner {
    Owner::with(seed, |config| {
        config.reachability = Reachability::Auto;
        config.relay_client = true;
        change(config);
    })
}

/// Both dial, and are admitted.
pub async fn join(member: &mut Owner, relay: &mut Owner, at: &Multiaddr) {
    let (who, whom) = (member.peer(), relay.peer());
    let id = member.node.dial(Some(whom), vec![at.clone()]).unwrap();
    both(
        async {
            assert_eq!(member.result(id).await, Ok(Outcome::Peer(whom)));
            member.admitted(whom).await;
        },
        relay.admitted(who),
    )
    .await;
}

/// Reserves at a relay that is driven meanwhile: the address to be reached at.
pub async fn reserve(member: &mut Owner, relay: &mut Owner, at: &Multiaddr) -> Result<Multiaddr, FailureCode> {
    let id = member.node.reserve(relay.peer(), at.clone()).unwrap();
    match relay.beside(member.result(id)).await? {
        Outcome::Addresses(all) => Ok(all[0].clone()),
        other => panic!("{other:?}"),
    }
}

/// Dials through a relay until both are admitted on the relayed connection.
pub async fn meet(from: &mut Owner, to: &mut Owner, through: &Multiaddr) {
    let (who, whom) = (from.peer(), to.peer());
    let id = from.node.dial(Some(whom), vec![through.clone()]).unwrap();
    both(
        async {
            assert_eq!(from.result(id).await, Ok(Outcome::Peer(whom)));
            from.admitted(whom).await;
        },
        to.admitted(who),
    )
    .await;
}

/// By which relay the connection with a peer goes that opened next.
pub async fn opened(owner: &mut Owner, with: PeerId) -> (bool, Option<PeerId>) {
    owner
        .take(|event| match event {
            Event::Opened { peer, relayed, relay, .. } if *peer == with => Some((*relayed, *relay)),
            _ => None,
        })
        .await
}

/// Opens our stream to a peer.
pub async fn open(owner: &mut Owner, to: PeerId) -> StreamId {
    let id = owner.node.open_stream(to, DIRECT.into()).unwrap();
    match owner.result(id).await {
        Ok(Outcome::Stream(stream)) => StreamId(stream),
        other => panic!("{other:?}"),
    }
}

/// Sends numbered frames, from `first` on, as fast as there is credit.
pub async fn send(owner: &mut Owner, stream: StreamId, first: u32, count: u32) {
    for number in first..first + count {
        while !owner.node.send(stream, &[number.to_be_bytes()]).unwrap() {
            owner.take(|event| matches!(event, Event::Writable { stream: on } if *on == stream.0).then_some(())).await;
        }
    }
}

/// Receives frames on whichever streams, until there are so many: the numbers, in the order in which they came.
pub async fn receive(owner: &mut Owner, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let (stream, frames) = owner
            .take(|event| match event {
                Event::Frames { stream, frames, .. } => Some((*stream, frames.clone())),
                _ => None,
            })
            .await;
        owner.node.release(StreamId(stream), frames.iter().map(Vec::len).sum());
        numbers.extend(frames.iter().map(|frame| u32::from_be_bytes(frame[..].try_into().unwrap())));
    }
    numbers
}
