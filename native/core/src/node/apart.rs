//! A transport whose tasks run on a runtime of their own, so that they can be ended.
//!
//! QUIC's library spawns tasks that hold its sockets, and they outlive the swarm: a connection that was closed before its
//! handshake was done is kept for three seconds and more, in case the other side says something late. Where holes are
//! punched there are always some. So each node's QUIC has a runtime, which ends with the node, and its sockets with it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, Transport, TransportError,
    core::transport::{DialOpts, ListenerId, TransportEvent},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::Instant,
};

use crate::limits;

/// A runtime for one node's QUIC: one thread drives its sockets.
///
/// # Errors
/// A sentence, when the operating system gives no more threads.
pub(super) fn runtime() -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("covm-quic")
        .enable_all()
        .build()
        .map_err(|error| format!("no thread can be had for QUIC: {error}"))
}

/// Ends the runtime: its tasks have a moment to say goodbye, then those that are left are cut. Returns when all are gone.
pub(super) async fn end(runtime: Runtime) {
    let deadline = Instant::now() + limits::GOODBYE;
    while runtime.metrics().num_alive_tasks() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // No task of it blocks: the thread is there when asked, and the bound is for a machine that stands still.
    let ended = tokio::task::spawn_blocking(|| runtime.shutdown_timeout(Duration::from_secs(5))).await;
    if let Err(error) = ended {
        tracing::warn!(%error, "QUIC's tasks could not be ended");
    }
}

/// The transport: all of it is polled inside the runtime.
pub(super) struct Apart<T> {
    inner: T,
    runtime: Handle,
}

impl<T> Apart<T> {
    /// Builds it inside the runtime.
    pub fn new(runtime: Handle, build: impl FnOnce() -> T) -> Self {
        let inner = {
            let _inside = runtime.enter();
            build()
        };
        Self { inner, runtime }
    }
}

impl<T: Transport + Unpin> Transport for Apart<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = Inside<T::ListenerUpgrade>;
    type Dial = Inside<T::Dial>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        let _inside = self.runtime.enter();
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let _inside = self.runtime.enter();
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<T::Error>> {
        let _inside = self.runtime.enter();
        Ok(Inside::new(self.inner.dial(address, options)?, &self.runtime))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let runtime = self.runtime.clone();
        let _inside = runtime.enter();
        let event = Pin::new(&mut self.inner).poll(cx);
        event.map(|event| event.map_upgrade(|upgrade| Inside::new(upgrade, &runtime)))
    }
}

/// A future that is polled inside the runtime, wherever it is awaited.
pub(super) struct Inside<F> {
    inner: Pin<Box<F>>,
    runtime: Handle,
}

impl<F> Inside<F> {
    fn new(inner: F, runtime: &Handle) -> Self {
        Self { inner: Box::pin(inner), runtime: runtime.clone() }
    }
}

impl<F: Future> Future for Inside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let runtime = self.runtime.clone();
        let _inside = runtime.enter();
        self.inner.as_mut().poll(cx)
    }
}
