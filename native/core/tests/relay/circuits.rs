//! Members behind a relay.

use std::{sync::atomic::Ordering, time::Duration};

use covm_core::{
    event::{Event, FailureCode, ReservationState},
    limits,
    node::{Reachability, RelayTerms},
};

use crate::{
    meeting::{AT, QUIC, join, meet, member, open, opened, receive, relay, reserve, send},
    owner::{Owner, both},
    switch::defended,
};

/// Terms of a relay that are soon over, and longer than what counts as haste.
const SHORT: Duration = Duration::from_secs(8);

async fn reservation(owner: &mut Owner) -> (ReservationState, String) {
    owner
        .take(|event| match event {
            Event::Reservation { state, reason, .. } => Some((*state, reason.clone())),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn two_members_that_know_a_relay_alone_talk_through_it() {
    let _on = defended().await;
    for transport in [AT, QUIC] {
        let mut r = Owner::with(1, |config| config.relay_server = true);
        let at = r.listen(transport).await;
        let (mut a, mut b) = (member(2, |_| {}), member(3, |_| {}));
        join(&mut a, &mut r, &at).await;
        let through = reserve(&mut a, &mut r, &at).await.unwrap();
        assert_eq!(reservation(&mut a).await.0, ReservationState::Accepted);
        join(&mut b, &mut r, &at).await;
        meet(&mut b, &mut a, &through).await;
        let (pa, pb, pr) = (a.peer(), b.peer(), r.peer());
        assert_eq!(opened(&mut b, pr).await, (false, None));
        assert_eq!(opened(&mut b, pa).await, (true, Some(pr)));
        assert_eq!(opened(&mut a, pb).await, (true, Some(pr)));
        let stream = open(&mut b, pa).await;
        send(&mut b, stream, 0, 1000).await;
        assert!(receive(&mut a, 1000).await.into_iter().eq(0..1000));
        assert_eq!(r.node.gauges().relay_circuits.load(Ordering::Relaxed), 1);
        r.stop().await;
        let lost = reservation(&mut a).await;
        assert_eq!(lost.0, ReservationState::Lost, "{}", lost.1);
        a.take(|event| matches!(event, Event::Unadmitted { peer } if *peer == pb).then_some(())).await;
    }
}

#[tokio::test]
async fn a_place_is_renewed_in_time_and_a_circuit_ends_at_its_term() {
    let _on = defended().await;
    let terms = RelayTerms { reservation: SHORT, circuit: SHORT, ..RelayTerms::default() };
    let mut r = Owner::with(1, |config| (config.relay_server, config.relay_terms) = (true, terms));
    let at = r.listen(AT).await;
    let (mut a, mut b) = (member(2, |_| {}), member(3, |_| {}));
    join(&mut a, &mut r, &at).await;
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    assert_eq!(reservation(&mut a).await.0, ReservationState::Accepted);
    join(&mut b, &mut r, &at).await;
    let (pa, pb) = (a.peer(), b.peer());
    for _ in 0..2 {
        meet(&mut b, &mut a, &through).await;
        assert_eq!(reservation(&mut a).await.0, ReservationState::Renewed);
        let gone =
            |whom| move |event: &Event| matches!(event, Event::Unadmitted { peer } if *peer == whom).then_some(());
        both(a.take(gone(pb)), b.take(gone(pa))).await;
    }
}

#[tokio::test]
async fn reserving_connects_and_joins_first() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    let mut a = member(2, |_| {});
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    assert!(through.to_string().ends_with(&format!("/p2p/{}/p2p-circuit", r.peer())), "{through}");
    let mut b = member(3, |_| {});
    r.beside(meet(&mut b, &mut a, &through)).await;
}

#[tokio::test]
async fn a_second_connection_to_a_relay_that_serves_on_the_first_changes_nothing() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    let mut a = member(2, |_| {});
    join(&mut a, &mut r, &at).await;
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    let mut b = member(3, |_| {});
    join(&mut b, &mut r, &at).await;
    let shown = |event: &Event| match event {
        Event::Identified { protocols, .. } => protocols.iter().any(|name| name.ends_with("/hop")).then_some(()),
        _ => None,
    };
    b.take(shown).await;
    b.forget();
    // Not answered on the second, the relay shows no service there.
    r.admits = false;
    let id = b.node.dial(Some(r.peer()), vec![at]).unwrap();
    b.result(id).await.unwrap();
    b.identified(r.peer()).await;
    meet(&mut b, &mut a, &through).await;
}

#[tokio::test]
async fn whoever_is_not_admitted_gets_no_place() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    let mut stranger = member(2, |config| config.hello = b"other".to_vec());
    assert_eq!(reserve(&mut stranger, &mut r, &at).await, Err(FailureCode::Relay));
}

