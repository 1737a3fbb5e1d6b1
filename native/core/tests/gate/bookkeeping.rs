//! What the gate lets a behaviour see and do, event by event, for any behaviour.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use covm_core::gate::{GateHandler, Phase, PhaseError};
use libp2p::{
    PeerId,
    swarm::{
        CloseConnection, ConnectionHandler, DialError, DialFailure, FromSwarm, ListenError, ListenFailure,
        NetworkBehaviour, NewExternalAddrOfPeer, NotifyHandler, ToSwarm, dial_opts::DialOpts,
    },
};

use crate::support::probe::{Driven, ProbeHandler, TIMEOUT, address, id, inbound, outbound};

#[test]
fn only_admitted_connections_are_shown_and_counted() {
    let mut driven = Driven::new();
    let (peer, other) = (PeerId::random(), PeerId::random());
    for number in 1..=3 {
        driven.establish(id(number), peer, inbound(number as u16));
    }
    driven.establish(id(4), other, inbound(4));
    assert_eq!(driven.seen(), [""; 0]);

    driven.gate.set_phase(id(2), Phase::Listening).unwrap();
    driven.gate.set_phase(id(4), Phase::Open).unwrap();
    driven.gate.set_phase(id(3), Phase::Open).unwrap();
    assert_eq!(
        driven.seen(),
        [
            "established 2 others 0 at /ip4/127.0.0.1/tcp/2",
            "established 4 others 0 at /ip4/127.0.0.1/tcp/4",
            "established 3 others 1 at /ip4/127.0.0.1/tcp/3",
        ]
    );
    assert_eq!(driven.gate.open_connections(&peer).collect::<Vec<_>>(), [id(3)]);

    driven.close(id(1));
    assert_eq!(driven.seen(), ["listen 1 failed, peer false"]);
    driven.close(id(2));
    driven.close(id(3));
    assert_eq!(driven.seen(), ["closed 2 remaining 1", "closed 3 remaining 0"]);
}

#[test]
fn whoever_has_a_pass_is_shown_at_once_and_can_be_admitted_as_well() {
    let (holder, stranger) = (PeerId::random(), PeerId::random());
    let mut driven = Driven::with_passes(move |peer| *peer == holder);
    driven.establish(id(1), holder, inbound(1));
    driven.establish(id(2), stranger, inbound(2));
    assert_eq!(driven.seen(), ["established 1 others 0 at /ip4/127.0.0.1/tcp/1"]);
    assert_eq!([1, 2].map(|number| driven.gate.phase(id(number))), [Some(Phase::Open), Some(Phase::Denied)]);
    let (from, to) = (Phase::Open, Phase::Listening);
    assert_eq!(driven.gate.set_phase(id(1), to), Err(PhaseError::Backwards { from, to }));
    driven.gate.set_phase(id(1), Phase::Open).unwrap();
    driven.close(id(1));
    assert_eq!(driven.seen(), ["closed 1 remaining 0"]);
}

#[test]
fn what_happened_to_a_hidden_connection_is_known_at_its_admission() {
    let mut driven = Driven::new();
    let peer = PeerId::random();
    let announce = |driven: &mut Driven, port: u16| {
        let addr = address(port);
        let event = NewExternalAddrOfPeer { peer_id: peer, addr: &addr };
        driven.gate.on_swarm_event(FromSwarm::NewExternalAddrOfPeer(event));
    };
    announce(&mut driven, 50);
    driven.establish(id(1), peer, inbound(1));
    driven.move_to(id(1), inbound(2));
    (100..112).for_each(|port| announce(&mut driven, port));
    assert_eq!(driven.seen(), [""; 0]);

    driven.gate.set_phase(id(1), Phase::Listening).unwrap();
    let seen = driven.seen();
    assert_eq!(seen[0], "established 1 others 0 at /ip4/127.0.0.1/tcp/2");
    let kept: Vec<_> = (102..112).map(|port| format!("peer at {}", address(port))).collect();
    assert_eq!(seen[1..], kept, "the newest, as many as are kept");

    driven.move_to(id(1), inbound(3));
    announce(&mut driven, 200);
    assert_eq!(driven.seen(), ["moved 1 to /ip4/127.0.0.1/tcp/3", "peer at /ip4/127.0.0.1/tcp/200"]);
}

