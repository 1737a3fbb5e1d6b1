//! The core's events as Python tuples, their name first.

use std::{collections::HashMap, sync::Mutex, sync::PoisonError};

use covm_core::{
    PeerId,
    event::{Event, Failure, GossipMessage, Outcome, Published, connection_number},
};
use pyo3::{
    IntoPyObjectExt as _,
    prelude::*,
    types::{PyBytes, PyList, PyString, PyTuple},
};

/// Peer ids as Python strings, made once each.
#[derive(Default)]
pub struct PeerNames {
    known: Mutex<HashMap<PeerId, Py<PyString>>>,
}

/// A federation of a thousand nodes fits; beyond that the names are made anew now and then.
const PEER_NAMES: usize = 4096;

impl PeerNames {
    fn name<'py>(&self, py: Python<'py>, peer: PeerId) -> Bound<'py, PyString> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(&peer) {
            return name.bind(py).clone();
        }
        if known.len() >= PEER_NAMES {
            known.clear();
        }
        let name = PyString::new(py, &peer.to_base58());
        known.insert(peer, name.clone().unbind());
        name
    }
}

/// A tuple of an interned name and the given fields.
macro_rules! named {
    ($py:ident, $name:literal $(, $field:expr)* $(,)?) => {
        PyTuple::new($py, [
            pyo3::intern!($py, $name).clone().into_any(),
            $( $field.into_bound_py_any($py)?, )*
        ])
    };
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// One event as a tuple.
pub fn tuple<'py>(py: Python<'py>, names: &PeerNames, event: Event) -> PyResult<Bound<'py, PyTuple>> {
    let name = |peer| names.name(py, peer);
    match event {
        Event::Gossip(message) => gossip(py, names, &message),
        Event::Frames { stream, peer, frames } => {
            let frames = frames.iter().map(|frame| PyBytes::new(py, frame));
            named!(py, "frames", stream, name(peer), PyList::new(py, frames)?)
        }
        Event::Done { id, result: Ok(outcome) } => {
            named!(py, "done", id, outcome_object(py, names, outcome)?)
        }
        Event::Done { id, result: Err(failure) } => error(py, id, failure),
        Event::Writable { stream } => named!(py, "writable", stream),
        Event::StreamInbound { stream, peer, protocol } => {
            named!(py, "stream_opened", stream, name(peer), protocol)
        }
        Event::StreamClosed { stream, reason } => named!(py, "stream_closed", stream, reason),
        Event::StreamRefused { peer, protocol, reason } => {
            named!(py, "stream_refused", name(peer), protocol, reason)
        }
        Event::GossipRejected { topic, source, reason, size } => {
            named!(py, "gossip_rejected", topic, name(source), reason, size)
        }
        Event::TopicJoined { peer, topic } => named!(py, "topic_joined", name(peer), topic),
        Event::TopicLeft { peer, topic } => named!(py, "topic_left", name(peer), topic),
        Event::Ping { peer, round_trip } => {
            named!(py, "ping", name(peer), round_trip.as_secs_f64())
        }
        Event::Failed { reason } => named!(py, "failed", reason),
        other => connection_tuple(py, names, other),
    }
}

