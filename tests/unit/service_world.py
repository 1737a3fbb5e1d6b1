"""Whole nodes on the simulated network, on a loop whose time leaps: an hour of heartbeats takes no time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from pysqlite3 import dbapi2

from covm.federation import FederationConfig, FederationService, Identity, Message
from covm.federation.clock import SeededRandom
from covm.federation.network.simulated import SimulatedFabric
from covm.federation.store.inline import InlineStore
from covm.testing import until

EPOCH_MS = 1_800_000_000_000


class LoopClock:
    """The loop's time, so that clocks leap with it; `ahead_ms` sets the wall clock wrong."""

    def __init__(self, ahead_ms: int = 0) -> None:
        self.ahead_ms = ahead_ms

    def now_ms(self) -> int:
        return EPOCH_MS + self.ahead_ms + int(self.monotonic_s() * 1000)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


class World:
    """Makes nodes on one fabric and stops those that still run when the story ends."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.fabric = SimulatedFabric(random=SeededRandom(1))
        self._stack = stack

    def make(
        self,
        name: str,
        *,
        types: Any = (),
        clock: Any = None,
        seed: str = "",
        listen: Sequence[str] = ("/ip4/127.0.0.1/tcp/0",),
        **changes: Any,
    ) -> FederationService:
        origin = hashlib.sha256((seed or name).encode()).digest()
        identity = Identity.from_seed(origin)
        config = FederationConfig.preset("local", **{"membership": "open", "name": name, **changes})
        # Time leaps while nothing is ready, so the store must not work in a thread meanwhile.
        store = FileStore(config.home_path) if config.home_path else None
        return FederationService(
            identity,
            config,
            types=types,
            network=self.fabric.network(identity.keypair, listen=listen, max_connections=config.max_connections + 1),
            clock=clock or LoopClock(),
            random=SeededRandom(int.from_bytes(origin[:4], "big")),
            store=store,
        )

    async def start(self, name: str, **changes: Any) -> FederationService:
        return await self._stack.enter_async_context(self.make(name, **changes))

    async def pair(self, **changes: Any) -> tuple[FederationService, FederationService]:
        ada, ben = await self.start("ada", **changes), await self.start("ben", **changes)
        await connect(ada, ben)
        return ada, ben


class FileStore(InlineStore):
    """A store in a home, on the loop."""

    def __init__(self, home: Path) -> None:
        super().__init__(connect=self._open_database, is_durable=True)
        self._home = home
        self._database: dbapi2.Connection | None = None

    def _open_database(self) -> dbapi2.Connection:
        self._database = dbapi2.connect(str(self._home / "store.db"), isolation_level=None)
        return self._database

    async def close(self) -> None:
        await super().close()
        if self._database is not None:
            self._database.close()


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(stack)


async def connect(one: FederationService, other: FederationService) -> None:
    await one.connect_peer(other.addresses[0])
    await until(lambda: both_see(one, other))


def both_see(one: FederationService, other: FederationService) -> bool:
    return other.peer_id in one.connected_peers() and one.peer_id in other.connected_peers()


async def in_the_end(condition: Callable[[], object], timeout: timedelta = timedelta(hours=1)) -> None:
    """For what takes minutes of the loop's time: looks once a second of it."""
    for _ in range(int(timeout.total_seconds())):
        if condition():
            return
        await asyncio.sleep(1)
    raise AssertionError(f"it did not come true within {timeout}")


def collect(node: FederationService, type_name: str) -> list[Message[Any]]:
    """The messages of a type that the node's handler gets, as they come."""
    received: list[Message[Any]] = []
    node.subscribe(type_name, received.append, name="collect")
    return received


class Heard:
    """Collects a node's events from the moment it is made."""

    def __init__(self, service: FederationService) -> None:
        self.events: list[Any] = []
        self._stream = service.events()
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for event in self._stream:
            self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]
