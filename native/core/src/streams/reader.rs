//! The reading half: takes what the transport has, cuts it into frames, hands them over in batches.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::AsyncRead;
use tokio::time::Instant;

use super::{
    Reason,
    credit::Credit,
    frame::{FrameError, FrameReader},
    substream::{Direction, Substream},
    table::Shared,
};
use crate::{
    limits,
    switches::{self, Defence},
};

/// Most streams are idle or carry a frame now and then: they need no more than this to read into.
const FIRST_READ_BYTES: usize = 4 << 10;

/// Reads for as long as its owner has credit. One frame is always allowed; the credit may be overrun by one read and
/// the rest of one frame.
pub(super) struct Reader {
    shared: Arc<Shared>,
    line: Arc<Substream>,
    credit: Arc<Credit>,
    frames: FrameReader,
    space: Vec<u8>,
    batch: Vec<Vec<u8>>,
    batch_bytes: usize,
    shown: bool,
    clock: Clock,
}

/// How the reading half came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer has closed its half, after a whole frame.
    Closed,
    /// Nothing more can be read, for this reason.
    Broken(Reason),
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, line: Arc<Substream>, credit: Arc<Credit>) -> Self {
        let limit_bytes = if switches::on(Defence::FrameSize) { shared.config.frame_bytes } else { usize::MAX };
        let inbound = line.direction == Direction::Inbound;
        let first_by = inbound.then(|| Instant::now() + shared.config.first_frame_timeout);
        Self {
            clock: Clock::new(first_by),
            frames: FrameReader::new(limit_bytes),
            space: vec![0; FIRST_READ_BYTES],
            batch: Vec::new(),
            batch_bytes: 0,
            shown: !inbound,
            shared,
            line,
            credit,
        }
    }

    /// Reads until nothing is there, the credit is used up, or nothing will ever come.
    pub(super) fn poll<S: AsyncRead + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if !self.credit.may_read(cx) {
                self.hand_over();
                self.clock.pause();
                return Poll::Pending;
            }
            self.clock.resume();
            let Poll::Ready(read) = Pin::new(&mut *stream).poll_read(cx, &mut self.space) else {
                self.hand_over();
                return Poll::Pending;
            };
            if let Some(end) = self.take(read) {
                self.hand_over();
                return Poll::Ready(end);
            }
            if self.batch_bytes >= limits::STREAM_HANDOVER {
                self.hand_over();
                // The writing half, and other tasks, have their turn.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// When the frame that has begun, or the first one, must be there. Stands still while we are the slow one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        switches::on(Defence::FrameDeadline).then(|| self.clock.deadline()).flatten()
    }

    /// Which deadline it is that passed.
    pub(super) fn overdue(&self) -> Reason {
        if self.shown { Reason::FrameDeadline } else { Reason::FirstFrameDeadline }
    }

    fn take(&mut self, read: io::Result<usize>) -> Option<End> {
        let size = match read {
            Ok(0) if self.frames.is_mid_frame() => return Some(End::Broken(Reason::ResetByPeer)),
            Ok(0) => return Some(End::Closed),
            Ok(size) => size,
            Err(_) => return Some(End::Broken(Reason::ResetByPeer)),
        };
        let had = self.batch.len();
        let cut = self.frames.push(&self.space[..size], &mut self.batch);
        self.charge(had);
        if let Err(error) = cut {
            return Some(End::Broken(match error {
                FrameError::TooLarge { .. } => Reason::FrameTooLarge,
                FrameError::Empty => Reason::EmptyFrame,
            }));
        }
        if size == self.space.len() && size < limits::STREAM_READ {
            self.space = vec![0; limits::STREAM_READ];
        }
        None
    }

    /// Counts the frames that came after the first `had` of the batch, and starts or stops the frame's clock.
    fn charge(&mut self, had: usize) {
        let new = &self.batch[had..];
        if !new.is_empty() {
            let bytes = new.iter().map(Vec::len).sum();
            self.batch_bytes += bytes;
            self.credit.hand_out(self.line.id, bytes, new.len());
            self.clock.stop();
        }
        if self.frames.is_mid_frame() {
            self.clock.start(self.shared.config.frame_timeout);
        }
    }

    fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if !self.shown {
            self.shown = true;
            self.shared.show_inbound(&self.line);
        }
        let bytes = std::mem::take(&mut self.batch_bytes);
        if !self.line.hand_over(std::mem::take(&mut self.batch)) {
            // The stream is over: nobody will release what nobody got.
            self.credit.release(self.line.id, bytes);
            self.shared.forget_if_settled(self.line.id);
        }
    }
}

/// The time that a frame may still take. It runs only while the reader is willing to read.
#[derive(Debug)]
struct Clock {
    due: Option<Instant>,
    paused: Option<Instant>,
}

impl Clock {
    fn new(due: Option<Instant>) -> Self {
        Self { due, paused: None }
    }

    /// Starts to run, unless it runs.
    fn start(&mut self, timeout: std::time::Duration) {
        self.due.get_or_insert_with(|| Instant::now() + timeout);
    }

    fn stop(&mut self) {
        self.due = None;
    }

    fn pause(&mut self) {
        if self.due.is_some() {
            self.paused.get_or_insert_with(Instant::now);
        }
    }

    fn resume(&mut self) {
        if let (Some(due), Some(paused)) = (&mut self.due, self.paused.take()) {
            *due += paused.elapsed();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.paused.is_none())
    }
}
