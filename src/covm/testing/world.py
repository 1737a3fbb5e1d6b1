"""A small world of machines, in which everything that may go wrong goes wrong as one seed says.

    async def story() -> None:
        async with World(seed=7, names=["ada", "ben"]) as world:
            ada, ben = world.machines
            await world.start_all()
            ben.crash()
            receipt = await ada.spawn(ada.service.send_direct(ben.peer_id, "private.message", "hello"))
            await ben.start()
            await receipt.handled()

    run_in_virtual_time(story())

Keys, ids, delays and all other chance follow from the seed, so the same seed tells the same story: `trace.hash` is the
same in every process (with the same `PYTHONHASHSEED`).
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from covm.federation import FederationConfig, Identity
from covm.federation.clock import SeededRandom
from covm.federation.network.simulated import LinkFaults, SimulatedFabric
from covm.testing.clock import LoopClock
from covm.testing.disk import Disk
from covm.testing.loop import virtual_loop
from covm.testing.machine import Machine
from covm.testing.trace import Trace

if TYPE_CHECKING:
    import msgspec

EPOCH_MS = 1_800_000_000_000
"""When every story begins: in January 2027."""

FIRST_PORT = 9_001


class World:
    """Machines, the `fabric` between them, and the `trace` of what happens.

    Every machine knows all others' addresses and keeps dialling them. `config` changes fields of the preset `local`
    with `open` membership. Use it in `async with`, on a loop with virtual time: at the end the nodes that still run
    are stopped.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        names: Sequence[str] = ("ada", "ben"),
        types: Sequence[type[msgspec.Struct]] = (),
        config: Mapping[str, Any] | None = None,
        faults: LinkFaults | None = None,
        lines: Callable[[str], object] | None = None,
    ) -> None:
        self.seed = seed
        self.trace = Trace(lines)
        self.fabric = SimulatedFabric(random=SeededRandom(self._number("fabric")), faults=faults)
        self.loop = virtual_loop()
        identities = {name: Identity.from_seed(self._digest(f"identity/{name}")) for name in names}
        addresses = {name: f"/ip4/127.0.0.1/tcp/{FIRST_PORT + index}" for index, name in enumerate(names)}
        self.machines = tuple(
            Machine(
                identity=identity,
                config=FederationConfig.preset(
                    "local",
                    **{
                        "name": name,
                        "listen_addresses": [addresses[name]],
                        "bootstrap_peers": [
                            f"{addresses[other]}/p2p/{identities[other].peer_id}" for other in names if other != name
                        ],
                        "membership": "open",
                        **(config or {}),
                    },
                ),
                types=types,
                fabric=self.fabric,
                disk=Disk(self.chance(f"disk/{name}")),
                clock=self._clock(),
                trace=self.trace,
                seed=str(seed),
            )
            for name, identity in identities.items()
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for machine in self.machines:
            if error is None:
                await machine.stop()
            else:
                machine.crash()

    def chance(self, what: str) -> random.Random:
        """A source of chance of its own, so that more of one draws nothing from another."""
        return random.Random(self._number(what))

    async def sleep(self, duration: timedelta) -> None:
        """Lets so much time pass, in no time."""
        await asyncio.sleep(duration.total_seconds())

    async def start_all(self) -> None:
        """Starts a node on every machine that has none."""
        for machine in self.machines:
            if not machine.is_up:
                await machine.start()

    def _clock(self) -> LoopClock:
        clock = LoopClock(EPOCH_MS)
        clock.now_ms()  # from now on, for all of them
        return clock

    def _number(self, what: str) -> int:
        return int.from_bytes(self._digest(what)[:8], "big")

    def _digest(self, what: str) -> bytes:
        return hashlib.sha256(f"covm.testing/{self.seed}/{what}".encode()).digest()
