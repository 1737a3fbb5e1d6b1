//! `/covm/join/1.0.0`: the only protocol that a stranger may speak.
//!
//! ```text
//!   dialer                                listener
//!     │ opens the one join stream            │
//!     │ HELLO ───────────────────────> HELLO │   both at once
//!     │ <───────────── TALK ...... TALK ────> │   or none: the applications may talk before they decide
//!     │ <────────────────────────────── READY │   "I have admitted you, my protocols are listening"
//!     │ READY ───────────────────────>        │   both have said it: the stream closes, the connection lives
//!     │        or, from either side           │
//!     │ REFUSED (reason) ────────────>        │   both close the connection
//! ```
//!
//! [`Join`] stands last in the outer behaviour, so that what the [gate](crate::gate) does for an admission is in force
//! before READY leaves. What the applications say in TALK frames is opaque here and bounded: a peer may say
//! [`limits::JOIN_TALK`](crate::limits::JOIN_TALK) bytes and what it was granted beyond, and a join is given more time
//! only where our own application has talked or granted. READY is a side's last word, but for a REFUSED.
//!
//! A connection has one join stream, opened by its dialer at once; a second one, a frame out of
//! order or too large, too much talk, a deadline that passes: each ends the connection, with one event that says why.

mod behaviour;
mod frame;
mod handler;
mod talk;
mod wire;

use std::{convert::Infallible, io};

use libp2p::{
    PeerId, StreamProtocol,
    swarm::{ConnectionId, Stream, StreamUpgradeError},
};
use thiserror::Error;

pub use behaviour::{HelloTooLarge, Join, NotJoining, TooManyStrangers};
pub use frame::{Frame, FrameError, parse_frame};
pub use handler::{JoinCommand, JoinHandler, JoinNotice};
pub use talk::{Room, Talk, TalkError, Talks};

/// The name and version of the protocol.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/covm/join/1.0.0");

/// What a join came to. Each connection sees at most one `Hello`, then what the peer says, then at most one of the
/// others; a `Refused` or `Failed` may also follow a `Ready`, or a complete join, and is then the last.
#[derive(Debug)]
pub enum JoinEvent {
    /// The peer has said who it is: answer with [`Join::admit`] or [`Join::refuse`].
    Hello {
        /// The connection on which it said so.
        connection: ConnectionId,
        /// Who proved its key on this connection.
        peer: PeerId,
        /// The bytes it said, at most [`limits::JOIN_HELLO`](crate::limits::JOIN_HELLO).
        hello: Vec<u8>,
        /// Whether we dialled.
        outbound: bool,
    },
    /// The peer's application said something, before its decision. It counts against what the peer may say until
    /// [`Join::grant`] allows more.
    Talked {
        /// The connection on which it said so.
        connection: ConnectionId,
        /// The peer.
        peer: PeerId,
        /// What it said: 1 to [`limits::JOIN_HELLO`](crate::limits::JOIN_HELLO) bytes.
        data: Vec<u8>,
    },
    /// All that we said on this connection is written, after there was no [`Room`] for more.
    TalkSent {
        /// The connection.
        connection: ConnectionId,
        /// The peer.
        peer: PeerId,
    },
    /// The peer has admitted us on this connection and is listening.
    Ready {
        /// The connection on which it said so.
        connection: ConnectionId,
        /// The peer.
        peer: PeerId,
    },
    /// The peer does not want us; the connection closes.
    Refused {
        /// The connection on which it said so.
        connection: ConnectionId,
        /// The peer.
        peer: PeerId,
        /// Its words: at most [`limits::JOIN_REASON`](crate::limits::JOIN_REASON) bytes, from a stranger. Escape
        /// before showing.
        reason: String,
    },
    /// The join did not happen; the connection closes.
    Failed {
        /// The connection.
        connection: ConnectionId,
        /// The peer.
        peer: PeerId,
        /// Why.
        reason: JoinError,
    },
}

/// Why a join failed.
#[derive(Debug, Error)]
pub enum JoinError {
    /// [`limits::JOIN_DEADLINE`](crate::limits::JOIN_DEADLINE), or where we talked
    /// [`limits::JOIN_TALK_DEADLINE`](crate::limits::JOIN_TALK_DEADLINE), passed before both sides were ready.
    #[error("the join was not complete in time: the peer is slow, silent, or was not admitted by our side")]
    Deadline,
    /// The peer does not speak the join protocol.
    #[error("the peer does not speak {PROTOCOL}: it is no covm node, or one of another major version")]
    Unsupported,
    /// Bytes that are no frame.
    #[error("the peer sent what is no join frame: {0}")]
    Frame(#[from] FrameError),
    /// A frame where it may not be.
    #[error("the peer sent {got} when {expected} was due")]
    OutOfOrder {
        /// The frame that came.
        got: &'static str,
        /// What the protocol allows there.
        expected: &'static str,
    },
    /// The peer said more in TALK frames than it may.
    #[error("the peer talked more than the {limit} bytes that it was allowed")]
    TalkTooMuch {
        /// What it was allowed.
        limit: usize,
    },
    /// More than one join stream on one connection, or one that the dialed side opened.
    #[error("the peer opened a join stream that is not its to open")]
    ExtraStream,
    /// The peer closed the stream before both sides were ready.
    #[error("the peer closed the join stream before the join was complete")]
    Closed,
    /// The stream broke.
    #[error("the join stream broke: {0}")]
    Io(#[from] io::Error),
}

impl JoinError {
    /// The error's name, for counters.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Unsupported => "unsupported",
            Self::Frame(error) => error.name(),
            Self::OutOfOrder { .. } => "out_of_order",
            Self::TalkTooMuch { .. } => "talk_too_much",
            Self::ExtraStream => "extra_stream",
            Self::Closed => "closed",
            Self::Io(_) => "io",
        }
    }
}

impl From<StreamUpgradeError<Infallible>> for JoinError {
    fn from(error: StreamUpgradeError<Infallible>) -> Self {
        match error {
            StreamUpgradeError::Timeout => Self::Deadline,
            StreamUpgradeError::NegotiationFailed => Self::Unsupported,
            StreamUpgradeError::Io(error) => Self::Io(error),
            StreamUpgradeError::Apply(impossible) => match impossible {},
        }
    }
}

type JoinWire = wire::Wire<Stream>;
