"""Messages queued to a peer that is away; the sender ends, is started anew, and sends them once the peer is back.

backlog COUNT END        starts the others in turn and puts their figures together; END is `stop` or `kill`
backlog-peer HOME        the peer: prints its address, takes what comes until its standard input ends
backlog-fill HOME ...    the sender's first life: meets the peer, and queues when it has gone
backlog-drain HOME ...   its second life
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.service.durable import new_home
from benchmarks.service.figures import Figures, rss_mib
from benchmarks.service.lives import finish, life, line_of, say, told
from benchmarks.service.node import Sample, new_service
from benchmarks.service.window import under_way
from covm.federation import ConnectionRetry
from covm.federation.events import PeerDisconnected

WINDOW = 256

DRAIN = timedelta(minutes=25)
"""A million messages at the slowest rate worth measuring."""

SOON = ConnectionRetry(base_delay=timedelta(milliseconds=50), max_delay=timedelta(milliseconds=200))
"""What is measured is the sending, not the wait before dialling."""

MEMORY_EVERY_S = 0.05


async def backlog(count: int, end: str) -> Figures:
    """The whole story; each life in a process of its own."""
    with new_home() as near, new_home() as far:
        with life("backlog-peer", str(far)) as peer:
            address = line_of(peer)
            with life("backlog-fill", str(near), address, str(count)) as filling:
                line_of(filling)
                finish(peer)
                figures: dict[str, Any] = json.loads(line_of(filling))
                if end == "kill":
                    filling.send_signal(signal.SIGKILL)
                else:
                    finish(filling)
        figures["disk_mib"] = sum(path.stat().st_size for path in near.rglob("*") if path.is_file()) / 1024 / 1024
        began_s = time.perf_counter()
        with life("backlog-drain", str(near), address, str(figures.pop("last"))) as draining:
            line_of(draining)
            figures["from_nothing_s"] = time.perf_counter() - began_s
            with life("backlog-peer", str(far), address.rpartition("/p2p/")[0]) as peer:
                line_of(peer)
                say(draining, "the peer is back")
                figures |= json.loads(line_of(draining))
    figures["drained_per_s"] = count / figures["drained_s"]
    return figures


async def peer(home: str, listen: str = "/ip4/127.0.0.1/tcp/0") -> Figures:
    """Takes what comes; without a handler, so that what is measured is the delivery."""
    async with new_service(Path(home), listen_addresses=[listen]) as service:
        service.subscribe(Sample, lambda _: None)
        print(service.addresses[0], flush=True)
        await told()
        return {"rss_mib": rss_mib()}


async def fill(home: str, address: str, count: int) -> Figures:
    """Meets the peer, and queues as soon as that has gone; waits for its own end."""
    async with new_service(Path(home)) as service:
        far = await service.connect_peer(address)
        events = service.events()
        print("connected", flush=True)
        async for event in events:
            if isinstance(event, PeerDisconnected):
                break
        last = ""

        async def one() -> None:
            nonlocal last
            last = (await service.send_direct(far, Sample(0))).id

        began_s = time.perf_counter()
        await under_way(WINDOW, count, one)
        elapsed_s = time.perf_counter() - began_s
        last = (await service.send_direct(far, Sample(0))).id
        print(json.dumps({"queued_per_s": count / elapsed_s, "queue_rss_mib": rss_mib(), "last": last}), flush=True)
        await told()
        return {}


async def drain(home: str, address: str, last: str) -> Figures:
    """Starts, says so, and sends once it is told that the peer is back, until the last message is stored there."""
    service = new_service(Path(home), bootstrap_peers=[address], connection_retry=SOON)
    began_s = time.perf_counter()
    async with service:
        started_s, start_rss = time.perf_counter() - began_s, rss_mib()
        print("started", flush=True)
        await told()
        began_s, most = time.perf_counter(), rss_mib()
        sending = asyncio.create_task(_stored(service, last))
        while not sending.done():
            await asyncio.wait([sending], timeout=MEMORY_EVERY_S)
            most = max(most, rss_mib())
        await sending
        figures = {
            "started_s": started_s,
            "start_rss_mib": start_rss,
            "drained_s": time.perf_counter() - began_s,
            "drain_rss_mib": most,
        }
        print(json.dumps(figures), flush=True)
        await told()
        return figures


async def _stored(service: Any, message_id: str) -> None:
    receipt = await service.receipt(message_id)
    await receipt.stored(DRAIN)
