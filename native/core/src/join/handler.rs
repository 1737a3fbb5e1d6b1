//! The join on one connection: what is due from whom, and until when.

use std::{
    collections::VecDeque,
    future::Future,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use libp2p::{
    StreamProtocol,
    core::upgrade::ReadyUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol,
        handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::{
    Frame, JoinError, JoinWire, PROTOCOL,
    talk::{Allowance, Talk, Unsent},
};
use crate::limits;

/// What the application decided about a connection.
#[derive(Debug)]
pub enum JoinCommand {
    /// Say READY.
    Admit,
    /// Say REFUSED with this reason.
    Refuse(String),
    /// Say this before the decision.
    Talk(Talk),
    /// Let the peer say so many bytes more.
    Grant(usize),
    /// Leave the time that a join through a circuit on this connection takes.
    Carry,
}

/// What happened on a connection.
#[derive(Debug)]
pub enum JoinNotice {
    /// The peer's HELLO.
    Hello(Vec<u8>),
    /// The peer's TALK.
    Talked(Vec<u8>),
    /// All that we said is written, and somebody waits to hear it.
    TalkSent,
    /// The peer's READY.
    Ready,
    /// The peer's REFUSED.
    Refused(String),
    /// Our refusal has been heard, or had its time.
    RefusalSent,
    /// The join failed.
    Failed(JoinError),
}

/// How long a join may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// Whoever the peer is.
    pub join: Duration,
    /// Once our application has talked or granted.
    pub talk: Duration,
    /// Once the connection carries somebody's join with another peer.
    pub carry: Duration,
}

/// How far the peer has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remote {
    Silent,
    Greeted,
    Ready,
}

/// What we have decided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Local {
    Undecided,
    Admitted,
    Refusing,
    /// Nothing more to do: the connection is about to close.
    Ended,
}

type Step = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), JoinNotice>;

/// The join of one connection. Once both sides are ready, it only keeps the connection alive.
pub struct JoinHandler {
    opens: bool,
    requested: bool,
    /// Whether the one join stream has come.
    streamed: bool,
    wire: Option<JoinWire>,
    /// What is to be said once the stream is there, encoded.
    unsent: Vec<u8>,
    /// Of what was given to the wire, how much counts against what may wait.
    talking: usize,
    talk: Arc<Unsent>,
    allowance: Allowance,
    remote: Remote,
    local: Local,
    negotiation: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// The later deadline, until our application has asked for it.
    reprieve: Option<Instant>,
    /// The latest deadline, until the connection carries a circuit.
    carries: Option<Instant>,
    notices: VecDeque<JoinNotice>,
    waker: Option<Waker>,
}

impl JoinHandler {
    /// `hello` is an encoded frame; without a deadline a join may take for ever.
    pub(super) fn new(opens: bool, hello: Vec<u8>, deadlines: Option<Deadlines>, talk: Arc<Unsent>) -> Self {
        let now = Instant::now();
        Self {
            opens,
            requested: false,
            streamed: false,
            wire: None,
            unsent: hello,
            talking: 0,
            talk,
            allowance: Allowance::default(),
            remote: Remote::Silent,
            local: Local::Undecided,
            negotiation: deadlines.map(|deadlines| deadlines.join),
            timer: deadlines.map(|deadlines| Box::pin(sleep_until(now + deadlines.join))),
            reprieve: deadlines.map(|deadlines| now + deadlines.talk),
            carries: deadlines.map(|deadlines| now + deadlines.carry),
            notices: VecDeque::new(),
            waker: None,
        }
    }

