//! One connection's side of the gate: a dummy handler until the real one is installed.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    task::{Context, Poll, Waker},
};

use ::either::Either;
use libp2p::{
    Multiaddr, StreamProtocol,
    core::upgrade::DeniedUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol,
        handler::{
            AddressChange, ConnectionEvent, FullyNegotiatedInbound, InboundUpgradeSend, ListenUpgradeError,
            OutboundUpgradeSend, ProtocolSupport, ProtocolsChange, SendWrapper,
        },
    },
};

use super::Phase;

/// What the gate tells the handler of one connection.
pub enum GateCommand<H: ConnectionHandler> {
    /// The connection is admitted: this is its handler, to begin in this phase.
    Install(Box<H>, Phase),
    /// Both sides are ready: the installed handler may act.
    Open,
    /// A notification of the inner behaviour.
    Inner(H::FromBehaviour),
}

impl<H: ConnectionHandler> fmt::Debug for GateCommand<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install(_, phase) => f.debug_tuple("Install").field(phase).finish(),
            Self::Open => f.write_str("Open"),
            Self::Inner(event) => f.debug_tuple("Inner").field(event).finish(),
        }
    }
}

type Inbound<H> = Either<SendWrapper<<H as ConnectionHandler>::InboundProtocol>, SendWrapper<DeniedUpgrade>>;

/// The handler of a connection: accepts no protocol until it is given a handler of the inner behaviour, and does not
/// poll that one before both sides are ready.
pub struct GateHandler<H: ConnectionHandler> {
    inner: Option<H>,
    phase: Phase,
    /// What the remote supports, while there is nobody to tell.
    remote_protocols: HashSet<StreamProtocol>,
    /// The remote's new address, while there is nobody to tell.
    remote_address: Option<Multiaddr>,
    /// Reports that make the swarm tell the installed handler what the remote supports.
    replay: VecDeque<ProtocolSupport>,
    waker: Option<Waker>,
}

impl<H: ConnectionHandler> GateHandler<H> {
    pub(super) fn closed() -> Self {
        Self {
            inner: None,
            phase: Phase::Denied,
            remote_protocols: HashSet::new(),
            remote_address: None,
            replay: VecDeque::new(),
            waker: None,
        }
    }

    pub(super) fn open(inner: H) -> Self {
        Self { inner: Some(inner), phase: Phase::Open, ..Self::closed() }
    }

    fn install(&mut self, mut inner: H, phase: Phase) {
        // The behaviour may have made the handler before it heard of a change that this connection knows already.
        if let Some(new_address) = self.remote_address.take() {
            inner.on_connection_event(ConnectionEvent::AddressChange(AddressChange { new_address: &new_address }));
        }
        let known = std::mem::take(&mut self.remote_protocols);
        if !known.is_empty() {
            // Only the swarm can construct the event, and it tells differences only. Other handlers see the protocols
            // go and come back within one poll of the connection.
            self.replay.push_back(ProtocolSupport::Removed(known.clone()));
            self.replay.push_back(ProtocolSupport::Added(known));
        }
        self.inner = Some(inner);
        self.phase = phase;
    }

    /// Remembers, for a handler to come, what it will need to know.
    fn remember<IP, OP, IOI, OOI>(&mut self, event: &ConnectionEvent<IP, OP, IOI, OOI>)
    where
        IP: InboundUpgradeSend,
        OP: OutboundUpgradeSend,
    {
        match event {
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Added(added)) => {
                self.remote_protocols.extend(added.clone().cloned());
            }
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Removed(removed)) => {
                removed.clone().for_each(|protocol| {
                    self.remote_protocols.remove(protocol);
                });
            }
            ConnectionEvent::AddressChange(change) => self.remote_address = Some(change.new_address.clone()),
            _ => {}
        }
    }
}

/// A removal that comes before the replay has begun is the remote's own, and the replay must not undo it; after that
/// it is the replay's own.
fn forget<'a>(replay: &mut VecDeque<ProtocolSupport>, removed: impl Iterator<Item = &'a StreamProtocol>) {
    if replay.len() < 2 {
        return;
    }
    if let Some(ProtocolSupport::Added(known)) = replay.back_mut() {
        removed.for_each(|protocol| {
            known.remove(protocol);
        });
    }
}

impl<H: ConnectionHandler> ConnectionHandler for GateHandler<H> {
    type FromBehaviour = GateCommand<H>;
    type ToBehaviour = H::ToBehaviour;
    type InboundProtocol = Inbound<H>;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = Either<H::InboundOpenInfo, ()>;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        match &self.inner {
            // Both maps keep the inner protocol's own timeout.
            Some(inner) => {
                inner.listen_protocol().map_upgrade(|upgrade| Either::Left(SendWrapper(upgrade))).map_info(Either::Left)
            }
            None => SubstreamProtocol::new(Either::Right(SendWrapper(DeniedUpgrade)), Either::Right(())),
        }
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.as_ref().is_some_and(H::connection_keep_alive)
    }

    fn on_behaviour_event(&mut self, command: GateCommand<H>) {
        match command {
            GateCommand::Install(inner, phase) => self.install(*inner, phase),
            GateCommand::Open => self.phase = Phase::Open,
            GateCommand::Inner(event) => {
                if let Some(inner) = &mut self.inner {
                    inner.on_behaviour_event(event);
                }
            }
        }
        // What reached the inner handler while it was not polled could register no waker of its own.
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if let Some(report) = self.replay.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::ReportRemoteProtocols(report));
        }
        match &mut self.inner {
            Some(inner) if self.phase == Phase::Open => inner.poll(cx),
            _ => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.as_mut().map_or(Poll::Ready(None), |inner| inner.poll_close(cx))
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        let replaying = !self.replay.is_empty();
        let Some(inner) = &mut self.inner else {
            return self.remember(&event);
        };
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: futures::future::Either::Left(protocol),
                info: Either::Left(info),
            }) => inner.on_connection_event(ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol,
                info,
            })),
            ConnectionEvent::ListenUpgradeError(ListenUpgradeError {
                error: Either::Left(error),
                info: Either::Left(info),
            }) => inner.on_connection_event(ConnectionEvent::ListenUpgradeError(ListenUpgradeError { error, info })),
            // A stream that began before the installation was offered no protocol and cannot have agreed on one.
            ConnectionEvent::FullyNegotiatedInbound(_) | ConnectionEvent::ListenUpgradeError(_) => {}
            // The inner handler has not heard of these yet: nothing to take back.
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Removed(removed)) if replaying => {
                forget(&mut self.replay, removed);
            }
            ConnectionEvent::FullyNegotiatedOutbound(event) => {
                inner.on_connection_event(ConnectionEvent::FullyNegotiatedOutbound(event));
            }
            ConnectionEvent::DialUpgradeError(event) => {
                inner.on_connection_event(ConnectionEvent::DialUpgradeError(event));
            }
            ConnectionEvent::AddressChange(event) => {
                inner.on_connection_event(ConnectionEvent::AddressChange(event));
            }
            ConnectionEvent::LocalProtocolsChange(event) => {
                inner.on_connection_event(ConnectionEvent::LocalProtocolsChange(event));
            }
            ConnectionEvent::RemoteProtocolsChange(event) => {
                inner.on_connection_event(ConnectionEvent::RemoteProtocolsChange(event));
            }
            _ => {}
        }
    }
}
