//! `Node`: the core's node for an event loop.

mod events;
mod wake;

use std::time::Duration;

use covm_core::{
    PeerId, addresses,
    node::{CommandError, Node as CoreNode, NodeConfig, Reachability, RelayTerms, Verdict},
    streams::{SendError, StreamId},
};
use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyDict, PyList},
};

use crate::keys::Keypair;

pyo3::create_exception!(
    covm._native,
    NodeStopped,
    PyRuntimeError,
    "The node was stopped, or failed; it takes no more commands."
);

/// A libp2p node. Commands return at once; what they come to is in the events that `drain` returns.
#[pyclass(frozen, module = "covm._native")]
pub struct Node {
    core: CoreNode,
    bell: wake::Bell,
    names: events::PeerNames,
}

fn peer(text: &str) -> PyResult<PeerId> {
    addresses::parse_peer(text).map_err(PyValueError::new_err)
}

pyo3::create_exception!(
    covm._native,
    NodeBusy,
    PyRuntimeError,
    "Too many commands wait for their results; the command was not taken."
);

fn refused(error: CommandError) -> PyErr {
    match error {
        CommandError::Stopped => NodeStopped::new_err(error.to_string()),
        CommandError::Busy => NodeBusy::new_err(error.to_string()),
        CommandError::Hello(_) | CommandError::Talk(_) => PyValueError::new_err(error.to_string()),
        CommandError::Forked(_) => PyRuntimeError::new_err(error.to_string()),
    }
}

