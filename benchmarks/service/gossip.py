"""Gossip among n nodes of one process, node i wired to i-1, i//2 and 0, published round robin at a steady rate."""

from __future__ import annotations

import asyncio
import contextlib
import time

from benchmarks.service.figures import Figures, cpu_s, milliseconds_since, percentile, rss_mib
from benchmarks.service.members import federation
from benchmarks.service.node import Sample, connect_both, new_service
from covm.federation import FederationService, Message

MESH_S = 1.5
"""Meshes form in the first second; the floor waits as long."""

LAST_S = 20.0
"""What has not come this long after the last publication never comes."""

SHORTEST_SLEEP_S = 0.001
"""The loop's timers are no finer."""


class Tally:
    """Counts what others published and notes how long it took."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.latencies_ms: list[float] = []
        self.complete = asyncio.Event()

    def take(self, message: Message[Sample]) -> None:
        """The handler of every node."""
        if message.via == "gossip":
            self.latencies_ms.append(milliseconds_since(message.payload.at_ns))
            if len(self.latencies_ms) >= self.expected:
                self.complete.set()


async def gossip(nodes: int, messages: int, per_s: int) -> Figures:
    return await _among([new_service() for _ in range(nodes)], messages, per_s)


async def gossip_of_members(nodes: int, messages: int, per_s: int) -> Figures:
    """The same among nodes of members, each of whose messages is looked up."""
    return await _among(federation(nodes), messages, per_s)


async def _among(services: list[FederationService], messages: int, per_s: int) -> Figures:
    nodes = len(services)
    tally = Tally(messages * (nodes - 1))
    async with contextlib.AsyncExitStack() as stack:
        for service in services:
            await stack.enter_async_context(service)
        for service in services:
            service.subscribe(Sample, tally.take)
        await wire_up(services)
        await asyncio.sleep(MESH_S)
        spent_s = cpu_s()
        await publish(services, messages, per_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await tally.complete.wait()
        spent_s = cpu_s() - spent_s
        return {
            "nodes": nodes,
            "expected": tally.expected,
            "delivered": len(tally.latencies_ms),
            "p50_ms": percentile(tally.latencies_ms, 0.5),
            "p99_ms": percentile(tally.latencies_ms, 0.99),
            "cpu_ms": spent_s * 1000 / max(len(tally.latencies_ms), 1),
            "rss_mib": rss_mib(),
        }


async def wire_up(services: list[FederationService]) -> None:
    """Connects node i to i-1, i//2 and 0."""
    for i in range(1, len(services)):
        for j in {i - 1, i // 2, 0} - {i}:
            await connect_both(services[i], services[j])


async def publish(services: list[FederationService], messages: int, per_s: int) -> None:
    """What is due is published at once, whatever became of the one before."""
    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as publishing:
        for number in range(messages):
            early_s = began_s + number / per_s - time.perf_counter()
            if early_s > SHORTEST_SLEEP_S:
                await asyncio.sleep(early_s)
            publishing.create_task(_publish_one(services[number % len(services)]))


async def _publish_one(service: FederationService) -> None:
    await service.publish(Sample(time.perf_counter_ns()))
