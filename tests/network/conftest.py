"""Each scenario that asks for `world` runs twice: on the simulated network and on libp2p over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.network.world import World


@pytest.fixture(params=["simulated", "libp2p"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with World(request.param) as made:
        yield made
