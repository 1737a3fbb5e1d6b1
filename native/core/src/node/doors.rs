//! A transport whose inbound connections are negotiated at the door: on one thread of their own.
//!
//! A key exchange takes some hundred microseconds of arithmetic, and strangers ask for as many as they like. Among a node's
//! other tasks, messages waited behind them: with 350 strangers a second, ten times as long as without.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{FutureExt as _, future::BoxFuture};
use libp2p::{
    Multiaddr, Transport, TransportError,
    core::transport::{DialOpts, ListenerId, TransportEvent},
};
use tokio::sync::oneshot;

use crate::executor::TaskExecutor;

/// The transport: what it dials it negotiates where it is polled.
pub(super) struct Doors<T> {
    inner: T,
    executor: TaskExecutor,
}

impl<T> Doors<T> {
    pub fn new(inner: T, executor: TaskExecutor) -> Self {
        Self { inner, executor }
    }
}

impl<T> Transport for Doors<T>
where
    T: Transport + Unpin,
    T::ListenerUpgrade: Send + 'static,
    T::Output: Send + 'static,
    T::Error: Send + 'static,
{
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = BoxFuture<'static, Result<T::Output, T::Error>>;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<T::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let event = ready!(Pin::new(&mut self.inner).poll(cx));
        Poll::Ready(event.map_upgrade(|upgrade| at_door(self.executor.clone(), upgrade).boxed()))
    }
}

/// Runs it at the door, once it is polled; there it ends too when it is dropped here.
async fn at_door<T: Send + 'static>(
    executor: TaskExecutor,
    negotiation: impl Future<Output = T> + Send + 'static,
) -> T {
    let (mut done, running) = oneshot::channel();
    executor.spawn_at_door(async move {
        tokio::select! {
            outcome = negotiation => drop(done.send(outcome)),
            () = done.closed() => {}
        }
    });
    match running.await {
        Ok(outcome) => outcome,
        // It panicked, or the node ends: either ends this too.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::runtime::Handle;

    use super::*;
    use crate::runtime;

    fn executor() -> TaskExecutor {
        TaskExecutor::new(Handle::current(), runtime::doors().unwrap().clone())
    }

    #[tokio::test]
    async fn a_negotiation_runs_on_the_doors_thread_and_its_outcome_comes_back() {
        let name = at_door(executor(), async { thread::current().name().map(str::to_owned) }).await;
        assert_eq!(name.as_deref(), Some("covm-door"));
    }

    #[tokio::test]
    async fn one_that_is_given_up_ends_at_the_door() {
        let (alive, mut gone) = oneshot::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let negotiating = at_door(executor(), async move {
            begun.send(()).unwrap();
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        tokio::select! {
            () = negotiating => {}
            begun = has_begun => begun.unwrap(),
        }
        assert!((&mut gone).await.is_err());
    }

    #[tokio::test]
    async fn one_that_panics_is_reported_and_none_is_waited_for_when_the_node_ends() {
        let executor = executor();
        let panicking = tokio::spawn(at_door(executor.clone(), async { panic!("at the door") }));
        assert!(executor.failed().await.ends_with("at the door"));
        executor.shut_down().await;
        panicking.abort();
    }
}
