//! What a handler hears that is installed late, on a real connection.

use std::{future::Future, pin::pin, time::Duration};

use covm_core::gate::{Gate, Phase};
use futures::{FutureExt, StreamExt};
use libp2p::{
    StreamProtocol, Swarm, identify,
    swarm::{NetworkBehaviour, SwarmEvent},
};

use crate::support::{
    self, all_defences_on, node,
    probe::{Log, PROBE, Probe},
    raw::{RawPeer, RawStreams},
};

#[derive(NetworkBehaviour)]
struct Watched {
    identify: identify::Behaviour,
    streams: RawStreams,
    gate: Gate<Probe>,
}

/// Drives a swarm until something else is finished.
async fn during<T>(swarm: &mut Swarm<Watched>, other: impl Future<Output = T>) -> T {
    let mut other = pin!(other);
    loop {
        tokio::select! {
            result = &mut other => return result,
            _ = swarm.select_next_some() => {}
        }
    }
}

async fn until_logged(log: &Log, line: &str) {
    while !log.lock().unwrap().iter().any(|seen| seen.contains(line)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_handler_installed_late_hears_what_both_sides_speak_and_takes_streams_before_it_acts() {
    let _on = all_defences_on().await;
    let log = Log::default();
    let mut swarm = node::swarm(|key| Watched {
        identify: node::identify(key),
        streams: RawStreams::accepting(vec![]),
        gate: Gate::new(Probe { log: log.clone(), ..Probe::default() }),
    });
    swarm.listen_on(support::LOOPBACK.parse().unwrap()).unwrap();
    let story = async {
        let peer = RawPeer::start(vec![StreamProtocol::new("/remote")]).await;
        let mut connection = None;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => {
                    // Its answer comes while we go on.
                    let _ = peer.connect(&address).now_or_never();
                }
                SwarmEvent::ConnectionEstablished { connection_id, .. } => connection = Some(connection_id),
                SwarmEvent::Behaviour(WatchedEvent::Identify(identify::Event::Received { .. })) => break,
                _ => {}
            }
        }
        let connection = connection.unwrap();
        assert_eq!(*log.lock().unwrap(), [""; 0], "nothing until it is admitted");

        swarm.behaviour_mut().gate.set_phase(connection, Phase::Listening).unwrap();
        let _stream = during(&mut swarm, peer.open(PROBE)).await.unwrap();
        during(&mut swarm, until_logged(&log, "inbound stream")).await;
        assert!(!log.lock().unwrap().contains(&"polled".to_owned()));

        swarm.behaviour_mut().gate.set_phase(connection, Phase::Open).unwrap();
        during(&mut swarm, until_logged(&log, "polled")).await;
    };
    tokio::time::timeout(Duration::from_secs(20), story).await.unwrap_or_else(|_| panic!("{log:?}"));
    let log = log.lock().unwrap();
    assert!(log.contains(&"local has /probe".to_owned()), "{log:?}");
    assert!(log.contains(&"remote has /ipfs/id/1.0.0 /ipfs/id/push/1.0.0 /remote".to_owned()), "{log:?}");
    assert!(!log.contains(&"remote lost some".to_owned()), "{log:?}");
}
