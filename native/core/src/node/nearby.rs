//! Nodes on the same segment (mDNS), however many answers come.
//!
//! libp2p keeps every answer for as long as its sender says, and looks through all of them for each new one: a segment can
//! make that any number. Here it runs on a thread that also receives for it, so that it takes a few answers at a time, and
//! is begun anew, with a pause, when it holds more than an honest segment has. A node that answers is found then too, in
//! its turn among the others.

use std::{collections::HashMap, future::poll_fn, task::Poll};

use libp2p::{
    Multiaddr, PeerId,
    core::transport::ListenerId,
    mdns,
    swarm::{ExpiredListenAddr, FromSwarm, NetworkBehaviour, NewListenAddr, ToSwarm},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use crate::{
    limits,
    switches::{self, Defence},
};

type Found = Vec<(PeerId, Multiaddr)>;
type Listening = HashMap<Multiaddr, ListenerId>;

/// What the segment says, and what we tell it.
pub(super) struct Nearby {
    found: mpsc::Receiver<Found>,
    listening: watch::Sender<Listening>,
}

impl Nearby {
    /// Begins to ask and to answer, on a runtime with one thread.
    ///
    /// # Errors
    /// A sentence, when multicast cannot be used.
    pub fn begin(us: PeerId, one_thread: &Handle) -> Result<Self, String> {
        let (tell, found) = mpsc::channel(1);
        let (listening, addresses) = watch::channel(Listening::new());
        let first = {
            let _inside = one_thread.enter();
            open(us).map_err(|error| format!("mDNS cannot be used ({error}); turn enable_mdns off"))?
        };
        one_thread.spawn(watch_segment(us, first, tell, addresses));
        Ok(Self { found, listening })
    }

    /// The next nodes that are found; none where nobody asks.
    pub async fn found(nearby: &mut Option<Self>) -> Found {
        let found = match nearby {
            Some(nearby) => nearby.found.recv().await,
            None => None,
        };
        match found {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }

    /// What the segment is told.
    pub fn listens_on(&self, addresses: impl Iterator<Item = (Multiaddr, ListenerId)>) {
        self.listening.send_replace(addresses.collect());
    }
}

fn open(us: PeerId) -> std::io::Result<mdns::tokio::Behaviour> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), us)
}

async fn watch_segment(
    us: PeerId,
    mut mdns: mdns::tokio::Behaviour,
    tell: mpsc::Sender<Found>,
    mut addresses: watch::Receiver<Listening>,
) {
    let mut told = Listening::new();
    loop {
        tokio::select! {
            changed = addresses.changed() => match changed {
                Ok(()) => told = announce(&mut mdns, told, addresses.borrow_and_update().clone()),
                Err(_) => return,
            },
            found = answers(&mut mdns) => if tell.send(found).await.is_err() { return },
        }
        if switches::on(Defence::MdnsBound) && mdns.discovered_nodes().len() > limits::NEARBY {
            // Its sockets are closed meanwhile, so that what the segment sends costs nothing.
            drop(mdns);
            tokio::time::sleep(limits::NEARBY_PAUSE).await;
            mdns = match open(us) {
                Ok(mdns) => mdns,
                Err(error) => return tracing::warn!(%error, "mDNS could not be begun again"),
            };
            told = announce(&mut mdns, Listening::new(), told);
        }
    }
}

/// Tells the segment where we listen now; returns that.
fn announce(mdns: &mut mdns::tokio::Behaviour, before: Listening, now: Listening) -> Listening {
    for (addr, listener_id) in before.iter().filter(|(addr, _)| !now.contains_key(addr)) {
        let listener_id = *listener_id;
        mdns.on_swarm_event(FromSwarm::ExpiredListenAddr(ExpiredListenAddr { listener_id, addr }));
    }
    for (addr, listener_id) in now.iter().filter(|(addr, _)| !before.contains_key(addr)) {
        let listener_id = *listener_id;
        mdns.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
    }
    now
}

async fn answers(mdns: &mut mdns::tokio::Behaviour) -> Found {
    poll_fn(|cx| {
        loop {
            match mdns.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(mdns::Event::Discovered(found))) => return Poll::Ready(found),
                Poll::Ready(_) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}
