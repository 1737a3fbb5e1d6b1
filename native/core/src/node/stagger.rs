//! One dial, many addresses: each has its turn a little after the one before it (RFC 8305).
//!
//! libp2p begins a dial's addresses together, or waits for one to fail before it begins the next. Here they are begun
//! together, and each waits for its turn inside the transport: until the one before has had its start, or at once when all
//! before have failed. The first that connects ends the dial; libp2p drops the others, begun or not. The deadline of an
//! address runs from its own turn on, whatever it spends it on, the name server included.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId, Transport, TransportError,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, TransportEvent},
    },
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

use super::dials;
use crate::{addresses, limits};

type Connected = (PeerId, StreamMuxerBox);
type Inner = Boxed<Connected>;

/// An address leads through a relay, which must serve us before it is dialled.
pub(super) struct RelayWanted {
    pub address: Multiaddr,
    pub ready: oneshot::Sender<Result<(), String>>,
}

/// Somebody else answered at an address.
#[derive(Debug)]
pub(super) struct SomebodyElse(pub PeerId);

impl fmt::Display for SomebodyElse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered", self.0)
    }
}

impl std::error::Error for SomebodyElse {}

/// How far a dial has come.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    begun: usize,
    failed: usize,
}

/// An address's place in the order of its dial.
struct Place {
    number: usize,
    progress: Arc<watch::Sender<Progress>>,
}

impl Place {
    /// Waits for its turn.
    async fn turn(&self) {
        let mut progress = self.progress.subscribe();
        // No error: whoever waits holds the sender.
        let _ = progress.wait_for(|now| now.begun >= self.number).await;
        let all_before = progress.wait_for(|now| now.failed >= self.number);
        let _ = timeout(limits::DIAL_STAGGER, all_before).await;
    }

    fn begin(&self) {
        self.progress.send_modify(|now| now.begun += 1);
    }

    fn fail(&self) {
        self.progress.send_modify(|now| now.failed += 1);
    }
}

/// Gives the addresses of our own dials their places; what libp2p's protocols dial has none, and no turn to wait for.
#[derive(Clone, Default)]
pub(super) struct Stagger {
    dial: Arc<Mutex<Option<Places>>>,
}

/// The places of the dial that is being begun.
#[derive(Default)]
struct Places {
    given: usize,
    progress: Arc<watch::Sender<Progress>>,
}

impl Stagger {
    /// What `dial` begins, in the call, is one dial of ours.
    pub fn around<T>(&self, dial: impl FnOnce() -> T) -> T {
        *lock(&self.dial) = Some(Places::default());
        let done = dial();
        *lock(&self.dial) = None;
        done
    }

    fn place(&self) -> Option<Place> {
        let mut dial = lock(&self.dial);
        let places = dial.as_mut()?;
        let number = places.given;
        places.given += 1;
        Some(Place { number, progress: Arc::clone(&places.progress) })
    }
}

/// A transport that gives each address its turn and its deadline.
pub(super) struct Staggered {
    inner: Arc<Mutex<Inner>>,
    stagger: Stagger,
    at_once: Arc<Semaphore>,
    relays: mpsc::Sender<RelayWanted>,
}

impl Staggered {
    pub fn new(inner: Inner, stagger: Stagger, relays: mpsc::Sender<RelayWanted>) -> Self {
        let at_once = Arc::new(Semaphore::new(limits::DIALLED_AT_ONCE));
        Self { inner: Arc::new(Mutex::new(inner)), stagger, at_once, relays }
    }
}

impl Transport for Staggered {
    type Output = Connected;
    type Error = io::Error;
    type ListenerUpgrade = <Inner as Transport>::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<Connected>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        lock(&self.inner).listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        lock(&self.inner).remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(place) = self.stagger.place() else {
            let is_named = addresses::is_named(&address);
            return Ok(in_time(lock(&self.inner).dial(address, options)?, is_named).boxed());
        };
        let (inner, at_once, relays) = (Arc::clone(&self.inner), Arc::clone(&self.at_once), self.relays.clone());
        Ok(async move {
            place.turn().await;
            // No error: nobody closes it.
            let _held = at_once.acquire().await;
            place.begin();
            let connected = dial_now(&inner, address, options, relays).await;
            if connected.is_err() {
                place.fail();
            }
            connected
        }
        .boxed())
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut *lock(&self.inner)).poll(cx)
    }
}

