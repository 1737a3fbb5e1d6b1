//! A direct connection beside a relayed one.

use covm_core::{
    Multiaddr,
    event::{AddressState, Event},
};

use crate::{
    meeting::{AT, join, meet, member, open, receive, relay, reserve, send},
    owner::{Owner, both},
    switch::defended,
};

const DCUTR: bool = true;

/// Two members on a relayed connection, the relay, and where the first can be reached directly.
async fn relayed(dcutr: bool) -> (Owner, Owner, Owner, Multiaddr) {
    let (mut r, at) = relay(1).await;
    let [mut a, mut b] = [2, 3].map(|seed| member(seed, |config| config.dcutr = dcutr));
    let direct = a.listen(AT).await;
    b.listen(AT).await;
    for member in [&mut a, &mut b] {
        join(member, &mut r, &at).await;
        member.identified(r.peer()).await;
    }
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    meet(&mut b, &mut a, &through).await;
    (r, a, b, direct)
}

async fn stream_closed(owner: &mut Owner) -> &'static str {
    owner
        .take(|event| match event {
            Event::StreamClosed { reason, .. } => Some(*reason),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn what_was_sent_on_the_relayed_stream_comes_whole_and_before_what_follows_on_the_direct_one() {
    let _on = defended().await;
    let (r, mut a, mut b, direct) = relayed(!DCUTR).await;
    let (pa, pb) = (a.peer(), b.peer());
    let stream = open(&mut b, pa).await;
    send(&mut b, stream, 0, 20_000).await;
    let id = b.node.dial(Some(pa), vec![direct]).unwrap();
    let moves = async {
        b.result(id).await.unwrap();
        b.admitted(pa).await;
        assert_eq!(stream_closed(&mut b).await, "moved to a direct connection");
        let stream = open(&mut b, pa).await;
        send(&mut b, stream, 20_000, 1000).await;
    };
    let (received, ()) = both(receive(&mut a, 21_000), moves).await;
    assert!(received.into_iter().eq(0..21_000));
    // Nothing is left on the relayed connection: the side that dialled it closes it, and the relay can go.
    let closed = |event: &Event| match event {
        Event::Closed { peer, remaining, .. } if *peer == pb => Some(*remaining),
        _ => None,
    };
    let driven = b.take(|event| matches!(event, Event::Closed { peer, .. } if *peer == pa).then_some(()));
    assert_eq!(both(a.take(closed), driven).await.0, 1);
    r.stop().await;
    let stream = open(&mut a, pb).await;
    send(&mut a, stream, 0, 10).await;
    assert_eq!(receive(&mut b, 10).await.len(), 10);
}

#[tokio::test]
async fn a_hole_is_punched_and_both_sides_hear_of_it() {
    let _on = defended().await;
    let (_r, mut a, mut b, _) = relayed(DCUTR).await;
    let punched = |event: &Event| match event {
        Event::HolePunch { connection, reason, .. } => Some((connection.is_some(), reason.clone())),
        _ => None,
    };
    let (by_a, by_b) = both(a.take(punched), b.take(punched)).await;
    assert_eq!([by_a, by_b], [(true, String::new()), (true, String::new())]);
    let stream = open(&mut b, a.peer()).await;
    send(&mut b, stream, 0, 10).await;
    assert_eq!(receive(&mut a, 10).await.len(), 10);
}

#[tokio::test]
async fn the_connection_that_tested_an_address_stays_where_it_is_the_only_direct_one() {
    let _on = defended().await;
    let (mut r, at) = relay(1).await;
    let [mut a, mut b] = [2, 3].map(|seed| member(seed, |config| config.autonat = true));
    for member in [&mut a, &mut b] {
        member.listen(AT).await;
        join(member, &mut r, &at).await;
        member.identified(r.peer()).await;
    }
    let through = reserve(&mut a, &mut r, &at).await.unwrap();
    meet(&mut b, &mut a, &through).await;
    let pa = a.peer();
    let tested = |event: &Event| match event {
        Event::ExternalAddress { state, detail, .. } => Some((*state, detail.clone())),
        _ => None,
    };
    assert_eq!(a.beside(b.take(tested)).await, (AddressState::Confirmed, String::new()));
    let left = |event: &Event| match event {
        Event::Closed { peer, remaining, .. } if *peer == pa => Some(*remaining),
        _ => None,
    };
    assert_eq!(a.beside(b.take(left)).await, 1, "the relayed one");
    let stream = open(&mut b, pa).await;
    send(&mut b, stream, 0, 10).await;
    assert_eq!(receive(&mut a, 10).await.len(), 10);
}
