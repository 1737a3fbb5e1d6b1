//! Relays that promise and do not keep it.

use std::time::Duration;

use covm_core::{
    Multiaddr,
    event::{Event, ReservationState},
    join::{Join, JoinEvent},
    limits,
    node::RelayTerms,
};
use futures::StreamExt;
use libp2p::{
    Swarm, SwarmBuilder, identify, noise, relay,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};

use crate::{
    meeting::{AT, join, member, reserve},
    owner::Owner,
    switch::defended,
};

/// A relay that is not ours, and says of itself what it likes.
#[derive(NetworkBehaviour)]
struct Liar {
    identify: identify::Behaviour,
    join: Join,
    relay: relay::Behaviour,
}

async fn liar(addresses: impl Iterator<Item = String>) -> (Swarm<Liar>, Multiaddr) {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| Liar {
            identify: identify::Behaviour::new(identify::Config::new("/covm/test".into(), key.public())),
            join: Join::new(b"hello".to_vec()).unwrap(),
            relay: relay::Behaviour::new(key.public().to_peer_id(), relay::Config::default()),
        })
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    swarm.listen_on(AT.parse().unwrap()).unwrap();
    let at = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    swarm.behaviour_mut().relay.set_status(Some(relay::Status::Enable));
    addresses.for_each(|address| swarm.add_external_address(address.parse().unwrap()));
    (swarm, at)
}

/// Lets everybody in, for ever.
async fn serve(mut liar: Swarm<Liar>) {
    loop {
        if let SwarmEvent::Behaviour(LiarEvent::Join(JoinEvent::Hello { connection, .. })) =
            liar.select_next_some().await
        {
            liar.behaviour_mut().join.admit(connection).unwrap();
        }
    }
}

async fn lost(member: &mut Owner) -> String {
    member
        .take(|event| match event {
            Event::Reservation { state: ReservationState::Lost, reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await
}

fn somewhere(number: usize) -> String {
    format!("/ip4/198.51.100.{number}/tcp/4001")
}

#[tokio::test]
async fn a_relay_that_says_that_it_is_everywhere_is_left() {
    let _on = defended().await;
    let (liar, at) = liar((1..=100).map(somewhere)).await;
    let (mut a, relay) = (member(2, |_| {}), *liar.local_peer_id());
    let serving = tokio::spawn(serve(liar));
    let id = a.node.reserve(relay, at).unwrap();
    a.result(id).await.unwrap();
    assert_eq!(lost(&mut a).await, "the relay says that it is at more addresses than any has");
    let most = a.seen(|event| match event {
        Event::Addresses(all) => Some(all.len()),
        _ => None,
    });
    assert!(most.iter().all(|told| *told <= limits::ADDRESSES_PER_PEER), "{most:?}");
    serving.abort();
}

#[tokio::test]
async fn a_relay_at_as_many_addresses_as_a_peer_may_have_is_kept() {
    let _on = defended().await;
    let (liar, at) = liar((1..=limits::ADDRESSES_PER_PEER).map(somewhere)).await;
    let (mut a, relay) = (member(2, |_| {}), *liar.local_peer_id());
    let serving = tokio::spawn(serve(liar));
    let id = a.node.reserve(relay, at).unwrap();
    a.result(id).await.unwrap();
    a.take(|event| match event {
        Event::Addresses(all) if all.len() == limits::ADDRESSES_PER_PEER => Some(()),
        _ => None,
    })
    .await;
    serving.abort();
}

#[tokio::test]
async fn a_relay_whose_places_are_over_as_soon_as_they_are_given_is_left() {
    let _on = defended().await;
    for lasts_s in [0, 2] {
        let (mut a, mut r) = (member(2, |_| {}), with_terms(lasts_s, 60));
        let at = r.listen(AT).await;
        join(&mut a, &mut r, &at).await;
        reserve(&mut a, &mut r, &at).await.unwrap();
        assert_eq!(r.beside(lost(&mut a)).await, "the relay would have it renewed without a pause");
    }
}

#[tokio::test]
async fn a_relay_that_carries_nothing_makes_a_dial_through_it_fail_with_its_name() {
    let _on = defended().await;
    let (mut a, mut b, mut r) = (member(2, |_| {}), member(3, |_| {}), with_terms(3600, 0));
    let at = r.listen(AT).await;
    join(&mut a, &mut r, &at).await;
    join(&mut b, &mut r, &at).await;
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    let id = b.node.dial(Some(a.peer()), vec![through.clone()]).unwrap();
    let through = through.to_string();
    let failure = a.beside(r.beside(b.failure(id))).await;
    assert_eq!(failure.details, [(through, "the relay closed the circuit before the peer had answered".to_owned())]);
}

fn with_terms(reservation_s: u64, circuit_s: u64) -> Owner {
    let [reservation, circuit] = [reservation_s, circuit_s].map(Duration::from_secs);
    let terms = RelayTerms { reservation, circuit, ..RelayTerms::default() };
    Owner::with(1, |config| (config.relay_server, config.relay_terms) = (true, terms))
}