async fn dial_now(
    inner: &Mutex<Inner>,
    address: Multiaddr,
    options: DialOpts,
    relays: mpsc::Sender<RelayWanted>,
) -> io::Result<Connected> {
    if addresses::is_relayed(&address) {
        until_served(&address, relays).await?;
    }
    let expected = addresses::split_peer(address.clone()).1;
    let (is_named, is_relayed) = (addresses::is_named(&address), addresses::is_relayed(&address));
    let dial = lock(inner).dial(address, options).map_err(|error| match error {
        TransportError::MultiaddrNotSupported(_) => io::Error::other("this kind of address cannot be used here"),
        TransportError::Other(error) => error,
    })?;
    let connected = in_time(dial, is_named).await.map_err(|error| match is_relayed && dials::is_cut(&error) {
        true => io::Error::other("the relay closed the circuit before the peer had answered"),
        false => error,
    })?;
    match expected {
        Some(peer) if peer != connected.0 => Err(io::Error::other(SomebodyElse(connected.0))),
        _ => Ok(connected),
    }
}

async fn until_served(address: &Multiaddr, relays: mpsc::Sender<RelayWanted>) -> io::Result<()> {
    let (ready, served) = oneshot::channel();
    let gone = || io::Error::other("the node is stopping");
    relays.send(RelayWanted { address: address.clone(), ready }).await.map_err(|_| gone())?;
    served.await.map_err(|_| gone())?.map_err(io::Error::other)
}

async fn in_time(dial: impl Future<Output = io::Result<Connected>>, is_named: bool) -> io::Result<Connected> {
    let deadline: Duration = limits::NEGOTIATION_DEADLINE;
    timeout(deadline, dial).await.unwrap_or_else(|_| {
        let of_whom = if is_named { ", neither of a name server nor of who is there" } else { "" };
        let why = format!("no answer within {} s{of_whom}", deadline.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}

/// Also after a panic elsewhere: what is in there is whole after each call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: usize) -> Vec<Place> {
        let stagger = Stagger::default();
        stagger.around(|| (0..count).map(|_| stagger.place().unwrap()).collect())
    }

    fn is_waiting(place: &Place) -> bool {
        place.turn().now_or_never().is_none()
    }

    #[tokio::test]
    async fn the_first_has_its_turn_at_once_and_the_others_wait() {
        let places = places(3);
        assert!(!is_waiting(&places[0]));
        assert!(is_waiting(&places[1]) && is_waiting(&places[2]));
    }

    #[tokio::test]
    async fn when_all_before_have_failed_it_is_the_next_ones_turn() {
        let places = places(3);
        places[0].begin();
        assert!(is_waiting(&places[1]));
        places[0].fail();
        assert!(!is_waiting(&places[1]) && is_waiting(&places[2]));
        places[1].begin();
        assert!(is_waiting(&places[2]));
        places[1].fail();
        assert!(!is_waiting(&places[2]));
    }

    #[tokio::test]
    async fn one_that_says_nothing_holds_up_the_next_for_a_moment_alone() {
        let places = places(3);
        places[0].begin();
        places[1].turn().await;
        assert!(is_waiting(&places[2]), "the second has not begun");
        places[1].begin();
        places[2].turn().await;
    }

    #[test]
    fn what_libp2p_dials_by_itself_has_no_place() {
        let stagger = Stagger::default();
        assert!(stagger.place().is_none());
        assert_eq!(stagger.around(|| stagger.place().unwrap().number), 0);
        assert!(stagger.place().is_none());
    }
}
