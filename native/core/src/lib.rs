//! The native core of covm, without Python: a libp2p node whose commands never block and whose events come in batches.
//!
//! | module | what lives there |
//! |---|---|
//! | [`node`] | the node: commands in, events out |
//! | [`gate`], [`join`] | who is shown what: admission of each connection in two phases |
//! | [`relay`], [`observed`] | whom our relay serves; whose word counts on where others see us |
//! | [`streams`] | framed streams with byte credit both ways |
//! | [`gossip`], [`verify`] | gossipsub as we use it; envelopes opened off the swarm's task |
//! | [`envelope`], [`dagcbor`], [`keyfile`], [`did`] | signed bytes, their encoding, the key and its names |
//! | [`records`] | records one behind the other, as they are carried |
//! | [`queue`], [`event`], [`executor`], [`runtime`] | how results get out, and where tasks run |
//! | [`addresses`], [`limits`], [`switches`] | what addresses may be; every bound; defences that tests switch off |
//! | [`fuzzing`] | one entry for each decoder of bytes from outside |

pub mod addresses;
pub mod dagcbor;
pub mod did;
pub mod envelope;
pub mod event;
pub mod executor;
pub mod fuzzing;
pub mod gate;
pub mod gossip;
pub mod join;
pub mod keyfile;
pub mod limits;
pub mod node;
pub mod observed;
pub mod queue;
pub mod records;
pub mod relay;
pub mod retest;
pub mod runtime;
pub mod streams;
pub mod switches;
pub mod verify;

pub use libp2p::{Multiaddr, PeerId, identity, swarm::ConnectionId};
