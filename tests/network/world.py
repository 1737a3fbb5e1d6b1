"""A world of nodes, on the simulated network or on libp2p, with one face for the scenarios that run on both."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Self

from covm.federation import FederationConfig, FederationService, Identity, Message
from covm.federation.clock import SeededRandom
from covm.federation.network.simulated import SimulatedFabric
from covm.governance import Proposal
from covm.testing import until

PATIENCE = timedelta(seconds=30)

PROPOSAL = Proposal(
    id="proposal-7",
    title="A bread oven for the square",
    description="Shared by the three bakeries, run in turns.",
    author="Mill Bakery",
    options=["yes", "no", "later"],
    created_at=1_760_000_000_000,
    metadata={"cost_cents": 420_000},
)


class World:
    """Makes nodes and stops them all at the end. `kind` is `simulated` or `libp2p`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._fabric = SimulatedFabric(random=SeededRandom(1))
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._running.aclose()

    def make(self, identity: Identity | None = None, **changes: Any) -> FederationService:
        """A node that is not started yet."""
        identity = identity or Identity.generate()
        config = FederationConfig.preset("local", **{"membership": "open", **changes})
        network = None
        if self.kind == "simulated":
            network = self._fabric.network(
                identity.keypair, listen=config.listen_addresses, max_connections=config.max_connections
            )
        return FederationService(identity, config, types=[Proposal], network=network)

    async def start(self, identity: Identity | None = None, **changes: Any) -> FederationService:
        return await self._running.enter_async_context(self.make(identity, **changes))

    async def pair(self, **changes: Any) -> tuple[FederationService, FederationService]:
        """Two nodes that see each other as connected."""
        mill = await self.start(name="Mill Bakery", **changes)
        farm = await self.start(name="Riverside Farm", **changes)
        await meet(farm, mill)
        return mill, farm


async def meet(one: FederationService, other: FederationService) -> None:
    """Connects two nodes and waits until both see each other as connected."""
    await one.connect_peer(other.addresses[0])
    await until(
        lambda: other.peer_id in one.connected_peers() and one.peer_id in other.connected_peers(),
        timeout=PATIENCE,
        what="the two nodes to be connected",
    )


class Inbox:
    """What a node's handler received, in order."""

    def __init__(self, node: FederationService, message_type: str) -> None:
        self.messages: list[Message[Any]] = []
        node.subscribe(message_type, self._take)

    async def _take(self, message: Message[Any]) -> None:
        self.messages.append(message)

    @property
    def payloads(self) -> list[Any]:
        return [message.payload for message in self.messages]

    async def holds(self, count: int) -> None:
        """Waits until `count` messages came."""
        await until(lambda: len(self.messages) >= count, timeout=PATIENCE, what=f"{count} messages to arrive")
