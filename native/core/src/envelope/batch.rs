//! Sealing and opening many envelopes at once, on several threads when that pays.

use std::num::NonZero;
use std::sync::OnceLock;
use std::thread;

use libp2p::identity::Keypair;

use super::{Opened, open, seal};
use crate::limits;

/// [`seal`] for each payload, in the same order.
#[must_use]
pub fn seal_many<P: AsRef<[u8]> + Sync>(keypair: &Keypair, payload_type: &str, payloads: &[P]) -> Vec<Vec<u8>> {
    spread(payloads, |payload| seal(keypair, payload_type, payload))
}

/// [`open`] for each envelope, in the same order.
#[must_use]
pub fn open_many<E: AsRef<[u8]> + Sync>(payload_type: &str, envelopes: &[E]) -> Vec<Opened> {
    spread(envelopes, |envelope| open(payload_type, envelope))
}

/// Applies `work` to every item, in order, on as many threads as the batch can feed; the caller's is one of them.
fn spread<I, R, W>(items: &[I], work: W) -> Vec<R>
where
    I: AsRef<[u8]> + Sync,
    R: Send,
    W: Fn(&[u8]) -> R + Sync,
{
    let threads = threads_for(items);
    if threads < 2 {
        return items.iter().map(|item| work(item.as_ref())).collect();
    }
    let (own, others) = items.split_at(items.len().div_ceil(threads));
    let work = &work;
    thread::scope(|scope| {
        let chunks = others.chunks(own.len());
        let running: Vec<_> = chunks.map(|chunk| scope.spawn(move || run(chunk, work))).collect();
        let mut results = run(own, work);
        results.reserve_exact(others.len());
        for thread in running {
            match thread.join() {
                Ok(part) => results.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

fn run<I: AsRef<[u8]>, R>(items: &[I], work: &impl Fn(&[u8]) -> R) -> Vec<R> {
    items.iter().map(|item| work(item.as_ref())).collect()
}

fn threads_for<I: AsRef<[u8]>>(items: &[I]) -> usize {
    let cost = |item: &I| 1 + item.as_ref().len() / limits::ENVELOPE_HASH_UNIT_BYTES;
    let units: usize = items.iter().map(cost).sum();
    let fed = units / limits::ENVELOPES_PER_THREAD;
    fed.min(items.len()).min(limits::ENVELOPE_THREADS).min(cores())
}

fn cores() -> usize {
    // Asked once: it reads the scheduler's mask and the control group each time.
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}
