//! Dials with several addresses, as an owner in Rust sees them.

#[expect(dead_code, reason = "this binary needs only a part of it")]
mod owner;

use std::{
    io::{ErrorKind, Read as _},
    net::TcpListener,
    time::{Duration, Instant},
};

use covm_core::{
    Multiaddr, PeerId,
    event::{FailureCode, Outcome},
    limits,
};
use owner::Owner;

const AT: &str = "/ip4/127.0.0.1/tcp/0";
const LONGEST: Duration = Duration::from_secs(30);

/// A port that takes connections and says nothing.
fn silent() -> (TcpListener, Multiaddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    (listener, at.parse().unwrap())
}

/// A port on which nobody listens.
fn refusing() -> Multiaddr {
    silent().1
}

#[tokio::test]
async fn addresses_that_say_nothing_hold_nothing_up() {
    let (mut a, mut b) = (Owner::new(1), Owner::new(2));
    let at = a.listen(AT).await;
    let silent: Vec<_> = (0..4).map(|_| silent()).collect();
    let mut addresses: Vec<_> = silent.iter().map(|(_, at)| at.clone()).collect();
    addresses.push(at);
    let began = Instant::now();
    let id = b.node.dial(Some(a.peer()), addresses).unwrap();
    assert_eq!(b.result(id).await, Ok(Outcome::Peer(a.peer())));
    assert!(began.elapsed() >= limits::DIAL_STAGGER * 4, "one after the other");
    assert!(began.elapsed() < limits::NEGOTIATION_DEADLINE, "{:?}", began.elapsed());
    for (listener, _) in &silent {
        let (mut lost, _) = listener.accept().unwrap();
        lost.set_read_timeout(Some(LONGEST)).unwrap();
        match lost.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it is left in peace at once"),
        }
    }
}

#[tokio::test]
async fn who_answers_at_once_spares_the_other_addresses() {
    let (mut a, mut b) = (Owner::new(1), Owner::new(2));
    let at = a.listen(AT).await;
    let (listener, silent) = silent();
    let id = b.node.dial(Some(a.peer()), vec![refusing(), at, silent]).unwrap();
    assert_eq!(b.result(id).await, Ok(Outcome::Peer(a.peer())));
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn where_somebody_else_answers_the_other_addresses_are_tried_and_where_that_is_all_it_is_said() {
    let (mut a, mut b, mut c) = (Owner::new(1), Owner::new(2), Owner::new(3));
    let (at, elsewhere, own) = (a.listen(AT).await, c.listen(AT).await, b.listen(AT).await);
    let id = b.node.dial(Some(a.peer()), vec![elsewhere.clone(), own.clone(), at]).unwrap();
    assert_eq!(b.result(id).await, Ok(Outcome::Peer(a.peer())));
    let id = b.node.dial(Some(PeerId::random()), vec![refusing(), elsewhere.clone()]).unwrap();
    let failure = b.failure(id).await;
    assert_eq!(failure.code, FailureCode::WrongPeer);
    let told = ("address".to_owned(), elsewhere.to_string());
    assert_eq!((&failure.details[0], &failure.details[2].1), (&told, &c.peer().to_string()));
    let id = b.node.dial(Some(a.peer()), vec![own]).unwrap();
    assert!(b.failure(id).await.details[0].1.contains("this node itself listens there"));
}

#[tokio::test]
async fn each_address_of_a_dial_that_failed_has_its_own_reason_in_the_order_given() {
    let mut b = Owner::new(2);
    let (_listener, silent) = silent();
    let refusing = refusing();
    let through = format!("{refusing}/p2p/{}/p2p-circuit", PeerId::random()).parse().unwrap();
    let addresses = [silent, "/dns4/nowhere.invalid/tcp/1".parse().unwrap(), refusing, through];
    let id = b.node.dial(Some(PeerId::random()), addresses.to_vec()).unwrap();
    let failure = b.failure(id).await;
    assert_eq!(failure.code, FailureCode::Unreachable);
    let tried: Vec<_> = failure.details.iter().map(|(address, _)| address.clone()).collect();
    assert_eq!(tried, addresses.map(|address| address.to_string()));
    let why = |number: usize| failure.details[number].1.as_str();
    assert_eq!(why(0), "no answer within 5 s");
    assert!(why(2).contains("refused"), "{}", why(2));
    assert_eq!(why(3), "it leads through a relay, and relay_client is off");
    assert!(!why(1).is_empty());
}

#[tokio::test]
async fn a_dial_has_a_bound_on_its_addresses() {
    let mut b = Owner::new(2);
    let port = |number: usize| format!("/ip4/127.0.0.1/tcp/{}", number + 1).parse().unwrap();
    let many = (0..=limits::ADDRESSES_PER_DIAL).map(port).collect();
    let id = b.node.dial(Some(PeerId::random()), many).unwrap();
    let failure = b.failure(id).await;
    assert!(failure.message.contains("at most 64"), "{failure:?}");
}
