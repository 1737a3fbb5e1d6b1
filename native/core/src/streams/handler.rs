//! One connection's side: negotiates streams and hands them to their tasks. No frame passes through here.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::{Arc, atomic::AtomicUsize},
    task::{Context, Poll},
};

use futures::channel::oneshot;
use libp2p::{
    PeerId, Stream, StreamProtocol,
    core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, ConnectionId, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};

use super::{
    Reason,
    carrier::{Carrier, Negotiated, Place},
    table::Shared,
};
use crate::switches::{self, Defence};

type Outbound = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Answer, Infallible>;

/// Asks a handler for an outbound stream. Dropped unanswered, it means that the connection is gone.
pub struct OpenStream {
    pub(super) protocol: StreamProtocol,
    pub(super) answer: Answer,
}

impl fmt::Debug for OpenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenStream({})", self.protocol)
    }
}

/// Where a negotiated stream, or the reason why there is none, goes.
pub struct Answer(pub(super) oneshot::Sender<Negotiated>);

impl Answer {
    fn give(self, negotiated: Negotiated) {
        // A stream that was given up meanwhile is dropped with the answer, and so reset.
        let _ = self.0.send(negotiated);
    }
}

/// The handler of [`Streams`](super::Streams) on one connection.
pub struct Handler {
    shared: Arc<Shared>,
    connection: ConnectionId,
    peer: PeerId,
    protocols: Protocols,
    places: Arc<AtomicUsize>,
    /// Both wait for `poll`, which a gate withholds until both sides have admitted each other.
    arrived: VecDeque<(Stream, StreamProtocol, Option<Place>)>,
    asked: VecDeque<OpenStream>,
}

impl Handler {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: ConnectionId,
        peer: PeerId,
        protocols: Arc<[StreamProtocol]>,
    ) -> Self {
        shared.with_connections(|c| c.begun(connection, peer));
        Self {
            shared,
            connection,
            peer,
            protocols: Protocols(protocols),
            places: Arc::default(),
            arrived: VecDeque::new(),
            asked: VecDeque::new(),
        }
    }

    fn arrive(&mut self, mut stream: Stream, protocol: StreamProtocol) {
        let place = Place::take(&self.places, self.shared.config.streams_per_connection);
        if place.is_none() && switches::on(Defence::StreamCap) {
            self.shared.count_over_cap();
            return;
        }
        // Whether an admitted connection lives is not for streams to say.
        stream.ignore_for_keep_alive();
        self.arrived.push_back((stream, protocol, place));
    }

    fn carry(&self, stream: Stream, protocol: StreamProtocol, place: Option<Place>) {
        let key = (self.peer, protocol);
        if let Some((line, credit)) = self.shared.begin_inbound(key, self.connection) {
            let shared = self.shared.clone();
            let carrier = Carrier::inbound(shared, line, credit, stream, place);
            (self.shared.executor)(Box::pin(carrier));
        }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.shared.with_connections(|c| c.given_up(self.connection));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = OpenStream;
    type ToBehaviour = Infallible;
    type InboundProtocol = Protocols;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Answer;

    fn listen_protocol(&self) -> SubstreamProtocol<Protocols> {
        SubstreamProtocol::new(self.protocols.clone(), ()).with_timeout(self.shared.config.open_timeout)
    }

    fn connection_keep_alive(&self) -> bool {
        false
    }

    fn on_behaviour_event(&mut self, event: OpenStream) {
        self.asked.push_back(event);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Outbound> {
        while let Some((stream, protocol, place)) = self.arrived.pop_front() {
            self.carry(stream, protocol, place);
        }
        while let Some(OpenStream { protocol, answer }) = self.asked.pop_front() {
            if answer.0.is_canceled() {
                continue;
            }
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(protocol), answer)
                .with_timeout(self.shared.config.open_timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Protocols, ReadyUpgrade<StreamProtocol>, (), Answer>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol), ..
            }) => self.arrive(stream, protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: mut stream, info }) => {
                stream.ignore_for_keep_alive();
                info.give(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                info.give(Err(match error {
                    StreamUpgradeError::Timeout => Reason::OpenTimedOut,
                    StreamUpgradeError::NegotiationFailed => Reason::Unsupported,
                    StreamUpgradeError::Io(_) => Reason::ResetByPeer,
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }
}

/// Negotiates any of the node's protocols and tells which it was.
#[derive(Clone)]
pub struct Protocols(Arc<[StreamProtocol]>);

/// Names them one by one. The swarm asks on every poll of a connection, so nothing is allocated for it.
pub struct ProtocolNames {
    all: Arc<[StreamProtocol]>,
    next: usize,
}

impl Iterator for ProtocolNames {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let name = self.all.get(self.next)?;
        self.next += 1;
        Some(name.clone())
    }
}

impl UpgradeInfo for Protocols {
    type Info = StreamProtocol;
    type InfoIter = ProtocolNames;

    fn protocol_info(&self) -> ProtocolNames {
        ProtocolNames { all: self.0.clone(), next: 0 }
    }
}

impl InboundUpgrade<Stream> for Protocols {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
