//! The sender's local buffer: filled by `send` from any thread, emptied by the stream's task.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{SendError, frame};
use crate::{
    limits,
    switches::{self, Defence},
};

/// Framed bytes that the transport has not yet taken.
#[derive(Debug)]
pub(super) struct Outbox {
    buffer_bytes: usize,
    frame_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the task has not yet fetched.
    queued: Vec<u8>,
    /// Bytes in `queued` and in what the task fetched and has not written.
    held: usize,
    /// A `send` was turned away and is owed a `Writable`.
    refused: bool,
    /// The task found nothing to write and must be woken.
    idle: bool,
    ended: bool,
}

/// What became of a `send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// Taken, by a task that is at work.
    Taken,
    /// Taken, by a task that must be woken.
    TakenWake,
    /// Nothing taken; the sender waits for `Writable`.
    Refused,
}

/// What the task found when it came back for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fetched {
    /// Whether the sender who was turned away may go on.
    pub(super) writable: bool,
    /// Whether nothing was there.
    pub(super) empty: bool,
}

impl Outbox {
    pub(super) fn new(buffer_bytes: usize, frame_bytes: usize) -> Self {
        Self { buffer_bytes, frame_bytes, state: Mutex::default() }
    }

    /// Takes all of `frames` or none. They are copied once, side by side, so that many leave in one write.
    pub(super) fn queue<F: AsRef<[u8]>>(&self, frames: &[F]) -> Result<Queued, SendError> {
        let size_bytes = self.check(frames)?;
        let mut state = self.lock();
        if state.ended {
            return Err(SendError::StreamGone);
        }
        if frames.is_empty() {
            return Ok(Queued::Taken);
        }
        if state.held >= self.buffer_bytes && switches::on(Defence::StreamCredit) {
            state.refused = true;
            return Ok(Queued::Refused);
        }
        state.queued.reserve(size_bytes);
        for frame in frames {
            frame::append_frame(&mut state.queued, frame.as_ref());
        }
        state.held += size_bytes;
        let was_idle = std::mem::take(&mut state.idle);
        Ok(if was_idle { Queued::TakenWake } else { Queued::Taken })
    }

    /// Notes `written` bytes as gone and, if `chunk` is used up, fills it with all that is queued.
    pub(super) fn fetch(&self, written: usize, used_up: bool, chunk: &mut Vec<u8>) -> Fetched {
        let mut state = self.lock();
        state.held -= written;
        let writable = state.refused && state.held < self.buffer_bytes / 2;
        state.refused &= !writable;
        if !used_up {
            return Fetched { writable, empty: false };
        }
        chunk.clear();
        let empty = state.queued.is_empty();
        if empty {
            state.idle = true;
            // A burst must not keep its memory for as long as the stream lives.
            if chunk.capacity() > limits::STREAM_HANDOVER {
                *chunk = Vec::new();
            }
        } else {
            std::mem::swap(chunk, &mut state.queued);
        }
        Fetched { writable, empty }
    }

    /// Refuses every later `send`; what is queued still goes.
    pub(super) fn end(&self) {
        self.lock().ended = true;
    }

    fn check<F: AsRef<[u8]>>(&self, frames: &[F]) -> Result<usize, SendError> {
        let mut total_bytes = 0;
        for frame in frames {
            let size_bytes = frame.as_ref().len();
            if size_bytes == 0 {
                return Err(SendError::EmptyFrame);
            }
            if size_bytes > self.frame_bytes {
                return Err(SendError::FrameTooLarge { size_bytes, limit_bytes: self.frame_bytes });
            }
            total_bytes += size_bytes + frame::PREFIX_BYTES;
        }
        let limit_bytes = self.buffer_bytes + self.frame_bytes + frame::PREFIX_BYTES;
        if total_bytes > limit_bytes {
            return Err(SendError::BatchTooLarge { size_bytes: total_bytes, limit_bytes });
        }
        Ok(total_bytes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 96] = [1; 96];

    fn fetch(outbox: &Outbox, written: usize) -> (Fetched, Vec<u8>) {
        let mut chunk = Vec::new();
        let fetched = outbox.fetch(written, true, &mut chunk);
        (fetched, chunk)
    }

    #[test]
    fn a_full_buffer_takes_nothing_until_it_is_half_empty() {
        let outbox = Outbox::new(200, 100);
        assert_eq!(outbox.queue(&[FRAME, FRAME]), Ok(Queued::Taken));
        assert_eq!(outbox.queue(&[FRAME]), Ok(Queued::Refused));
        let (fetched, chunk) = fetch(&outbox, 0);
        assert_eq!((fetched.writable, chunk.len()), (false, 200));
        assert!(!fetch(&outbox, 100).0.writable, "half full is not below half");
        assert!(fetch(&outbox, 1).0.writable);
        assert!(!fetch(&outbox, 1).0.writable, "one refusal is owed one Writable");
        assert_eq!(outbox.queue(&[FRAME]), Ok(Queued::TakenWake));
    }

    #[test]
    fn what_could_never_be_received_is_refused_before_it_is_queued() {
        let outbox = Outbox::new(200, 100);
        assert_eq!(outbox.queue(&[FRAME.to_vec(), vec![]]), Err(SendError::EmptyFrame));
        let too_large = SendError::FrameTooLarge { size_bytes: 101, limit_bytes: 100 };
        assert_eq!(outbox.queue(&[[0; 101]]), Err(too_large));
        let too_many = SendError::BatchTooLarge { size_bytes: 400, limit_bytes: 304 };
        assert_eq!(outbox.queue(&[FRAME; 4]), Err(too_many));
        assert!(fetch(&outbox, 0).0.empty);
    }

    #[test]
    fn an_ended_stream_takes_nothing_and_gives_what_it_had() {
        let outbox = Outbox::new(200, 100);
        outbox.queue(&[FRAME]).unwrap();
        outbox.end();
        assert_eq!(outbox.queue(&[FRAME]), Err(SendError::StreamGone));
        assert_eq!(fetch(&outbox, 0).1.len(), 100);
    }
}
