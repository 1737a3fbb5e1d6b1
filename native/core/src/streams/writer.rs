//! The writing half: many frames in one write, one flush when nothing is left.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::AsyncWrite;

use super::substream::Substream;

/// Writes what the outbox has, in chunks of all that was queued at once.
pub(super) struct Writer {
    line: Arc<Substream>,
    chunk: Vec<u8>,
    written: usize,
    /// Written since the outbox was last told.
    unreported: usize,
    unflushed: bool,
    closed: bool,
}

impl Writer {
    pub(super) fn new(line: Arc<Substream>) -> Self {
        Self { line, chunk: Vec::new(), written: 0, unreported: 0, unflushed: false, closed: false }
    }

    /// Writes all there is. Ready when everything is written and, as `closing` asks, this half is closed.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        closing: bool,
    ) -> Poll<io::Result<()>> {
        while self.fetch() {
            let written = self.write_chunk(stream, cx);
            if written.is_pending() {
                self.fetch();
            }
            ready!(written)?;
        }
        if closing && !self.closed {
            // Once only: Yamux would send a second FIN.
            ready!(Pin::new(&mut *stream).poll_close(cx))?;
            self.closed = true;
        }
        if self.closed {
            return Poll::Ready(Ok(()));
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    fn write_chunk<S: AsyncWrite + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.chunk.len() {
            let rest = &self.chunk[self.written..];
            let taken = ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += taken;
            self.unreported += taken;
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the outbox what is gone and takes more if the chunk is used up; whether there is something to write.
    fn fetch(&mut self) -> bool {
        let used_up = self.written == self.chunk.len();
        let gone = std::mem::take(&mut self.unreported);
        let fetched = self.line.outbox.fetch(gone, used_up, &mut self.chunk);
        if used_up {
            self.written = 0;
        }
        if fetched.writable {
            self.line.tell_writable();
        }
        !fetched.empty
    }
}