fn connection_tuple<'py>(py: Python<'py>, names: &PeerNames, event: Event) -> PyResult<Bound<'py, PyTuple>> {
    let name = |peer| names.name(py, peer);
    match event {
        Event::Addresses(all) => named!(py, "addresses", texts(&all)),
        Event::Opened { connection, peer, address, outbound, relayed, relay } => {
            let (number, relay) = (connection_number(connection), relay.map(name));
            named!(py, "opened", number, name(peer), address.to_string(), outbound, relayed, relay)
        }
        Event::Closed { connection, peer, reason, remaining } => {
            named!(py, "closed", connection_number(connection), name(peer), reason, remaining)
        }
        Event::Hello { connection, peer, hello, outbound } => {
            named!(py, "hello", connection_number(connection), name(peer), PyBytes::new(py, &hello), outbound)
        }
        Event::Talked { connection, peer, data } => {
            named!(py, "talked", connection_number(connection), name(peer), PyBytes::new(py, &data))
        }
        Event::TalkSent { connection, peer } => {
            named!(py, "talk_sent", connection_number(connection), name(peer))
        }
        Event::Refused { connection, peer, reason } => {
            named!(py, "refused", connection_number(connection), name(peer), reason)
        }
        Event::JoinFailed { connection, peer, reason } => {
            named!(py, "join_failed", connection_number(connection), name(peer), reason)
        }
        Event::Admitted { connection, peer } => {
            named!(py, "admitted", name(peer), connection_number(connection))
        }
        Event::Unadmitted { peer } => named!(py, "unadmitted", name(peer)),
        Event::Identified { peer, agent, protocols, addresses, observed } => {
            named!(py, "identified", name(peer), agent, protocols, texts(&addresses), observed.to_string(),)
        }
        Event::Discovered { peer, addresses, source } => {
            named!(py, "discovered", name(peer), texts(&addresses), source.name())
        }
        other => way_tuple(py, names, other),
    }
}

/// How others reach us, and we them.
fn way_tuple<'py>(py: Python<'py>, names: &PeerNames, event: Event) -> PyResult<Bound<'py, PyTuple>> {
    let name = |peer| names.name(py, peer);
    match event {
        Event::Reachability(reached) => named!(py, "reachability", reached.name()),
        Event::ExternalAddress { address, source, state, detail } => {
            named!(py, "external_address", address.to_string(), source.name(), state.name(), detail)
        }
        Event::Reservation { relay, state, reason } => {
            named!(py, "reservation", name(relay), state.name(), reason)
        }
        Event::HolePunch { peer, connection, reason } => {
            named!(py, "hole_punch", name(peer), connection.map(connection_number), reason)
        }
        other => unreachable!("{other:?} has a tuple of its own"),
    }
}

fn gossip<'py>(py: Python<'py>, names: &PeerNames, message: &GossipMessage) -> PyResult<Bound<'py, PyTuple>> {
    named!(
        py,
        "gossip",
        message.handle,
        message.topic.as_str(),
        names.name(py, message.source),
        names.name(py, message.author),
        PyBytes::new(py, &message.id),
        PyBytes::new(py, &message.body),
        message.size,
    )
}

fn error(py: Python<'_>, id: u64, failure: Failure) -> PyResult<Bound<'_, PyTuple>> {
    named!(py, "error", id, failure.code.name(), failure.message, failure.details,)
}

fn outcome_object<'py>(py: Python<'py>, names: &PeerNames, outcome: Outcome) -> PyResult<Bound<'py, PyAny>> {
    match outcome {
        Outcome::Nothing => Ok(py.None().into_bound(py)),
        Outcome::Addresses(all) => texts(&all).into_bound_py_any(py),
        Outcome::Peer(peer) => Ok(names.name(py, peer).into_any()),
        Outcome::Stream(stream) => stream.into_bound_py_any(py),
        Outcome::Published(all) => {
            let pair = |one: &Published| (PyBytes::new(py, &one.id), one.peers).into_bound_py_any(py);
            let all = all.iter().map(pair).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, all)?.into_bound_py_any(py)
        }
        Outcome::Sealed(all) => PyList::new(py, all.iter().map(|one| PyBytes::new(py, one)))?.into_bound_py_any(py),
        Outcome::Opened(all) => {
            let one = |opened: &Result<(PeerId, Vec<u8>), &'static str>| match opened {
                Ok((author, body)) => (names.name(py, *author), PyBytes::new(py, body)).into_bound_py_any(py),
                Err(reason) => PyString::new(py, reason).into_bound_py_any(py),
            };
            let all = all.iter().map(one).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, all)?.into_bound_py_any(py)
        }
    }
}
