//! How bytes get from here to there: TCP, QUIC and WebSocket, by name or number, and circuits through relays.

use std::io;

use libp2p::{
    PeerId, Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
        upgrade::Version,
    },
    dns,
    identity::Keypair,
    noise, quic, relay, tcp, websocket, yamux,
};

use tokio::runtime::Handle;

use super::{apart::Apart, doors::Doors};
use crate::{executor::TaskExecutor, limits};

/// The transport of a node, and the behaviour by which its circuits are dialled and reserved. QUIC runs on the runtime
/// `for_quic`, whoever knocks otherwise at the executor's door.
///
/// # Errors
/// A sentence, when the system's name servers or the key cannot be used.
pub(super) fn build(
    keypair: &Keypair,
    for_quic: Handle,
    executor: TaskExecutor,
) -> Result<(Boxed<(PeerId, StreamMuxerBox)>, relay::client::Behaviour), String> {
    let noise = noise::Config::new(keypair).map_err(|error| format!("the key cannot be used: {error}"))?;
    let by_name = |error: io::Error| format!("DNS cannot be set up: {error}");
    let (circuits, relay_client) = relay::client::new(keypair.public().to_peer_id());
    let circuits = circuits.upgrade(Version::V1Lazy).authenticate(noise.clone()).multiplex(multiplexer());
    let sockets = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let tcp = sockets().upgrade(Version::V1Lazy).authenticate(noise.clone()).multiplex(multiplexer());
    let websocket = websocket::Config::new(dns::tokio::Transport::system(sockets()).map_err(by_name)?)
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(multiplexer());
    let quic = Apart::new(for_quic, || quic::tokio::Transport::new(quic_config(keypair)));
    let direct = tcp
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .or_transport(quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))))
        .map(|either, _| either.into_inner());
    let all = circuits
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .or_transport(websocket.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))))
        .map(|either, _| either.into_inner())
        .or_transport(dns::tokio::Transport::system(direct).map_err(by_name)?)
        .map(|either, _| either.into_inner());
    let all = Doors::new(all, executor);
    Ok((TransportTimeout::with_ingoing_timeout(all, limits::NEGOTIATION_DEADLINE).boxed(), relay_client))
}

fn quic_config(keypair: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(keypair);
    // By default a peer may make us hold ten megabytes for each stream that we do not read.
    config.max_stream_data = limits::QUIC_STREAM_WINDOW;
    config
}

fn multiplexer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(limits::YAMUX_STREAMS);
    config
}
