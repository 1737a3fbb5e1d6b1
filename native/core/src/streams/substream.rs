//! What a stream's task, its owner and the table share.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use futures::task::AtomicWaker;
use libp2p::{PeerId, StreamProtocol, swarm::ConnectionId};

use super::{Config, EventSink, Reason, StreamEvent, StreamId, outbox::Outbox};

/// Which end opened the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Inbound,
    Outbound,
}

/// How much of the stream its owner has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Silent,
    Shown,
    Over,
}

/// One stream. Its events leave under one lock, so none follows the last, whichever thread ends it.
pub(super) struct Substream {
    pub(super) id: StreamId,
    pub(super) peer: PeerId,
    pub(super) protocol: StreamProtocol,
    pub(super) connection: ConnectionId,
    pub(super) direction: Direction,
    pub(super) outbox: Outbox,
    /// Wakes the stream's task.
    pub(super) task: AtomicWaker,
    closing: AtomicBool,
    moving: AtomicBool,
    cut_off: AtomicBool,
    life: Mutex<Life>,
    events: EventSink,
}

impl Substream {
    pub(super) fn new(
        id: StreamId,
        key: (PeerId, StreamProtocol),
        connection: ConnectionId,
        direction: Direction,
        config: &Config,
        events: EventSink,
    ) -> Self {
        Self {
            id,
            peer: key.0,
            protocol: key.1,
            connection,
            direction,
            outbox: Outbox::new(config.buffer_bytes, config.frame_bytes),
            task: AtomicWaker::new(),
            closing: AtomicBool::new(false),
            moving: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            life: Mutex::new(Life::Silent),
            events,
        }
    }

    pub(super) fn key(&self) -> (PeerId, StreamProtocol) {
        (self.peer, self.protocol.clone())
    }

    /// Tells the owner of the stream, once, unless it is already over.
    pub(super) fn show(&self) {
        self.step(|life| {
            if *life != Life::Silent {
                return None;
            }
            *life = Life::Shown;
            Some(match self.direction {
                Direction::Outbound => StreamEvent::Opened { stream: self.id },
                Direction::Inbound => StreamEvent::Inbound {
                    stream: self.id,
                    peer: self.peer,
                    protocol: self.protocol.clone(),
                    connection: self.connection,
                },
            })
        });
    }

    /// Hands frames to the owner; false if nobody was told of the stream or it is over, and they are dropped.
    pub(super) fn hand_over(&self, frames: Vec<Vec<u8>>) -> bool {
        self.step(|life| {
            (*life == Life::Shown).then_some(StreamEvent::Frames { stream: self.id, peer: self.peer, frames })
        })
    }

    pub(super) fn tell_writable(&self) {
        self.step(|life| (*life == Life::Shown).then_some(StreamEvent::Writable { stream: self.id }));
    }

    /// Ends the stream for its owner; false if it was over before.
    pub(super) fn end(&self, reason: Reason) -> bool {
        let mut ended = false;
        self.step(|life| {
            let before = std::mem::replace(life, Life::Over);
            ended = before != Life::Over;
            self.last_event(before, reason)
        });
        self.outbox.end();
        self.task.wake();
        ended
    }

    fn last_event(&self, before: Life, reason: Reason) -> Option<StreamEvent> {
        let stream = self.id;
        match (before, self.direction) {
            (Life::Over, _) => None,
            (Life::Shown, _) => Some(StreamEvent::Closed { stream, reason }),
            (Life::Silent, Direction::Outbound) => Some(StreamEvent::OpenFailed { stream, reason }),
            (Life::Silent, Direction::Inbound) => reason.is_charged().then(|| StreamEvent::Refused {
                peer: self.peer,
                protocol: self.protocol.clone(),
                connection: self.connection,
                reason,
            }),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) == Life::Over
    }

    /// Asks the task to flush and close.
    pub(super) fn close(&self) {
        self.outbox.end();
        self.closing.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Asks the task to flush and close, since a better connection is there; not before the owner knows of the stream, nor
    /// once it has asked itself.
    pub(super) fn move_away(&self) {
        let life = *self.life.lock().unwrap_or_else(PoisonError::into_inner);
        if life == Life::Shown && !self.is_closing() {
            self.moving.store(true, Ordering::Release);
            self.close();
        }
    }

    pub(super) fn is_moving(&self) -> bool {
        self.moving.load(Ordering::Acquire)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Tells the task that its connection is gone: it hands over what has arrived and ends.
    pub(super) fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Release);
        self.task.wake();
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    fn step(&self, step: impl FnOnce(&mut Life) -> Option<StreamEvent>) -> bool {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let event = step(&mut life);
        let told = event.is_some();
        if let Some(event) = event {
            (self.events)(event);
        }
        told
    }
}
