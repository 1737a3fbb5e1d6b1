"""Direct messages between two processes: acknowledged one by one or many under way, and 64 KiB one way."""

from __future__ import annotations

import time
from collections import deque

from benchmarks.service.figures import Figures, cpu_s, milliseconds_since, percentile, rss_mib
from benchmarks.service.node import Chunk, Sample, new_service
from benchmarks.service.window import under_way
from covm.federation import Message, Receipt
from covm.federation.events import PeerConnected, PeerDisconnected

CHUNK_BYTES = 64 * 1024

CHUNK_WINDOW = 64
"""Chunks under way: 4 MiB, more than both sides' credit, so that the stream never waits for the sender."""


async def serve() -> Figures:
    """Prints an address, takes what comes, and answers when its peer has gone."""
    taken = 0

    def take(_: Message[Sample] | Message[Chunk]) -> None:
        nonlocal taken
        taken += 1

    async with new_service() as service:
        service.subscribe(Sample, take)
        service.subscribe(Chunk, take)
        events = service.events()
        print(service.addresses[0], flush=True)
        spent_s = cpu_s()
        async for event in events:
            if isinstance(event, PeerConnected):
                spent_s = cpu_s()
            elif isinstance(event, PeerDisconnected):
                break
        return {"received": taken, "cpu_s": cpu_s() - spent_s, "rss_mib": rss_mib()}


async def acknowledged(address: str, messages: int, window: int) -> Figures:
    """Messages with at most `window` of them not known to be stored."""
    async with new_service() as service:
        peer = await service.connect_peer(address)
        latencies_ms: list[float] = []

        async def one() -> None:
            at_ns = time.perf_counter_ns()
            receipt = await service.send_direct(peer, Sample(at_ns))
            await receipt.stored()
            latencies_ms.append(milliseconds_since(at_ns))

        began_s, spent_s = time.perf_counter(), cpu_s()
        await under_way(window, messages, one)
        elapsed_s = time.perf_counter() - began_s
        return {
            "per_s": messages / elapsed_s,
            "p50_ms": percentile(latencies_ms, 0.5),
            "p99_ms": percentile(latencies_ms, 0.99),
            "cpu_s": cpu_s() - spent_s,
            "rss_mib": rss_mib(),
        }


async def chunks(address: str, count: int) -> Figures:
    """Chunks one way, until the last is acknowledged."""
    async with new_service() as service:
        peer = await service.connect_peer(address)
        chunk = Chunk(b"\7" * CHUNK_BYTES)
        receipts: deque[Receipt] = deque()
        began_s, spent_s = time.perf_counter(), cpu_s()
        for _ in range(count):
            if len(receipts) >= CHUNK_WINDOW:
                await receipts.popleft().stored()
            receipts.append(await service.send_direct(peer, chunk))
        for receipt in receipts:
            await receipt.stored()
        elapsed_s = time.perf_counter() - began_s
        return {
            "mb_per_s": count * CHUNK_BYTES / elapsed_s / 1e6,
            "cpu_s": cpu_s() - spent_s,
            "rss_mib": rss_mib(),
        }
