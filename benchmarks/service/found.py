"""Nodes in one process that begin with the address of one of them, until each is connected with each."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.service.figures import Figures, cpu_s
from benchmarks.service.node import new_service
from covm.federation import FederationService

WAYS: dict[str, dict[str, Any]] = {
    "kademlia": {"enable_kademlia": True, "enable_peer_exchange": False},
    "exchange": {"enable_kademlia": False, "enable_peer_exchange": True},
    "both": {"enable_kademlia": True, "enable_peer_exchange": True},
}


async def found(count: int, way: str) -> Figures:
    """From the moment in which the others begin to start."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(new_service(**WAYS[way]))
        began_ns, spent_s = time.perf_counter_ns(), cpu_s()
        others = [new_service(bootstrap_peers=[first.addresses[0]], **WAYS[way]) for _ in range(count - 1)]
        nodes = [first, *others]
        await asyncio.gather(*(stack.enter_async_context(node) for node in others))
        await asyncio.gather(*(_until_connected_with(node, count - 1) for node in nodes))
        took_s = (time.perf_counter_ns() - began_ns) / 1e9
        ends = sum(len(record.connections) for node in nodes for record in node._node.peers.connected_records())
        return {"took_s": took_s, "cpu_s": cpu_s() - spent_s, "connections": ends / (count * (count - 1))}


async def _until_connected_with(service: FederationService, count: int) -> None:
    events = service.events()
    try:
        while len(service.connected_peers()) < count:
            await anext(events)
    finally:
        await events.aclose()
