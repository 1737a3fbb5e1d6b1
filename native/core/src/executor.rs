//! Where a node's tasks run: on the shared runtime, with their panics caught and their end awaited.
//!
//! libp2p spawns its connections and we spawn our streams here. A panic in any of them is reported once through
//! `failed`, and the node ends with it; the process goes on. `shut_down` cancels and awaits them all, so that when a
//! stop is reported nothing of the node is left.

use std::{any::Any, fmt::Write as _, future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures::FutureExt as _;
use tokio::{runtime::Handle, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A task as libp2p hands it over.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Spawns a node's tasks. Clones share one fate.
#[derive(Clone)]
pub struct TaskExecutor {
    handle: Handle,
    doors: Handle,
    tracker: TaskTracker,
    cancelled: CancellationToken,
    failure: Arc<watch::Sender<Option<String>>>,
}

impl TaskExecutor {
    /// An executor for one node on the given runtime, with another one for what goes on at its door.
    #[must_use]
    pub fn new(handle: Handle, doors: Handle) -> Self {
        Self {
            handle,
            doors,
            tracker: TaskTracker::new(),
            cancelled: CancellationToken::new(),
            failure: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Runs a task until it ends, panics or the executor is shut down.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_on(&self.handle, task);
    }

    /// The same, on the runtime for what goes on at the door.
    pub fn spawn_at_door(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_on(&self.doors, task);
    }

    fn spawn_on(&self, handle: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        let cancelled = self.cancelled.clone();
        let failure = Arc::clone(&self.failure);
        let guarded = async move {
            let outcome = tokio::select! {
                () = cancelled.cancelled() => Ok(()),
                outcome = AssertUnwindSafe(task).catch_unwind() => outcome,
            };
            if let Err(panic) = outcome {
                report(&failure, panic.as_ref());
            }
        };
        self.tracker.spawn_on(guarded, handle);
    }

    /// Resolves with the message of the first panic in any task.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(message) = failure.borrow_and_update().clone() {
                return message;
            }
            if failure.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Cancels every task and waits until all are gone.
    pub async fn shut_down(&self) {
        self.cancelled.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn report(failure: &watch::Sender<Option<String>>, panic: &(dyn Any + Send)) {
    failure.send_if_modified(|first| {
        let fresh = first.is_none();
        if fresh {
            *first = Some(panic_message(panic));
        }
        fresh
    });
}

/// The text of a caught panic.
#[must_use]
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let mut text = String::from("a task of the network core panicked: ");
    if let Some(message) = panic.downcast_ref::<&str>() {
        text.push_str(message);
    } else if let Some(message) = panic.downcast_ref::<String>() {
        text.push_str(message);
    } else {
        let _ = write!(text, "{:?}", panic.type_id());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_and_the_process_lives() {
        let executor = TaskExecutor::new(Handle::current(), Handle::current());
        executor.spawn(async { panic!("out of cheese") });
        assert!(executor.failed().await.ends_with("out of cheese"));
        executor.shut_down().await;
    }

    #[tokio::test]
    async fn shutting_down_ends_tasks_that_never_end_by_themselves() {
        let executor = TaskExecutor::new(Handle::current(), Handle::current());
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        executor.spawn(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        executor.shut_down().await;
        assert!(gone.await.is_err());
    }
}
