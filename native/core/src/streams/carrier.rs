//! The task that carries one stream, from the moment it is wanted to its one end.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::channel::oneshot;
use libp2p::Stream;
use tokio::time::{Instant, Sleep};

use super::{
    Reason,
    credit::Credit,
    reader::{End, Reader},
    substream::Substream,
    table::Shared,
    writer::Writer,
};

/// How a handler answers a request for an outbound stream.
pub(super) type Negotiated = Result<Stream, Reason>;

/// A future that ends when its stream does. Dropped before, by an executor that stops or a panic, it ends the stream.
pub(super) struct Carrier {
    shared: Arc<Shared>,
    line: Arc<Substream>,
    state: State,
    reader: Reader,
    writer: Writer,
    /// The peer has closed its half.
    peer_done: bool,
    /// Both halves are closed by then, or cut.
    close_by: Option<Instant>,
    alarm: Alarm,
    _place: Option<Place>,
}

enum State {
    Opening { negotiated: oneshot::Receiver<Negotiated>, open_by: Instant },
    Carrying(Stream),
}

impl Carrier {
    /// Carries a stream that a handler is asked to negotiate.
    pub(super) fn outbound(
        shared: Arc<Shared>,
        line: Arc<Substream>,
        credit: Arc<Credit>,
        negotiated: oneshot::Receiver<Negotiated>,
    ) -> Self {
        let open_by = Instant::now() + shared.config.open_timeout;
        let state = State::Opening { negotiated, open_by };
        Self::new(shared, line, credit, state, None)
    }

    /// Carries a stream that the peer opened and that takes `place` on its connection.
    pub(super) fn inbound(
        shared: Arc<Shared>,
        line: Arc<Substream>,
        credit: Arc<Credit>,
        stream: Stream,
        place: Option<Place>,
    ) -> Self {
        Self::new(shared, line, credit, State::Carrying(stream), place)
    }

    fn new(shared: Arc<Shared>, line: Arc<Substream>, credit: Arc<Credit>, state: State, place: Option<Place>) -> Self {
        Self {
            reader: Reader::new(shared.clone(), line.clone(), credit),
            writer: Writer::new(line.clone()),
            shared,
            line,
            state,
            peer_done: false,
            close_by: None,
            alarm: Alarm::default(),
            _place: place,
        }
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        let State::Opening { negotiated, open_by } = &mut self.state else {
            return Poll::Pending;
        };
        if self.line.is_closing() {
            return Poll::Ready(self.asked_to_end());
        }
        match Pin::new(negotiated).poll(cx) {
            Poll::Ready(Ok(Ok(stream))) => {
                self.state = State::Carrying(stream);
                self.line.show();
                Poll::Pending
            }
            Poll::Ready(Ok(Err(reason))) => Poll::Ready(reason),
            Poll::Ready(Err(oneshot::Canceled)) => Poll::Ready(Reason::ConnectionClosed),
            Poll::Pending => self.alarm.poll(*open_by, cx).map(|()| Reason::OpenTimedOut),
        }
    }

    fn poll_carrying(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        let State::Carrying(stream) = &mut self.state else {
            return Poll::Pending;
        };
        if !self.peer_done {
            match self.reader.poll(stream, cx) {
                Poll::Ready(End::Closed) => self.peer_done = true,
                Poll::Ready(End::Broken(reason)) => return Poll::Ready(reason),
                Poll::Pending => {}
            }
        }
        if self.line.is_cut_off() {
            return Poll::Ready(Reason::ConnectionClosed);
        }
        let asked = self.line.is_closing();
        let closing = asked || self.peer_done;
        match self.writer.poll(stream, cx, closing) {
            Poll::Ready(Err(_)) => return Poll::Ready(Reason::ResetByPeer),
            Poll::Ready(Ok(())) if self.peer_done && asked => return Poll::Ready(self.asked_to_end()),
            Poll::Ready(Ok(())) if self.peer_done => return Poll::Ready(Reason::ClosedByPeer),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        if closing {
            let (shared, connection) = (&self.shared, self.line.connection);
            self.close_by.get_or_insert_with(|| {
                let relayed = shared.with_connections(|connections| connections.is_relayed(connection));
                let config = &shared.config;
                Instant::now() + if relayed { config.relayed_close_timeout } else { config.close_timeout }
            });
        }
        self.poll_deadlines(cx)
    }

    fn asked_to_end(&self) -> Reason {
        if self.line.is_moving() { Reason::Moved } else { Reason::Closed }
    }

    fn poll_deadlines(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        let frame_by = self.reader.deadline().filter(|_| !self.peer_done);
        let (due, reason) = match (frame_by, self.close_by) {
            (None, None) => return Poll::Pending,
            (Some(frame_by), close_by) if close_by.is_none_or(|by| frame_by < by) => (frame_by, self.reader.overdue()),
            (_, Some(close_by)) => (close_by, Reason::CloseTimedOut),
            (Some(frame_by), None) => (frame_by, self.reader.overdue()),
        };
        self.alarm.poll(due, cx).map(|()| reason)
    }
}

impl Future for Carrier {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.line.task.register(cx.waker());
        if this.line.is_over() {
            return Poll::Ready(());
        }
        let mut ended = this.poll_opening(cx);
        if ended.is_pending() {
            ended = this.poll_carrying(cx);
        }
        ended.map(|reason| this.shared.end(&this.line, reason))
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.shared.end(&self.line, Reason::NodeStopped);
    }
}

/// One timer for deadlines that mostly move back: it is set anew only when it would ring too late, or rang too early.
#[derive(Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    fn poll(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// One of the places for inbound streams that a connection has; free again when dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place if fewer than `limit` are taken.
    pub(super) fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < limit).then_some(n + 1))
            .is_ok()
            .then(|| Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
