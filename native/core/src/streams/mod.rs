//! Framed streams: long-lived, bidirectional, length-prefixed, with byte credit both ways.
//!
//! | file | what |
//! |---|---|
//! | `behaviour` | [`Streams`]: sees connections, chooses one for each stream that is opened |
//! | `handler` | negotiates on one connection and hands over the raw stream, nothing else |
//! | `connections` | those it may use: which is best, which are to be closed |
//! | `table` | every stream of the node: who holds which place, who ends it |
//! | `substream` | what a stream's task and its owner share; the order of its events |
//! | `carrier` | the task that carries a stream from its beginning to its one end |
//! | `reader`, `writer` | its two halves |
//! | `frame` | the framing, as plain values |
//! | `credit`, `outbox` | the bounds of what was read and of what is to be written |
//! | `handle` | [`StreamsHandle`]: send, release, close and reset from any thread |
//!
//! A stream belongs to one (peer, protocol). This side holds at most one outbound stream for each, and shows at
//! most one inbound. Either end may send on either: answers to what a stream brings go back on the same stream.
//!
//! An inbound stream is shown (`Inbound`) when its first frame is complete, not before: a stream that never says
//! anything costs its owner nothing, and of two for one (peer, protocol) the one that spoke last is right.
//!
//! A stream stays on its connection. When a direct connection has opened beside a relayed one, `move_to_direct` ends the
//! outbound streams on relayed ones in good order, with [`Reason::Moved`]: what is queued goes out, the peer hands over
//! what it reads and closes its half, and only then is the end told, so that what is sent on the next stream, which takes
//! the direct connection, comes behind it. The peer moves its own.
//!
//! Nothing here dials, and nothing here keeps a connection alive.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use libp2p::{PeerId, StreamProtocol, swarm::ConnectionId};
use thiserror::Error;

use crate::limits;

mod behaviour;
mod carrier;
mod connections;
mod credit;
pub mod frame;
mod handle;
mod handler;
mod outbox;
mod reader;
mod substream;
mod table;
mod writer;

pub use behaviour::Streams;
pub use handle::StreamsHandle;
pub use handler::{Handler, OpenStream};

/// Names a stream for as long as the node lives; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Runs a stream's task to its end. The task needs tokio's timers.
pub type Executor = Arc<dyn Fn(Pin<Box<dyn Future<Output = ()> + Send>>) + Send + Sync>;

/// Where events go. It must not block and must not call back into the streams: it is called with a stream's lock held,
/// which is what keeps that stream's events in order.
pub type EventSink = Arc<dyn Fn(StreamEvent) + Send + Sync>;

/// What happened on a stream.
///
/// A stream that was opened here gets `Opened` and later one `Closed`, or one `OpenFailed`. One that the peer opened
/// gets `Inbound` and later one `Closed`, or nothing but perhaps `Refused`. No other event of a stream follows its
/// `Closed` or comes before its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// A stream asked for by `open` carries frames now.
    Opened { stream: StreamId },
    /// A stream asked for by `open` never will.
    OpenFailed { stream: StreamId, reason: Reason },
    /// The peer opened a stream and its first frames follow.
    Inbound { stream: StreamId, peer: PeerId, protocol: StreamProtocol, connection: ConnectionId },
    /// All frames that were there to be read, in order. They count against the reader's credit until released.
    Frames { stream: StreamId, peer: PeerId, frames: Vec<Vec<u8>> },
    /// After a `send` that was turned away: the buffer is below half.
    Writable { stream: StreamId },
    /// The stream is over. What it handed out is still owed to its credit (`release` or `settle`).
    Closed { stream: StreamId, reason: Reason },
    /// An inbound stream broke the rules before it said anything; for whoever keeps the peer's score. Nothing else
    /// depends on it, so a full queue may drop it.
    Refused { peer: PeerId, protocol: StreamProtocol, connection: ConnectionId, reason: Reason },
}

