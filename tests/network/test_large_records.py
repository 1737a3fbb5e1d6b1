"""Records whose bodies are above 64 KiB: the small ones behind them do not wait, and all arrive whole."""

from __future__ import annotations

import asyncio

from tests.network.world import PATIENCE, World, meet

from covm.federation import FederationService

NOTE = "notes.note"
SIZES = [10, 65_000, 66_000, 262_000, 263_000, 1_048_000]


async def holds(node: FederationService, wanted: dict[str, bytes]) -> None:
    """Returns once what changed comes to this."""
    found: dict[str, object] = {}
    async with asyncio.timeout(PATIENCE.total_seconds()):
        async for change in node.collection(NOTE).changes():
            found[change.key] = change.version.value
            if found == wanted:
                return


async def test_large_values_arrive_whole_over_a_neighbour_too(world: World) -> None:
    mill, farm = await world.pair()
    wanted = {f"{size}": bytes(size) for size in SIZES}
    for key, value in wanted.items():
        await mill.collection(NOTE).put(key, value)
    await holds(farm, wanted)
    dairy = await world.start(name="Dairy")
    await mill.stop()
    await meet(dairy, farm)
    await holds(dairy, wanted)
    assert dairy.stats()["faults"] == farm.stats()["faults"] == 0
