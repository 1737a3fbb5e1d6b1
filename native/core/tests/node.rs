//! Whole nodes over real sockets, as an owner in Rust sees them.

#[expect(dead_code, reason = "this binary needs only a part of it")]
mod owner;
mod support;

use std::{
    collections::HashSet,
    net::{TcpListener, UdpSocket},
};

use covm_core::{
    PeerId, envelope,
    event::{Event, FailureCode, Outcome, connection_number},
    join::{Frame, PROTOCOL},
    limits,
    node::{CommandError, Verdict},
    streams::StreamId,
};
use futures::{AsyncReadExt, AsyncWriteExt};
use owner::{DIRECT, KIND, Owner, TOPIC, both, connected};
use support::raw::RawPeer;

#[tokio::test]
async fn a_gossiped_message_arrives_with_its_author_proven_over_each_transport() {
    for address in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"] {
        let (mut a, mut b) = (Owner::new(1), Owner::new(2));
        connected(&mut a, &mut b, address).await;
        let envelope = envelope::seal(&b.keypair, KIND, b"seeds for all");
        let id = b.node.publish(TOPIC.into(), vec![envelope]).unwrap();
        let Outcome::Published(published) = b.result(id).await.unwrap() else { panic!() };
        assert_eq!(published[0].peers, 1);
        let message = a.gossip().await;
        assert_eq!(message.body, b"seeds for all");
        assert_eq!(message.author, b.peer());
        assert_eq!(message.source, b.peer());
        a.node.judge(vec![(message.handle, Verdict::Accept)]).unwrap();
        both(a.stop(), b.stop()).await;
    }
}

#[tokio::test]
async fn a_message_travels_on_only_after_it_was_accepted() {
    let (mut a, mut b, mut c) = (Owner::new(1), Owner::new(2), Owner::new(3));
    connected(&mut b, &mut a, "/ip4/127.0.0.1/tcp/0").await;
    connected(&mut c, &mut b, "/ip4/127.0.0.1/tcp/0").await;
    let bodies = [&b"ignored"[..], b"accepted"];
    let sealed = bodies.iter().map(|body| envelope::seal(&a.keypair, KIND, body)).collect();
    a.node.publish(TOPIC.into(), sealed).unwrap();
    for _ in 0..2 {
        let message = b.gossip().await;
        let verdict = if message.body == b"accepted" { Verdict::Accept } else { Verdict::Ignore };
        b.node.judge(vec![(message.handle, verdict)]).unwrap();
    }
    let message = c.gossip().await;
    assert_eq!(message.body, b"accepted");
    assert_eq!((message.author, message.source), (a.peer(), b.peer()));
}

#[tokio::test]
async fn whoever_is_of_another_federation_is_refused_with_the_reason() {
    let mut a = Owner::new(1);
    let mut b = Owner::with(2, |config| config.hello = b"other".to_vec());
    let at = a.listen("/ip4/127.0.0.1/tcp/0").await;
    b.admits = false;
    b.node.dial(Some(a.peer()), vec![at]).unwrap();
    let (_, reason) = both(
        a.take(|event| matches!(event, Event::Closed { .. }).then_some(())),
        b.take(|event| match event {
            Event::Refused { reason, .. } => Some(reason.clone()),
            _ => None,
        }),
    )
    .await;
    assert_eq!(reason, "another federation");
}

