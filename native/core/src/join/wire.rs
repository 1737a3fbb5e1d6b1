//! Frames over one stream, without a task: the handler polls it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};

use super::{
    JoinError,
    frame::{self, Frame, FrameError, PREFIX},
};

/// Bytes read at a time: most frames fit, and none makes us hold more than it brings.
const READ_SIZE: usize = 512;

/// Reads and writes frames. Holds at most one incoming frame and the few frames that we have to say.
pub(super) struct Wire<S> {
    io: S,
    outgoing: Vec<u8>,
    written: usize,
    flushed: bool,
    incoming: Vec<u8>,
    /// Bytes that the prefix, or then the whole frame, must have.
    wanted: usize,
    /// The peer has closed its side.
    ended: bool,
    /// We have closed ours.
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(io: S) -> Self {
        let (outgoing, incoming) = (Vec::new(), Vec::new());
        Self { io, outgoing, written: 0, flushed: true, incoming, wanted: PREFIX, ended: false, closed: false }
    }

    /// Takes an encoded frame to be written.
    pub(super) fn send(&mut self, frame: &[u8]) {
        self.outgoing.extend_from_slice(frame);
        self.flushed = false;
    }

    /// Ready once all that was sent has been handed to the connection.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outgoing.len() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.outgoing[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.flushed = true;
            self.outgoing.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once our side of the stream is closed.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(self.poll_flush(cx))?;
            ready!(Pin::new(&mut self.io).poll_close(cx))?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// The next frame, or nothing once the peer has closed its side between two frames.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, JoinError>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            while self.incoming.len() < self.wanted {
                let mut buffer = [0; READ_SIZE];
                let space = (self.wanted - self.incoming.len()).min(READ_SIZE);
                match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer[..space]))? {
                    0 if self.incoming.is_empty() => {
                        self.ended = true;
                        return Poll::Ready(Ok(None));
                    }
                    0 => return Poll::Ready(Err(FrameError::Truncated.into())),
                    count => self.incoming.extend_from_slice(&buffer[..count]),
                }
            }
            if self.wanted == PREFIX {
                self.wanted += frame::parse_prefix([self.incoming[0], self.incoming[1]])?;
                continue;
            }
            let frame = frame::parse_frame(&self.incoming[PREFIX..])?;
            self.incoming.clear();
            self.wanted = PREFIX;
            return Poll::Ready(Ok(Some(frame)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use futures::io::Cursor;

    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Frame>, JoinError> {
        let mut wire = Wire::new(Cursor::new(bytes.to_vec()));
        let mut cx = Context::from_waker(Waker::noop());
        let mut frames = Vec::new();
        loop {
            match wire.poll_frame(&mut cx) {
                Poll::Ready(Ok(Some(frame))) => frames.push(frame),
                Poll::Ready(Ok(None)) => return Ok(frames),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => unreachable!("a cursor is always ready"),
            }
        }
    }

    #[test]
    fn frames_that_arrive_together_are_read_one_by_one() {
        let hello = Frame::Hello(vec![1; 2000]);
        let bytes = [hello.encode().unwrap(), Frame::Ready.encode().unwrap()].concat();
        assert_eq!(read_all(&bytes).unwrap(), [hello, Frame::Ready]);
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_is_an_error_wherever_it_ends() {
        let bytes = Frame::refused("no").encode().unwrap();
        for end in 1..bytes.len() {
            let error = read_all(&bytes[..end]).unwrap_err();
            assert!(matches!(error, JoinError::Frame(FrameError::Truncated)), "{end}: {error}");
        }
        assert_eq!(read_all(&[]).unwrap(), []);
    }

    #[test]
    fn a_frame_too_large_is_refused_before_its_body_comes() {
        let error = read_all(&4097_u16.to_be_bytes()).unwrap_err();
        assert!(matches!(error, JoinError::Frame(FrameError::TooLarge { size: 4097 })), "{error}");
    }
}
