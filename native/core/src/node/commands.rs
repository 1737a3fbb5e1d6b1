//! What the owner asks of the driver.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

use crate::{
    event::{CommandId, GossipHandle},
    gossip::Acceptance,
    join::Talk,
};

/// What becomes of a gossiped message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Ignore,
    Reject,
}

impl From<Verdict> for Acceptance {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accept,
            Verdict::Ignore => Self::Ignore,
            Verdict::Reject => Self::Reject,
        }
    }
}

/// Work that ends in a result.
#[derive(Debug)]
pub(super) enum Work {
    Listen(Vec<Multiaddr>),
    Dial { peer: Option<PeerId>, addresses: Vec<Multiaddr> },
    Disconnect(PeerId),
    Subscribe(String),
    Publish { topic: String, envelopes: Vec<Vec<u8>> },
    OpenStream { peer: PeerId, protocol: String },
    Reserve { relay: PeerId, address: Multiaddr },
    DropReservation(PeerId),
    AllowRelay { peer: PeerId, circuits: u32, lasts: Duration },
    Stop,
}

/// A message to the driver. Those without a result cannot fail: what they name is gone, or it is done.
#[derive(Debug)]
pub(super) enum Command {
    Ask {
        id: CommandId,
        work: Work,
    },
    Admit(usize),
    Refuse {
        connection: usize,
        reason: String,
    },
    Talk {
        connection: usize,
        talk: Talk,
    },
    Grant {
        connection: usize,
        bytes: usize,
    },
    SetHello(Vec<u8>),
    Block(PeerId),
    Unblock(PeerId),
    NetworkChanged,
    Judge(Vec<(GossipHandle, Verdict)>),
    Charge(PeerId, f64),
    #[cfg(feature = "switches")]
    Panic {
        in_task: bool,
    },
}