    fn protocol(&self) -> SubstreamProtocol<ReadyUpgrade<StreamProtocol>> {
        let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ());
        match self.negotiation {
            Some(deadline) => protocol.with_timeout(deadline),
            None => protocol.with_timeout(Duration::from_secs(u64::from(u32::MAX))),
        }
    }

    fn is_joined(&self) -> bool {
        self.local == Local::Admitted && self.remote == Remote::Ready
    }

    fn say(&mut self, frame: &Frame) {
        // READY and a reason that was cut to size always fit.
        if let Ok(bytes) = frame.encode() {
            self.send(&bytes);
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Some(wire) => wire.send(bytes),
            None => self.unsent.extend_from_slice(bytes),
        }
    }

    /// Our application is at work on this join: it may take longer.
    fn reprieve(&mut self) {
        if let (Some(deadline), Some(timer)) = (self.reprieve.take(), &mut self.timer) {
            timer.as_mut().reset(deadline);
        }
    }

    /// Others join through this connection: it stays as long as they may take.
    fn carry(&mut self) {
        if let (Some(deadline), Some(timer)) = (self.carries.take(), &mut self.timer) {
            self.reprieve = None;
            timer.as_mut().reset(deadline);
        }
    }

    fn end(&mut self, notice: JoinNotice) {
        if self.local == Local::Ended {
            return;
        }
        // Who is being refused can only hurry its own refusal.
        let refusing = self.local == Local::Refusing;
        let notice = if refusing { JoinNotice::RefusalSent } else { notice };
        self.local = Local::Ended;
        self.timer = None;
        self.wire = None;
        self.notices.push_back(notice);
    }

    fn fail(&mut self, error: impl Into<JoinError>) {
        self.end(JoinNotice::Failed(error.into()));
    }

    fn on_stream(&mut self, stream: libp2p::Stream, opened_by_us: bool) {
        if opened_by_us != self.opens || mem::replace(&mut self.streamed, true) {
            return self.fail(JoinError::ExtraStream);
        }
        if self.local == Local::Ended {
            return;
        }
        let mut wire = JoinWire::new(stream);
        wire.send(&mem::take(&mut self.unsent));
        self.wire = Some(wire);
    }

    fn on_frame(&mut self, frame: Frame) {
        if self.local == Local::Refusing {
            return;
        }
        match (self.remote, frame) {
            (Remote::Silent, Frame::Hello(hello)) => {
                self.remote = Remote::Greeted;
                self.notices.push_back(JoinNotice::Hello(hello));
            }
            (Remote::Greeted, Frame::Ready) => {
                self.remote = Remote::Ready;
                self.notices.push_back(JoinNotice::Ready);
            }
            // Also after its READY: it has thought again.
            (Remote::Greeted | Remote::Ready, Frame::Refused(reason)) => self.end(JoinNotice::Refused(reason)),
            (Remote::Greeted, Frame::Talk(data)) => {
                if self.allowance.hear(&data) {
                    self.notices.push_back(JoinNotice::Talked(data));
                } else {
                    self.fail(JoinError::TalkTooMuch { limit: self.allowance.limit() });
                }
            }
            (remote, frame) => {
                let expected = match remote {
                    Remote::Silent => "HELLO",
                    Remote::Greeted => "TALK, READY or REFUSED",
                    Remote::Ready => "nothing but REFUSED",
                };
                self.fail(JoinError::OutOfOrder { got: frame.name(), expected });
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) {
        if self.is_joined() {
            self.timer = None;
        }
        if self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            self.fail(JoinError::Deadline);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) {
        // Who has said its last word closes its side: a refused peer then knows that it has the whole reason.
        let last = self.is_joined() || self.local == Local::Refusing;
        let Some(wire) = &mut self.wire else { return };
        let written = if last { wire.poll_close(cx) } else { wire.poll_flush(cx) };
        match written {
            Poll::Ready(Err(error)) => self.on_broken(error),
            Poll::Ready(Ok(())) => {
                if self.talk.written(mem::take(&mut self.talking)) {
                    self.notices.push_back(JoinNotice::TalkSent);
                }
            }
            Poll::Pending => {}
        }
    }

    /// Reads until there is something to tell, and goes on when that has been taken: what is said faster than it is
    /// heard waits at the peer.
    fn poll_read(&mut self, cx: &mut Context<'_>) {
        while self.notices.is_empty() {
            let Some(wire) = &mut self.wire else { return };
            match wire.poll_frame(cx) {
                Poll::Ready(Ok(Some(frame))) => self.on_frame(frame),
                Poll::Ready(Ok(None)) if self.is_joined() => return self.poll_finish(cx),
                Poll::Ready(Ok(None)) => self.fail(JoinError::Closed),
                Poll::Ready(Err(JoinError::Io(error))) => self.on_broken(error),
                Poll::Ready(Err(error)) => self.fail(error),
                Poll::Pending => return,
            }
        }
    }

    /// Both have said all: the stream goes once our last word is out.
    fn poll_finish(&mut self, cx: &mut Context<'_>) {
        if self.wire.as_mut().is_none_or(|wire| wire.poll_close(cx).is_ready()) {
            self.wire = None;
        }
    }

    /// After both are ready the stream has no more purpose, and how it goes does not matter.
    fn on_broken(&mut self, error: io::Error) {
        if self.is_joined() {
            self.wire = None;
        } else {
            self.fail(error);
        }
    }
}

impl ConnectionHandler for JoinHandler {
    type FromBehaviour = JoinCommand;
    type ToBehaviour = JoinNotice;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        // Offered by both sides and for as long as the connection lives, as libp2p asks: a node's protocols do not
        // depend on who asks. Streams that may not be are refused when they come.
        self.protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.local != Local::Ended
    }

    fn on_behaviour_event(&mut self, command: JoinCommand) {
        match (self.local, command) {
            (Local::Undecided, JoinCommand::Admit) => {
                self.local = Local::Admitted;
                self.say(&Frame::Ready);
            }
            (Local::Undecided, JoinCommand::Talk(talk)) => {
                self.talking += talk.size;
                self.send(&talk.bytes);
                self.reprieve();
            }
            (Local::Undecided | Local::Admitted, JoinCommand::Grant(bytes)) => {
                self.allowance.grant(bytes);
                self.reprieve();
            }
            (Local::Undecided | Local::Admitted, JoinCommand::Carry) => self.carry(),
            (Local::Undecided | Local::Admitted, JoinCommand::Refuse(reason)) => {
                self.local = Local::Refusing;
                self.timer = Some(Box::pin(sleep(limits::REFUSAL_DEADLINE)));
                self.say(&Frame::refused(&reason));
            }
            _ => {}
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        self.waker = Some(cx.waker().clone());
        if self.opens && !mem::replace(&mut self.requested, true) {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol: self.protocol() });
        }
        self.poll_read(cx);
        self.poll_write(cx);
        // What came in time counts, however late we look at it: not before all that is there has been read.
        if self.notices.is_empty() {
            self.poll_timer(cx);
        }
        match self.notices.pop_front() {
            Some(notice) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(notice)),
            None => Poll::Pending,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.on_stream(protocol, false);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.on_stream(protocol, true);
            }
            ConnectionEvent::DialUpgradeError(error) => self.fail(error.error),
            _ => {}
        }
    }
}
