//! Every stream of the node: who holds which place, and how a stream ends.
//!
//! Locks are taken in the order table, credit. No event leaves while the table is locked.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::task::AtomicWaker;
use libp2p::{PeerId, StreamProtocol, swarm::ConnectionId};

use super::{
    Config, EventSink, Executor, Reason, StreamId,
    connections::Connections,
    credit::Credit,
    substream::{Direction, Substream},
};
use crate::switches::{self, Defence};

type Key = (PeerId, StreamProtocol);

/// What behaviour, handlers, tasks and handles share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) events: EventSink,
    pub(super) executor: Executor,
    /// Wakes the behaviour.
    pub(super) behaviour: AtomicWaker,
    next_id: AtomicU64,
    over_cap: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    connections: Connections,
    streams: HashMap<StreamId, Entry>,
    outbound: HashMap<Key, StreamId>,
    inbound: HashMap<Key, Slot>,
    stopped: bool,
}

/// A stream that lives, or one that is over and whose owner has not released all it was handed.
struct Entry {
    line: Option<Arc<Substream>>,
    key: Key,
    direction: Direction,
    credit: Arc<Credit>,
}

/// The inbound place of one peer and protocol.
struct Slot {
    shown: Option<StreamId>,
    credit: Arc<Credit>,
    entries: usize,
}

impl Shared {
    pub(super) fn new(config: Config, executor: Executor, events: EventSink) -> Self {
        Self {
            config,
            events,
            executor,
            behaviour: AtomicWaker::new(),
            next_id: AtomicU64::new(1),
            over_cap: AtomicU64::new(0),
            table: Mutex::default(),
        }
    }