/// After a fork the core's threads are gone and its locks may be held for ever.
fn same_process() -> PyResult<()> {
    covm_core::runtime::handle().map(|_| ()).map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// Bytes of Python's, copied once: the core's threads use them without the GIL.
fn copied(all: &[PyBackedBytes]) -> Vec<Vec<u8>> {
    all.iter().map(|one| one.to_vec()).collect()
}

fn transport(text: &str) -> PyResult<covm_core::Multiaddr> {
    addresses::parse(text)
        .map(|parsed| parsed.transport)
        .map_err(|why| PyValueError::new_err(format!("{text:?}: {why}")))
}

fn transports(texts: &[String]) -> PyResult<Vec<covm_core::Multiaddr>> {
    texts.iter().map(|text| transport(text)).collect()
}

fn reachability_of(text: &str) -> PyResult<Reachability> {
    match text {
        "auto" => Ok(Reachability::Auto),
        "public" => Ok(Reachability::Public),
        "private" => Ok(Reachability::Private),
        _ => Err(PyValueError::new_err(format!("reachability {text:?} is none of auto, public, private"))),
    }
}

fn terms((reservation_s, circuit_s, circuit_bytes): (u64, u64, u64)) -> RelayTerms {
    let [reservation, circuit] = [reservation_s, circuit_s].map(Duration::from_secs);
    RelayTerms { reservation, circuit, circuit_bytes }
}

#[pymethods]
impl Node {
    #[new]
    #[pyo3(signature = (keypair, *, hello, agent, gossip_kind, stream_protocols, announce, kademlia = None, mdns = false, reachability = "auto", max_connections = 50, relay_server = false, relay_terms = None, relay_client = false, autonat = false, dcutr = false, upnp = false))]
    #[expect(clippy::too_many_arguments, reason = "keywords of a constructor")]
    fn new(
        py: Python<'_>,
        keypair: &Keypair,
        hello: Vec<u8>,
        agent: String,
        gossip_kind: String,
        stream_protocols: Vec<String>,
        announce: Vec<String>,
        kademlia: Option<String>,
        mdns: bool,
        reachability: &str,
        max_connections: u32,
        relay_server: bool,
        relay_terms: Option<(u64, u64, u64)>,
        relay_client: bool,
        autonat: bool,
        dcutr: bool,
        upnp: bool,
    ) -> PyResult<Self> {
        let config = NodeConfig {
            keypair: keypair.core().clone(),
            hello,
            agent,
            gossip_kind,
            stream_protocols,
            kademlia,
            mdns,
            reachability: reachability_of(reachability)?,
            announce: transports(&announce)?,
            max_connections,
            relay_server,
            relay_terms: relay_terms.map(terms).unwrap_or_default(),
            relay_client,
            autonat,
            dcutr,
            upnp,
        };
        let (bell, ringer) = wake::bell()?;
        let core = py
            .detach(|| CoreNode::start(config, Box::new(ringer)))
            .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        Ok(Self { core, bell, names: events::PeerNames::default() })
    }

    /// Our peer id.
    #[getter]
    fn peer_id(&self) -> String {
        self.core.peer_id().to_base58()
    }

    /// A descriptor that is readable while `drain` has something.
    fn fileno(&self) -> i32 {
        self.bell.fd()
    }

    /// Takes at most `max` events, in order.
    fn drain<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Bound<'py, PyList>> {
        let taken = self.core.drain(max).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let tuples =
            taken.into_iter().map(|event| events::tuple(py, &self.names, event)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, tuples)
    }

    /// Listens on every address.
    fn listen(&self, addresses: Vec<String>) -> PyResult<u64> {
        self.core.listen(transports(&addresses)?).map_err(refused)
    }

    /// Connects to a peer, or to whoever answers.
    fn dial(&self, peer_id: Option<&str>, addresses: Vec<String>) -> PyResult<u64> {
        let expected = peer_id.map(peer).transpose()?;
        self.core.dial(expected, transports(&addresses)?).map_err(refused)
    }

    /// Closes every connection to a peer.
    fn disconnect(&self, peer_id: &str) -> PyResult<u64> {
        self.core.disconnect(peer(peer_id)?).map_err(refused)
    }

    /// Refuses a peer from now on and closes what stands.
    fn block(&self, peer_id: &str) -> PyResult<()> {
        self.core.block(peer(peer_id)?).map_err(refused)
    }

    /// Lifts a block.
    fn unblock(&self, peer_id: &str) -> PyResult<()> {
        self.core.unblock(peer(peer_id)?).map_err(refused)
    }

    /// The network has changed: what was found out of our addresses is forgotten and asked again.
    fn network_changed(&self) -> PyResult<()> {
        self.core.network_changed().map_err(refused)
    }

    /// Answers a HELLO: this side is open.
    fn admit(&self, connection: usize) -> PyResult<()> {
        self.core.admit(connection).map_err(refused)
    }

    /// Answers a HELLO: no, with the reason.
    fn refuse(&self, connection: usize, reason: String) -> PyResult<()> {
        self.core.refuse(connection, reason).map_err(refused)
    }

    /// Says something before our answer to a HELLO.
    fn talk(&self, connection: usize, frames: Vec<PyBackedBytes>) -> PyResult<bool> {
        self.core.talk(connection, &frames).map_err(refused)
    }

    /// Lets the peer say more before its answer.
    fn grant(&self, connection: usize, size: usize) -> PyResult<()> {
        self.core.grant(connection, size).map_err(refused)
    }

    /// Changes what later connections say first.
    fn set_hello(&self, hello: Vec<u8>) -> PyResult<()> {
        self.core.set_hello(hello).map_err(refused)
    }

    /// Takes part in a topic.
    fn subscribe(&self, topic: String) -> PyResult<u64> {
        self.core.subscribe(topic).map_err(refused)
    }

    /// Gossips sealed envelopes, in order.
    fn publish(&self, topic: String, envelopes: Vec<PyBackedBytes>) -> PyResult<u64> {
        self.core.publish(topic, copied(&envelopes)).map_err(refused)
    }

    /// Gives verdicts on gossip: (handle, 0 accept, 1 ignore, 2 reject), a batch at once.
    fn judge(&self, verdicts: Vec<(u64, u8)>) -> PyResult<()> {
        let verdicts = verdicts
            .into_iter()
            .map(|(handle, verdict)| match verdict {
                0 => Ok((handle, Verdict::Accept)),
                1 => Ok((handle, Verdict::Ignore)),
                2 => Ok((handle, Verdict::Reject)),
                other => Err(PyValueError::new_err(format!("{other} is no verdict"))),
            })
            .collect::<PyResult<Vec<_>>>()?;
        self.core.judge(verdicts).map_err(refused)
    }

    /// Lowers a peer's application score.
    fn charge(&self, peer_id: &str, amount: f64) -> PyResult<()> {
        self.core.charge(peer(peer_id)?, amount).map_err(refused)
    }

    /// Opens our stream to an admitted peer.
    fn open_stream(&self, peer_id: &str, protocol: String) -> PyResult<u64> {
        self.core.open_stream(peer(peer_id)?, protocol).map_err(refused)
    }

    /// Hands frames to a stream.
    fn send(&self, stream: u64, frames: Vec<PyBackedBytes>) -> PyResult<bool> {
        same_process()?;
        self.core.send(StreamId(stream), &frames).map_err(|error| match error {
            SendError::StreamGone => pyo3::exceptions::PyConnectionError::new_err(error.to_string()),
            other => PyValueError::new_err(other.to_string()),
        })
    }

    /// Gives a stream's reader credit back.
    fn release(&self, stream: u64, size: usize) -> PyResult<()> {
        same_process()?;
        self.core.release(StreamId(stream), size);
        Ok(())
    }

    /// Sends what a stream has queued, then closes it.
    fn close_stream(&self, stream: u64) -> PyResult<()> {
        same_process()?;
        self.core.close_stream(StreamId(stream));
        Ok(())
    }

    /// Signs payloads on the core's threads.
    fn seal(&self, kind: String, payloads: Vec<PyBackedBytes>) -> PyResult<u64> {
        self.core.seal(kind, copied(&payloads)).map_err(refused)
    }

    /// Verifies envelopes on the core's threads.
    fn open(&self, kind: String, envelopes: Vec<PyBackedBytes>) -> PyResult<u64> {
        self.core.open(kind, copied(&envelopes)).map_err(refused)
    }

    /// Reserves a place at a relay.
    fn reserve(&self, relay: &str, address: &str) -> PyResult<u64> {
        self.core.reserve(peer(relay)?, transport(address)?).map_err(refused)
    }

    /// Gives a reservation back.
    fn drop_reservation(&self, relay: &str) -> PyResult<u64> {
        self.core.drop_reservation(peer(relay)?).map_err(refused)
    }

    /// Lets a stranger open circuits through our relay.
    fn allow_relay(&self, peer_id: &str, circuits: u32, seconds: f64) -> PyResult<u64> {
        let lasts = Duration::try_from_secs_f64(seconds)
            .map_err(|_| PyValueError::new_err(format!("{seconds} seconds are no time that a pass could last")))?;
        self.core.allow_relay(peer(peer_id)?, circuits, lasts).map_err(refused)
    }

    /// Figures that the node keeps about itself.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        use std::sync::atomic::Ordering::Relaxed;
        same_process()?;
        let (depth, gauges) = (self.core.depth(), self.core.gauges());
        let stats = PyDict::new(py);
        stats.set_item("events_queued", depth.events)?;
        stats.set_item("gossip_queued", depth.gossip)?;
        stats.set_item("gossip_queued_bytes", depth.gossip_bytes)?;
        stats.set_item("gossip_dropped", depth.gossip_dropped)?;
        stats.set_item("gossip_verifying", gauges.verifying.load(Relaxed))?;
        let unverified = gauges.gossip_unverified_dropped.load(Relaxed);
        stats.set_item("gossip_unverified_dropped", unverified)?;
        stats.set_item("gossip_send_failures", gauges.gossip_send_failures.load(Relaxed))?;
        stats.set_item("connections", gauges.connections.load(Relaxed))?;
        stats.set_item("admitted_peers", gauges.admitted_peers.load(Relaxed))?;
        stats.set_item("relay_circuits", gauges.relay_circuits.load(Relaxed))?;
        stats.set_item("relay_denied", gauges.relay_denied.load(Relaxed))?;
        Ok(stats)
    }

    /// Ends the node; the result comes when its sockets are closed.
    fn stop(&self) -> PyResult<u64> {
        self.core.stop().map_err(refused)
    }

    /// Panics inside the node, to show what happens then; only where defences can be switched.
    #[cfg_attr(not(feature = "switches"), expect(unused_variables, reason = "absent without switches"))]
    fn provoke_panic(&self, in_task: bool) -> PyResult<()> {
        #[cfg(feature = "switches")]
        {
            self.core.provoke_panic(in_task).map_err(refused)
        }
        #[cfg(not(feature = "switches"))]
        {
            Err(PyRuntimeError::new_err("this build provokes no panics"))
        }
    }

    fn __repr__(&self) -> String {
        format!("<Node {}>", self.core.peer_id())
    }
}

/// Reads a multiaddr: the address without its `/p2p` end, and the peer that it names.
#[pyfunction]
fn parse_multiaddr(text: &str) -> PyResult<(String, Option<String>)> {
    let parsed = addresses::parse(text).map_err(PyValueError::new_err)?;
    let peer = parsed.peer.map(|peer| peer.to_base58());
    Ok((parsed.transport.to_string(), peer))
}

/// Reads a peer id.
#[pyfunction]
fn parse_peer_id(text: &str) -> PyResult<String> {
    addresses::parse_peer(text).map(|peer| peer.to_base58()).map_err(PyValueError::new_err)
}

/// Adds what stands here to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Node>()?;
    module.add("NodeStopped", module.py().get_type::<NodeStopped>())?;
    module.add("NodeBusy", module.py().get_type::<NodeBusy>())?;
    module.add_function(wrap_pyfunction!(parse_multiaddr, module)?)?;
    module.add_function(wrap_pyfunction!(parse_peer_id, module)?)
}
