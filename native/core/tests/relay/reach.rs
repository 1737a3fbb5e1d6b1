//! Whether others can reach a node, and what it serves then.

use covm_core::{
    event::{AddressSource, AddressState, Event, Reached},
    node::Reachability,
};

use crate::{
    meeting::{AT, join, member, relay},
    owner::{Owner, both},
    switch::defended,
};

async fn reached(owner: &mut Owner) -> Reached {
    owner
        .take(|event| match event {
            Event::Reachability(reached) => Some(*reached),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_lone_public_node_knows_at_once_that_it_is_one() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    assert_eq!(reached(&mut r).await, Reached::Unknown);
    assert_eq!(reached(&mut r).await, Reached::Public);
    let confirmed = r
        .take(|event| match event {
            Event::ExternalAddress { address, source, state: AddressState::Confirmed, .. } => {
                Some((address.clone(), *source))
            }
            _ => None,
        })
        .await;
    assert_eq!(confirmed, (at, AddressSource::Announced));
    let mut private = Owner::with(2, |config| config.reachability = Reachability::Private);
    private.listen(AT).await;
    assert_eq!(reached(&mut private).await, Reached::Private);
}

#[tokio::test]
async fn a_member_that_another_one_reaches_learns_that_it_is_public_and_keeps_one_connection() {
    let _on = defended().await;
    let mut r = Owner::with(1, |config| config.autonat = true);
    let at = r.listen(AT).await;
    let mut a = member(2, |config| config.autonat = true);
    let mine = a.listen(AT).await;
    assert_eq!(reached(&mut a).await, Reached::Unknown);
    join(&mut a, &mut r, &at).await;
    let confirmed = a.take(|event| match event {
        Event::ExternalAddress { address, source, state, .. } => Some((address.clone(), *source, *state)),
        _ => None,
    });
    assert_eq!(r.beside(confirmed).await, (mine, AddressSource::Autonat, AddressState::Confirmed));
    assert_eq!(reached(&mut a).await, Reached::Public);
    let closed = |event: &Event| match event {
        Event::Closed { remaining, .. } => Some(*remaining),
        _ => None,
    };
    assert_eq!(both(a.take(closed), r.take(closed)).await, (1, 1), "the one that tested it is gone");
}

#[tokio::test]
async fn on_another_network_what_was_found_out_is_forgotten_and_found_out_again() {
    let _on = defended().await;
    let mut r = Owner::with(1, |config| config.autonat = true);
    let at = r.listen(AT).await;
    let mut a = member(2, |config| config.autonat = true);
    let mine = a.listen(AT).await;
    join(&mut a, &mut r, &at).await;
    for state in [AddressState::Confirmed, AddressState::Expired, AddressState::Confirmed] {
        let told = a.take(|event| match event {
            Event::ExternalAddress { address, state, .. } => Some((address.clone(), *state)),
            _ => None,
        });
        assert_eq!(r.beside(told).await, (mine.clone(), state));
        if state == AddressState::Confirmed {
            a.node.network_changed().unwrap();
        }
    }
    for then in [Reached::Unknown, Reached::Public, Reached::Unknown, Reached::Public] {
        assert_eq!(reached(&mut a).await, then);
    }
}