#[tokio::test]
async fn frames_go_both_ways_on_one_stream() {
    let (mut a, mut b) = (Owner::new(1), Owner::new(2));
    connected(&mut a, &mut b, "/ip4/127.0.0.1/tcp/0").await;
    let id = b.node.open_stream(a.peer(), DIRECT.into()).unwrap();
    let Outcome::Stream(ours) = b.result(id).await.unwrap() else { panic!() };
    assert!(b.node.send(StreamId(ours), &[b"ping"]).unwrap());
    let frames = |event: &Event| match event {
        Event::Frames { stream, frames, .. } => Some((*stream, frames.clone())),
        _ => None,
    };
    let (theirs, received) = a.take(frames).await;
    assert_eq!(received, [b"ping"]);
    assert!(a.node.send(StreamId(theirs), &[b"pong"]).unwrap());
    assert_eq!(b.take(frames).await, (ours, vec![b"pong".to_vec()]));
    a.stop().await;
    b.take(|event| matches!(event, Event::StreamClosed { .. }).then_some(())).await;
    b.take(|event| matches!(event, Event::Unadmitted { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_stream_to_a_peer_that_is_not_there_says_so() {
    let mut a = Owner::new(1);
    let id = a.node.open_stream(PeerId::random(), DIRECT.into()).unwrap();
    assert_eq!(a.result(id).await, Err(FailureCode::NotConnected));
}

#[tokio::test]
async fn dialling_says_what_went_wrong() {
    let (mut a, mut b) = (Owner::new(1), Owner::new(2));
    let at = a.listen("/ip4/127.0.0.1/tcp/0").await;
    let id = b.node.dial(Some(PeerId::random()), vec![at.clone()]).unwrap();
    assert_eq!(b.result(id).await, Err(FailureCode::WrongPeer));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("/ip4/127.0.0.1/tcp/{}", free.port());
    let id = b.node.dial(None, vec![nobody.parse().unwrap()]).unwrap();
    assert_eq!(b.result(id).await, Err(FailureCode::Unreachable));
    b.node.block(a.peer()).unwrap();
    let id = b.node.dial(Some(a.peer()), vec![at.clone()]).unwrap();
    assert_eq!(b.result(id).await, Err(FailureCode::Blocked));
    let id = a.node.dial(Some(a.peer()), vec![at]).unwrap();
    assert_eq!(a.result(id).await, Err(FailureCode::InvalidAddress));
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut a = Owner::new(1);
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let id = a.node.listen(vec![address.parse().unwrap()]).unwrap();
    assert_eq!(a.result(id).await, Err(FailureCode::Listen));
}

#[tokio::test]
async fn a_stopped_node_has_freed_its_ports() {
    let mut a = Owner::new(1);
    let tcp = a.listen("/ip4/127.0.0.1/tcp/0").await;
    let udp = a.listen("/ip4/127.0.0.1/udp/0/quic-v1").await;
    let mut ports = HashSet::new();
    for address in [tcp, udp] {
        let text = address.to_string();
        ports.insert(text.split('/').nth(4).unwrap().parse::<u16>().unwrap());
    }
    a.stop().await;
    for port in ports {
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
        assert!(UdpSocket::bind(("127.0.0.1", port)).is_ok());
    }
}

#[cfg(feature = "switches")]
#[tokio::test]
async fn a_panic_ends_the_node_and_not_the_process() {
    for in_task in [true, false] {
        let mut a = Owner::new(1);
        a.listen("/ip4/127.0.0.1/tcp/0").await;
        a.node.provoke_panic(in_task).unwrap();
        let reason = a
            .take(|event| match event {
                Event::Failed { reason } => Some(reason.clone()),
                _ => None,
            })
            .await;
        assert!(reason.contains("provoked"), "{reason}");
        assert!(a.node.stop().is_err());
    }
}

#[tokio::test]
async fn what_is_said_to_a_peer_that_does_not_read_waits_up_to_a_bound_and_goes_on_when_it_reads() {
    let mut node = Owner::new(1);
    node.admits = false;
    let at = node.listen("/ip4/127.0.0.1/tcp/0").await;
    let raw = RawPeer::start(vec![]).await;
    raw.connect(&at).await.unwrap();
    let mut stream = raw.open(PROTOCOL).await.unwrap();
    stream.write_all(&Frame::Hello(b"raw".to_vec()).encode().unwrap()).await.unwrap();
    stream.flush().await.unwrap();
    let connection = node
        .take(|event| match event {
            Event::Hello { connection, .. } => Some(connection_number(*connection)),
            _ => None,
        })
        .await;
    let most = vec![[7; 1024]; limits::JOIN_TALK_UNSENT / 1024];
    assert!(node.node.talk(connection, &most).unwrap());
    for _ in 0..1000 {
        assert!(!node.node.talk(connection, &most).unwrap(), "no more than a window of it has left");
    }
    let frame = Frame::Talk(vec![7; 1024]).encode().unwrap().len();
    let mut said = vec![0; 2 + 1 + b"hello".len() + most.len() * frame];
    stream.read_exact(&mut said).await.unwrap();
    node.take(|event| matches!(event, Event::TalkSent { .. }).then_some(())).await;
    assert!(node.node.talk(connection, &most).unwrap());
    node.node.refuse(connection, "enough".into()).unwrap();
    assert!(node.node.talk(connection, &most).unwrap(), "dropped: this side has answered");
    assert!(matches!(node.node.talk(connection, &[b""]), Err(CommandError::Talk(_))));
    assert!(matches!(node.node.set_hello(vec![0; limits::JOIN_FRAME]), Err(CommandError::Hello(_))));
    node.stop().await;
}
