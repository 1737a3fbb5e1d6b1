"""What can go wrong between this node and another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from covm.federation.errors.root import FederationError


class NetworkError(FederationError):
    """Something between this node and another failed."""


@dataclass(eq=False)
class ConnectionFailed(NetworkError):
    """No address of a peer answered as that peer. `attempts` maps each address to its error."""

    target: str
    attempts: Mapping[str, str]
    hint: str = "check that the peer runs, that its address is right, and that a firewall lets it through"

    def __str__(self) -> str:
        tried = "; ".join(f"{address}: {error}" for address, error in self.attempts.items()) or "no address is known"
        return f"could not connect to {self.target} ({tried}); {self.hint}"


@dataclass(eq=False)
class PeerNotConnected(NetworkError):
    """The peer is known, but not connected now."""

    peer: str
    why: str = "there is no open connection"

    def __str__(self) -> str:
        return f"peer {self.peer} is not connected: {self.why}; connect first (connect_peer), or wait for it to return"


@dataclass(eq=False)
class UnknownPeer(NetworkError):
    """Nothing is known of this peer."""

    peer: str

    def __str__(self) -> str:
        return f"peer {self.peer} is not known here; see `covm federation peers`, or connect to its address"


@dataclass(eq=False)
class WrongPeer(NetworkError):
    """Another peer answered at the address than the address names."""

    address: str
    expected: str
    found: str

    def __str__(self) -> str:
        return (
            f"{self.address} answered as {self.found}, not as {self.expected}; "
            "the address is out of date, or someone else has it: ask the peer for its present address"
        )


@dataclass(eq=False)
class InvalidAddress(NetworkError):
    """The text is not a multiaddr that this node can use."""

    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.address!r} is not a usable address: {self.why}; "
            "an address looks like /ip4/203.0.113.5/tcp/9000/p2p/12D3KooW..."
        )


@dataclass(eq=False)
class ConnectionLimitReached(NetworkError):
    """The node holds as many connections as `max_connections` allows."""

    limit: int

    def __str__(self) -> str:
        return f"all {self.limit} connections are in use; disconnect a peer, or raise max_connections"


@dataclass(eq=False)
class DeliveryTimeout(NetworkError, TimeoutError):
    """A receipt did not reach the awaited state in time. The message is still under way."""

    message_id: str
    awaited: str
    state: str
    timeout_s: float

    def __str__(self) -> str:
        return (
            f"message {self.message_id} was not {self.awaited} within {self.timeout_s:g} s (it is {self.state}); "
            "it is still under way: wait again on the receipt, or give it longer"
        )


@dataclass(eq=False)
class NodeFailed(NetworkError):
    """The native core ended by itself; the process lives. Start a new service."""

    why: str

    def __str__(self) -> str:
        return f"the network core failed and was ended: {self.why}; start the node anew, and please report this"
