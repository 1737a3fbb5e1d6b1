//! The one tokio runtime of the process, a small one beside it for who knocks, and the pid that they belong to.
//!
//! Threads do not survive a fork, so a child that inherits the runtime would wait for ever: every entry point asks
//! [`handle`] first, and gets an error there instead.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};

struct Owned {
    runtime: Runtime,
    doors: Runtime,
    pid: u32,
}

static RUNTIME: OnceLock<Owned> = OnceLock::new();

/// Threads that drive sockets and verify signatures, on a small machine too: one that computes or waits for a core lets the
/// others go on. More only contend for the swarm's task.
const WORKERS: usize = 4;

/// The process was forked after the core had started.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process was forked from one that runs the network core, whose threads did not come along; start the node after the fork, or use the `spawn` start method"
)]
pub struct Forked;

fn start(name: &str, threads: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .expect("the operating system gives the process threads")
}

fn owned() -> Result<&'static Owned, Forked> {
    let owned = RUNTIME.get_or_init(|| Owned {
        runtime: start("covm-core", WORKERS),
        doors: start("covm-door", 1),
        pid: std::process::id(),
    });
    if owned.pid == std::process::id() { Ok(owned) } else { Err(Forked) }
}

/// The runtime's handle; starts it at the first call.
///
/// # Errors
/// [`Forked`] in a child process of the one that started it.
pub fn handle() -> Result<&'static Handle, Forked> {
    owned().map(|owned| owned.runtime.handle())
}

/// The handle of the runtime on whose one thread inbound connections prove their keys.
///
/// # Errors
/// As [`handle`].
pub fn doors() -> Result<&'static Handle, Forked> {
    owned().map(|owned| owned.doors.handle())
}
