"""What is measured of it: publishes that the stream acknowledges, and messages that a consumer is through with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, StorageType, StreamConfig

from benchmarks.jetstream.server import Running
from benchmarks.service.figures import Figures, cpu_s, milliseconds_since, percentile, rss_mib_of
from benchmarks.service.window import under_way

SUBJECT, STREAM, CONSUMER = "benchmark.sample", "benchmark", "reader"

FETCH_S = 10.0
"""Messages come in milliseconds; if none came for this long, something is broken."""


@asynccontextmanager
async def _stream(server: Running) -> AsyncIterator[tuple[JetStreamContext, JetStreamContext]]:
    """Two clients of one stream: one to publish, one to consume."""
    one, other = await nats.connect(server.url), await nats.connect(server.url)
    try:
        await one.jetstream().add_stream(StreamConfig(name=STREAM, subjects=[SUBJECT], storage=StorageType.FILE))
        yield one.jetstream(), other.jetstream()
    finally:
        await one.close()
        await other.close()


async def publish(server: Running, count: int, window: int, size_bytes: int) -> Figures:
    """Publishes with at most `window` of them not acknowledged."""
    payload = b"\7" * size_bytes
    async with _stream(server) as (stream, _):

        async def one() -> None:
            await (await stream.publish_async(SUBJECT, payload))

        return await _measured(server, count, window, one)


async def consume(server: Running, count: int, window: int, size_bytes: int) -> Figures:
    """Publishes with at most `window` of them that a consumer, which acknowledges each, is not through with."""
    filling = b"\7" * (size_bytes - 8)
    async with _stream(server) as (stream, reader):
        config = ConsumerConfig(durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=window * 2)
        subscription = await reader.pull_subscribe(SUBJECT, CONSUMER, STREAM, config=config)
        waiting: dict[bytes, asyncio.Future[None]] = {}
        numbers = iter(range(count))

        async def one() -> None:
            key = next(numbers).to_bytes(8)
            waiting[key] = read = asyncio.get_running_loop().create_future()
            await (await stream.publish_async(SUBJECT, key + filling))
            await read

        async def read_all() -> None:
            left = count
            while left:
                for message in await subscription.fetch(window, timeout=FETCH_S):
                    await message.ack()
                    waiting.pop(message.data[:8]).set_result(None)
                    left -= 1

        async with asyncio.TaskGroup() as group:
            group.create_task(read_all())
            measuring = group.create_task(_measured(server, count, window, one))
        return measuring.result()


async def _measured(server: Running, count: int, window: int, one: Callable[[], Awaitable[None]]) -> Figures:
    latencies_ms: list[float] = []

    async def timed() -> None:
        at_ns = time.perf_counter_ns()
        await one()
        latencies_ms.append(milliseconds_since(at_ns))

    began_s, spent_s = time.perf_counter(), cpu_s()
    await under_way(window, count, timed)
    elapsed_s = time.perf_counter() - began_s
    return {
        "per_s": count / elapsed_s,
        "p50_ms": percentile(latencies_ms, 0.5),
        "p99_ms": percentile(latencies_ms, 0.99),
        "cpu_s": cpu_s() - spent_s,
        "server_rss_mib": rss_mib_of(server.pid),
    }