    pub(super) fn reserve(&self) -> StreamId {
        StreamId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn count_over_cap(&self) {
        self.over_cap.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn over_cap(&self) -> u64 {
        self.over_cap.load(Ordering::Relaxed)
    }

    /// What is known of the connections.
    pub(super) fn with_connections<R>(&self, use_them: impl FnOnce(&mut Connections) -> R) -> R {
        use_them(&mut self.lock().connections)
    }

    /// Frees the outbound places of a connection that is gone and lets its streams come to their end.
    pub(super) fn connection_closed(&self, id: ConnectionId) {
        let mut table = self.lock();
        table.connections.closed(id);
        let gone: Vec<_> = table.lines().filter(|l| l.connection == id).collect();
        // An inbound one keeps its place: whatever takes it must follow its last event.
        for line in gone.iter().filter(|l| l.direction == Direction::Outbound) {
            table.free_place(line);
        }
        drop(table);
        for line in gone {
            line.cut_off();
        }
    }

    /// Lets the outbound streams to a peer that are on relayed connections come to a good end.
    pub(super) fn move_to_direct(&self, peer: &PeerId) {
        let table = self.lock();
        let moving: Vec<_> = table
            .lines()
            .filter(|line| line.peer == *peer && line.direction == Direction::Outbound)
            .filter(|line| table.connections.is_relayed(line.connection))
            .collect();
        drop(table);
        for line in moving {
            line.move_away();
        }
    }

    /// How many streams a connection carries.
    pub(super) fn carried_by(&self, id: ConnectionId) -> usize {
        self.lock().lines().filter(|line| line.connection == id).count()
    }

    /// Takes the outbound place of a peer and protocol on its best connection: direct before relayed, the oldest first.
    pub(super) fn begin_outbound(&self, id: StreamId, key: Key) -> Result<(Arc<Substream>, Arc<Credit>), Reason> {
        let mut table = self.lock();
        if table.stopped {
            return Err(Reason::NodeStopped);
        }
        let connection = table.connections.best(&key.0).ok_or(Reason::NotConnected)?;
        if table.outbound.contains_key(&key) {
            return Err(Reason::AlreadyOpen);
        }
        table.outbound.insert(key.clone(), id);
        let credit = Arc::new(self.new_credit());
        Ok((self.enter(&mut table, id, key, connection, Direction::Outbound, &credit), credit))
    }

    /// Makes an entry for an inbound stream; `None` if its connection is not known, or closed.
    pub(super) fn begin_inbound(&self, key: Key, connection: ConnectionId) -> Option<(Arc<Substream>, Arc<Credit>)> {
        let mut table = self.lock();
        if table.stopped || !table.connections.is_known(connection) {
            return None;
        }
        let slot = table.inbound.entry(key.clone()).or_insert_with(|| Slot {
            shown: None,
            credit: Arc::new(self.new_credit()),
            entries: 0,
        });
        slot.entries += 1;
        let credit = slot.credit.clone();
        let id = self.reserve();
        Some((self.enter(&mut table, id, key, connection, Direction::Inbound, &credit), credit))
    }

    fn enter(
        &self,
        table: &mut Table,
        id: StreamId,
        key: Key,
        connection: ConnectionId,
        direction: Direction,
        credit: &Arc<Credit>,
    ) -> Arc<Substream> {
        let line = Arc::new(Substream::new(id, key.clone(), connection, direction, &self.config, self.events.clone()));
        let entry = Entry { line: Some(line.clone()), key, direction, credit: credit.clone() };
        table.streams.insert(id, entry);
        line
    }

    /// Shows an inbound stream to its owner, in place of the one that was there.
    pub(super) fn show_inbound(&self, line: &Substream) {
        let mut table = self.lock();
        let older = match table.inbound.get_mut(&line.key()) {
            Some(slot) if switches::on(Defence::StreamCap) => slot.shown.replace(line.id),
            _ => None,
        };
        let older = older.and_then(|id| table.streams.get(&id)?.line.clone());
        drop(table);
        if let Some(older) = older {
            self.end(&older, Reason::Replaced);
        }
        line.show();
    }

    /// Ends a stream: its last event, its place, its memory. Only the first reason counts.
    pub(super) fn end(&self, line: &Substream, reason: Reason) {
        // Who hears of the end may open the next one, and an inbound place is taken only behind the last event.
        if line.direction == Direction::Outbound {
            self.lock().free_place(line);
        }
        if !line.end(reason) {
            return;
        }
        let mut table = self.lock();
        table.free_place(line);
        if reason.is_breach() && table.connections.strike(line.connection, self.config.strikes) {
            self.behaviour.wake();
        }
        if let Some(entry) = table.streams.get_mut(&line.id) {
            entry.line = None;
        }
        table.forget_if_settled(line.id);
    }

    /// Ends every stream, and all that come later.
    pub(super) fn stop(&self) {
        let lines: Vec<_> = {
            let mut table = self.lock();
            table.stopped = true;
            table.lines().collect()
        };
        for line in lines {
            self.end(&line, Reason::NodeStopped);
        }
    }

    /// The stream of that name, if it lives.
    pub(super) fn line(&self, id: StreamId) -> Option<Arc<Substream>> {
        self.lock().streams.get(&id)?.line.clone()
    }

    pub(super) fn release(&self, id: StreamId, bytes: usize) {
        let Some(credit) = self.lock().streams.get(&id).map(|e| e.credit.clone()) else {
            return;
        };
        if credit.release(id, bytes) {
            self.forget_if_settled(id);
        }
    }

    pub(super) fn forget_if_settled(&self, id: StreamId) {
        self.lock().forget_if_settled(id);
    }

    fn new_credit(&self) -> Credit {
        Credit::new(self.config.buffer_bytes, self.config.buffer_frames)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn lines(&self) -> impl Iterator<Item = Arc<Substream>> + '_ {
        self.streams.values().filter_map(|e| e.line.clone())
    }

    fn free_place(&mut self, line: &Substream) {
        let key = line.key();
        match line.direction {
            Direction::Outbound if self.outbound.get(&key) == Some(&line.id) => {
                self.outbound.remove(&key);
            }
            Direction::Inbound => {
                if let Some(slot) = self.inbound.get_mut(&key) {
                    slot.shown.take_if(|shown| *shown == line.id);
                }
            }
            Direction::Outbound => {}
        }
    }

    fn forget_if_settled(&mut self, id: StreamId) {
        let settled = self.streams.get(&id).is_some_and(|e| e.line.is_none() && !e.credit.is_owed_by(id));
        if !settled {
            return;
        }
        let Some(entry) = self.streams.remove(&id) else {
            return;
        };
        if entry.direction == Direction::Inbound
            && let Some(slot) = self.inbound.get_mut(&entry.key)
        {
            slot.entries -= 1;
            if slot.entries == 0 {
                self.inbound.remove(&entry.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: StreamProtocol = StreamProtocol::new("/covm/direct/1.0.0");

    fn shared() -> Shared {
        let executor: Executor = Arc::new(drop);
        let events: EventSink = Arc::new(drop);
        Shared::new(Config::default(), executor, events)
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn a_connection_never_shown_carries_nothing() {
        let (shared, peer) = (shared(), PeerId::random());
        shared.connection_closed(id(1));
        assert!(shared.begin_inbound((peer, DIRECT), id(1)).is_none());
        let outbound = shared.begin_outbound(shared.reserve(), (peer, DIRECT));
        assert!(matches!(outbound, Err(Reason::NotConnected)));
    }

    #[test]
    fn streams_that_came_and_went_leave_nothing_behind() {
        let (shared, peer) = (shared(), PeerId::random());
        shared.with_connections(|c| {
            c.begun(id(1), peer);
            c.established(id(1), false);
        });
        let (out, out_credit) = shared.begin_outbound(shared.reserve(), (peer, DIRECT)).unwrap();
        let (inward, in_credit) = shared.begin_inbound((peer, DIRECT), id(1)).unwrap();
        shared.show_inbound(&inward);
        out_credit.hand_out(out.id, 10, 1);
        in_credit.hand_out(inward.id, 10, 1);
        shared.end(&out, Reason::Reset);
        shared.end(&inward, Reason::Reset);
        assert_eq!(shared.lock().streams.len(), 2, "both owe what they handed out");
        shared.release(out.id, 10);
        shared.release(inward.id, usize::MAX);
        shared.connection_closed(id(1));
        let table = shared.lock();
        assert!(table.streams.is_empty() && table.inbound.is_empty());
        assert!(table.outbound.is_empty() && !table.connections.is_known(id(1)));
    }
}
