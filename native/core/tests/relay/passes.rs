//! A joiner whose only way to its inviter leads through a relay.

use std::{sync::atomic::Ordering, time::Duration};

use covm_core::{
    Multiaddr, PeerId,
    event::{Event, FailureCode},
    limits,
};

use crate::{
    meeting::{join, member, opened, relay, reserve},
    owner::{Owner, both},
    switch::defended,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A relay at which a member has reserved, a joiner that the relay does not answer, and the way to the member.
async fn invited(circuits: u32, lasts: Duration) -> (Owner, Owner, Owner, Multiaddr, Multiaddr) {
    let (mut r, at) = relay(1).await;
    let mut inviter = member(2, |_| {});
    join(&mut inviter, &mut r, &at).await;
    let through = reserve(&mut inviter, &mut r, &at).await.unwrap();
    r.admits = false;
    let joiner = member(3, |_| {});
    let id = r.node.allow_relay(joiner.peer(), circuits, lasts).unwrap();
    r.result(id).await.unwrap();
    (r, inviter, joiner, at, through)
}

async fn protocols(owner: &mut Owner, of: PeerId) -> Vec<String> {
    owner
        .take(|event| match event {
            Event::Identified { peer, protocols, .. } if *peer == of => Some(protocols.clone()),
            _ => None,
        })
        .await
}

const INSIDE: [&str; 5] = ["meshsub", "/covm/kad", "/covm/direct", "/libp2p/dcutr", "autonat/2/dial-request"];

#[tokio::test]
async fn a_pass_leads_to_the_inviter_and_shows_nothing_else() {
    let _on = defended().await;
    let (mut r, mut inviter, mut joiner, at, through) = invited(1, HOUR).await;
    joiner.admits = false;
    let id = joiner.node.dial(Some(inviter.peer()), vec![through.clone()]).unwrap();
    r.beside(async { joiner.result(id).await.unwrap() }).await;
    joiner.admits = true;
    let (pj, pi) = (joiner.peer(), inviter.peer());
    joiner.admit_waiting(pi);
    both(joiner.admitted(pi), inviter.admitted(pj)).await;
    assert_eq!(opened(&mut inviter, pj).await, (true, Some(r.peer())));
    let seen = protocols(&mut joiner, r.peer()).await;
    assert!(seen.iter().any(|name| name == "/libp2p/circuit/relay/0.2.0/hop"), "{seen:?}");
    assert!(!seen.iter().any(|name| INSIDE.iter().any(|inside| name.contains(inside))), "{seen:?}");
    // The one circuit is used up, and a place is for members.
    let again = joiner.node.dial(Some(pi), vec![through]).unwrap();
    let place = joiner.node.reserve(r.peer(), at).unwrap();
    r.beside(async {
        assert_eq!(joiner.result(again).await, Err(FailureCode::Unreachable));
        assert_eq!(joiner.result(place).await, Err(FailureCode::Relay));
    })
    .await;
    assert_eq!(r.node.gauges().relay_denied.load(Ordering::Relaxed), 2);
}

#[cfg(feature = "switches")]
#[tokio::test]
async fn without_the_question_who_it_is_one_circuit_is_as_good_as_many() {
    let _off = crate::switch::without("relay_access").await;
    let (mut r, inviter, mut joiner, at, through) = invited(1, HOUR).await;
    for _ in 0..2 {
        let id = joiner.node.dial(Some(inviter.peer()), vec![through.clone()]).unwrap();
        r.beside(async { joiner.result(id).await.unwrap() }).await;
    }
    reserve(&mut joiner, &mut r, &at).await.unwrap();
}

#[tokio::test]
async fn a_pass_that_has_expired_or_was_withdrawn_is_none() {
    let _on = defended().await;
    for withdrawn in [false, true] {
        let lasts = if withdrawn { HOUR } else { Duration::ZERO };
        let (mut r, inviter, mut joiner, _, through) = invited(1, lasts).await;
        if withdrawn {
            let id = r.node.allow_relay(joiner.peer(), 0, HOUR).unwrap();
            r.result(id).await.unwrap();
        }
        joiner.admits = false;
        let id = joiner.node.dial(Some(inviter.peer()), vec![through]).unwrap();
        // It waits for the relay's service, until that has not answered its HELLO in time.
        let failure = r.beside(joiner.failure(id)).await;
        assert_eq!(failure.code, FailureCode::Unreachable);
        assert!(failure.details[0].1.contains("cannot be used"), "{failure:?}");
    }
}

#[tokio::test]
async fn passes_have_bounds() {
    let _on = defended().await;
    let (mut r, _) = relay(1).await;
    let one = |circuits, lasts| (PeerId::random(), circuits, lasts);
    for (peer, circuits, lasts) in
        [one(limits::RELAY_PASS_CIRCUITS + 1, HOUR), one(1, limits::RELAY_PASS_LONGEST + HOUR)]
    {
        let id = r.node.allow_relay(peer, circuits, lasts).unwrap();
        assert_eq!(r.result(id).await, Err(FailureCode::Limit));
    }
    for number in 0..=limits::RELAY_PASSES {
        let id = r.node.allow_relay(PeerId::random(), 1, HOUR).unwrap();
        assert_eq!(r.result(id).await.is_ok(), number < limits::RELAY_PASSES);
    }
}

#[tokio::test]
async fn a_stranger_sees_no_relay_no_tests_of_addresses_and_no_hole_punching() {
    let _on = defended().await;
    let mut node = Owner::with(1, |config| {
        config.relay_server = true;
        config.relay_client = true;
        config.autonat = true;
        config.dcutr = true;
        config.kademlia = Some("/covm/kad/test".into());
    });
    node.admits = false;
    let at = node.listen("/ip4/127.0.0.1/tcp/0").await;
    let mut stranger = Owner::new(2);
    stranger.admits = false;
    let id = stranger.node.dial(Some(node.peer()), vec![at]).unwrap();
    stranger.result(id).await.unwrap();
    let seen = protocols(&mut stranger, node.peer()).await;
    assert!(seen.iter().any(|name| name == "/covm/join/1.0.0"), "{seen:?}");
    let inside = |name: &String| name.ends_with("/hop") || INSIDE.iter().any(|inside| name.contains(inside));
    assert!(!seen.iter().any(inside), "{seen:?}");
}