#[test]
fn what_the_inner_behaviour_says_reaches_admitted_connections_only() {
    let mut driven = Driven::new();
    let (peer, stranger) = (PeerId::random(), PeerId::random());
    for number in 1..=4 {
        driven.establish(id(number), peer, inbound(number as u16));
    }
    driven.establish(id(5), stranger, inbound(5));
    driven.gate.set_phase(id(2), Phase::Listening).unwrap();
    driven.gate.set_phase(id(3), Phase::Open).unwrap();
    driven.gate.set_phase(id(4), Phase::Open).unwrap();

    let notify = |peer_id, handler, event| ToSwarm::NotifyHandler { peer_id, handler, event };
    let close = |peer_id, connection| ToSwarm::CloseConnection { peer_id, connection };
    driven.gate.inner_mut().says.extend([
        notify(peer, NotifyHandler::One(id(1)), "hidden"),
        notify(peer, NotifyHandler::One(id(2)), "listening"),
        notify(peer, NotifyHandler::Any, "any"),
        notify(stranger, NotifyHandler::Any, "stranger"),
        close(peer, CloseConnection::One(id(1))),
        close(stranger, CloseConnection::All),
        close(peer, CloseConnection::All),
    ]);
    let installed = ["to 2: Install(Listening)", "to 3: Install(Open)", "to 4: Install(Open)"];
    let said = ["to 2: Inner(\"listening\")", "to 3: Inner(\"any\")", "close 2", "close 3", "close 4"];
    assert_eq!(driven.commands(), [installed.as_slice(), said.as_slice()].concat(), "installations come first");

    // While none is open, a listening one is better than none.
    driven.close(id(3));
    driven.close(id(4));
    driven.gate.inner_mut().says.push_back(notify(peer, NotifyHandler::Any, "any"));
    assert_eq!(driven.commands(), ["to 2: Inner(\"any\")"]);
    driven.gate.set_phase(id(2), Phase::Open).unwrap();
    assert_eq!(driven.commands(), ["to 2: Open"]);
}

#[test]
fn a_dial_of_the_inner_behaviour_that_is_not_admitted_failed() {
    let mut driven = Driven::new();
    let peer = PeerId::random();
    let dial = || DialOpts::peer_id(peer).addresses(vec![address(1)]).build();
    let (opts, lost) = (dial(), dial());
    let (own, own_lost) = (opts.connection_id(), lost.connection_id());
    driven.gate.inner_mut().says.extend([ToSwarm::Dial { opts }, ToSwarm::Dial { opts: lost }]);
    assert_eq!(driven.commands(), ["dial", "dial"]);

    let failure = DialFailure { peer_id: Some(peer), error: &DialError::Aborted, connection_id: own_lost };
    driven.gate.on_swarm_event(FromSwarm::DialFailure(failure));
    driven.establish(own, peer, outbound(1));
    driven.establish(id(70_000), peer, outbound(1));
    driven.close(own);
    driven.close(id(70_000));
    let expected = [
        format!("dial {own_lost} failed, peer true"),
        format!("dial {own} failed, peer true"),
        "dial 70000 failed, peer false".to_owned(),
    ];
    assert_eq!(driven.seen(), expected);
}

#[test]
fn a_connection_that_another_behaviour_denies_was_never_there() {
    let mut driven = Driven::new();
    let peer = PeerId::random();
    drop(driven.gate.handle_established_inbound_connection(id(1), peer, &address(1), &address(2)).unwrap());
    let failure = ListenFailure {
        local_addr: &address(1),
        send_back_addr: &address(2),
        error: &ListenError::Aborted,
        connection_id: id(1),
        peer_id: Some(peer),
    };
    driven.gate.on_swarm_event(FromSwarm::ListenFailure(failure));
    assert_eq!(driven.seen(), ["listen 1 failed, peer false"]);
    assert_eq!(driven.gate.set_phase(id(1), Phase::Listening), Err(PhaseError::UnknownConnection(id(1))));
}

#[test]
fn a_connection_that_the_inner_behaviour_refuses_closes() {
    let mut driven = Driven::new();
    let peer = PeerId::random();
    driven.establish(id(1), peer, inbound(1));
    driven.gate.inner_mut().refuses = true;
    let refused = driven.gate.set_phase(id(1), Phase::Listening);
    assert_eq!(refused, Err(PhaseError::RefusedInside("not today".into())));
    assert_eq!(driven.gate.phase(id(1)), Some(Phase::Denied));
    assert_eq!(driven.commands(), ["close 1"]);
    driven.close(id(1));
    assert_eq!(driven.seen(), ["listen 1 failed, peer false"], "once");
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_handler_that_was_told_things_while_listening_is_polled_as_soon_as_it_opens() {
    let mut driven = Driven::new();
    let peer = PeerId::random();
    let mut handler = driven.establish(id(1), peer, inbound(1));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(!handler.connection_keep_alive());
    let pass = |driven: &mut Driven, handler: &mut GateHandler<ProbeHandler>| {
        while let Some(command) = driven.poll() {
            let ToSwarm::NotifyHandler { event, .. } = command else { panic!("{command:?}") };
            handler.on_behaviour_event(event);
        }
    };

    assert!(handler.poll(&mut cx).is_pending());
    driven.gate.set_phase(id(1), Phase::Listening).unwrap();
    driven.gate.inner_mut().says.push_back(ToSwarm::NotifyHandler {
        peer_id: peer,
        handler: NotifyHandler::Any,
        event: "news",
    });
    pass(&mut driven, &mut handler);
    assert!(handler.connection_keep_alive());
    assert_eq!(*handler.listen_protocol().timeout(), TIMEOUT, "the inner protocol's own");
    assert!(handler.poll(&mut cx).is_pending());
    assert_eq!(driven.seen()[1..], ["told news"], "told, and not polled");

    let before = wakes.0.load(Ordering::SeqCst);
    driven.gate.set_phase(id(1), Phase::Open).unwrap();
    pass(&mut driven, &mut handler);
    assert!(wakes.0.load(Ordering::SeqCst) > before);
    assert!(handler.poll(&mut cx).is_pending());
    assert!(handler.poll_close(&mut cx).is_ready());
    assert_eq!(driven.seen(), ["polled", "closing"]);
}
