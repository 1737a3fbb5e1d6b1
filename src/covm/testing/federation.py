"""A federation of simulated nodes in one line."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Literal, overload

import msgspec

from covm.federation.clock import Clock, SeededRandom
from covm.federation.config import FederationConfig
from covm.federation.identity import Identity
from covm.federation.network.simulated import LinkFaults, SimulatedFabric
from covm.federation.service import FederationService
from covm.testing.clock import LoopClock
from covm.testing.waiting import DEFAULT_TIMEOUT, TURNS, until

Connect = Literal["all", "line", "none"]

MOST_NODES = 256
"""A federation in one process and one thread; with more, a mistyped number would only look like a hang."""


class SimulatedFederation(Sequence[FederationService]):
    """The started nodes, in order, and the `fabric` that connects them.

    `nodes.fabric.cut(a, b)`, `.partition(groups)`, `.heal()` and `.set_faults(a, b, LinkFaults(...))` take peer ids.
    """

    def __init__(self, nodes: Sequence[FederationService], fabric: SimulatedFabric) -> None:
        self._nodes = tuple(nodes)
        self.fabric = fabric

    @overload
    def __getitem__(self, index: int) -> FederationService: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[FederationService]: ...

    def __getitem__(self, index: int | slice) -> FederationService | Sequence[FederationService]:
        return self._nodes[index]

    def __len__(self) -> int:
        return len(self._nodes)


@asynccontextmanager
async def simulated_federation(
    count: int,
    *,
    types: Sequence[type[msgspec.Struct]] = (),
    connect: Connect = "all",
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    faults: LinkFaults | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[SimulatedFederation]:
    """Starts `count` nodes, connects them, and stops them at the end.

        async with simulated_federation(3, types=[Proposal]) as nodes:
            await nodes[0].publish("governance.proposal", proposal)

    Nodes are named `node-0`, `node-1` and so on; their keys, and all chance, follow from `seed`. `types` are registered
    at each. `connect` is `all` (each with each), `line` (each with the next) or `none`; once this yields, connected
    nodes are each other's `connected_peers()`. `config` changes fields of the preset `local` with `open` membership;
    `faults` hold on every link; the nodes share `clock`, by default one that follows the event loop. Raises
    `ValueError` for a count outside 1 to 256, `ConfigError`, and what `FederationService.start` raises.
    """
    if not 1 <= count <= MOST_NODES:
        raise ValueError(f"a simulated federation has 1 to {MOST_NODES} nodes, not {count}")
    fabric = SimulatedFabric(random=SeededRandom(seed), faults=faults)
    changes = {"membership": "open", "max_connections": max(count, 50), **(config or {})}
    shared_clock = clock or LoopClock()
    made = [_make_node(fabric, index, seed, changes, types, shared_clock) for index in range(count)]
    async with AsyncExitStack() as started:
        for node in made:
            await started.enter_async_context(node)
        nodes = SimulatedFederation(made, fabric)
        await _connect(_pairs(nodes, connect))
        yield nodes


async def settled(nodes: SimulatedFederation, *, timeout: timedelta = DEFAULT_TIMEOUT) -> None:
    """Returns once nothing is under way between the nodes and what arrived has set off nothing more.

    For what must *not* happen: publish, `await settled(nodes)`, and look that nobody received it. Timers (heartbeats,
    retries, a handler that sleeps) do not count. Raises `TimeoutError` when the nodes do not come to rest in time.
    """
    traffic = nodes.fabric.traffic
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout.total_seconds()
    while True:
        try:
            async with asyncio.timeout_at(deadline_s):
                await traffic.idle()
        except TimeoutError:
            raise _restless(timeout) from None
        begun = traffic.begun
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if traffic.begun == begun and traffic.under_way == 0:
            return
        if loop.time() >= deadline_s:
            raise _restless(timeout)


def _restless(timeout: timedelta) -> TimeoutError:
    return TimeoutError(f"the nodes did not come to rest within {timeout.total_seconds():g} s")


def _make_node(
    fabric: SimulatedFabric,
    index: int,
    seed: int,
    changes: Mapping[str, Any],
    types: Sequence[type[msgspec.Struct]],
    clock: Clock,
) -> FederationService:
    origin = hashlib.sha256(f"covm.testing/{seed}/{index}".encode()).digest()
    identity = Identity.from_seed(origin)
    config = FederationConfig.preset("local", **{"name": f"node-{index}", **changes})
    network = fabric.network(identity.keypair, listen=config.listen_addresses, max_connections=config.max_connections)
    random = SeededRandom(int.from_bytes(origin[:8], "big"))
    return FederationService(identity, config, types=types, network=network, clock=clock, random=random)


def _pairs(nodes: SimulatedFederation, connect: Connect) -> Iterable[tuple[FederationService, FederationService]]:
    match connect:
        case "all":
            return itertools.combinations(nodes, 2)
        case "line":
            return itertools.pairwise(nodes)
        case "none":
            return ()
    raise ValueError(f"connect is 'all', 'line' or 'none', not {connect!r}")


async def _connect(pairs: Iterable[tuple[FederationService, FederationService]]) -> None:
    pairs = list(pairs)
    for one, other in pairs:
        await one.connect_peer(other.addresses[0])
    await until(
        lambda: all(
            other.peer_id in one.connected_peers() and one.peer_id in other.connected_peers() for one, other in pairs
        ),
        what="the connection of all nodes",
    )
