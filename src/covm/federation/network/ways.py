"""What a network tells of the ways between nodes: addresses, connections, relays, and hints where peers may be.

Part of `interface`, which hands all of it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class RelayTerms(NamedTuple):
    """What a relay grants each of those whom it serves."""

    reservation_s: int
    """How long a place lasts. Its holder renews it after three quarters of that."""
    circuit_s: int
    """How long a circuit lasts. Then its ends connect anew."""
    circuit_bytes: int
    """Bytes of one circuit, both ways. Beyond that its ends connect anew."""


@dataclass(frozen=True, slots=True)
class Traversal:
    """What a node does to be reached, and to reach others, where routers stand between. All of it is off by default.

    `reachability` goes before: a private node serves nobody and asks no router, and only one that is to find out how it
    is reached has itself tested.
    """

    relay_server: bool = False
    """Carry circuits for members, and strangers with a pass, once others can reach this node."""
    relay_terms: RelayTerms | None = None
    """None: an hour, renewed as long as its holder is there; a day and 8 GiB for each circuit."""
    relay_client: bool = False
    """Reserve places at relays, and dial through them."""
    autonat: bool = False
    """Test each other's addresses (AutoNAT v2)."""
    dcutr: bool = False
    """Punch holes, so that direct connections take the place of relayed ones (DCUtR)."""
    upnp: bool = False
    """Ask the router to open a port (UPnP)."""


@dataclass(frozen=True, slots=True)
class AddressesChanged:
    """The addresses at which this node listens; each ends in `/p2p/<peer id>`."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """A connection stands; it proves the peer's key and nothing more."""

    connection: int
    peer: str
    address: str
    outbound: bool
    relayed: bool = False
    """Whether it goes through a relay: it stays until a direct one is open beside it and nothing is left on it."""
    relay: str | None = None
    """The relay's peer id, where there is one and the core knows it."""


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """A connection ended; `remaining` connections to the same peer still stand."""

    connection: int
    peer: str
    reason: str
    remaining: int


@dataclass(frozen=True, slots=True)
class ReachabilityChanged:
    """Whether others can connect to this node without a relay: `unknown`, `public` or `private`."""

    reachability: str


@dataclass(frozen=True, slots=True)
class ExternalAddressChanged:
    """What became of an address at which others may reach this node."""

    address: str
    """Empty where a source has none to offer: no router that speaks UPnP, say."""
    source: str
    """`announced` (the operator's word), `autonat` (a peer tried it), `upnp` (the router), `relay` (a reservation)."""
    state: str
    """`confirmed`, `expired` or `unreachable`."""
    detail: str


@dataclass(frozen=True, slots=True)
class ReservationChanged:
    """What became of this node's place at a relay: `accepted`, `renewed` or `lost`, and then why."""

    relay: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class HolePunched:
    """A direct connection was punched through the routers and is open; or an attempt failed, then with the reason."""

    peer: str
    connection: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class PeerIdentified:
    """What a peer says about itself in libp2p's identify protocol: hints, nothing proven."""

    peer: str
    agent: str
    protocols: tuple[str, ...]
    addresses: tuple[str, ...]
    observed_address: str


@dataclass(frozen=True, slots=True)
class PeerDiscovered:
    """A hint that a peer may be reachable at these addresses. `source` is `mdns` or `kademlia`."""

    peer: str
    addresses: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class PingMeasured:
    """A round trip of libp2p's ping protocol, in seconds."""

    peer: str
    round_trip_s: float
