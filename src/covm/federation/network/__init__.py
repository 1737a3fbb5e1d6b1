"""How this node reaches others: one interface, two implementations.

    interface    events in batches, commands that say how they failed; all that components see
    ways         its part about addresses, connections, relays and hints
    talk         what fits into the join exchange
    libp2p       the native core: real sockets
    simulated    one process, one event loop: tests, and users' own tests through `covm.testing`

Only `wiring` (by `make_network`) and tests see an implementation; components know `interface` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from covm.federation.version import agent

if TYPE_CHECKING:
    from covm.federation.config import FederationConfig
    from covm.federation.identity import Identity
    from covm.federation.network.interface import Network
    from covm.federation.wire.federation_id import FederationId

JOINING_PLACES = 16
"""Connections beyond `max_connections`: as many as the core lets join at once."""


def make_network(identity: Identity, config: FederationConfig, federation: FederationId) -> Network:
    """The network of a node that is configured so: real sockets. Not yet started."""
    from covm.federation.network.libp2p import Libp2pNetwork
    from covm.federation.network.ways import Traversal

    return Libp2pNetwork(
        identity.keypair,
        listen=config.listen_addresses,
        agent=agent(),
        kademlia=federation.kademlia if config.enable_kademlia else None,
        mdns=config.enable_mdns,
        reachability=config.reachability,
        announce=config.announce_addresses,
        # Strangers need a place to be told that there is none for them.
        max_connections=config.max_connections + JOINING_PLACES,
        traversal=Traversal(
            relay_server=config.enable_relay,
            relay_client=True,
            autonat=True,
            dcutr=config.enable_hole_punching,
            upnp=config.enable_upnp,
        ),
    )
