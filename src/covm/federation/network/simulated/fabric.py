"""The simulated world: which node listens where, who reaches whom, and how badly."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from covm.federation.clock import Random, SeededRandom
from covm.federation.errors import NetworkError
from covm.federation.network.interface import STREAM_PROTOCOLS
from covm.federation.network.simulated.addresses import bound_address
from covm.federation.network.simulated.links import Link, LinkFaults, Traffic

if TYPE_CHECKING:
    from covm._native import Keypair
    from covm.federation.network.simulated.network import SimulatedNetwork
    from covm.federation.network.simulated.node import Node

DEFAULT_LISTEN = ("/memory/0",)
DEFAULT_MAX_CONNECTIONS = 50
LAST_PORT = 65_535


class SimulatedFabric:
    """Connects simulated nodes within one process and one event loop: no sockets, no threads, no sleeping.

    With the same `random`, on a loop whose time is held still, the same calls give the same trace. `faults` hold for
    every link that `set_faults` gave none of its own. Everything applies at once, also to connections that stand.
    """

    def __init__(self, *, random: Random | None = None, faults: LinkFaults | None = None) -> None:
        self.traffic = Traffic()
        self._random = random or SeededRandom(0)
        self._faults = faults or LinkFaults()
        self._link_faults: dict[frozenset[str], LinkFaults] = {}
        self._links: dict[frozenset[str], Link] = {}
        self._cuts: set[frozenset[str]] = set()
        self._group_of: dict[str, int] | None = None
        self._listeners: dict[str, Node] = {}
        self._nodes: dict[Node, None] = {}
        self._next_port = 0
        self._sources = itertools.count(LAST_PORT + 1)

    def network(
        self,
        keypair: Keypair,
        *,
        listen: Sequence[str] = DEFAULT_LISTEN,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        protocols: Sequence[str] = STREAM_PROTOCOLS,
    ) -> SimulatedNetwork:
        """A network for one node, to be handed to `FederationService(network=...)`; the service starts and stops it.

        `listen` takes addresses such as `/memory/0` or `/ip4/127.0.0.1/tcp/0`; 0 gets a free fake port.
        """
        from covm.federation.network.simulated.network import SimulatedNetwork

        return SimulatedNetwork(self, keypair, tuple(listen), max_connections, tuple(protocols))

    # --- faults ---

    def set_faults(self, one: str, other: str, faults: LinkFaults) -> None:
        """Gives the link between two peers faults of its own, for what is sent from now on."""
        self._link_faults[frozenset((one, other))] = faults

    def partition(self, groups: Iterable[Iterable[str]]) -> None:
        """Only peers of one group reach each other; peers in none form one more. Replaces an earlier partition.

        Connections between groups fall at once on both sides; nothing under way on them arrives. Dials fail. Raises
        `ValueError` when a peer is in two groups.
        """
        group_of: dict[str, int] = {}
        for index, group in enumerate(groups):
            for peer in group:
                if group_of.setdefault(peer, index) != index:
                    raise ValueError(f"{peer} is in two groups of the partition")
        self._group_of = group_of
        self._sever_unreachable()

    def cut(self, one: str, other: str) -> None:
        """Two peers do not reach each other any more; their connections fall at once."""
        self._cuts.add(frozenset((one, other)))
        self._sever_unreachable()

    def heal(self) -> None:
        """Ends the partition and every cut. Connections do not come back by themselves; link faults stay."""
        self._group_of = None
        self._cuts.clear()

    def reaches(self, one: str, other: str) -> bool:
        """Whether packets pass between two peers."""
        if frozenset((one, other)) in self._cuts:
            return False
        groups: Mapping[str, int] = self._group_of or {}
        return groups.get(one) == groups.get(other)

    # --- for nodes ---

    def link(self, one: str, other: str) -> Link:
        """The link between two peers, with the faults that it has when a packet is sent."""
        pair = frozenset((one, other))
        if pair not in self._links:
            self._links[pair] = Link(lambda: self._link_faults.get(pair, self._faults), self._random)
        return self._links[pair]

    def bind(self, node: Node, addresses: Sequence[str]) -> tuple[str, ...]:
        """Listens for the node on all addresses or on none. Raises `InvalidAddress`, `NetworkError`."""
        bound: list[str] = []
        for asked in addresses:
            address = bound_address(asked, self._free_ports(), {*self._listeners, *bound})
            if address is None:
                raise NetworkError(f"cannot listen on {asked}: the address is in use; choose another port, or 0")
            bound.append(address)
        self._listeners.update(dict.fromkeys(bound, node))
        self._nodes[node] = None
        return tuple(bound)

    def runs(self, peer: str) -> bool:
        """Whether a node of this peer runs."""
        return any(node.peer_id == peer for node in self._nodes)

    def source_address(self) -> str:
        """The address from which a dial comes: one at which nobody listens."""
        return f"/memory/{next(self._sources)}"

    def unbind(self, node: Node) -> None:
        """Frees every address of the node."""
        self._nodes.pop(node, None)
        self._listeners = {address: owner for address, owner in self._listeners.items() if owner is not node}

    def listener(self, address: str) -> Node | None:
        """The node that listens there."""
        return self._listeners.get(address)

    def _free_ports(self) -> Iterator[int]:
        """Every port once, from where the last search ended, so that a port is not at once used anew."""
        for _ in range(LAST_PORT):
            self._next_port = self._next_port % LAST_PORT + 1
            yield self._next_port

    def _sever_unreachable(self) -> None:
        for node in list(self._nodes):
            node.sever_unreachable()
