//! Who is joining: counts strangers, carries the application's decisions to the connections, ends what failed.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll, Waker},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use thiserror::Error;

use super::{Frame, JoinCommand, JoinEvent, JoinHandler, JoinNotice, Talk, Talks, handler::Deadlines};
use crate::{
    limits,
    switches::{self, Defence},
};

/// A HELLO that does not fit in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a HELLO of {size} bytes, of at most {limit}: say less in it", limit = limits::JOIN_HELLO)]
pub struct HelloTooLarge {
    /// Its size.
    pub size: usize,
}

/// A connection that is not there any more, or whose join has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("connection {0} is not joining: it has closed, or was refused, or failed")]
pub struct NotJoining(pub ConnectionId);

/// Why an inbound connection was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{limit} inbound connections are waiting to be admitted already", limit = limits::STRANGERS_INBOUND)]
pub struct TooManyStrangers;

struct Joining {
    peer: PeerId,
    inbound: bool,
    outbound_role: bool,
    admitted: bool,
    refused: bool,
    peer_ready: bool,
    /// It carries circuits: its place is one of those.
    carries: bool,
    /// We have asked the swarm to close the connection; it holds no place any more.
    ended: bool,
}

/// The join protocol on every connection. The module tells the story.
pub struct Join {
    hello: Vec<u8>,
    deadlines: Deadlines,
    talks: Talks,
    connections: BTreeMap<ConnectionId, Joining>,
    commands: VecDeque<ToSwarm<JoinEvent, JoinCommand>>,
    waker: Option<Waker>,
}

impl Join {
    /// Will say `hello` on every connection.
    ///
    /// # Errors
    /// [`HelloTooLarge`], beyond [`limits::JOIN_HELLO`] bytes.
    pub fn new(hello: Vec<u8>) -> Result<Self, HelloTooLarge> {
        Ok(Self {
            hello: encode(hello)?,
            deadlines: Deadlines {
                join: limits::JOIN_DEADLINE,
                talk: limits::JOIN_TALK_DEADLINE,
                carry: limits::JOIN_RELAY_DEADLINE,
            },
            talks: Talks::default(),
            connections: BTreeMap::new(),
            commands: VecDeque::new(),
            waker: None,
        })
    }

    /// With another deadline than [`limits::JOIN_DEADLINE`].
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadlines.join = deadline;
        self
    }

    /// With another deadline than [`limits::JOIN_TALK_DEADLINE`] where we talk.
    #[must_use]
    pub fn with_talk_deadline(mut self, deadline: Duration) -> Self {
        self.deadlines.talk = deadline;
        self
    }

    /// Counting what we say in `talks`, of which the owner keeps a copy.
    #[must_use]
    pub fn with_talks(mut self, talks: Talks) -> Self {
        self.talks = talks;
        self
    }

    /// Where room is taken for what we are about to say.
    pub fn talks(&self) -> Talks {
        self.talks.clone()
    }

    /// Changes what connections that are established from now on say.
    ///
    /// # Errors
    /// [`HelloTooLarge`], beyond [`limits::JOIN_HELLO`] bytes; the old one stays.
    pub fn set_hello(&mut self, hello: Vec<u8>) -> Result<(), HelloTooLarge> {
        self.hello = encode(hello)?;
        Ok(())
    }

    /// Says READY: our side of the gate is listening on this connection. Saying it twice says it once.
    ///
    /// # Errors
    /// [`NotJoining`], if the connection is not there or its join has ended.
    pub fn admit(&mut self, connection: ConnectionId) -> Result<(), NotJoining> {
        let joining = self.joining(connection)?;
        if !std::mem::replace(&mut joining.admitted, true) {
            let peer = joining.peer;
            self.talks.close(connection);
            self.notify(peer, connection, JoinCommand::Admit);
        }
        Ok(())
    }

    /// Says REFUSED with as much of the reason as fits, then closes the connection, at the latest after
    /// [`limits::REFUSAL_DEADLINE`].
    ///
    /// # Errors
    /// [`NotJoining`], if the connection is not there or its join has ended.
    pub fn refuse(&mut self, connection: ConnectionId, reason: &str) -> Result<(), NotJoining> {
        let joining = self.joining(connection)?;
        joining.refused = true;
        let peer = joining.peer;
        self.talks.close(connection);
        self.notify(peer, connection, JoinCommand::Refuse(reason.to_owned()));
        Ok(())
    }

    /// Says something to the peer's application before our decision; [`Talks`] has room for it. What reaches a
    /// connection on which we have admitted is dropped: READY was our last word.
    ///
    /// # Errors
    /// [`NotJoining`], if the connection is not there or its join has ended.
    pub fn talk(&mut self, connection: ConnectionId, talk: Talk) -> Result<(), NotJoining> {
        let joining = self.joining(connection)?;
        if !joining.admitted {
            let peer = joining.peer;
            self.notify(peer, connection, JoinCommand::Talk(talk));
        }
        Ok(())
    }

    /// Lets the peer say so many bytes more before its decision, in sum [`limits::JOIN_TALK_GRANTED`] at most.
    ///
    /// # Errors
    /// [`NotJoining`], if the connection is not there or its join has ended.
    pub fn grant(&mut self, connection: ConnectionId, bytes: usize) -> Result<(), NotJoining> {
        let peer = self.joining(connection)?.peer;
        self.notify(peer, connection, JoinCommand::Grant(bytes));
        Ok(())
    }

    /// The connection carries circuits for somebody's join with another peer, ours or that of a stranger with a pass: it
    /// is given [`limits::JOIN_RELAY_DEADLINE`], and takes no stranger's place.
    ///
    /// # Errors
    /// [`NotJoining`], if the connection is not there or its join has ended.
    pub fn carry(&mut self, connection: ConnectionId) -> Result<(), NotJoining> {
        let joining = self.joining(connection)?;
        if !std::mem::replace(&mut joining.carries, true) {
            let peer = joining.peer;
            self.notify(peer, connection, JoinCommand::Carry);
        }
        Ok(())
    }

    /// Whether the peer has said READY on this connection.
    pub fn peer_ready(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|joining| joining.peer_ready)
    }

    /// Inbound connections that wait to be admitted, at most [`limits::STRANGERS_INBOUND`].
    pub fn strangers(&self) -> usize {
        self.connections.values().filter(|j| j.inbound && !j.admitted && !j.carries && !j.ended).count()
    }

    fn joining(&mut self, connection: ConnectionId) -> Result<&mut Joining, NotJoining> {
        self.connections
            .get_mut(&connection)
            .filter(|joining| !joining.ended && !joining.refused)
            .ok_or(NotJoining(connection))
    }

    fn notify(&mut self, peer_id: PeerId, connection: ConnectionId, event: JoinCommand) {
        self.commands.push_back(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event });
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn begin(&mut self, id: ConnectionId, peer: PeerId, inbound: bool, outbound_role: bool) -> JoinHandler {
        let joining = Joining {
            peer,
            inbound,
            outbound_role,
            admitted: false,
            refused: false,
            peer_ready: false,
            carries: false,
            ended: false,
        };
        self.connections.insert(id, joining);
        let deadlines = switches::on(Defence::JoinDeadline).then_some(self.deadlines);
        JoinHandler::new(outbound_role, self.hello.clone(), deadlines, self.talks.begin(id))
    }

    fn end(&mut self, connection: ConnectionId, event: Option<JoinEvent>) {
        let Some(joining) = self.connections.get_mut(&connection) else {
            return;
        };
        joining.ended = true;
        let peer_id = joining.peer;
        self.talks.close(connection);
        self.commands.extend(event.map(ToSwarm::GenerateEvent));
        self.commands.push_back(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(connection) });
    }
}

