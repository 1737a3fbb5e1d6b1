//! A peer that speaks raw bytes on as many streams as it likes.

use std::{
    collections::VecDeque,
    convert::Infallible,
    task::{Context, Poll, Waker},
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{DeniedUpgrade, ReadyUpgrade},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        SubstreamProtocol, SwarmEvent, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, FullyNegotiatedOutbound},
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::node::{self, soon};

type Opened = mpsc::UnboundedSender<Stream>;

/// An attacker connected to its victim.
pub struct Raw {
    streams: mpsc::UnboundedReceiver<Stream>,
    wanted: mpsc::UnboundedSender<StreamProtocol>,
    connected: watch::Receiver<bool>,
    driver: JoinHandle<()>,
}

impl Raw {
    pub async fn connect(victim: &Multiaddr) -> Self {
        let (opened, streams) = mpsc::unbounded_channel();
        let (wanted, receiver) = mpsc::unbounded_channel();
        let behaviour = Behaviour { opened, wanted: Some(receiver) };
        let (mut swarm, _) = node::swarm(behaviour, node::TCP, 0).await;
        swarm.dial(victim.clone()).unwrap();
        let (tell, mut connected) = watch::channel(false);
        let driver = tokio::spawn(async move { drive(&mut swarm, tell).await });
        soon(connected.wait_for(|up| *up)).await.unwrap();
        Self { streams, wanted, connected, driver }
    }

    /// Opens and negotiates a stream.
    pub async fn open(&mut self, protocol: StreamProtocol) -> Stream {
        let _ = self.wanted.send(protocol);
        soon(self.streams.recv()).await.unwrap()
    }

    /// Waits until the victim has closed the connection.
    pub async fn cut_off(&mut self) {
        soon(self.connected.wait_for(|up| !*up)).await.unwrap();
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Writes and flushes raw bytes.
pub async fn put(stream: &mut Stream, bytes: &[u8]) {
    soon(stream.write_all(bytes)).await.unwrap();
    soon(stream.flush()).await.unwrap();
}

/// A frame with its prefix.
pub fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    covm_core::streams::frame::append_frame(&mut bytes, frame);
    bytes
}

/// Waits until the other side has ended the stream; what it says before is ignored.
pub async fn ended(stream: &mut Stream) {
    let mut space = [0; 64];
    while stream.read(&mut space).await.is_ok_and(|size| size > 0) {}
}

async fn drive(swarm: &mut Swarm<Behaviour>, connected: watch::Sender<bool>) {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { .. } => drop(connected.send(true)),
            SwarmEvent::ConnectionClosed { .. } => drop(connected.send(false)),
            _ => {}
        }
    }
}

struct Behaviour {
    opened: Opened,
    wanted: Option<mpsc::UnboundedReceiver<StreamProtocol>>,
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Err(ConnectionDenied::new("an attacker takes no calls"))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler {
            opened: self.opened.clone(),
            wanted: self.wanted.take().expect("one connection each"),
            backlog: VecDeque::new(),
            waker: None,
        })
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

struct Handler {
    opened: Opened,
    wanted: mpsc::UnboundedReceiver<StreamProtocol>,
    backlog: VecDeque<StreamProtocol>,
    waker: Option<Waker>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), Infallible>> {
        self.waker = Some(cx.waker().clone());
        while let Poll::Ready(Some(protocol)) = self.wanted.poll_recv(cx) {
            self.backlog.push_back(protocol);
        }
        match self.backlog.pop_front() {
            Some(protocol) => Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(protocol), ()),
            }),
            None => Poll::Pending,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, DeniedUpgrade, ReadyUpgrade<StreamProtocol>>) {
        if let ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, .. }) = event {
            let _ = self.opened.send(stream);
        }
    }
}
