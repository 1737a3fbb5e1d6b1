//! Dials with several addresses, some of which lead through a relay.

use std::net::TcpListener;

use covm_core::{Multiaddr, PeerId, event::Outcome};

use crate::{
    meeting::{AT, join, meet, member, opened, relay, reserve},
    owner::both,
    switch::defended,
};

#[tokio::test]
async fn where_no_address_of_its_own_answers_a_peer_is_met_through_its_relay() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    let (mut a, mut b) = (member(2, |_| {}), member(3, |_| {}));
    join(&mut a, &mut r, &at).await;
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let (pa, pb) = (a.peer(), b.peer());
    let id = b.node.dial(Some(pa), vec![silent, through]).unwrap();
    let met = both(
        async {
            assert_eq!(b.result(id).await, Ok(Outcome::Peer(pa)));
            b.admitted(pa).await;
        },
        a.admitted(pb),
    );
    r.beside(met).await;
    assert_eq!(opened(&mut b, pa).await, (true, Some(r.peer())));
}

#[tokio::test]
async fn a_relay_is_not_troubled_where_an_address_of_the_peers_own_answers() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    let (mut a, mut b) = (member(2, |_| {}), member(3, |_| {}));
    let mine = a.listen(AT).await;
    join(&mut a, &mut r, &at).await;
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    let (pa, pb) = (a.peer(), b.peer());
    let id = b.node.dial(Some(pa), vec![through, mine]).unwrap();
    let met = both(
        async {
            assert_eq!(b.result(id).await, Ok(Outcome::Peer(pa)));
            b.admitted(pa).await;
        },
        a.admitted(pb),
    );
    r.beside(met).await;
    assert_eq!(opened(&mut b, pa).await, (false, None));
}

/// An address at which connections open, and nobody says anything.
fn silence(kept: &mut Vec<TcpListener>) -> Multiaddr {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    kept.push(silent);
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

fn circuit(at: &Multiaddr, relay: PeerId) -> Multiaddr {
    format!("{at}/p2p/{relay}/p2p-circuit").parse().unwrap()
}

#[tokio::test]
async fn relays_that_never_answer_hold_up_nobody_but_who_is_dialled_through_them() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    let (mut a, mut b) = (member(2, |_| {}), member(3, |_| {}));
    join(&mut a, &mut r, &at).await;
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..8 {
        let circuits = (0..8).map(|_| circuit(&silence(&mut silent), PeerId::random())).collect();
        b.node.dial(Some(PeerId::random()), circuits).unwrap();
    }
    r.beside(meet(&mut b, &mut a, &through)).await;
}

#[tokio::test]
async fn a_relay_that_is_dialled_at_an_old_address_is_then_dialled_at_the_one_that_is_waited_for() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    let (mut a, mut b) = (member(2, |_| {}), member(3, |_| {}));
    join(&mut a, &mut r, &at).await;
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    let mut silent = Vec::new();
    b.node.dial(Some(r.peer()), vec![silence(&mut silent)]).unwrap();
    r.beside(meet(&mut b, &mut a, &through)).await;
}
