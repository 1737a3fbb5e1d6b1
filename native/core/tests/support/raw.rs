//! A peer that speaks whatever bytes a test wants, on streams of any protocol.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm,
    core::{Endpoint, InboundUpgrade, OutboundUpgrade, transport::PortUse, upgrade::UpgradeInfo},
    identify,
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, SubstreamProtocol, SwarmEvent, THandler, THandlerInEvent, ToSwarm,
        dial_opts::DialOpts,
        handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

#[derive(Clone)]
pub struct Offer(Vec<StreamProtocol>);

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;
    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl<C> InboundUpgrade<C> for Offer {
    type Output = C;
    type Error = Infallible;
    type Future = Ready<Result<C, Infallible>>;
    fn upgrade_inbound(self, stream: C, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

impl<C> OutboundUpgrade<C> for Offer {
    type Output = C;
    type Error = Infallible;
    type Future = Ready<Result<C, Infallible>>;
    fn upgrade_outbound(self, stream: C, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

type Opened = oneshot::Sender<Result<Stream, String>>;

pub struct RawHandler {
    accepts: Offer,
    requests: VecDeque<(StreamProtocol, Opened)>,
    accepted: VecDeque<Stream>,
}

impl ConnectionHandler for RawHandler {
    type FromBehaviour = (StreamProtocol, Opened);
    type ToBehaviour = Stream;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opened;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(self.accepts.clone(), ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, request: Self::FromBehaviour) {
        self.requests.push_back(request);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Offer, Opened, Stream>> {
        if let Some((protocol, opened)) = self.requests.pop_front() {
            let protocol = SubstreamProtocol::new(Offer(vec![protocol]), opened);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        match self.accepted.pop_front() {
            Some(stream) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(stream)),
            None => Poll::Pending,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Offer, Offer, (), Opened>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.accepted.push_back(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                let _ = info.send(Ok(protocol));
            }
            ConnectionEvent::DialUpgradeError(error) => {
                let _ = error.info.send(Err(error.error.to_string()));
            }
            _ => {}
        }
    }
}

pub struct RawStreams {
    accepts: Vec<StreamProtocol>,
    commands: VecDeque<ToSwarm<Stream, (StreamProtocol, Opened)>>,
}

impl RawStreams {
    pub fn accepting(accepts: Vec<StreamProtocol>) -> Self {
        Self { accepts, commands: VecDeque::new() }
    }

    fn handler(&self) -> RawHandler {
        RawHandler { accepts: Offer(self.accepts.clone()), requests: VecDeque::new(), accepted: VecDeque::new() }
    }
}

impl NetworkBehaviour for RawStreams {
    type ConnectionHandler = RawHandler;
    type ToSwarm = Stream;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, stream: Stream) {
        self.commands.push_back(ToSwarm::GenerateEvent(stream));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.commands.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

#[derive(NetworkBehaviour)]
struct Raw {
    identify: identify::Behaviour,
    streams: RawStreams,
}

enum Command {
    Connect(Multiaddr, oneshot::Sender<Result<ConnectionId, String>>),
    Open(StreamProtocol, Opened),
    Close(ConnectionId),
}

/// The peer, on a task of its own that ends with it.
pub struct RawPeer {
    pub peer_id: PeerId,
    pub address: Multiaddr,
    commands: mpsc::UnboundedSender<Command>,
    accepted: mpsc::UnboundedReceiver<Stream>,
    closed: mpsc::UnboundedReceiver<ConnectionId>,
    task: JoinHandle<()>,
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawPeer {
    pub async fn start(accepts: Vec<StreamProtocol>) -> Self {
        let mut swarm = super::node::swarm(|key| Raw {
            identify: super::node::identify(key),
            streams: RawStreams::accepting(accepts),
        });
        swarm.listen_on(super::LOOPBACK.parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let peer_id = *swarm.local_peer_id();
        let (commands, receiver) = mpsc::unbounded_channel();
        let (accepted_sender, accepted) = mpsc::unbounded_channel();
        let (closed_sender, closed) = mpsc::unbounded_channel();
        let task = tokio::spawn(drive(swarm, receiver, accepted_sender, closed_sender));
        Self { peer_id, address, commands, accepted, closed, task }
    }

    /// A further connection.
    pub async fn connect(&self, address: &Multiaddr) -> Result<ConnectionId, String> {
        let (sender, result) = oneshot::channel();
        self.commands.send(Command::Connect(address.clone(), sender)).unwrap();
        result.await.unwrap()
    }

    /// A stream on the newest connection.
    pub async fn open(&self, protocol: StreamProtocol) -> Result<Stream, String> {
        let (sender, result) = oneshot::channel();
        self.commands.send(Command::Open(protocol, sender)).unwrap();
        result.await.unwrap_or_else(|_| Err("the connection closed".into()))
    }

    pub async fn accept(&mut self) -> Stream {
        self.accepted.recv().await.unwrap()
    }

    pub fn close(&self, connection: ConnectionId) {
        self.commands.send(Command::Close(connection)).unwrap();
    }

    /// Waits until a connection has closed.
    pub async fn closed(&mut self) -> ConnectionId {
        self.closed.recv().await.unwrap()
    }
}

async fn drive(
    mut swarm: Swarm<Raw>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    accepted: mpsc::UnboundedSender<Stream>,
    closed: mpsc::UnboundedSender<ConnectionId>,
) {
    let mut dialling = Vec::new();
    let mut newest: Option<(PeerId, ConnectionId)> = None;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Connect(address, result)) => {
                    let opts = DialOpts::unknown_peer_id().address(address).build();
                    dialling.push((opts.connection_id(), result));
                    swarm.dial(opts).unwrap();
                }
                Some(Command::Open(protocol, opened)) => {
                    let (peer_id, id) = newest.expect("connect first");
                    let handler = NotifyHandler::One(id);
                    let command = ToSwarm::NotifyHandler { peer_id, handler, event: (protocol, opened) };
                    swarm.behaviour_mut().streams.commands.push_back(command);
                }
                Some(Command::Close(connection)) => {
                    swarm.close_connection(connection);
                }
                None => return,
            },
            event = swarm.select_next_some() => {
                let ended = match event {
                    SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                        newest = Some((peer_id, connection_id));
                        Some((connection_id, Ok(connection_id)))
                    }
                    SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                        Some((connection_id, Err(error.to_string())))
                    }
                    SwarmEvent::ConnectionClosed { connection_id, .. } => {
                        let _ = closed.send(connection_id);
                        None
                    }
                    SwarmEvent::Behaviour(RawEvent::Streams(stream)) => {
                        let _ = accepted.send(stream);
                        None
                    }
                    _ => None,
                };
                if let Some((id, outcome)) = ended
                    && let Some(at) = dialling.iter().position(|(dial, _)| *dial == id)
                {
                    let _ = dialling.swap_remove(at).1.send(outcome);
                }
            }
        }
    }
}
