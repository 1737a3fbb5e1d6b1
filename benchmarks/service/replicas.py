"""What it costs to bring two nodes together, each a process of its own with a home on the same disk.

sync-first COUNT AUTHORS                              one has so many records, the other none
sync-missing COUNT AUTHORS LACKING HOW SIDES          both have the same, and one more than the other, or each
sync-written COUNT WINDOW                             one alone: what programs write, so many waiting at a time
sync-told ADDRESS COUNT, serve-sync                   one writes now and then, the other's program follows
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from benchmarks.service.durable import new_home
from benchmarks.service.figures import Figures, cpu_s, percentile
from benchmarks.service.lives import finish, life, say, told_by
from benchmarks.service.node import new_service, until_connected
from benchmarks.service.shape import Shape
from benchmarks.service.stores import add, copied
from benchmarks.service.writers import TYPE, VALUE
from covm.federation.events import PeerDisconnected

IDLE_S = 0.02
"""Between two writes of an idle node."""


async def first(count: int, authors: int) -> Figures:
    """A node without anything meets one that has so many records."""
    with new_home() as folder:
        await copied(Shape(count, authors), folder / "near")
        near, far = _met(folder, count)
    took_s = (far["done_ns"] - far["began_ns"]) / 1e9
    return {**far, "per_s": count / took_s, "took_s": took_s, "server_rss_mib": near["rss_most_mib"],
            "cpu_s": near["cpu_s"] + far["cpu_s"]}  # fmt: skip


async def missing(shape: Shape) -> Figures:
    """Two nodes have the same; one of them gets some more while they are apart, or each does."""
    with new_home() as folder:
        size_bytes: list[int] = []
        for side, name in enumerate(("near", "far")):
            writers = await copied(shape, folder / name)
            size_bytes.append(await add(folder / name, writers, shape.more(side)))
        near, far = _met(folder, shape.records + shape.missing)
    took_ms = (max(near["done_ns"], far["done_ns"]) - far["began_ns"]) / 1e6
    return {
        "questions": max(near["questions"], far["questions"]),
        "overhead_bytes": near["size_bytes"] + far["size_bytes"] - sum(size_bytes),
        "asked_bytes": far["size_bytes"] - size_bytes[0],
        "took_ms": took_ms,
        "per_s": shape.missing / took_ms * 1000,
        "rss_mib": max(near["rss_most_mib"], far["rss_most_mib"]),
    }


def _met(folder: Path, count: int) -> tuple[Any, Any]:
    """Two replicas with homes in a folder meet: what each says once both have so many records."""
    with life("replica", str(folder / "near")) as near, life("replica", str(folder / "far")) as far:
        address = told_by(near)["address"]
        told_by(far)
        say(near, str(count))
        say(far, f"{count} {address}")
        answers = told_by(near), told_by(far)
        finish(far)
        finish(near)
    return answers


async def written(count: int, window: int) -> Figures:
    """Writes of a program, so many waiting at a time."""
    with new_home() as home:
        async with new_service(home) as service:
            notes = service.collection(TYPE)
            began_s, spent_s = time.perf_counter(), cpu_s()
            for start in range(0, count, window):
                await asyncio.gather(*(notes.put(f"{number}", VALUE) for number in range(start, start + window)))
            return {"per_s": count / (time.perf_counter() - began_s), "cpu_s": cpu_s() - spent_s}


async def serve() -> Figures:
    """Prints its address and follows what comes; how long each took until its program had it."""
    with new_home() as home:
        async with new_service(home) as service:
            print(service.addresses[0], flush=True)
            times_ms: list[float] = []
            following = asyncio.create_task(_follow(service, times_ms))
            async for event in service.events():
                if isinstance(event, PeerDisconnected):
                    break
            following.cancel()
            return {"p50_ms": percentile(times_ms, 0.5), "p99_ms": percentile(times_ms, 0.99),
                    "heard": len(times_ms), "cpu_s": cpu_s()}  # fmt: skip


async def _follow(service: Any, times_ms: list[float]) -> None:
    async for change in service.collection(TYPE).changes():
        _note(change.version.value, times_ms)


def _note(began_ns: int, times_ms: list[float]) -> None:
    """Both processes of one machine read one clock."""
    times_ms.append((time.perf_counter_ns() - began_ns) / 1e6)


async def tell(address: str, count: int) -> Figures:
    """Writes now and then, each time when, and goes."""
    with new_home() as home:
        async with new_service(home) as service:
            peer = await service.connect_peer(address)
            await until_connected(service, peer)
            notes = service.collection(TYPE)
            written_ms: list[float] = []
            for number in range(count):
                began_ns = time.perf_counter_ns()
                await notes.put(f"{number}", began_ns)
                written_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
                await asyncio.sleep(IDLE_S)
            await asyncio.sleep(1.0)
            return {"put_p50_ms": percentile(written_ms, 0.5), "cpu_s": cpu_s()}
