//! The behaviour: sees connections come and go, and chooses one for each stream that is opened.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::channel::oneshot;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};

use super::{
    Config, EventSink, Executor, Reason, StreamEvent, StreamId, StreamsHandle,
    carrier::Carrier,
    connections::Connections,
    handler::{Answer, Handler, OpenStream},
    table::Shared,
};

/// The framed streams of a node, over the connections it is shown.
///
/// Everything but opening goes through [`StreamsHandle`]. Dropping it ends every stream.
pub struct Streams {
    shared: Arc<Shared>,
    protocols: Arc<[StreamProtocol]>,
    /// At most one request for each outbound place.
    requests: VecDeque<(PeerId, ConnectionId, OpenStream)>,
}

impl Streams {
    /// Streams of these protocols; their tasks run on `executor`, their events go to `events`.
    pub fn new(protocols: Vec<StreamProtocol>, config: Config, executor: Executor, events: EventSink) -> Self {
        Self {
            shared: Arc::new(Shared::new(config, executor, events)),
            protocols: protocols.into(),
            requests: VecDeque::new(),
        }
    }

    /// A handle for any thread.
    pub fn handle(&self) -> StreamsHandle {
        StreamsHandle::new(self.shared.clone())
    }

    /// Opens a stream to `peer`, over a direct connection rather than a relayed one.
    ///
    /// Ends in one `Opened` or one `OpenFailed`, after `Config::open_timeout` at the latest; either may come before this
    /// returns. What is sent before `Opened` is kept and goes out with it. A second stream to the same peer and
    /// protocol fails with [`Reason::AlreadyOpen`] until the first is `Closed`, or its connection is gone.
    pub fn open(&mut self, peer: PeerId, protocol: StreamProtocol) -> StreamId {
        let id = self.shared.reserve();
        self.open_reserved(id, peer, protocol);
        id
    }

    /// As `open`, under a name from [`StreamsHandle::reserve`], so that the caller knows it before any event.
    pub fn open_reserved(&mut self, id: StreamId, peer: PeerId, protocol: StreamProtocol) {
        if let Err(reason) = self.begin(id, peer, protocol) {
            (self.shared.events)(StreamEvent::OpenFailed { stream: id, reason });
        }
    }

    fn begin(&mut self, id: StreamId, peer: PeerId, protocol: StreamProtocol) -> Result<(), Reason> {
        if !self.protocols.contains(&protocol) {
            return Err(Reason::Unsupported);
        }
        let key = (peer, protocol.clone());
        let (line, credit) = self.shared.begin_outbound(id, key)?;
        let (answer, negotiated) = oneshot::channel();
        let request = OpenStream { protocol, answer: Answer(answer) };
        self.requests.push_back((peer, line.connection, request));
        let carrier = Carrier::outbound(self.shared.clone(), line, credit, negotiated);
        (self.shared.executor)(Box::pin(carrier));
        self.shared.behaviour.wake();
        Ok(())
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        let protocols = self.protocols.clone();
        Ok(Handler::new(self.shared.clone(), connection, peer, protocols))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        let protocols = self.protocols.clone();
        Ok(Handler::new(self.shared.clone(), connection, peer, protocols))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(e) => {
                let relayed = e.endpoint.is_relayed();
                self.shared.with_connections(|c| c.established(e.connection_id, relayed));
            }
            FromSwarm::AddressChange(e) => {
                let relayed = e.new.is_relayed();
                self.shared.with_connections(|c| c.moved(e.connection_id, relayed));
            }
            FromSwarm::ConnectionClosed(e) => self.shared.connection_closed(e.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        self.shared.behaviour.register(cx.waker());
        if let Some((peer_id, connection, event)) = self.requests.pop_front() {
            let handler = NotifyHandler::One(connection);
            return Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler, event });
        }
        if let Some((peer_id, connection)) = self.shared.with_connections(Connections::next_condemned) {
            let connection = CloseConnection::One(connection);
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        Poll::Pending
    }
}
