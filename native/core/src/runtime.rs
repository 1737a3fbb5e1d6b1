//! The one tokio runtime of the process, and the pid that it belongs to.
//!
//! Threads do not survive a fork, so a child that inherits the runtime would wait for ever: every entry point asks
//! [`handle`] first, and gets an error there instead.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

struct Owned {
    runtime: Runtime,
    pid: u32,
}

static RUNTIME: OnceLock<Owned> = OnceLock::new();

/// Threads that drive sockets and verify signatures. Two suffice for a small machine; more than four only contend
/// for the swarm's task.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 4)
}

/// The process was forked after the core had started.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process was forked from one that runs the network core, whose threads did not come along; start the node after the fork, or use the `spawn` start method"
)]
pub struct Forked;

/// The runtime's handle; starts it at the first call.
///
/// # Errors
/// [`Forked`] in a child process of the one that started it.
pub fn handle() -> Result<&'static Handle, Forked> {
    let owned = RUNTIME.get_or_init(|| Owned {
        runtime: Builder::new_multi_thread()
            .worker_threads(worker_threads())
            .thread_name("covm-core")
            .enable_all()
            .build()
            .expect("the operating system gives the process threads"),
        pid: std::process::id(),
    });
    if owned.pid == std::process::id() { Ok(owned.runtime.handle()) } else { Err(Forked) }
}