#[tokio::test]
async fn a_private_node_and_one_that_is_not_known_to_be_reachable_serve_nobody() {
    let _on = defended().await;
    for reachability in [Reachability::Private, Reachability::Auto] {
        let mut r = Owner::with(1, |config| {
            config.relay_server = true;
            config.reachability = reachability;
        });
        let at = r.listen(AT).await;
        let mut a = member(2, |_| {});
        join(&mut a, &mut r, &at).await;
        let id = a.node.reserve(r.peer(), at).unwrap();
        // It shows no hop protocol; the wait for one ends with the connection.
        a.identified(r.peer()).await;
        r.stop().await;
        assert_eq!(a.result(id).await, Err(FailureCode::Relay));
    }
}

#[tokio::test]
async fn a_reservation_is_made_once_and_can_be_given_back() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    let mut a = member(2, |_| {});
    reserve(&mut a, &mut r, &at).await.unwrap();
    assert_eq!(reserve(&mut a, &mut r, &at).await, Err(FailureCode::Relay), "there is one");
    let id = a.node.drop_reservation(r.peer()).unwrap();
    a.result(id).await.unwrap();
    assert_eq!(reservation(&mut a).await.0, ReservationState::Accepted);
    assert_eq!(reservation(&mut a).await, (ReservationState::Lost, "it was dropped here".into()));
    reserve(&mut a, &mut r, &at).await.unwrap();
}

#[tokio::test]
async fn a_node_reserves_at_some_relays_and_no_more() {
    let _on = defended().await;
    let mut a = member(2, |_| {});
    let mut relays = Vec::new();
    for seed in 10..10 + limits::RESERVATIONS as u8 {
        let (mut r, at) = relay(seed).await;
        reserve(&mut a, &mut r, &at).await.unwrap();
        relays.push(r);
    }
    let (mut one_more, at) = relay(9).await;
    assert_eq!(reserve(&mut a, &mut one_more, &at).await, Err(FailureCode::Relay));
}

#[tokio::test]
async fn what_cannot_be_reserved_or_dialled_says_why() {
    let _on = defended().await;
    let (r, at) = relay(1).await;
    let mut off = Owner::with(2, |_| {});
    let id = off.node.reserve(r.peer(), at.clone()).unwrap();
    assert_eq!(off.result(id).await, Err(FailureCode::Relay), "relay_client is off");
    let through: covm_core::Multiaddr = format!("{at}/p2p/{}/p2p-circuit", r.peer()).parse().unwrap();
    let id = off.node.dial(Some(off.peer()), vec![through.clone()]).unwrap();
    assert_eq!(off.result(id).await, Err(FailureCode::InvalidAddress), "its own");
    let id = off.node.dial(Some(covm_core::PeerId::random()), vec![through.clone()]).unwrap();
    assert_eq!(off.result(id).await, Err(FailureCode::Unreachable));
    let id = off.node.allow_relay(r.peer(), 1, std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(off.result(id).await, Err(FailureCode::Relay), "it is no relay");
    let mut on = member(3, |_| {});
    for odd in [through.clone(), covm_core::Multiaddr::empty()] {
        let id = on.node.reserve(r.peer(), odd).unwrap();
        assert_eq!(on.result(id).await, Err(FailureCode::Relay));
    }
    on.node.block(r.peer()).unwrap();
    let id = on.node.reserve(r.peer(), at).unwrap();
    assert_eq!(on.result(id).await, Err(FailureCode::Relay), "it is blocked here, and that is said at once");
    let id = on.node.dial(None, vec![through.clone()]).unwrap();
    assert_eq!(on.result(id).await, Err(FailureCode::Unreachable), "it does not say to whom");
    let id = on.node.listen(vec![through]).unwrap();
    assert_eq!(on.result(id).await, Err(FailureCode::Listen));
}
