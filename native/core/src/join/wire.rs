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

/// Reads and writes frames. Holds at most one incoming frame, and twice what we have to say and is not written yet.
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
        // Who talks on while the peer reads slowly never comes to an end at which all could be forgotten.
        if self.written > self.outgoing.len() / 2 {
            self.outgoing.drain(..self.written);
            self.written = 0;
        }
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
    use std::{cell::RefCell, rc::Rc, task::Waker};

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

    /// Takes so many bytes of each write, and then waits.
    struct Trickle(Rc<RefCell<Vec<u8>>>, usize, bool);

    impl AsyncRead for Trickle {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Trickle {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.2 = !self.2;
            if !self.2 {
                return Poll::Pending;
            }
            let count = bytes.len().min(self.1);
            self.0.borrow_mut().extend_from_slice(&bytes[..count]);
            Poll::Ready(Ok(count))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn who_talks_on_while_the_peer_reads_slowly_holds_no_more_than_twice_what_is_unread() {
        let read = Rc::default();
        let mut wire = Wire::new(Trickle(Rc::clone(&read), 100, false));
        let mut cx = Context::from_waker(Waker::noop());
        let mut sent = Vec::new();
        wire.send(&[0; 1000]);
        sent.extend_from_slice(&[0; 1000]);
        for number in 0..1000_u32 {
            let frame = [number as u8; 100];
            wire.send(&frame);
            sent.extend_from_slice(&frame);
            assert!(wire.poll_flush(&mut cx).is_pending());
            assert!(wire.outgoing.len() <= 2 * (sent.len() - read.borrow().len()) + frame.len(), "{number}");
        }
        while wire.poll_flush(&mut cx).is_pending() {}
        assert_eq!(*read.borrow(), sent);
    }

    #[test]
    fn a_frame_too_large_is_refused_before_its_body_comes() {
        let error = read_all(&4097_u16.to_be_bytes()).unwrap_err();
        assert!(matches!(error, JoinError::Frame(FrameError::TooLarge { size: 4097 })), "{error}");
    }
}
