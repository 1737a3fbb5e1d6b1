//! The owner's side of streams: from any thread, without passing through the swarm.

use std::sync::Arc;

use libp2p::{PeerId, swarm::ConnectionId};

use super::{Reason, SendError, StreamId, outbox::Queued, table::Shared};

/// Sends on, releases, closes and resets streams. Cheap to clone; nothing here blocks for longer than a copy takes.
///
/// A name that no stream has, or has any more, is no error except to `send`.
#[derive(Clone)]
pub struct StreamsHandle {
    shared: Arc<Shared>,
}

impl StreamsHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// A name for [`Streams::open_reserved`](super::Streams::open_reserved).
    pub fn reserve(&self) -> StreamId {
        self.shared.reserve()
    }

    /// Queues `frames`, all or none, behind what was queued before.
    ///
    /// True: taken. False: the buffer holds `buffer_bytes` or more, nothing was taken, and one `Writable` follows once it
    /// is below half, unless the stream ends. What is taken is lost if the stream ends before it is written.
    pub fn send<F: AsRef<[u8]>>(&self, stream: StreamId, frames: &[F]) -> Result<bool, SendError> {
        let line = self.shared.line(stream).ok_or(SendError::StreamGone)?;
        let queued = line.outbox.queue(frames)?;
        if queued == Queued::TakenWake {
            line.task.wake();
        }
        Ok(queued != Queued::Refused)
    }

    /// Says that `bytes` of the frames that `stream` handed out are done with, so the reader may read on. Counts after
    /// `Closed` too: the next inbound stream of that peer and protocol inherits what is owed.
    pub fn release(&self, stream: StreamId, bytes: usize) {
        self.shared.release(stream, bytes);
    }

    /// Releases all that `stream` handed out. To be called by whoever takes its `Closed` from the queue, where frames that
    /// came before it can no longer take up room.
    pub fn settle(&self, stream: StreamId) {
        self.shared.release(stream, usize::MAX);
    }

    /// Takes nothing more, sends what is queued, closes this half, and ends the stream when the peer has closed its own.
    /// Frames still arrive until then. Ends with `Closed` after `Config::close_timeout` at the latest, on a relayed connection
    /// `Config::relayed_close_timeout`. A stream not yet open is given up.
    pub fn close(&self, stream: StreamId) {
        if let Some(line) = self.shared.line(stream) {
            line.close();
        }
    }

    /// Ends our streams to a peer that are on relayed connections, as `close` does but with [`Reason::Moved`]. To be called
    /// when a direct connection to it is open, and again for those that were being opened then.
    pub fn move_to_direct(&self, peer: &PeerId) {
        self.shared.move_to_direct(peer);
    }

    /// How many streams live on a connection, in and out.
    #[must_use]
    pub fn carried_by(&self, connection: ConnectionId) -> usize {
        self.shared.carried_by(connection)
    }

    /// Ends the stream now, in both directions; what is queued is lost. `Closed` has been told when this returns.
    pub fn reset(&self, stream: StreamId) {
        if let Some(line) = self.shared.line(stream) {
            self.shared.end(&line, Reason::Reset);
        }
    }

    /// Ends every stream, and all that come later, with [`Reason::NodeStopped`]. Dropping the behaviour does the same, but a
    /// swarm drops its connections first, and streams may then end as their connections do.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// How many inbound streams were refused because their connection had its number.
    pub fn refused_over_cap(&self) -> u64 {
        self.shared.over_cap()
    }
}