/// Why a stream ended, or never began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// There is no connection to the peer; streams never dial.
    NotConnected,
    /// There is an outbound stream to this peer for this protocol, or one is being opened.
    AlreadyOpen,
    /// The peer does not speak the protocol, or this node does not.
    Unsupported,
    /// The stream was not open in time.
    OpenTimedOut,
    /// `close` was called, and everything was flushed.
    Closed,
    /// `close` was called, or the peer closed, and the other half did not follow in time; what was queued may be lost.
    CloseTimedOut,
    /// It was on a relayed connection and a direct one has opened: everything was flushed. Open another.
    Moved,
    /// `reset` was called.
    Reset,
    /// The peer closed its half in good order.
    ClosedByPeer,
    /// The peer or the transport cut the stream. Over Yamux a reset between two frames, or a lost connection, looks
    /// like `ClosedByPeer` while nothing is left to send.
    ResetByPeer,
    /// A newer inbound stream of the same peer and protocol took its place.
    Replaced,
    /// The connection that carried it is gone.
    ConnectionClosed,
    /// This node stopped.
    NodeStopped,
    /// The peer announced a frame over the limit.
    FrameTooLarge,
    /// The peer announced a frame of no bytes.
    EmptyFrame,
    /// The peer began a frame and did not finish it in time.
    FrameDeadline,
    /// The peer opened a stream and sent no frame in time.
    FirstFrameDeadline,
}

impl Reason {
    /// The reason in a few words, stable, fit for counters and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotConnected => "not connected",
            Self::AlreadyOpen => "already open",
            Self::Unsupported => "protocol not supported",
            Self::OpenTimedOut => "open timed out",
            Self::Closed => "closed",
            Self::CloseTimedOut => "close timed out",
            Self::Moved => "moved to a direct connection",
            Self::Reset => "reset",
            Self::ClosedByPeer => "closed by peer",
            Self::ResetByPeer => "reset by peer",
            Self::Replaced => "replaced",
            Self::ConnectionClosed => "connection closed",
            Self::NodeStopped => "node stopped",
            Self::FrameTooLarge => "frame too large",
            Self::EmptyFrame => "empty frame",
            Self::FrameDeadline => "frame not complete in time",
            Self::FirstFrameDeadline => "no frame in time",
        }
    }

    /// Whether the peer broke the framing, as no honest peer does, however slow.
    pub const fn is_breach(self) -> bool {
        matches!(self, Self::FrameTooLarge | Self::EmptyFrame)
    }

    /// Whether the peer, not this node or the network's end, is to be charged.
    pub const fn is_charged(self) -> bool {
        self.is_breach() || matches!(self, Self::FrameDeadline | Self::FirstFrameDeadline)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a `send` was refused for good. Nothing of it was taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// The stream has ended, is being closed, or never was.
    #[error("the stream is gone; open another")]
    StreamGone,
    #[error("a frame of {size_bytes} bytes is over the limit of {limit_bytes}; split what it carries")]
    FrameTooLarge { size_bytes: usize, limit_bytes: usize },
    #[error("a frame has at least one byte")]
    EmptyFrame,
    #[error("{size_bytes} bytes in one send are over the limit of {limit_bytes}; send fewer frames at once")]
    BatchTooLarge { size_bytes: usize, limit_bytes: usize },
}

/// Sizes, counts and deadlines. The default is `limits`; only tests have reason to differ.
#[derive(Clone, Debug)]
pub struct Config {
    pub frame_bytes: usize,
    pub buffer_bytes: usize,
    pub buffer_frames: usize,
    pub streams_per_connection: usize,
    pub strikes: u32,
    pub open_timeout: Duration,
    pub first_frame_timeout: Duration,
    pub frame_timeout: Duration,
    pub close_timeout: Duration,
    pub relayed_close_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            frame_bytes: limits::STREAM_FRAME,
            buffer_bytes: limits::STREAM_BUFFER,
            buffer_frames: limits::STREAM_FRAMES,
            streams_per_connection: limits::STREAMS_PER_CONNECTION,
            strikes: limits::STREAM_STRIKES,
            open_timeout: limits::STREAM_OPEN_DEADLINE,
            first_frame_timeout: limits::FIRST_FRAME_DEADLINE,
            frame_timeout: limits::FRAME_DEADLINE,
            close_timeout: limits::STREAM_CLOSE_DEADLINE,
            relayed_close_timeout: limits::RELAYED_STREAM_CLOSE_DEADLINE,
        }
    }
}