fn encode(hello: Vec<u8>) -> Result<Vec<u8>, HelloTooLarge> {
    let size = hello.len();
    Frame::Hello(hello).encode().map_err(|_| HelloTooLarge { size })
}

impl NetworkBehaviour for Join {
    type ConnectionHandler = JoinHandler;
    type ToSwarm = JoinEvent;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if switches::on(Defence::JoinStrangers) && self.strangers() >= limits::STRANGERS_INBOUND {
            return Err(ConnectionDenied::new(TooManyStrangers));
        }
        Ok(self.begin(id, peer, true, false))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        role_override: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // When a hole is punched both sides dial, and the role says which of them counts as the dialer.
        Ok(self.begin(id, peer, false, role_override == Endpoint::Dialer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        let id = match event {
            FromSwarm::ConnectionClosed(event) => event.connection_id,
            FromSwarm::DialFailure(event) => event.connection_id,
            FromSwarm::ListenFailure(event) => event.connection_id,
            _ => return,
        };
        self.connections.remove(&id);
        self.talks.close(id);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, notice: THandlerOutEvent<Self>) {
        let Some(joining) = self.connections.get_mut(&connection).filter(|j| !j.ended) else {
            return;
        };
        let event = match notice {
            JoinNotice::Hello(_) | JoinNotice::Talked(_) | JoinNotice::Ready if joining.refused => return,
            JoinNotice::Hello(hello) => JoinEvent::Hello { connection, peer, hello, outbound: joining.outbound_role },
            JoinNotice::Talked(data) => JoinEvent::Talked { connection, peer, data },
            JoinNotice::TalkSent if joining.admitted || joining.refused => return,
            JoinNotice::TalkSent => JoinEvent::TalkSent { connection, peer },
            JoinNotice::Ready => {
                joining.peer_ready = true;
                JoinEvent::Ready { connection, peer }
            }
            JoinNotice::Refused(reason) => {
                return self.end(connection, Some(JoinEvent::Refused { connection, peer, reason }));
            }
            JoinNotice::Failed(reason) => {
                return self.end(connection, Some(JoinEvent::Failed { connection, peer, reason }));
            }
            JoinNotice::RefusalSent => return self.end(connection, None),
        };
        self.commands.push_back(ToSwarm::GenerateEvent(event));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(command) = self.commands.pop_front() {
            return Poll::Ready(command);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
