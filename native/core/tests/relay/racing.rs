//! Dials with several addresses, some of which lead through a relay.

use std::net::TcpListener;

use covm_core::event::Outcome;

use crate::{
    meeting::{AT, join, member, opened, relay, reserve},
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
