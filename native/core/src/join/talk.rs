//! What both sides' applications say to each other between HELLO and the decision, and the bounds of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libp2p::swarm::ConnectionId;
use thiserror::Error;

use super::{Frame, FrameError};
use crate::{
    limits,
    switches::{self, Defence},
};

/// Why something cannot be said in TALK frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TalkError {
    /// One of them is empty, or larger than a frame.
    #[error("it fits no TALK frame of 1 to {limit} bytes: {0}", limit = limits::JOIN_HELLO)]
    Frame(#[from] FrameError),
    /// More at once than may wait.
    #[error("{size} bytes of TALK at once, of at most {limit}: say them in parts", limit = limits::JOIN_TALK_UNSENT)]
    TooMuch {
        /// What it counts as.
        size: usize,
    },
}

/// What a TALK frame counts as: its bytes, and at least [`limits::JOIN_TALK_LEAST`].
fn weight(data: &[u8]) -> usize {
    data.len().max(limits::JOIN_TALK_LEAST)
}

/// Some TALK frames, encoded.
#[derive(Debug)]
pub struct Talk {
    pub(super) bytes: Vec<u8>,
    pub(super) size: usize,
}

impl Talk {
    /// Encodes what is to be said, a frame each.
    ///
    /// # Errors
    /// [`TalkError`]; then nothing is said.
    pub fn new<F: AsRef<[u8]>>(frames: &[F]) -> Result<Self, TalkError> {
        let size = frames.iter().map(|frame| weight(frame.as_ref())).sum();
        if size > limits::JOIN_TALK_UNSENT {
            return Err(TalkError::TooMuch { size });
        }
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend(Frame::Talk(frame.as_ref().to_vec()).encode()?);
        }
        Ok(Self { bytes, size })
    }
}

/// How much of a peer's talk we listen to on one connection.
#[derive(Default)]
pub(super) struct Allowance {
    heard: usize,
    granted: usize,
}

impl Allowance {
    pub(super) fn limit(&self) -> usize {
        limits::JOIN_TALK + self.granted
    }

    pub(super) fn grant(&mut self, bytes: usize) {
        self.granted = self.granted.saturating_add(bytes).min(limits::JOIN_TALK_GRANTED);
    }

    /// Whether what came is still within what the peer may say.
    pub(super) fn hear(&mut self, data: &[u8]) -> bool {
        self.heard = self.heard.saturating_add(weight(data));
        !switches::on(Defence::JoinTalk) || self.heard <= self.limit()
    }
}

#[derive(Default)]
struct Said {
    unsent: usize,
    /// Somebody was turned away and waits.
    awaited: bool,
    /// We have decided, or the join has ended.
    closed: bool,
}

/// What waits to be written on one connection; shared by its handler and [`Talks`].
#[derive(Default)]
pub(super) struct Unsent(Mutex<Said>);

impl Unsent {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, size: usize) -> Room {
        let mut said = self.said();
        if said.closed {
            return Room::Gone;
        }
        if said.unsent + size > limits::JOIN_TALK_UNSENT {
            said.awaited = true;
            return Room::Full;
        }
        said.unsent += size;
        Room::Taken
    }

    /// So much has been written; whether that was all and somebody waits to hear it.
    pub(super) fn written(&self, size: usize) -> bool {
        let mut said = self.said();
        said.unsent = said.unsent.saturating_sub(size);
        said.unsent == 0 && !said.closed && std::mem::take(&mut said.awaited)
    }
}

/// Whether something may be said now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There was room and it is taken: hand it to [`Join::talk`](super::Join::talk).
    Taken,
    /// Too much waits to be written: nothing was taken, and [`JoinEvent::TalkSent`](super::JoinEvent::TalkSent)
    /// follows once all of it is.
    Full,
    /// The connection is gone, or we have decided: nobody would hear it.
    Gone,
}

/// The owner's side of talk: counts what waits, from any thread, so that it is bounded before it is queued.
#[derive(Clone, Default)]
pub struct Talks(Arc<Mutex<HashMap<ConnectionId, Arc<Unsent>>>>);

impl Talks {
    fn lines(&self) -> MutexGuard<'_, HashMap<ConnectionId, Arc<Unsent>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for what is to be said on a connection, all or none.
    pub fn reserve(&self, connection: ConnectionId, talk: &Talk) -> Room {
        self.lines().get(&connection).map_or(Room::Gone, |unsent| unsent.reserve(talk.size))
    }

    /// We have decided about a connection, or it is gone: nothing more is said on it.
    pub fn close(&self, connection: ConnectionId) {
        if let Some(unsent) = self.lines().remove(&connection) {
            unsent.said().closed = true;
        }
    }

    pub(super) fn begin(&self, connection: ConnectionId) -> Arc<Unsent> {
        Arc::clone(self.lines().entry(connection).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ConnectionId {
        ConnectionId::new_unchecked(1)
    }

    #[test]
    fn frames_that_are_empty_too_large_or_too_many_are_not_said() {
        assert_eq!(Talk::new(&[&b"x"[..], b""]).unwrap_err(), TalkError::Frame(FrameError::EmptyTalk));
        let large = vec![0; limits::JOIN_FRAME];
        assert_eq!(Talk::new(&[large]).unwrap_err(), TalkError::Frame(FrameError::TooLarge { size: 4097 }));
        let many = vec![[0; 1024]; 1025];
        assert_eq!(Talk::new(&many).unwrap_err(), TalkError::TooMuch { size: 1025 * 1024 });
        assert_eq!(Talk::new(&many[..1024]).unwrap().size, limits::JOIN_TALK_UNSENT);
    }

    #[test]
    fn what_waits_is_bounded_and_who_was_turned_away_hears_once_when_all_is_written() {
        let talks = Talks::default();
        let unsent = talks.begin(id());
        let half = Talk::new(&vec![[0; 1024]; 512]).unwrap();
        assert_eq!(talks.reserve(id(), &half), Room::Taken);
        assert_eq!(talks.reserve(id(), &half), Room::Taken);
        assert_eq!(talks.reserve(id(), &Talk::new(&[b"x"]).unwrap()), Room::Full);
        assert!(!unsent.written(half.size), "half of it still waits");
        assert!(unsent.written(half.size));
        assert_eq!(talks.reserve(id(), &half), Room::Taken);
        assert!(!unsent.written(half.size), "nobody was turned away since");
    }

    #[test]
    fn once_we_have_decided_nothing_is_said_and_nobody_waits() {
        let talks = Talks::default();
        let unsent = talks.begin(id());
        let most = Talk::new(&vec![[0; 1024]; 1024]).unwrap();
        assert_eq!(talks.reserve(id(), &most), Room::Taken);
        assert_eq!(talks.reserve(id(), &most), Room::Full);
        talks.close(id());
        assert!(!unsent.written(most.size));
        assert_eq!(talks.reserve(id(), &most), Room::Gone);
        assert!(talks.lines().is_empty());
    }

    #[test]
    fn tiny_frames_count_as_more_than_they_are_and_grants_end_somewhere() {
        let mut allowance = Allowance::default();
        assert!((0..limits::JOIN_TALK / limits::JOIN_TALK_LEAST).all(|_| allowance.hear(b"x")));
        assert!(!allowance.hear(b"x"));
        allowance.grant(usize::MAX);
        allowance.grant(usize::MAX);
        assert_eq!(allowance.limit(), limits::JOIN_TALK + limits::JOIN_TALK_GRANTED);
    }
}
