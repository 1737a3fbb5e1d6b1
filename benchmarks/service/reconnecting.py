"""Until peers are connected again: after a killed connection, a restart, a partition.

reconnect-killed RUNS             a wire between the two resets a connection that had lasted
reconnect-restarted RUNS          one of the two, long connected, is killed and started again
reconnect-partitioned SECONDS     two namespaces, joined by a cable that is cut for so long (as root)
neighbour HOME PORT               one life of a node, which connects and sends when told
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.namespaces import cable, ip

from benchmarks.service.durable import PATIENCE, new_home
from benchmarks.service.figures import Figures, milliseconds_since, percentile
from benchmarks.service.lives import answer, life, line_of, say, told, told_by
from benchmarks.service.node import Sample, new_service, until_connected
from benchmarks.service.wire import Wire
from covm.federation import ConnectionRetry, FederationService
from covm.federation.events import PeerDisconnected
from covm.federation.peers.seeker import LASTED_S

RETRY = ConnectionRetry()
"""As nodes have it that are not on loopback alone."""


async def killed(runs: int) -> Figures:
    """From the reset until both count each other as connected again."""
    times: list[float] = []
    async with _kept() as far, _kept() as near, Wire(far.addresses[0]) as wire:
        await near.connect_peer(wire.address)
        await until_connected(far, near.peer_id)
        for _ in range(runs):
            await _lasted()
            gone = [asyncio.create_task(_until_disconnected(one)) for one in (near, far)]
            await asyncio.sleep(0)
            began_ns = time.perf_counter_ns()
            wire.reset()
            await asyncio.gather(*gone)
            await until_connected(near, far.peer_id)
            await until_connected(far, near.peer_id)
            times.append(milliseconds_since(began_ns))
    return {"p50_ms": percentile(times, 0.5), "max_ms": max(times)}


def _kept(home: Path | None = None, **changes: Any) -> FederationService:
    return new_service(home, connection_retry=RETRY, **changes)


async def _until_disconnected(service: FederationService) -> None:
    events = service.events()
    async for event in events:
        if isinstance(event, PeerDisconnected):
            return


async def _lasted() -> None:
    """A connection that breaks sooner is not dialled again at once, lest who breaks off for ever is hammered."""
    await asyncio.sleep(LASTED_S + 0.5)


async def restarted(runs: int) -> Figures:
    """From the moment in which the new life listens until the other side counts it as connected."""
    times: list[float] = []
    with new_home() as home:
        async with _kept(home / "near") as near:
            port = "0"
            for run in range(runs + 1):
                with life("neighbour", str(home / "far"), port) as far:
                    said = told_by(far)
                    port = said["address"].split("/")[4]
                    if not run:
                        await near.connect_peer(said["address"])
                    await until_connected(near, said["peer"])
                    if run:
                        times.append(milliseconds_since(said["began_ns"]))
                    await _lasted()
                    gone = asyncio.create_task(_until_disconnected(near))
                    await asyncio.sleep(0)
                    far.send_signal(signal.SIGKILL)
                    await asyncio.to_thread(far.wait)
                    await gone
    return {"p50_ms": percentile(times, 0.5), "max_ms": max(times)}


async def partitioned(seconds: int) -> Figures:
    """From the cable's repair until a message that was sent in the partition is stored at the other side."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("BENCHMARK_FOLDER"))))
        left, right = stack.enter_context(cable())
        far = stack.enter_context(life("neighbour", str(folder / "far"), "9000", inside=right))
        there = told_by(far)
        near = stack.enter_context(life("neighbour", str(folder / "near"), "9000", inside=left))
        told_by(near)
        say(near, f"connect /ip4/10.99.0.2/tcp/9000/p2p/{there['peer']}")
        told_by(near)
        ip("-n", left, "link", "set", "cable", "down")
        say(near, f"send {there['peer']}")
        line_of(near)
        await asyncio.sleep(seconds)
        ip("-n", left, "link", "set", "cable", "up")
        ip("-n", left, "route", "replace", "default", "dev", "cable")
        repaired_ns = time.perf_counter_ns()
        stored = await asyncio.to_thread(told_by, near)
        return {"took_s": (stored["stored_ns"] - repaired_ns) / 1e9}


async def neighbour(home: str, port: str) -> Figures:
    """Listens, says where, and does what it is told until the end of its input."""
    where = [f"/ip4/0.0.0.0/tcp/{port}"] if port == "9000" else [f"/ip4/127.0.0.1/tcp/{port}"]
    async with _kept(Path(home), listen_addresses=where) as service:
        answer({"peer": service.peer_id, "address": service.addresses[0], "began_ns": time.perf_counter_ns()})
        while line := await told():
            word, target = line.split()
            if word == "connect":
                peer = await service.connect_peer(target)
                answer({"connected": peer})
            else:
                receipt = await service.send_direct(target, Sample(time.perf_counter_ns()))
                answer({"queued": target})
                await receipt.stored(PATIENCE)
                answer({"stored_ns": time.perf_counter_ns()})
    return {}
