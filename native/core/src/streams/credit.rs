//! The reader's credit: how much was handed out that its owner has not released.
//!
//! The inbound streams that follow one another for one peer and protocol share one credit. Otherwise a peer that
//! replaces its stream again and again would fill its reader's queue with one buffer after another.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    task::{Context, Waker},
};

use super::StreamId;
use crate::switches::{self, Defence};

/// Bytes and frames handed out and not yet released, over all streams that share it.
#[derive(Debug)]
pub(super) struct Credit {
    limit_bytes: usize,
    limit_frames: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    frames: usize,
    ledgers: HashMap<StreamId, Ledger>,
    waiting: Vec<Waker>,
}

/// What one stream has handed out: batches in order, each as (bytes handed out up to its end, its frames).
#[derive(Debug, Default)]
struct Ledger {
    handed: u64,
    released: u64,
    batches: VecDeque<(u64, usize)>,
}

impl Ledger {
    /// Releases up to `bytes` and gives what that freed as (bytes, frames).
    fn release(&mut self, bytes: u64) -> (usize, usize) {
        let bytes = bytes.min(self.handed - self.released);
        self.released += bytes;
        let mut frames = 0;
        while let Some(&(end, count)) = self.batches.front() {
            if end > self.released {
                break;
            }
            frames += count;
            self.batches.pop_front();
        }
        (bytes as usize, frames)
    }
}

impl Credit {
    pub(super) fn new(limit_bytes: usize, limit_frames: usize) -> Self {
        Self { limit_bytes, limit_frames, state: Mutex::default() }
    }

    /// Whether the reader may read on; if not, its task is woken when it may. With nothing outstanding it always may.
    pub(super) fn may_read(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        if self.has_room(&state) || !switches::on(Defence::StreamCredit) {
            return true;
        }
        if !state.waiting.iter().any(|w| w.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        false
    }

    /// Notes a batch that `stream` is about to hand out.
    pub(super) fn hand_out(&self, stream: StreamId, bytes: usize, frames: usize) {
        let mut state = self.lock();
        state.bytes += bytes;
        state.frames += frames;
        let ledger = state.ledgers.entry(stream).or_default();
        ledger.handed += bytes as u64;
        let end = ledger.handed;
        ledger.batches.push_back((end, frames));
    }

    /// Releases `bytes` that `stream` handed out, at most what it did. True if it owes nothing any more.
    pub(super) fn release(&self, stream: StreamId, bytes: usize) -> bool {
        let (owes_nothing, woken) = {
            let mut state = self.lock();
            let Some(ledger) = state.ledgers.get_mut(&stream) else {
                return true;
            };
            let (bytes, frames) = ledger.release(bytes as u64);
            let owes_nothing = ledger.batches.is_empty();
            if owes_nothing {
                state.ledgers.remove(&stream);
            }
            state.bytes -= bytes;
            state.frames -= frames;
            let woken = if self.has_room(&state) { std::mem::take(&mut state.waiting) } else { Vec::new() };
            (owes_nothing, woken)
        };
        for waker in woken {
            waker.wake();
        }
        owes_nothing
    }

    /// Whether `stream` handed out something that was not released.
    pub(super) fn is_owed_by(&self, stream: StreamId) -> bool {
        self.lock().ledgers.contains_key(&stream)
    }

    fn has_room(&self, state: &State) -> bool {
        state.bytes < self.limit_bytes && state.frames < self.limit_frames
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: StreamId = StreamId(1);
    const NEW: StreamId = StreamId(2);

    fn may_read(credit: &Credit) -> bool {
        credit.may_read(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn reading_stops_at_the_limit_and_goes_on_once_released() {
        let credit = Credit::new(100, 10);
        credit.hand_out(OLD, 99, 1);
        assert!(may_read(&credit));
        credit.hand_out(OLD, 500, 1);
        assert!(!may_read(&credit));
        assert!(!credit.release(OLD, 499));
        assert!(!may_read(&credit));
        assert!(!credit.release(OLD, 1));
        assert!(may_read(&credit));
        assert!(credit.release(OLD, 99));
    }

    #[test]
    fn tiny_frames_are_bounded_by_their_number() {
        let credit = Credit::new(1000, 10);
        credit.hand_out(OLD, 4, 4);
        credit.hand_out(OLD, 6, 6);
        assert!(!may_read(&credit));
        credit.release(OLD, 3);
        assert!(!may_read(&credit), "a batch's frames are free once all of it is");
        credit.release(OLD, 1);
        assert!(may_read(&credit));
    }

    #[test]
    fn a_newer_stream_inherits_what_the_older_owes() {
        let credit = Credit::new(100, 10);
        credit.hand_out(OLD, 100, 1);
        assert!(!may_read(&credit));
        credit.hand_out(NEW, 10, 1);
        assert!(credit.release(NEW, usize::MAX));
        assert!(!may_read(&credit), "the older's bytes are not the newer's");
        assert!(credit.is_owed_by(OLD));
        assert!(credit.release(OLD, usize::MAX));
        assert!(may_read(&credit));
        assert!(!credit.is_owed_by(OLD));
    }
}
